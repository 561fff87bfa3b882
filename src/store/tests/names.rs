//! Names: hard links, renames of every kind, ids and cookies.

use std::io::{self, Read};

use super::*;
use crate::store::append::{Record, append};
use crate::store::record::{Link, NodeState};
use crate::store::sealed::SealedChanges;
use crate::store::{Error, ROOT, RenameMode, Stat, Transaction, Unlink};

/// Fails to give a single byte.
struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

fn change<R>(store: &Store, change: impl FnOnce(&mut Transaction<'_>) -> Result<R, Error>) -> Result<R, Error> {
    let mut transaction = store.begin()?;
    let result = change(&mut transaction)?;
    store.wait(transaction.commit()?)?;
    Ok(result)
}

fn stat(store: &Store, key: &str) -> Stat {
    store.stat(key).unwrap().unwrap()
}

fn rename(store: &Store, from: &str, to: &str, mode: RenameMode) -> Result<(EntryId, Option<EntryId>), Error> {
    change(store, |transaction| transaction.rename((ROOT, from.as_bytes()), (ROOT, to.as_bytes()), mode))
}

#[test]
fn an_entry_has_all_its_names() {
    let (disk, store) = fresh();
    store.put("a", "value").unwrap();
    store.put("d/x", "").unwrap();
    let entry = id(&store, "a");
    let directory = id(&store, "d");
    change(&store, |transaction| transaction.link(entry, directory, b"b")).unwrap();
    change(&store, |transaction| transaction.link(entry, ROOT, b"c")).unwrap();
    let check = |store: &Store, names: &[&str], value: &str| {
        for name in names {
            let stat = stat(store, name);
            assert_eq!((stat.id, stat.links as usize), (entry, names.len()), "{name}");
            assert_eq!(store.get(name).unwrap().unwrap(), value.as_bytes());
        }
    };
    check(&store, &["a", "c", "d/b"], "value");
    store.put("d/b", "changed through one").unwrap();
    check(&store, &["a", "c", "d/b"], "changed through one");
    store.remove("a").unwrap();
    check(&store, &["c", "d/b"], "changed through one");
    rename(&store, "d", "e", RenameMode::Replace).unwrap();
    check(&store, &["c", "e/b"], "changed through one");
    drop(store);
    let store = reopen(&disk);
    check(&store, &["c", "e/b"], "changed through one");
    let refused = change(&store, |transaction| transaction.link(directory, ROOT, b"f"));
    assert!(matches!(refused, Err(Error::NotPermitted(_))));
    let refused = change(&store, |transaction| transaction.link(entry, ROOT, b"c"));
    assert!(matches!(refused, Err(Error::Exists)));
    // A rename onto another name of the same entry does nothing: rename(2).
    change(&store, |transaction| transaction.rename((ROOT, b"c"), (directory, b"b"), RenameMode::Replace)).unwrap();
    check(&store, &["c", "e/b"], "changed through one");
    store.remove("c").unwrap();
    store.remove("e/b").unwrap();
    assert!(matches!(store.entry(entry), Err(Error::Stale)));
}

#[test]
fn a_rename_replaces_its_target() {
    let (disk, store) = fresh();
    store.put("a", "1").unwrap();
    store.put("b", "2").unwrap();
    let (a, b) = (id(&store, "a"), id(&store, "b"));
    assert!(matches!(rename(&store, "a", "b", RenameMode::NoReplace), Err(Error::Exists)));
    assert_eq!(rename(&store, "a", "b", RenameMode::Replace).unwrap(), (a, Some(b)));
    assert_eq!(rename(&store, "b", "c", RenameMode::NoReplace).unwrap(), (a, None));
    assert_eq!(rename(&store, "c", "c", RenameMode::Replace).unwrap(), (a, None));
    store.put("d/x", "").unwrap();
    store.put("e/y", "").unwrap();
    assert!(matches!(rename(&store, "d", "e", RenameMode::Replace), Err(Error::NotEmpty)));
    store.remove("e/y").unwrap();
    rename(&store, "d", "e", RenameMode::Replace).unwrap();
    let root = stat(&store, "");
    assert_eq!(root.links, 3, "two and one directory");
    drop(store);
    let store = reopen(&disk);
    assert_eq!(keys(&store), ["c", "e", "e/x"]);
    assert_eq!(stat(&store, ""), root);
    assert!(matches!(store.entry(b), Err(Error::Stale)));
}

#[test]
fn an_exchange_swaps_two_names() {
    let (disk, store) = fresh();
    store.put("file", "value").unwrap();
    store.put("dir/below", "1").unwrap();
    store.put("dir/sub/deep", "2").unwrap();
    let before = (id(&store, "file"), id(&store, "dir"));
    assert!(matches!(rename(&store, "file", "none", RenameMode::Exchange), Err(Error::NotFound)));
    rename(&store, "file", "dir", RenameMode::Exchange).unwrap();
    let check = |store: &Store| {
        assert_eq!((id(store, "dir"), id(store, "file")), before);
        assert_eq!(store.get("dir").unwrap().unwrap(), b"value");
        assert_eq!(store.get("file/sub/deep").unwrap().unwrap(), b"2");
        assert_eq!(stat(store, "").links, 3);
        assert_eq!(stat(store, "file").links, 3);
    };
    check(&store);
    drop(store);
    let store = reopen(&disk);
    check(&store);
    // Neither may end up inside itself.
    let (outer, inner) = (id(&store, "file"), id(&store, "file/sub"));
    for (from, to) in [((ROOT, &b"file"[..]), (outer, &b"sub"[..])), ((outer, b"sub"), (ROOT, b"file"))] {
        let refused = change(&store, |transaction| transaction.rename(from, to, RenameMode::Exchange));
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
    let refused = change(&store, |transaction| transaction.rename((ROOT, b"file"), (inner, b"x"), RenameMode::Replace));
    assert!(matches!(refused, Err(Error::Invalid(_))));
    check(&store);
}

#[test]
fn a_directory_is_moved_with_all_below_it_by_a_few_bytes() {
    let (disk, store) = fresh();
    for key in 0..300 {
        store.put(format!("many/{key}"), key.to_string()).unwrap();
    }
    let before = store.info().unwrap();
    store.rename("many", "moved/here").unwrap();
    let after = store.info().unwrap();
    assert!(after.written - before.written <= 4);
    assert!(after.log_bytes - before.log_bytes < 1000);
    drop(store);
    let store = reopen(&disk);
    assert_eq!(store.list("moved/here").unwrap().len(), 300);
    assert_eq!(store.get("moved/here/299").unwrap().unwrap(), b"299");
    assert_eq!(store.get("many/1").unwrap(), None);
}

#[test]
fn an_id_is_never_used_twice_and_a_name_keeps_its_cookie() {
    let (disk, store) = fresh();
    let mut seen = std::collections::BTreeSet::new();
    let mut cookies = None;
    let mut store = Some(store);
    for round in 0..20 {
        let open = store.take().unwrap_or_else(|| reopen(&disk));
        for key in 0..5 {
            open.put(format!("k{key}"), "v").unwrap();
            assert!(seen.insert(id(&open, &format!("k{key}"))), "round {round}");
        }
        let children = open.children(ROOT, 0, 100).unwrap();
        assert!(children.windows(2).all(|pair| pair[0].cookie < pair[1].cookie));
        let places: Vec<_> = children.into_iter().map(|child| (child.cookie, child.name)).collect();
        assert_eq!(*cookies.get_or_insert(places.clone()), places);
        // All are removed, so that only the tombstones know of the ids.
        for key in 0..5 {
            open.remove(format!("k{key}")).unwrap();
        }
        // A value that is never published leaves records of its id behind.
        let mut broken = io::repeat(1).take(200_000).chain(Broken);
        assert!(open.put_reader("never", &mut broken).is_err());
    }
}

#[test]
fn a_directory_is_read_piece_by_piece_while_it_changes() {
    let (_, store) = fresh();
    (0..100).for_each(|key| store.put(format!("k{key:03}"), "").unwrap());
    let mut shown = Vec::new();
    let mut cookie = 0;
    for round in 0.. {
        let children = store.children(ROOT, cookie, 7).unwrap();
        let Some(last) = children.last() else { break };
        cookie = last.cookie;
        shown.extend(children.into_iter().map(|child| String::from_utf8(child.name.into()).unwrap()));
        // Names come and go before and behind.
        store.remove(format!("k{:03}", 2 * round)).unwrap();
        store.remove(format!("k{:03}", 99 - 2 * round)).unwrap();
        if round < 5 {
            store.put(format!("new{round}"), "").unwrap();
        }
    }
    let mut once = shown.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), shown.len(), "no name twice");
    let left = keys(&store).into_iter().filter(|key| key.starts_with('k'));
    assert!(left.into_iter().all(|key| shown.contains(&key)), "every name that stayed");
}

#[test]
fn an_entry_without_a_name_lives_while_it_is_held() {
    let (disk, store) = fresh();
    store.put("k", "value").unwrap();
    let entry = store.lookup_pinned(ROOT, b"k").unwrap().unwrap().id;
    store.pin(entry);
    let removed = change(&store, |transaction| transaction.unlink(ROOT, b"k", Unlink::File)).unwrap();
    assert_eq!(removed, entry);
    let mut value = [0; 5];
    assert_eq!(store.read(entry, 0, &mut value).unwrap(), 5);
    assert_eq!(&value, b"value");
    assert_eq!(store.entry(entry).unwrap().links, 0);
    let refused = change(&store, |transaction| transaction.link(entry, ROOT, b"again"));
    assert!(matches!(refused, Err(Error::NotFound)));
    store.unpin(entry, 1);
    assert!(store.entry(entry).is_ok());
    store.unpin(entry, 1);
    assert!(matches!(store.entry(entry), Err(Error::Stale)));
    let stale = change(&store, |transaction| transaction.set_value(entry, Update::whole(vec![])));
    assert!(matches!(stale, Err(Error::Stale)));
    drop(store);
    assert_eq!(keys(&reopen(&disk)), Vec::<String>::new());
}

#[test]
fn what_has_a_length_but_no_value_is_no_damage() {
    let (disk, store) = fresh();
    let attributes =
        crate::store::Attributes { kind: crate::store::Kind::Symlink, ..store.stat("").unwrap().unwrap().attributes };
    change(&store, |transaction| transaction.create(ROOT, b"link", attributes, b"target")).unwrap();
    drop(store);
    let store = reopen(&disk);
    assert_eq!(store.target(id(&store, "link")).unwrap(), b"target");
    assert_eq!(store.recovery_report().damaged_keys, Vec::<String>::new());
}

/// A name in the log that would lead whoever makes a path of it elsewhere, or to several places, is damage: no key has it, with
/// hints or without, and verifying finds it.
#[test]
fn a_name_from_the_disk_that_leads_elsewhere_is_damage() {
    let names: [&[u8]; 6] = [b"..", b".", b"", b"/tmp/absolute", b"../../up", b"nul\0"];
    for hinted in [false, true] {
        let (disk, store) = fresh();
        store.put("good", "1").unwrap();
        let state = store.keydir.read().get(id(&store, "good")).unwrap().state.clone();
        for (entry, name) in (100..).zip(names) {
            let links = vec![Link { parent: ROOT, name: name.into() }];
            let record = Record::Node { entry, state: NodeState { links, ..state.clone() }, stage: 0, inline: None };
            append(&mut store.log.begin().unwrap(), &store.keydir, &SealedChanges::default(), vec![record], &[0])
                .unwrap();
        }
        (0..4).for_each(|round| store.put("fill", vec![round; 500]).unwrap());
        if hinted {
            store.write_hints().unwrap();
        }
        drop(store);
        let store = reopen(&disk);
        assert_eq!(keys(&store), ["fill", "good"]);
        assert_eq!(store.recovery_report().damaged_keys.len(), names.len(), "{:?}", store.recovery_report());
        let found = store.verify(&mut |_| std::ops::ControlFlow::Continue(())).unwrap();
        assert_eq!(found.defects.len(), names.len(), "{found:?}");
    }
}
