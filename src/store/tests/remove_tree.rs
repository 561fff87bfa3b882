//! Removing a directory with all that is in it.

use std::ops::ControlFlow;

use super::*;
use crate::store::{Error, ROOT, Removed, RenameMode};

fn tree(store: &Store, files: usize) {
    for number in 0..files {
        store.put(format!("d/{}/f{number}", number % 7), "").unwrap();
    }
    store.put("d/a/deep/down/there", "value").unwrap();
    store.put("e/stays", "value").unwrap();
}

fn keys(store: &Store, below: &str) -> Vec<String> {
    scanned(store, below)
}

#[test]
fn a_tree_is_removed_in_batches_with_one_sync() {
    let (disk, store) = fresh();
    tree(&store, 1_000);
    let (syncs, all) = (store.statistics().unwrap().log.sync_latency.count(), keys(&store, "d").len());
    let (mut told, mut batches) = (Vec::new(), 0);
    let removed = store.remove_tree("d", &mut |removed: &[Removed]| {
        assert!(removed.len() <= 256);
        told.extend(removed.to_vec());
        batches += 1;
        ControlFlow::Continue(())
    });
    assert_eq!(removed.unwrap(), Some(true));
    assert_eq!(store.statistics().unwrap().log.sync_latency.count(), syncs + 1);
    assert_eq!((told.len(), keys(&store, "")), (all, vec!["e".to_owned(), "e/stays".to_owned()]));
    assert!(batches >= 4);
    assert_eq!(told.last().map(|last| (last.parent, &*last.name)), Some((ROOT, &b"d"[..])));
    assert_eq!(store.remove_tree("d", &mut |_| ControlFlow::Continue(())).unwrap(), Some(false));
    drop(store);
    assert_eq!(keys(&reopen(&disk), ""), ["e", "e/stays"]);
}

#[test]
fn a_file_or_an_empty_directory_is_a_tree_too() {
    let (_disk, store) = fresh();
    tree(&store, 0);
    let remove = |key: &str| store.remove_tree(key, &mut |_| ControlFlow::Continue(()));
    assert_eq!(remove("d/a/deep/down/there").unwrap(), Some(true));
    assert_eq!(remove("d/a/deep/down").unwrap(), Some(true));
    assert_eq!(remove("d/nothing/there").unwrap(), Some(false));
    assert!(matches!(remove(""), Err(Error::InvalidName)));
    assert!(matches!(remove("d/.."), Err(Error::InvalidName)));
    assert_eq!(keys(&store, "d"), ["d", "d/a", "d/a/deep"]);
}

#[test]
fn it_ends_when_nobody_wants_it_any_more() {
    let (_disk, store) = fresh();
    tree(&store, 1_000);
    let before = keys(&store, "").len();
    assert_eq!(store.remove_tree("d", &mut |_| ControlFlow::Break(())).unwrap(), None);
    assert_eq!(keys(&store, "").len(), before - 256);
}

/// What others put there meanwhile goes; what they move away stays, although it was begun on.
#[test]
fn others_change_the_tree_meanwhile() {
    let (_disk, store) = fresh();
    for number in 0..600 {
        store.put(format!("d/one/two/f{number}"), "").unwrap();
    }
    let mut batch = 0;
    let removed = store.remove_tree("d", &mut |_| {
        batch += 1;
        if batch == 1 {
            let mut transaction = store.begin().unwrap();
            let (d, one) = (id(&store, "d"), id(&store, "d/one"));
            transaction.rename((one, b"two"), (ROOT, b"saved"), RenameMode::Replace).unwrap();
            transaction.commit().unwrap();
            assert_eq!(store.parent(one), Some(d));
            store.put("d/one/late", "").unwrap();
            store.put("d/late/too", "").unwrap();
        }
        ControlFlow::Continue(())
    });
    assert_eq!(removed.unwrap(), Some(true));
    assert_eq!(keys(&store, "").len(), 1 + 600 - 256);
    assert_eq!(keys(&store, "saved/").len(), 600 - 256);
}
