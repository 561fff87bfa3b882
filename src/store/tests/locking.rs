//! One writer, or any number of readers.

use super::*;
use crate::log;
use crate::store::Error;

fn reader() -> Options {
    Options { read_only: true, create: false, ..options() }
}

fn open(disk: &SimDisk, options: Options) -> Result<Store, Error> {
    Store::open_on(Arc::new(disk.clone()), options)
}

fn is_locked(result: Result<Store, Error>) -> bool {
    matches!(result, Err(Error::Log(log::Error::Locked)))
}

#[test]
fn a_second_writer_is_refused() {
    let (disk, store) = fresh();
    store.put("k", "v").unwrap();
    let operations = disk.operations();
    assert!(is_locked(open(&disk, options())));
    assert_eq!(disk.operations(), operations, "nothing was touched");
    store.put("k", "w").unwrap();
    drop(store);
    assert_eq!(reopen(&disk).get("k").unwrap().unwrap(), b"w");
}

#[test]
fn readers_stand_beside_readers_and_not_beside_a_writer() {
    let (disk, store) = fresh();
    store.put("k", "v").unwrap();
    assert!(is_locked(open(&disk, reader())));
    drop(store);
    let (one, two) = (open(&disk, reader()).unwrap(), open(&disk, reader()).unwrap());
    assert!(is_locked(open(&disk, options())));
    for store in [&one, &two] {
        assert_eq!(store.get("k").unwrap().unwrap(), b"v");
        assert!(store.is_read_only());
        assert!(matches!(store.put("k", "w"), Err(Error::ReadOnly)));
        assert!(matches!(store.put("k", vec![0; 200_000]), Err(Error::ReadOnly)));
        assert!(matches!(store.remove("k"), Err(Error::ReadOnly)));
        assert!(matches!(store.rename("k", "l"), Err(Error::ReadOnly)));
        assert!(matches!(store.check_writable(), Err(Error::ReadOnly)));
        store.sync().unwrap();
    }
    drop(one);
    assert!(is_locked(open(&disk, options())));
    drop(two);
    reopen(&disk).put("k", "w").unwrap();
}

#[test]
fn a_reader_makes_no_store() {
    let disk = SimDisk::new();
    for options in [reader(), Options { create: true, ..reader() }, Options { create: false, ..options() }] {
        assert!(matches!(open(&disk, options), Err(Error::Log(log::Error::NotAStore))));
    }
    assert_eq!(disk.paths(), Vec::<String>::new());
    disk.put_file("precious", "bytes");
    assert!(matches!(open(&disk, options()), Err(Error::Log(log::Error::NotEmpty))));
    assert_eq!(disk.paths(), ["precious"], "not even a lock file");
}

#[test]
fn on_a_real_disk_the_kernel_keeps_the_lock() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), options()).unwrap();
    store.put("k", "v").unwrap();
    assert!(is_locked(Store::open(directory.path(), options())));
    assert!(is_locked(Store::open(directory.path(), reader())));
    store.close().unwrap();
    let (one, _two) =
        (Store::open(directory.path(), reader()).unwrap(), Store::open(directory.path(), reader()).unwrap());
    assert_eq!(one.get("k").unwrap().unwrap(), b"v");
    assert!(is_locked(Store::open(directory.path(), options())));
}
