//! A whole store with changes in its files, opened, read through, written to, merged and opened again; and repaired.
#![no_main]

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use caskfs::medium::{Medium, SimDisk};
use caskfs::store::{Error, RepairMode};
use caskfs::{Options, Store};
use caskfs_fuzz::{measured, options, sample};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    static SAMPLE: OnceLock<SimDisk> = OnceLock::new();
    let disk = SAMPLE.get_or_init(sample).restart();
    let Some(honest) = spoil(&disk, bytes) else { return Corpus::Reject };
    let size: usize = disk.paths().iter().filter_map(|path| disk.file(path)).map(|file| file.len()).sum();
    let damaged = disk.restart();
    measured(size, 16 << 20, || live(&disk, honest));
    measured(size, 16 << 20, || repair(&damaged, honest));
    Corpus::Keep
});

/// Changes the disk: for each change a file's number (whose highest bit says that its checksums are put right), an
/// offset, a length, and the bytes. Some lengths have a meaning of their own. Returns whether no checksum was put right.
fn spoil(disk: &SimDisk, mut bytes: &[u8]) -> Option<bool> {
    let paths = disk.paths();
    let mut honest = true;
    while let Some((&[number, high, middle, low, len], rest)) = bytes.split_first_chunk() {
        let path = paths.get(usize::from(number & 0x7f) % paths.len())?;
        let mut file = disk.file(path)?;
        let offset = u32::from_be_bytes([0, high, middle, low]) as usize;
        let offset = offset % (file.len() + 1);
        if std::env::var_os("CASKFS_FUZZ_EXPLAIN").is_some() {
            eprintln!("{path} of {} bytes: at {offset}, length {len}, put right: {}", file.len(), number & 0x80 != 0);
        }
        let (patch, rest) = rest.split_at(usize::from(len).min(rest.len()));
        match len {
            255 => file.truncate(offset),
            254 => file.extend_from_within(offset.saturating_sub(4096)..offset),
            253 => drop(disk.remove(path)),
            _ => {
                let end = (offset + patch.len()).min(file.len());
                let (patch, more) = patch.split_at(end - offset);
                file[offset..end].copy_from_slice(patch);
                file.extend_from_slice(more);
            }
        }
        if len != 253 {
            if number & 0x80 != 0 {
                caskfs::log::fuzzing::put_right(path, &mut file);
                honest = false;
            }
            disk.put_file(path, file);
        }
        bytes = rest;
    }
    Some(honest)
}

/// A life of the store. What is damaged is no harm to what is written now; lies with a right checksum may be, but they
/// make no panic.
fn live(disk: &SimDisk, honest: bool) {
    let Ok(store) = Store::open_on(Arc::new(disk.clone()), options()) else { return };
    read(&store);
    let put = store.put("fuzz/new", "a new value").is_ok();
    let check = |store: &Store| {
        if honest && put {
            assert_eq!(store.get("fuzz/new").expect("a new value is read"), Some(b"a new value".to_vec()));
        }
    };
    // A key that is damaged in the way of these can refuse them.
    let _ = store.remove("short");
    let _ = store.rename("long", "moved");
    let _ = store.compact();
    check(&store);
    drop(store);
    match Store::open_on(Arc::new(disk.restart()), options()) {
        Ok(store) => {
            check(&store);
            read(&store);
        }
        Err(error) => assert!(!honest, "what was opened opens again: {error}"),
    }
}

/// What is repaired is whole.
fn repair(disk: &SimDisk, honest: bool) {
    let Ok(report) = Store::repair_on(Arc::new(disk.clone()), options(), RepairMode::default(), &mut |_| {}) else { return };
    let opened = Store::open_on(Arc::new(disk.restart()), Options { strict: honest, ..options() });
    assert!(opened.is_ok() || !honest, "what was repaired opens: {:?} after {report:?}", opened.err());
    let Ok(store) = opened else { return };
    read(&store);
    let found = store.verify(&mut |_| ControlFlow::Continue(())).expect("nobody stops it");
    assert!(found.is_clean() || !honest, "{found:?} after {report:?}");
}

fn read(store: &Store) {
    let mut buffer = [0; 4096];
    for listed in store.scan("") {
        let key = listed.expect("nothing changes meanwhile").key;
        match store.open_value(&key) {
            Ok(Some(value)) => {
                for offset in [0, value.len() / 2, value.len().saturating_sub(100)] {
                    match value.read_at(offset, &mut buffer) {
                        Ok(_) | Err(Error::DamagedKey { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            // What was damaged may have any name.
            Ok(None) | Err(Error::InvalidName) => {}
            Err(Error::IsADirectory | Error::Invalid(_) | Error::DamagedKey { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}
