//! The reserve: what may take how much of it.

use super::*;
use crate::medium::Medium;
use crate::store::{Error, Kind, ROOT, Transaction, Unlink, XattrMode};

/// Another user than root and the store's owner, whoever runs the tests.
const OTHER: u32 = 4_000_000_000;

/// Several times what is written ahead.
const SEGMENT: u32 = 4 << 20;

/// A store in which nothing but the reserve is left, and how many files there are.
fn filled() -> (SimDisk, Store, usize) {
    let disk = SimDisk::new();
    disk.set_capacity(Some(1 << 30));
    let store = open(&disk);
    store.put("with", "attribute").unwrap();
    set_xattr(&store, "with", b"user.long", &[1; 20_000]).unwrap();
    let mut count = 0;
    let mut put = |store: &Store| {
        store.put(format!("k{count}"), [count as u8; 20_000])?;
        count += 1;
        Ok::<(), Error>(())
    };
    (0..20).for_each(|_| put(&store).unwrap());
    let space = disk.space().unwrap();
    disk.set_capacity(Some(space.total - space.free + store.reserved() + (2 << 20)));
    while put(&store).is_ok() {}
    // The last of the room in small steps.
    is_full((0..).try_for_each(|number| {
        change(&store, 0, |transaction| {
            let attributes = transaction.new_attributes(Kind::Fifo, 0o644);
            transaction.create(ROOT, format!("f{number}").as_bytes(), attributes, b"").map(drop)
        })
    }));
    is_full((0..).try_for_each(|number| set_xattr(&store, &format!("f{number}"), b"u", b"")));
    (disk, store, count)
}

fn open(disk: &SimDisk) -> Store {
    Store::open_on(Arc::new(disk.clone()), Options { segment_size: SEGMENT, ..options() }).unwrap()
}

fn change<R>(
    store: &Store,
    user: u32,
    change: impl FnOnce(&mut Transaction<'_>) -> Result<R, Error>,
) -> Result<R, Error> {
    let mut transaction = store.begin()?;
    transaction.made_by(user);
    let result = change(&mut transaction)?;
    transaction.commit()?;
    Ok(result)
}

fn set_xattr(store: &Store, key: &str, name: &[u8], value: &[u8]) -> Result<(), Error> {
    let id = id(store, key);
    change(store, OTHER, |transaction| transaction.set_xattr(id, name, value, XattrMode::Set))
}

fn chmod(store: &Store, user: u32, key: &str, mode: u16) -> Result<(), Error> {
    let id = id(store, key);
    change(store, user, |transaction| {
        let attributes = transaction.attributes(id)?;
        transaction.set_attributes(id, crate::store::Attributes { mode, ..attributes })
    })
}

fn rename(store: &Store, user: u32, from: &str, to: &str) -> Result<(), Error> {
    change(store, user, |transaction| {
        transaction.rename((ROOT, from.as_bytes()), (ROOT, to.as_bytes()), Default::default()).map(drop)
    })
}

fn is_full<T: std::fmt::Debug>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::NoSpace)), "{result:?}");
}

#[test]
fn whatever_makes_a_record_longer_is_growth() {
    let (disk, store, count) = filled();
    let before = disk.space().unwrap().available;
    let time = store.now();
    for key in 0..count.min(400) {
        is_full(set_xattr(&store, &format!("k{key}"), b"user.new", &[7; 60_000]));
    }
    is_full(set_xattr(&store, "with", b"user.long", &[1; 20_001]));
    let k0 = id(&store, "k0");
    is_full(change(&store, OTHER, |transaction| transaction.link(k0, ROOT, b"second")));
    is_full(change(&store, 0, |transaction| transaction.link(k0, ROOT, b"second")));
    for (kind, target) in [(Kind::Directory, ""), (Kind::Symlink, "target"), (Kind::Fifo, ""), (Kind::File, "")] {
        is_full(change(&store, 0, |transaction| {
            let attributes = transaction.new_attributes(kind, 0o644);
            transaction.create(ROOT, b"new", attributes, target.as_bytes())
        }));
    }
    is_full(store.create_provisional(ROOT, b"new", store.stat("k0").unwrap().unwrap().attributes));
    is_full(store.put("k0", [1; 200]));
    is_full(store.stage(k0, 0, 0, &[1; 5000]));
    is_full(store.stage_shares(id(&store, "k1"), 0, &loans(&store, "k0")));
    assert!(disk.space().unwrap().available >= before, "nothing of the reserve is gone since {time:?}");
    // What is no longer than before is none.
    set_xattr(&store, "with", b"user.long", &[2; 20_000]).unwrap();
    assert_eq!(store.info().unwrap().failure, None);
}

#[test]
fn what_is_written_anew_takes_half_of_the_reserve_and_the_owner_a_quarter_more() {
    let (disk, store, count) = filled();
    let reserve = store.reserved();
    assert_eq!(reserve, 2 * u64::from(SEGMENT));
    let mut loops = 0u16;
    while chmod(&store, OTHER, "k1", 0o600 | (loops % 8)).is_ok() {
        loops += 1;
    }
    assert!(loops > 20, "{loops}");
    is_full(
        (0..)
            .try_for_each(|_| rename(&store, OTHER, "k2", "other").and_then(|()| rename(&store, OTHER, "other", "k2"))),
    );
    is_full(set_xattr(&store, "with", b"user.long", &[3; 20_000]));
    // And what is written ahead.
    let left = disk.space().unwrap().available;
    assert!((reserve * 3 / 8..=reserve / 2 + 2000).contains(&left), "{left} of {reserve}");
    // Root goes on for a while.
    chmod(&store, 0, "k1", 0o644).unwrap();
    rename(&store, 0, "k3", "a name that is longer").unwrap();
    rename(&store, 0, "a name that is longer", "k3").unwrap();
    // And whatever gives room back may have all of it.
    while chmod(&store, 0, "k1", 0o600).is_ok() {}
    is_full(rename(&store, 0, "k3", "moved"));
    let id = id(&store, "with");
    change(&store, OTHER, |transaction| transaction.remove_xattr(id, b"user.long")).unwrap();
    // Whether it was moved to its other name just when it was full.
    for key in (5..count).filter(|key| store.stat(format!("k{key}")).unwrap().is_some()) {
        change(&store, OTHER, |transaction| transaction.unlink(ROOT, format!("k{key}").as_bytes(), Unlink::File))
            .unwrap();
    }
    store.sync().unwrap();
    store.compact().unwrap();
    rename(&store, 0, "k3", "moved").unwrap();
    assert_eq!(store.info().unwrap().failure, None);
    drop(store);
    let store = open(&disk);
    store.put("room again", [1; 3000]).unwrap();
    assert_eq!(store.get("moved").unwrap().unwrap().first(), Some(&3));
}

/// Making a value shorter gives room back if it frees more than it writes; else anybody could do it for ever.
#[test]
fn a_value_that_is_cut_gives_room_back() {
    let (_disk, store, _) = filled();
    while chmod(&store, 0, "k1", 0o600).is_ok() {}
    let cut = |key: &str, size: u64| {
        let id = id(&store, key);
        change(&store, OTHER, |transaction| transaction.set_value(id, Update { size, ..Update::default() }))
    };
    is_full(cut("k1", 19_999));
    cut("k1", 100).unwrap();
    assert_eq!(store.get("k1").unwrap().unwrap(), [1; 100]);
    let id = id(&store, "k2");
    let holes = vec![(0, 10_000)];
    change(&store, OTHER, |transaction| transaction.set_value(id, Update { size: 20_000, holes, ..Update::default() }))
        .unwrap();
    assert_eq!(store.get("k2").unwrap().unwrap()[..10_000], [0; 10_000]);
}
