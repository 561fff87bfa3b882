//! A full disk: writes are refused, removals are not, and nothing is lost.

use super::*;
use crate::medium::Medium;
use crate::store::{Batch, Error};

/// A store that has been filled up to its reserve, and how many keys fitted.
fn filled(capacity: u64) -> (SimDisk, Store, usize) {
    let disk = SimDisk::new();
    disk.set_capacity(Some(capacity));
    let store = Store::open_on(Arc::new(disk.clone()), Options { segment_size: 4096, ..options() }).unwrap();
    let mut count = 0;
    loop {
        match store.put(format!("k{count}"), [count as u8; 300]) {
            Ok(()) => count += 1,
            Err(Error::NoSpace) => return (disk, store, count),
            Err(error) => panic!("{error}"),
        }
    }
}

fn check(store: &Store, removed: usize, count: usize) {
    for key in 0..count {
        let value = store.get(format!("k{key}")).unwrap();
        assert_eq!(value, (key >= removed).then(|| vec![key as u8; 300]), "k{key}");
    }
}

#[test]
fn a_full_store_refuses_writes_and_takes_removals() {
    let (disk, store, count) = filled(400_000);
    assert!(count > 200, "{count}");
    let reserve = store.reserved();
    assert_eq!(reserve, 8192);
    for _ in 0..3 {
        assert!(matches!(store.put("k0", [9; 2000]), Err(Error::NoSpace)));
        assert!(matches!(store.put("new", vec![1; 300_000]), Err(Error::NoSpace)));
        let mut batch = Batch::new();
        batch.put("a", "1").put("k0", vec![2; 2000]);
        assert!(matches!(store.write(batch), Err(Error::NoSpace)));
    }
    assert_eq!(store.info().unwrap().failure, None);
    assert!(disk.space().unwrap().available > reserve / 2, "the reserve is there");
    for key in 0..10 {
        assert!(store.remove(format!("k{key}")).unwrap(), "k{key}");
    }
    store.rename("k10", "renamed").unwrap();
    store.rename("renamed", "k10").unwrap();
    check(&store, 10, count);
    let disk = disk.restart();
    check(&reopen(&disk), 10, count);
}

#[test]
fn a_store_takes_writes_again_when_there_is_room() {
    let (disk, store, count) = filled(200_000);
    for round in 0..20 {
        disk.set_capacity(Some(200_000 + round * 1000));
        let grown = store.put("grown", [7; 3000]);
        assert!(matches!(grown, Ok(()) | Err(Error::NoSpace)), "{grown:?}");
        check(&store, 0, count);
    }
    disk.set_capacity(None);
    store.put("grown", vec![8; 300_000]).unwrap();
    assert_eq!(store.info().unwrap().failure, None);
    drop(store);
    let store = reopen(&disk);
    check(&store, 0, count);
    assert_eq!(store.get("grown").unwrap().unwrap(), vec![8; 300_000]);
    assert_eq!(store.recovery_report().torn, vec![]);
    assert_eq!(store.recovery_report().damage, vec![]);
}

/// Somebody else fills the disk to the last byte, below the reserve: whatever a call had half written is cut off.
#[test]
fn a_disk_without_any_room_loses_nothing() {
    let (disk, store, count) = filled(200_000);
    let space = disk.space().unwrap();
    let used = space.total - space.free;
    for room in (0..600).step_by(7) {
        disk.set_capacity(Some(used + room));
        let mut batch = Batch::new();
        batch.remove("k0").remove("k1").rename("k2", "x");
        assert!(matches!(store.write(batch), Err(Error::NoSpace)) || store.get("x").unwrap().is_some());
        if store.get("x").unwrap().is_some() {
            break;
        }
        check(&store, 0, count);
    }
    assert_eq!(store.info().unwrap().failure, None);
    disk.set_capacity(None);
    store.put("last", "1").unwrap();
    drop(store);
    let store = reopen(&disk);
    assert_eq!(store.get("x").unwrap().unwrap(), [2; 300]);
    assert_eq!(store.get("last").unwrap().unwrap(), b"1");
    assert_eq!(store.recovery_report().torn, vec![]);
}

/// Somebody else fills the disk to the last byte.
fn fill(disk: &SimDisk, room: u64) {
    let space = disk.space().unwrap();
    disk.set_capacity(Some(space.total - space.free + room));
}

fn small(disk: &SimDisk) -> Store {
    Store::open_on(Arc::new(disk.clone()), Options { segment_size: 4096, ..options() }).unwrap()
}

/// Whatever room is left, and before whichever call it went: deletions, merges, syncs and starts go on, and then there is
/// room again.
#[test]
fn deletions_and_merges_work_on_a_disk_that_others_filled() {
    const KEYS: usize = 40;
    for full_at in 0..KEYS {
        let room = [0, 1, 39, 40, 41, 63, 64, 100, 300, 1000][full_at % 10];
        let disk = SimDisk::new();
        let store = small(&disk);
        (0..KEYS).for_each(|key| store.put(format!("k{key}"), [key as u8; 900]).unwrap());
        assert_eq!(disk.file("reserve").unwrap().len(), 4096);
        for key in 0..KEYS {
            if key == full_at {
                fill(&disk, room);
                assert!(matches!(store.put("more", [1; 3_000]), Err(Error::NoSpace)));
            }
            // One in three stays.
            if key % 3 > 0 {
                assert!(store.remove(format!("k{key}")).unwrap(), "k{key}, full at {full_at}, {room} bytes left");
            }
        }
        store.sync().unwrap();
        store.compact().unwrap();
        assert_eq!(store.info().unwrap().failure, None);
        store.put("room again", [2; 300]).unwrap();
        let check = |store: &Store| {
            for key in 0..KEYS {
                let kept = key % 3 == 0;
                assert_eq!(store.get(format!("k{key}")).unwrap().is_some(), kept, "k{key}");
            }
            assert_eq!(store.get("room again").unwrap().unwrap(), [2; 300]);
        };
        check(&store);
        drop(store);
        check(&small(&disk.restart()));
    }
}

#[test]
fn a_store_on_a_full_disk_opens() {
    let disk = SimDisk::new();
    let store = small(&disk);
    (0..20).for_each(|key| store.put(format!("k{key}"), [key as u8; 300]).unwrap());
    drop(store);
    for room in [0, 20, 40, 100] {
        fill(&disk, room);
        let store = small(&disk);
        assert!(store.remove(format!("k{room}")).is_ok());
        check(&store, 0, 0);
        drop(store);
        disk.set_capacity(None);
        drop(small(&disk));
        assert_eq!(disk.file("reserve").unwrap().len(), 4096, "it is there again");
    }
}

#[test]
fn the_reserve_comes_back_by_itself() {
    let disk = SimDisk::new();
    let options = Options { segment_size: 4096, background: true, ..options() };
    let store = Store::open_on(Arc::new(disk.clone()), options).unwrap();
    let keys: Vec<String> = (0..300).map(|number| number.to_string()).collect();
    keys.iter().for_each(|key| store.put(key, "v").unwrap());
    fill(&disk, 0);
    // What is written of the segment ahead is soon used up.
    let mut keys = keys.iter();
    while disk.file("reserve").is_some() {
        assert!(store.remove(keys.next().unwrap()).unwrap());
    }
    disk.set_capacity(None);
    store.put("k", "v").unwrap();
    while disk.file("reserve").is_none_or(|file| file.len() < 4096) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn where_room_cannot_be_set_aside_the_reserve_is_written() {
    let disk = SimDisk::new();
    disk.forbid_allocation();
    drop(small(&disk));
    assert_eq!(disk.file("reserve").unwrap(), [0; 4096]);
    // What a power cut left of it is filled up.
    disk.put_file("reserve", [0; 1000]);
    drop(small(&disk));
    assert_eq!(disk.file("reserve").unwrap(), [0; 4096]);
}

#[test]
fn a_reader_leaves_the_reserve_alone() {
    let disk = SimDisk::new();
    let store = small(&disk);
    store.put("k", "v").unwrap();
    drop(store);
    disk.put_file("reserve", [1; 10]);
    let options = Options { read_only: true, create: false, ..options() };
    let store = Store::open_on(Arc::new(disk.clone()), options).unwrap();
    assert_eq!(store.get("k").unwrap().unwrap(), b"v");
    drop(store);
    assert_eq!(disk.file("reserve").unwrap(), [1; 10]);
}

/// Others have filled the disk to the last byte, and the reserve file is gone too.
#[test]
fn a_store_on_a_full_disk_opens_without_its_reserve() {
    for hints in [false, true] {
        for room in [0, 1, 40, 100] {
            let disk = SimDisk::new();
            let store = small(&disk);
            (0..40).for_each(|key| store.put(format!("k{key}"), [key as u8; 300]).unwrap());
            if hints {
                store.write_hints().unwrap();
            }
            drop(store);
            disk.remove("reserve").unwrap();
            fill(&disk, room);
            let store = small(&disk);
            assert!(matches!(store.put("more", [1; 3_000]), Err(Error::NoSpace)));
            let mut removed = 0;
            while removed < 30 {
                match store.remove(format!("k{removed}")) {
                    Ok(there) => assert!(there),
                    // What was written ahead is used up, and there is nothing left to be given up.
                    Err(Error::NoSpace) if !hints => fill(&disk, 4096),
                    Err(error) => panic!("k{removed}, hints {hints}, {room} bytes left: {error}"),
                }
                removed = (0..30).take_while(|key| store.get(format!("k{key}")).unwrap().is_none()).count();
                assert!(removed > 0, "removals can begin");
            }
            if !hints {
                fill(&disk, 4096);
            }
            store.compact().unwrap();
            assert_eq!(store.info().unwrap().failure, None);
            store.put("room again", [2; 300]).unwrap();
            check(&store, 30, 40);
            drop(store);
            let store = small(&disk.restart());
            check(&store, 30, 40);
            assert_eq!(store.get("room again").unwrap().unwrap(), [2; 300]);
        }
    }
}

/// Every operation finds the disk full once, and then for a while: what each call answers is what is there.
#[test]
fn what_a_call_answers_on_a_full_disk_is_true() {
    use crate::medium::Fault;
    let mut said = [0; 4];
    for (length, reserve) in [(1, true), (1, false), (3, true)] {
        for nth in 0..220 {
            let disk = SimDisk::new();
            let store = reopen(&disk);
            (0..5).for_each(|key| store.put(format!("k{key}"), "old").unwrap());
            if !reserve {
                disk.remove("reserve").unwrap();
            }
            (0..length).for_each(|more| disk.fail_at(disk.operations() + nth + more, Fault::NoSpace));
            let mut expected: Vec<Option<Vec<u8>>> = vec![Some(b"old".to_vec()); 5];
            for round in 0..40u8 {
                let (key, value) = (usize::from(round % 5), vec![round; 150]);
                let name = format!("k{key}");
                let answer = match round % 7 {
                    6 => store.remove(&name).map(|_| None),
                    _ => store.put(&name, &value).map(|()| Some(value.clone())),
                };
                let wanted = if round % 7 == 6 { None } else { Some(value) };
                let now = store.get(&name).unwrap();
                let place = format!("{length} from {nth}, round {round}: {answer:?}");
                match answer {
                    Ok(value) => {
                        assert_eq!(now, value, "{place}");
                        expected[key] = value;
                        // Acknowledged is durable.
                        if round % 10 == 9 {
                            let image = reopen(&disk.power_cut_images(nth, 1).remove(0));
                            assert_eq!(image.get(&name).unwrap(), expected[key], "{place}");
                        }
                        said[0] += 1;
                    }
                    Err(Error::NoSpace) => {
                        assert_eq!(now, expected[key], "{place}: it was done");
                        said[1] += 1;
                    }
                    Err(Error::Log(crate::log::Error::NotDurable)) => {
                        assert_eq!(now, wanted, "{place}: it was not done");
                        expected[key] = wanted;
                        store.sync().unwrap();
                        let image = reopen(&disk.power_cut_images(nth, 1).remove(0));
                        assert_eq!(image.get(&name).unwrap(), expected[key], "{place}");
                        said[2] += 1;
                    }
                    Err(error) => {
                        // Nothing is known of what was being made durable, or is still half there.
                        assert!(
                            store
                                .info()
                                .unwrap()
                                .failure
                                .is_some_and(|why| why.contains("fsync") || why.contains("cutting off")),
                            "{place}: {error}"
                        );
                        said[3] += 1;
                        break;
                    }
                }
            }
        }
    }
    assert!(said.iter().all(|count| *count > 0), "{said:?}");
}
