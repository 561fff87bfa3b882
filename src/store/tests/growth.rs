//! What grows with what users do grows in a line: counted in bytes of log, records, and sizes, never in seconds.

use super::*;
use crate::store::extents::{Extent, Extents};
use crate::store::usage::Usage;
use crate::store::{Kind, ROOT, XattrMode};

fn store_on(disk: &SimDisk) -> Store {
    let options = Options { create: true, segment_size: 16 << 20, background: false, ..Options::default() };
    Store::open_on(Arc::new(disk.clone()), options).unwrap()
}

/// Bytes of log that so many files with so many extended attributes each take, set one after the other.
fn xattr_bytes(files: usize, attributes: usize) -> u64 {
    let disk = SimDisk::new();
    let store = store_on(&disk);
    let mut transaction = store.begin().unwrap();
    let owner = transaction.new_attributes(Kind::File, 0o644);
    let files: Vec<EntryId> = (0..files)
        .map(|number| transaction.create(ROOT, format!("file{number}").as_bytes(), owner, b"").unwrap())
        .collect();
    transaction.commit().unwrap();
    let before = store.info().unwrap().log_bytes;
    for file in &files {
        for number in 0..attributes {
            let mut transaction = store.begin().unwrap();
            let name = format!("user.{number:05}");
            transaction.set_xattr(*file, name.as_bytes(), b"value", XattrMode::Set).unwrap();
            transaction.commit().unwrap();
        }
    }
    let bytes = store.info().unwrap().log_bytes - before;
    drop(store);
    let store = store_on(&disk);
    assert!(files.iter().all(|file| store.xattr_names(*file).unwrap().len() == attributes));
    bytes
}

/// Ten thousand attributes over files cost what one costs, ten thousand times.
#[test]
fn xattrs_over_files_cost_the_same_each() {
    let (few, many) = (xattr_bytes(500, 2), xattr_bytes(5000, 2));
    assert!(many <= few * 11, "{few} {many}");
}

/// All attributes of an entry stand in each of its records. Linux lists 64 KiB of names, so that this has an end.
#[test]
fn xattrs_of_one_entry_have_an_end() {
    let disk = SimDisk::new();
    let store = store_on(&disk);
    store.put("file", "value").unwrap();
    let file = id(&store, "file");
    let mut transaction = store.begin().unwrap();
    let set = (0..100_000).take_while(|number| {
        let name = format!("user.{number:05}");
        transaction.set_xattr(file, name.as_bytes(), b"", XattrMode::Set).is_ok()
    });
    assert_eq!(set.count(), (65_536 - 20) / 11);
    transaction.commit().unwrap();
    let before = store.info().unwrap().log_bytes;
    let mut transaction = store.begin().unwrap();
    transaction.set_xattr(file, b"user.00001", b"changed", XattrMode::Replace).unwrap();
    transaction.commit().unwrap();
    assert!(store.info().unwrap().log_bytes - before < 100_000);
}

/// Two million pieces of one value, a hole behind each or none: found, joined and counted piece by piece, and each seek
/// takes a few steps.
#[test]
fn two_million_extents_of_one_file() {
    const PIECES: u64 = 2_000_000;
    for gap in [0, 1] {
        let (mut extents, mut usage) = (Extents::default(), Usage::default());
        let step = 4096 * (1 + gap);
        for number in 0..PIECES {
            // In no order; the stride is prime to the number.
            let at = (number * 1_000_003 % PIECES) * step;
            let location = crate::log::Location { segment: 1 + (number >> 16) as u32, offset: 64 };
            extents.insert(at..at + 4096, Extent::own(location, 4112, 16, number + 1), &mut usage);
        }
        assert_eq!((extents.pieces() as u64, extents.total()), (PIECES, PIECES * 4096));
        assert_eq!(usage.total(), PIECES * 4096);
        // With a walk through what follows, each of these would take two million steps where there is no hole.
        for number in (0..PIECES).step_by(20) {
            let at = number * step + 1;
            let end = if gap == 0 { PIECES * step } else { at + 4095 };
            assert_eq!((extents.first_data(at), extents.first_hole(at)), (Some(at), end));
        }
        let (mut place, mut groups) = (0, 0);
        while let Some((group, next)) = extents.crumbs(place, 4) {
            groups += usize::from(!group.is_empty());
            place = next;
        }
        assert_eq!(groups as u64, if gap == 0 { PIECES / 32 } else { 0 });
    }
}
