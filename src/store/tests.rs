//! The store against a simulated disk.

mod backup;
mod bad_blocks;
mod damage;
mod decoders;
mod expiry;
mod full_disk;
mod group_commit;
mod keydir;
mod locking;
mod lost_end;
mod memory;
mod merge;
mod names;
mod paths;
mod range_map;
mod repair;
mod snapshots;
mod staging;
mod statistics;
mod verify;

use std::sync::Arc;

use super::{EntryId, Listed, Options, Store, Update};
use crate::medium::SimDisk;

fn options() -> Options {
    Options { create: true, segment_size: 600, background: false, ..Options::default() }
}

/// A new store on a new disk.
fn fresh() -> (SimDisk, Store) {
    let disk = SimDisk::new();
    let store = reopen(&disk);
    (disk, store)
}

fn reopen(disk: &SimDisk) -> Store {
    Store::open_on(Arc::new(disk.clone()), options()).unwrap()
}

fn texts(listed: Vec<Listed>) -> Vec<String> {
    listed.into_iter().map(|listed| String::from_utf8(listed.key).unwrap()).collect()
}

/// Every key, in order.
fn keys(store: &Store) -> Vec<String> {
    texts(store.scan(""))
}

/// The number of a key's entry.
fn id(store: &Store, key: &str) -> EntryId {
    store.stat(key).unwrap().unwrap().id
}

/// Makes what was staged an entry's value.
fn publish(store: &Store, entry: EntryId, update: Update) {
    let mut transaction = store.begin().unwrap();
    transaction.set_value(entry, update).unwrap();
    store.wait(transaction.commit().unwrap()).unwrap();
}

#[test]
fn keys_survive_a_restart() {
    let disk = SimDisk::new();
    let store = Store::open_on(Arc::new(disk.clone()), options()).unwrap();
    for round in 0..50u32 {
        store.put(format!("users/{}", round % 7), round.to_string()).unwrap();
    }
    store.put("big", vec![7; 400_000]).unwrap();
    store.rename("users", "people").unwrap();
    store.remove("people/3").unwrap();
    drop(store);
    let store = Store::open_on(Arc::new(disk), options()).unwrap();
    assert_eq!(store.get("people/0").unwrap().unwrap(), b"49");
    assert_eq!(store.get("people/3").unwrap(), None);
    assert_eq!(store.get("users/0").unwrap(), None);
    assert_eq!(store.get("big").unwrap().unwrap(), vec![7; 400_000]);
    assert_eq!(store.list("people").unwrap().len(), 6);
    assert_eq!(store.recovery_report().torn, vec![]);
    assert_eq!(store.recovery_report().damage, vec![]);
}
