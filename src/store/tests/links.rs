//! Entries with many names: each name more costs the same, and none is lost or comes back.

use std::collections::BTreeMap;

use super::*;
use crate::medium::Medium;
use crate::store::append::Record;
use crate::store::record::{Link, MAX_OWN_NAMES};
use crate::store::{Error, ROOT, RenameMode, Unlink};

fn store_on(disk: &SimDisk, segment_size: u32) -> Store {
    let options = Options { create: true, segment_size, background: false, ..Options::default() };
    Store::open_on(Arc::new(disk.clone()), options).unwrap()
}

fn link(store: &Store, entry: EntryId, parent: EntryId, name: &str) -> Result<(), Error> {
    let mut transaction = store.begin()?;
    transaction.link(entry, parent, name.as_bytes())?;
    transaction.commit().map(drop)
}

fn unlink(store: &Store, parent: EntryId, name: &str) {
    let mut transaction = store.begin().unwrap();
    transaction.unlink(parent, name.as_bytes(), Unlink::File).unwrap();
    transaction.commit().unwrap();
}

/// The names of a directory, each with its entry.
fn names(store: &Store, directory: EntryId) -> BTreeMap<String, EntryId> {
    let children = store.children(directory, 0, usize::MAX).unwrap();
    children.into_iter().map(|child| (String::from_utf8(child.name.into()).unwrap(), child.stat.id)).collect()
}

/// What there must be: the names of each directory.
type Model = BTreeMap<EntryId, BTreeMap<String, EntryId>>;

fn check(store: &Store, model: &Model) {
    let mut counts: BTreeMap<EntryId, u32> = BTreeMap::new();
    for (directory, expected) in model {
        assert_eq!(names(store, *directory), *expected);
        for (name, id) in expected {
            *counts.entry(*id).or_default() += 1;
            assert_eq!(store.keydir.read().lookup(*directory, name.as_bytes()), Some(*id), "{name}");
        }
    }
    for (id, count) in counts {
        assert_eq!(store.entry(id).unwrap().links, count);
        assert_eq!(store.keydir.read().all_names(id).len() as u32, count);
        assert!(model.contains_key(&store.parent(id).unwrap()));
        let mut value = [0; 8];
        assert_eq!(store.read(id, 0, &mut value).unwrap(), 8);
        assert_eq!(u64::from_le_bytes(value), id);
    }
    assert!(store.recovery_report().is_clean(), "{:?}", store.recovery_report());
}

struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % below
    }
}

/// One change, to the store and to the model.
fn step(store: &Store, model: &mut Model, random: &mut Random, files: &[EntryId], directories: &[EntryId]) {
    let directory = |random: &mut Random| directories[random.next(directories.len() as u64) as usize];
    let (parent, other) = (directory(random), directory(random));
    let (name, new) = (format!("n{}", random.next(30)), format!("n{}", random.next(30)));
    let there = model[&parent].get(&name).copied();
    let last = |id: EntryId| model.values().flat_map(BTreeMap::values).filter(|other| **other == id).count() == 1;
    match (random.next(8), there) {
        (0..5, None) => {
            let id = files[random.next(files.len() as u64) as usize];
            link(store, id, parent, &name).unwrap();
            model.get_mut(&parent).unwrap().insert(name, id);
        }
        (0..4, Some(id)) if !last(id) => {
            unlink(store, parent, &name);
            model.get_mut(&parent).unwrap().remove(&name);
        }
        (4..7, Some(id)) => {
            let target = model[&other].get(&new).copied();
            let mode = if random.next(2) == 0 { RenameMode::Replace } else { RenameMode::Exchange };
            let whole = match (mode, target) {
                (RenameMode::Exchange, None) => return,
                (RenameMode::Exchange, Some(_)) => true,
                (_, Some(target)) => target == id || !last(target),
                (_, None) => true,
            };
            if !whole {
                return;
            }
            let mut transaction = store.begin().unwrap();
            transaction.rename((parent, name.as_bytes()), (other, new.as_bytes()), mode).unwrap();
            transaction.commit().unwrap();
            // Two names of one file: rename(2) does nothing.
            if target != Some(id) {
                model.get_mut(&parent).unwrap().remove(&name);
                model.get_mut(&other).unwrap().insert(new, id);
                if let (RenameMode::Exchange, Some(target)) = (mode, target) {
                    model.get_mut(&parent).unwrap().insert(name, target);
                }
            }
        }
        (7, Some(id)) => {
            // Something else of the entry, and several names in one transaction, some of them for a moment.
            let mut transaction = store.begin().unwrap();
            let attributes = transaction.attributes(id).unwrap();
            transaction.set_attributes(id, attributes).unwrap();
            for round in 0..3 {
                transaction.link(id, parent, format!("new{round}").as_bytes()).unwrap();
            }
            transaction.unlink(parent, name.as_bytes(), Unlink::File).unwrap();
            for round in 0..3 {
                transaction.unlink(parent, format!("new{round}").as_bytes(), Unlink::File).unwrap_or_default();
                if round == 0 {
                    transaction.link(id, parent, name.as_bytes()).unwrap();
                }
            }
            transaction.commit().unwrap();
        }
        _ => {}
    }
}

#[test]
fn names_come_and_go_as_in_a_map() {
    for seed in 0..12 {
        let disk = SimDisk::new();
        let mut store = store_on(&disk, 4096);
        let mut random = Random(seed);
        let (mut model, mut files) = (Model::new(), Vec::new());
        for key in ["a/f0", "b/f1", "a/f2"] {
            store.put(key, "").unwrap();
            let entry = id(&store, key);
            store.put(key, entry.to_le_bytes()).unwrap();
            files.push(entry);
        }
        let directories = [id(&store, "a"), id(&store, "b")];
        directories.iter().for_each(|directory| drop(model.insert(*directory, names(&store, *directory))));
        for round in 0..600 {
            step(&store, &mut model, &mut random, &files, &directories);
            match random.next(40) {
                0 => {
                    store.sync().unwrap();
                    store.write_hints().unwrap();
                    drop(store);
                    store = store_on(&disk, 4096);
                }
                1 => drop(store.merge_run(random.next(4) as usize, 1 + random.next(6) as usize)),
                2 => store.compact().unwrap(),
                _ => {}
            }
            if round % 20 == 0 {
                check(&store, &model);
            }
        }
        // After a crash, and after merges of all that is sealed, with what is dead gone.
        check(&store_on(&disk.restart(), 4096), &model);
        store.sync().unwrap();
        for _ in 0..2 {
            store.merge_run(0, usize::MAX).unwrap();
            check(&store, &model);
        }
        check(&store_on(&disk.restart(), 4096), &model);
    }
}

/// Bytes of log that `count` links of one file take, in two directories, and those of `count` removals.
fn cost(count: u32) -> (u64, u64, SimDisk) {
    let disk = SimDisk::new();
    let store = store_on(&disk, 8 << 20);
    store.put("a/file", "value").unwrap();
    store.put("b/other", "").unwrap();
    let (file, parents) = (id(&store, "a/file"), [id(&store, "a"), id(&store, "b")]);
    let used = |store: &Store| store.info().unwrap().log_bytes;
    let empty = used(&store);
    for number in 0..count {
        link(&store, file, parents[number as usize % 2], &format!("link{number:06}")).unwrap();
    }
    let linked = used(&store) - empty;
    assert_eq!(store.entry(file).unwrap().links, count + 1);
    assert_eq!(names(&store, parents[1]).len() as u32, count / 2 + 1);
    for number in 0..count / 2 {
        unlink(&store, parents[number as usize % 2], &format!("link{number:06}"));
    }
    let unlinked = used(&store) - empty - linked;
    (linked, unlinked, disk)
}

#[test]
fn a_link_costs_the_same_however_many_there_are() {
    let (few, few_gone, _) = cost(1000);
    let (many, many_gone, disk) = cost(16_000);
    assert!(many < few * 17 && many_gone < few_gone * 17, "{few} {many} {few_gone} {many_gone}");
    assert!(many < 16_000 * 400, "{many}");
    let store = store_on(&disk.restart(), 8 << 20);
    assert_eq!(store.stat("a/file").unwrap().unwrap().links, 8001);
    assert!(store.recovery_report().is_clean());
}

#[test]
fn the_names_of_an_entry_end_at_65000() {
    let (_, store) = fresh();
    store.put("file", "value").unwrap();
    let file = id(&store, "file");
    let mut transaction = store.begin().unwrap();
    // Of any length: once all of them together had to fit into one record.
    for number in 1..65_000 {
        transaction.link(file, ROOT, format!("{number:0>100}").as_bytes()).unwrap();
    }
    assert!(matches!(transaction.link(file, ROOT, b"more"), Err(Error::TooManyLinks)));
    drop(transaction);
    assert_eq!(store.entry(file).unwrap().links, 1, "nothing was committed");
}

/// Older programs had all names in the node record.
#[test]
fn an_entry_of_an_older_store_keeps_its_names() {
    let disk = SimDisk::new();
    let store = store_on(&disk, 1 << 16);
    store.put("file", "value").unwrap();
    let file = id(&store, "file");
    let mut transaction = store.begin().unwrap();
    let mut state = transaction.view(file, Clone::clone).unwrap();
    state.links.extend((0..50).map(|number| Link { parent: ROOT, name: format!("old{number}").into_bytes().into() }));
    transaction.append(vec![Record::Node { entry: file, state, stage: 0, inline: None }], 0).unwrap();
    drop(transaction);
    let check = |store: &Store, count: u32| {
        assert_eq!(store.stat("old33").unwrap().unwrap().links, count);
        assert_eq!((names(store, ROOT).len() as u32, keys(store).len() as u32), (count, count));
        assert_eq!(store.get("old7").unwrap().unwrap(), b"value");
    };
    check(&store, 51);
    let store = store_on(&disk.restart(), 1 << 16);
    check(&store, 51);
    // The next change gives them records of their own; a later one is small.
    link(&store, file, ROOT, "new").unwrap();
    check(&store, 52);
    assert_eq!(store.keydir.read().get(file).unwrap().state.links.len(), MAX_OWN_NAMES);
    let before = store.info().unwrap().log_bytes;
    link(&store, file, ROOT, "newer").unwrap();
    unlink(&store, ROOT, "old49");
    unlink(&store, ROOT, "file");
    assert!(store.info().unwrap().log_bytes - before < 1200);
    check(&store, 51);
    let store = store_on(&disk.restart(), 1 << 16);
    check(&store, 51);
}

/// A store with a file of twelve names, and where in which file of the disk the record of the tenth is.
fn many_names() -> (SimDisk, String, usize) {
    let disk = SimDisk::new();
    let store = store_on(&disk, 1 << 16);
    store.put("file", "value").unwrap();
    let file = id(&store, "file");
    (1..12).for_each(|number| link(&store, file, ROOT, &format!("name{number:02}")).unwrap());
    store.put("other", "something").unwrap();
    let record = store.keydir.read().name_record(file, ROOT, b"name10").unwrap();
    store.close().unwrap();
    (disk, record.location.file(), record.location.offset as usize)
}

/// Damage to the record of one name costs that name: the value stays, and so do the others. A repair puts the count right.
#[test]
fn a_damaged_name_costs_itself() {
    let (disk, path, offset) = many_names();
    let mut bytes = disk.file(&path).unwrap();
    bytes[offset + 43] ^= 1;
    let file = disk.open(&path, true).unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    file.sync().unwrap();
    let store = store_on(&disk, 1 << 16);
    let check = |store: &Store| {
        assert_eq!(store.get("file").unwrap().unwrap(), b"value");
        assert_eq!(store.get("other").unwrap().unwrap(), b"something");
        assert_eq!(store.stat("name11").unwrap().unwrap().links, 11);
        assert_eq!(store.stat("name10").unwrap(), None);
    };
    check(&store);
    assert_eq!(store.recovery_report().damaged_keys, ["file"]);
    let report = store.verify(&mut |_| std::ops::ControlFlow::Continue(())).unwrap();
    assert_eq!(report.damaged_keys, ["file"]);
    drop(store);
    let report =
        Store::repair_on(Arc::new(disk.clone()), options(), crate::store::RepairMode::default(), &mut |_| {}).unwrap();
    assert!(report.steps.iter().any(|step| step.contains("write the name")), "{report}");
    let store = store_on(&disk, 1 << 16);
    check(&store);
    assert!(store.recovery_report().is_clean(), "{:?}", store.recovery_report());
    assert!(store.verify(&mut |_| std::ops::ControlFlow::Continue(())).unwrap().is_clean());
}

#[test]
fn an_entry_with_many_names_goes_with_all_of_them() {
    let disk = SimDisk::new();
    let store = store_on(&disk, 1 << 16);
    store.put("file", "value").unwrap();
    let file = id(&store, "file");
    (0..20).for_each(|number| link(&store, file, ROOT, &format!("name{number}")).unwrap());
    store.set_expiry("name7", Some(crate::store::Time::new(1, 0))).unwrap();
    assert_eq!(names(&store, ROOT), BTreeMap::new());
    assert_eq!(store.keydir.read().usage.live(1).bytes, store.keydir.read().usage.total());
    let left = store.keydir.read().usage.total();
    drop(store);
    let store = store_on(&disk, 1 << 16);
    assert_eq!(names(&store, ROOT), BTreeMap::new());
    assert_eq!(store.keydir.read().usage.total(), left);
}

/// Whoever hears of changes hears of these names too.
#[test]
fn the_stream_of_changes_tells_names_in_records_of_their_own() {
    let (_, store) = fresh();
    store.put("file", "value").unwrap();
    let file = id(&store, "file");
    (0..10).for_each(|number| link(&store, file, ROOT, &format!("name{number}")).unwrap());
    let news = store.subscribe(None);
    let told = || {
        let Some(crate::store::News::Committed(committed)) = news.next() else { panic!("nothing is told") };
        committed.changes.iter().find(|change| change.entry == file).cloned().unwrap()
    };
    link(&store, file, ROOT, "new").unwrap();
    let change = told();
    assert_eq!((change.came, change.gone), (vec![(ROOT, b"new"[..].into())], vec![]));
    unlink(&store, ROOT, "name9");
    let change = told();
    assert_eq!((change.came, change.gone), (vec![], vec![(ROOT, b"name9"[..].into())]));
    assert!(change.stays.is_some());
    // With no name left in the node record.
    for own in ["file", "name0", "name1", "name2"] {
        unlink(&store, ROOT, own);
        assert_eq!(told().gone, [(ROOT, own.as_bytes().into())]);
    }
    let mut transaction = store.begin().unwrap();
    let attributes = transaction.attributes(file).unwrap();
    transaction.set_attributes(file, attributes).unwrap();
    transaction.commit().unwrap();
    assert_eq!(told().stays.map(|(_, name)| name.starts_with(b"n")), Some(true));
}
