//! Listings show one moment, whatever changes while they are read.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::store::{Batch, Error, ROOT, RenameMode, Scan};

/// What a listing shows of each key, in order of keys.
fn shown(listed: Vec<Listed>) -> Vec<(String, Listed)> {
    let named = |listed: Listed| (String::from_utf8(listed.key.clone()).unwrap(), listed);
    let mut shown: Vec<_> = listed.into_iter().map(named).collect();
    shown.sort_by(|(one, _), (other, _)| one.cmp(other));
    shown
}

fn now(store: &Store, prefix: &str) -> Vec<(String, Listed)> {
    shown(store.scan(prefix).collect::<Result<_, _>>().unwrap())
}

/// A store with so many keys: half of them in the root, the others in directories.
fn with_keys(keys: u32) -> Store {
    let disk = SimDisk::new();
    let options = Options { durable: false, segment_size: 1 << 20, ..options() };
    let store = Store::open_on(Arc::new(disk), options).unwrap();
    let mut batch = Batch::new();
    for key in 0..keys {
        match key % 2 {
            0 => batch.put(format!("{key:05}"), "old"),
            _ => batch.put(format!("d{}/e{}/{key:05}", key % 7, key % 5), "old"),
        };
    }
    store.write(batch).unwrap();
    store
}

#[test]
fn a_scan_shows_the_moment_when_it_was_begun() {
    let store = with_keys(3_000);
    let before = now(&store, "");
    let mut scan = store.scan("");
    let mut listed: Vec<Listed> = scan.by_ref().take(10).map(Result::unwrap).collect();
    for (key, _) in before.iter().filter(|(key, _)| !key.starts_with('d')) {
        match key.as_bytes().last().unwrap() % 3 {
            0 => drop(store.remove(key).unwrap()),
            1 => store.put(key, "a longer value").unwrap(),
            _ => store.rename(key, format!("{key}.renamed")).unwrap(),
        }
        store.put(format!("{key}.new"), "new").unwrap();
    }
    store.rename("d0/e1", "moved").unwrap();
    store.rename("d1", "d2/d1").unwrap();
    let mut transaction = store.begin().unwrap();
    let (one, other) = (transaction.lookup(ROOT, b"d3").unwrap(), transaction.lookup(ROOT, b"d4").unwrap());
    transaction.rename((ROOT, b"d3"), (ROOT, b"d4"), RenameMode::Exchange).unwrap();
    transaction.commit().unwrap();
    assert_ne!(one, other);
    for (key, _) in now(&store, "d5/").iter().rev() {
        store.remove(key).unwrap();
    }
    listed.extend(scan.map(Result::unwrap));
    assert!(shown(listed) == before);
    assert!(now(&store, "") != before);
}

/// A listing, what it has shown, and what it is to show.
type UnderWay<'a> = (Scan<'a>, Vec<Listed>, Vec<(String, Listed)>);

/// Anything may happen to a small tree of many directories between any two names of a listing.
#[test]
fn no_change_shows_in_a_scan_that_is_under_way() {
    for seed in 0..16 {
        let mut random = StdRng::seed_from_u64(seed);
        let store = with_keys(1_200);
        let path = |random: &mut StdRng| match random.random_range(0..4) {
            0 => format!("{:05}", random.random_range(0..1_200)),
            1 => format!("d{}", random.random_range(0..7)),
            2 => format!("d{}/e{}", random.random_range(0..7), random.random_range(0..5)),
            _ => {
                let key = random.random_range(0..600) * 2 + 1;
                format!("d{}/e{}/{key:05}", key % 7, key % 5)
            }
        };
        let mut scans: Vec<UnderWay<'_>> = Vec::new();
        for step in 0..1_500 {
            if step % 500 == 0 {
                let prefix = ["", "d", "d1/"][random.random_range(0..3)];
                scans.push((store.scan(prefix), Vec::new(), now(&store, prefix)));
            }
            let (key, other) = (path(&mut random), path(&mut random));
            // What cannot be done is no matter.
            match random.random_range(0..10) {
                0..3 => drop(store.put(&key, "new")),
                3..5 => drop(store.remove(&key)),
                5 => {
                    let mut batch = Batch::new();
                    now(&store, &format!("{key}/")).iter().rev().for_each(|(key, _)| {
                        batch.remove(key);
                    });
                    batch.remove(&key);
                    drop(store.write(batch));
                }
                6 => {
                    let (from, to) = (store.stat(&key).unwrap(), store.stat(&other).unwrap());
                    if let (Some(from), Some(to)) = (from, to) {
                        let mut transaction = store.begin().unwrap();
                        if transaction.link(from.id, to.id, key.replace('/', "_").as_bytes()).is_ok() {
                            transaction.commit().unwrap();
                        }
                    }
                }
                _ => drop(store.rename(&key, &other)),
            }
            for (scan, listed, _) in &mut scans {
                listed.extend(scan.next().map(Result::unwrap));
            }
        }
        for (scan, mut listed, before) in scans {
            listed.extend(scan.map(Result::unwrap));
            let listed = shown(listed);
            let differ = listed.iter().zip(&before).find(|(one, other)| one != other);
            assert!(listed == before, "seed {seed}: {} and {}: {differ:?}", listed.len(), before.len());
        }
    }
}

#[test]
fn a_list_shows_one_directory_as_it_is() {
    let store = with_keys(3_000);
    let listed = texts(store.list("").unwrap());
    assert_eq!(listed.len(), 1_507);
    assert!(listed.is_sorted());
    let below: usize = (0..5).map(|e| store.list(format!("d1/e{e}")).unwrap().len()).sum();
    assert_eq!(below, now(&store, "d1/e").iter().filter(|(key, _)| key.len() > 5).count());
}

#[test]
fn a_directory_comes_before_what_is_in_it() {
    let store = with_keys(3_000);
    let mut met = std::collections::BTreeSet::new();
    for listed in store.scan("") {
        let key = String::from_utf8(listed.unwrap().key).unwrap();
        assert!(key.rsplit_once('/').is_none_or(|(above, _)| met.contains(above)), "{key}");
        assert!(met.insert(key));
    }
}

#[test]
fn a_listing_for_which_too_much_would_be_kept_ends_with_an_error() {
    let store = with_keys(3_000);
    let (mut small, mut large) = (store.scan_keeping(b"", 20_000), store.scan_keeping(b"", 1 << 20));
    small.next().unwrap().unwrap();
    for key in 0..3_000 {
        store.put(format!("{key:05}"), "new").unwrap();
    }
    let failed = small.find_map(Result::err).unwrap();
    assert!(matches!(failed, Error::TooManyChanges), "{failed}");
    assert!(small.next().is_none());
    assert!(large.by_ref().all(|listed| listed.is_ok()));
}

#[test]
fn what_is_kept_for_listings_is_counted_and_given_back() {
    let store = with_keys(3_000);
    let bytes = || store.info().unwrap().keydir_bytes;
    let scans: Vec<Scan<'_>> = (0..3).map(|_| store.scan("")).collect();
    let before = bytes();
    for key in (0..3_000).step_by(2) {
        store.put(format!("{key:05}"), "new").unwrap();
    }
    let kept = bytes();
    assert!(kept > before + 3 * 1_000 * 96, "{before} {kept}");
    for mut scan in scans {
        while scan.next().is_some() {}
    }
    assert!(bytes() < kept - 3 * 1_000 * 96, "{before} {kept} {}", bytes());
}

/// What is sent and kept of a deep tree grows with its names, not with the lengths of all paths.
#[test]
fn a_deep_tree_is_listed_name_by_name() {
    let store = with_keys(0);
    let deep = vec!["nested"; 1_500].join("/");
    store.put(format!("{deep}/key"), "value").unwrap();
    let mut scan = store.scan("");
    let (mut names, mut bytes) = (0, 0);
    while let Some(met) = scan.next_met() {
        let met = met.unwrap();
        assert_eq!(met.depth, names);
        names += 1;
        bytes += met.name.len();
    }
    assert_eq!((names, bytes), (1_501, 1_500 * 6 + 3));
    assert_eq!(store.scan("").last().unwrap().unwrap().key, format!("{deep}/key").into_bytes());
    // Whoever changes what is deep in it finds out that the listing has yet to come there.
    let mut scan = store.scan("");
    scan.next().unwrap().unwrap();
    store.remove(format!("{deep}/key")).unwrap();
    assert_eq!(scan.last().unwrap().unwrap().key, format!("{deep}/key").into_bytes());
}
