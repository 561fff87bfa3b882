//! A store of format 1, as the program before format 2 has left it, byte by byte.

use std::fs;
use std::path::Path;

use caskfs::store::ROOT;
use caskfs::{Options, Store};
use tempfile::TempDir;

use crate::command::{caskfs, printed, snapshot, text};

fn old_store() -> TempDir {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1");
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("segments")).unwrap();
    fs::write(directory.path().join("lock"), "").unwrap();
    for path in snapshot(&fixture).into_keys().filter(|path| path.is_file()) {
        let to = directory.path().join(path.strip_prefix(&fixture).unwrap());
        fs::write(to, fs::read(&path).unwrap()).unwrap();
    }
    directory
}

fn check(store: &Store, links: u32) {
    for name in ["file", "moved", "name01", "name02", "name04", "name06", "name12"] {
        assert_eq!(store.get(name).unwrap().as_deref(), Some(&b"value"[..]), "{name}");
        assert_eq!(store.stat(name).unwrap().unwrap().links, links, "{name}");
    }
    for name in ["name03", "name05", "k2"] {
        assert_eq!(store.get(name).unwrap(), None, "{name}");
    }
    assert_eq!(store.get("d/inside").unwrap().unwrap(), b"two");
    assert_eq!(store.stat("d/two").unwrap().unwrap().links, 2);
    assert_eq!(store.get("copy").unwrap(), store.get("long").unwrap());
    assert_eq!(store.get("long").unwrap().unwrap(), vec![b'x'; 20_000]);
    assert_eq!(store.get("k5").unwrap().unwrap(), b"5\n");
    let report = store.recovery_report();
    assert!(report.is_clean() && report.torn.is_empty(), "{report:?}");
}

fn version(path: &Path) -> u32 {
    u32::from_le_bytes(fs::read(path).unwrap()[8..12].try_into().unwrap())
}

#[test]
fn a_store_of_format_1_is_read_and_written() {
    let directory = old_store();
    let before = snapshot(directory.path());
    let read_only = Store::open(directory.path(), Options { read_only: true, ..Options::default() }).unwrap();
    check(&read_only, 12);
    assert_eq!(read_only.recovery_report().hints, 1, "hints of format 1 are as good");
    drop(read_only);
    assert_eq!(snapshot(directory.path()), before, "a reader changes nothing");
    assert!(printed(caskfs(["verify".as_ref(), directory.path().as_os_str()])).starts_with(b"read: "));
    // A writer adds names in records of their own; from its start on an older program refuses the store.
    let store = Store::open(directory.path(), Options::default()).unwrap();
    check(&store, 12);
    assert_eq!(version(&directory.path().join("manifest")), 2);
    let file = store.stat("file").unwrap().unwrap().id;
    for name in ["new1", "new2"] {
        let mut transaction = store.begin().unwrap();
        transaction.link(file, ROOT, name.as_bytes()).unwrap();
        transaction.commit().unwrap();
    }
    check(&store, 14);
    store.close().unwrap();
    let store = Store::open(directory.path(), Options::default()).unwrap();
    check(&store, 14);
    store.compact().unwrap();
    check(&store, 14);
    store.close().unwrap();
    let found = text(caskfs(["verify".as_ref(), directory.path().as_os_str()]));
    assert!(!found.contains("damage"), "{found}");
    check(&Store::open(directory.path(), Options::default()).unwrap(), 14);
}

/// The header of a segment of format 1 is found again when it is damaged, and a lost end of the manifest told.
#[test]
fn damage_to_a_store_of_format_1_is_mended() {
    let directory = old_store();
    let segment = directory.path().join("segments/00000002.log");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[10..64].fill(0xff);
    fs::write(&segment, bytes).unwrap();
    fs::remove_file(directory.path().join("manifest")).unwrap();
    assert!(Store::open(directory.path(), Options::default()).is_err());
    printed(caskfs(["repair".as_ref(), directory.path().as_os_str()]));
    check(&Store::open(directory.path(), Options::default()).unwrap(), 12);
}
