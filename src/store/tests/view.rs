//! A value that is read is of one moment.

use super::{Store, fresh, id};
use crate::store::Wait;

fn read(store: &Store, view: &crate::store::View, len: usize) -> Vec<u8> {
    let mut value = vec![1; len];
    // In pieces that fall anywhere.
    let mut at = 0;
    for piece in value.chunks_mut(777) {
        at += store.read_view(view, at, piece, Wait::Yes).unwrap().unwrap() as u64;
    }
    assert_eq!(at, view.size());
    value
}

#[test]
fn a_view_has_the_bytes_of_its_moment_whatever_comes_after() {
    let (_disk, store) = fresh();
    let old: Vec<u8> = (0..300_000u32).map(|place| (place / 3) as u8).collect();
    let change: [fn(&Store); 4] = [
        |store| store.put("key", "shorter").unwrap(),
        |store| store.put("key", vec![7; 400_000]).unwrap(),
        |store| assert!(store.remove("key").unwrap()),
        |store| {
            store.put("other", "value").unwrap();
            store.rename("other", "key").unwrap();
        },
    ];
    for change in change {
        store.put("key", &old).unwrap();
        let view = store.view(id(&store, "key"), 0..u64::MAX).unwrap();
        change(&store);
        for round in 0..20 {
            store.put("filler", vec![round; 300]).unwrap();
        }
        store.compact().unwrap();
        assert_eq!(view.size(), old.len() as u64);
        assert!(read(&store, &view, old.len()) == old);
    }
}

#[test]
fn a_part_of_a_view_is_read_as_of_the_whole() {
    let (_disk, store) = fresh();
    store.put("key", (0..=255).collect::<Vec<u8>>()).unwrap();
    let view = store.view(id(&store, "key"), 100..200).unwrap();
    assert_eq!(view.size(), 256);
    let mut buffer = [0; 50];
    assert_eq!(store.read_view(&view, 150, &mut buffer, Wait::No).unwrap(), Some(50));
    assert!(buffer.iter().copied().eq(150..200));
    assert_eq!(store.read_view(&view, 256, &mut buffer, Wait::Yes).unwrap(), Some(0));
    assert_eq!(store.read_view(&view, u64::MAX, &mut buffer, Wait::Yes).unwrap(), Some(0));
}
