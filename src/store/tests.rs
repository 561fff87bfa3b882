//! The store against a simulated disk.

mod background;
mod backup;
mod bad_blocks;
mod batch;
mod damage;
mod decoders;
mod expiry;
mod full_disk;
mod group_commit;
mod growth;
mod join;
mod keydir;
mod links;
mod locking;
mod lost_end;
mod memory;
mod merge;
mod names;
mod paths;
mod range_map;
mod remove_tree;
mod repair;
mod reserve;
mod scan;
mod share;
mod snapshots;
mod staging;
mod statistics;
mod unread;
mod value;
mod verify;
mod view;

use std::sync::Arc;

use super::{EntryId, Lender, Listed, Loan, Options, StagedRun, Store, Update};
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
    scanned(store, "")
}

/// The keys that begin with these bytes, in order.
fn scanned(store: &Store, prefix: &str) -> Vec<String> {
    let mut keys = texts(store.scan(prefix).collect::<Result<_, _>>().unwrap());
    keys.sort_by(|one, other| one.split('/').cmp(other.split('/')));
    keys
}

/// The number of a key's entry.
fn id(store: &Store, key: &str) -> EntryId {
    store.stat(key).unwrap().unwrap().id
}

/// Makes what was staged an entry's value.
fn publish(store: &Store, entry: EntryId, update: Update<'_>) {
    let mut transaction = store.begin().unwrap();
    transaction.set_value(entry, update).unwrap();
    store.wait(transaction.commit().unwrap()).unwrap();
}

/// What shares the whole value of a key with another entry.
fn loans(store: &Store, from: &str) -> Vec<Loan> {
    let from = id(store, from);
    let stretches = store.data_ranges(from, 0..u64::MAX).unwrap();
    let loan = |place: std::ops::Range<u64>| Loan {
        offset: place.start,
        len: place.end - place.start,
        from: Lender::Value(from, place.start),
    };
    stretches.into_iter().map(loan).collect()
}

/// Stages them all.
fn borrow(store: &Store, entry: EntryId, loans: &[Loan]) -> StagedRun {
    let run = store.stage_shares(entry, 0, loans).unwrap();
    let bytes: u64 = run.extents.iter().map(|(_, len, _)| len).sum();
    assert_eq!(bytes, loans.iter().map(|loan| loan.len).sum::<u64>());
    run
}

/// Sets a key to the value of another one, which it shares.
fn share(store: &Store, from: &str, to: &str) {
    if store.stat(to).unwrap().is_none() {
        store.put(to, "").unwrap();
    }
    let (size, entry) = (store.stat(from).unwrap().unwrap().size, id(store, to));
    let run = borrow(store, entry, &loans(store, from));
    publish(store, entry, Update { replace: true, stage: run.stage, size, ..Update::default() });
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
