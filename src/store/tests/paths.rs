//! Keys as paths.

use std::io::{self, Read};

use super::*;
use crate::store::{Batch, Error, Kind};

#[test]
fn a_key_is_set_read_and_removed() {
    let (disk, store) = fresh();
    assert_eq!(store.get("k").unwrap(), None);
    assert!(!store.remove("k").unwrap());
    for value in ["one", "", "three", "3"] {
        store.put("a/b/k", value).unwrap();
        assert_eq!(store.get("a/b/k").unwrap().unwrap(), value.as_bytes());
        let stat = store.stat("a/b/k").unwrap().unwrap();
        assert_eq!((stat.size, stat.links, stat.attributes.kind), (value.len() as u64, 1, Kind::File));
    }
    assert_eq!(store.stat("a").unwrap().unwrap().attributes.kind, Kind::Directory);
    assert_eq!(store.stat("").unwrap().unwrap().links, 3);
    assert!(store.remove("a/b/k").unwrap());
    assert!(store.remove("a/b").unwrap(), "an empty directory");
    assert_eq!(store.get("a/b/k").unwrap(), None);
    drop(store);
    assert_eq!(keys(&reopen(&disk)), ["a"]);
}

#[test]
fn values_of_any_length_come_back() {
    let (disk, store) = fresh();
    let lengths = [0, 1, 4096, 131_072, 131_073, 300_000];
    let value = |len: usize, salt: usize| -> Vec<u8> { (0..len).map(|place| (place * 31 + salt) as u8).collect() };
    for (salt, before) in lengths.into_iter().enumerate() {
        for after in lengths {
            store.put("k", value(before, salt)).unwrap();
            let id = store.stat("k").unwrap().unwrap().id;
            store.put("k", value(after, salt + 1)).unwrap();
            assert_eq!(store.stat("k").unwrap().unwrap().id, id, "a put changes the value alone");
            assert!(store.get("k").unwrap().unwrap() == value(after, salt + 1), "{before} then {after}");
        }
        store.put(format!("k{before}"), value(before, salt)).unwrap();
    }
    drop(store);
    let store = reopen(&disk);
    for (salt, len) in lengths.into_iter().enumerate() {
        assert!(store.get(format!("k{len}")).unwrap().unwrap() == value(len, salt), "{len}");
    }
}

/// Gives some bytes and then fails.
struct Broken(usize);

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::Error::other("the pipe broke"));
        }
        let len = self.0.min(buffer.len());
        buffer[..len].fill(b'x');
        self.0 -= len;
        Ok(len)
    }
}

#[test]
fn a_reader_that_fails_leaves_the_old_value() {
    let (disk, store) = fresh();
    store.put("k", "old").unwrap();
    for before in [0, 10, 131_072, 500_000] {
        let error = store.put_reader("k", &mut Broken(before)).unwrap_err();
        assert!(error.to_string().contains("the pipe broke"), "{error}");
        assert_eq!(store.get("k").unwrap().unwrap(), b"old");
        assert!(store.put_reader("new", &mut Broken(before)).is_err());
    }
    store.put_reader("k2", &mut io::repeat(7).take(700_000)).unwrap();
    drop(store);
    let store = reopen(&disk);
    assert_eq!(keys(&store), ["k", "k2"]);
    assert_eq!(store.get("k").unwrap().unwrap(), b"old");
    assert_eq!(store.get("k2").unwrap().unwrap(), vec![7; 700_000]);
}

#[test]
fn what_cannot_be_a_key_is_refused() {
    let (_, store) = fresh();
    store.put("file", "").unwrap();
    store.put("dir/file", "").unwrap();
    for key in ["", "/", "/k", "k/", "a//b", ".", "..", "a/../b", "a/./b", "a\0b"] {
        assert!(matches!(store.put(key, "v"), Err(Error::InvalidName)), "{key:?}");
        if !key.is_empty() {
            assert!(matches!(store.get(key), Err(Error::InvalidName)), "{key:?}");
        }
        assert!(matches!(store.remove(key), Err(Error::InvalidName)), "{key:?}");
        assert!(matches!(store.put_reader(key, &mut io::empty()), Err(Error::InvalidName)), "{key:?}");
    }
    let long = "n".repeat(256);
    assert!(matches!(store.put(&long, "v"), Err(Error::NameTooLong)));
    store.put(&long[1..], "v").unwrap();
    assert!(matches!(store.put("file/below", "v"), Err(Error::NotADirectory)));
    assert!(matches!(store.put("dir", "v"), Err(Error::IsADirectory)));
    assert!(matches!(store.put("dir", vec![1; 200_000]), Err(Error::IsADirectory)));
    assert!(matches!(store.get("dir"), Err(Error::IsADirectory)));
    assert!(matches!(store.get(""), Err(Error::IsADirectory)));
    assert!(matches!(store.remove("dir"), Err(Error::NotEmpty)));
    assert!(matches!(store.list("file"), Err(Error::NotADirectory)));
    assert!(matches!(store.list("none"), Err(Error::NotFound)));
    assert!(matches!(store.rename("none", "x"), Err(Error::NotFound)));
    assert!(matches!(store.rename("dir", "dir/sub"), Err(Error::Invalid(_))));
    assert!(matches!(store.rename("dir", "file"), Err(Error::NotADirectory)));
    assert!(matches!(store.rename("file", "dir"), Err(Error::IsADirectory)));
    assert_eq!(keys(&store), ["dir", "dir/file", "file", &long[1..]]);
}

#[test]
fn a_batch_is_made_whole_or_not_at_all() {
    let (disk, store) = fresh();
    store.put("a", "1").unwrap();
    store.put("b", "2").unwrap();
    store.put("dir/k", "3").unwrap();
    let mut batch = Batch::new();
    batch.put("c/new", "4").rename("a", "b").put("a", vec![5; 300_000]).remove("dir/k").remove("dir").remove("none");
    store.write(batch).unwrap();
    let check = |store: &Store| {
        assert_eq!(keys(store), ["a", "b", "c", "c/new"]);
        assert_eq!(store.get("a").unwrap().unwrap(), vec![5; 300_000]);
        assert_eq!(store.get("b").unwrap().unwrap(), b"1");
        assert_eq!(store.get("c/new").unwrap().unwrap(), b"4");
    };
    check(&store);
    let written = store.written();
    // The last change of each cannot be made, so none is.
    let failing: [fn(&mut Batch) -> &mut Batch; 4] = [
        |batch| batch.put("c", "a directory"),
        |batch| batch.rename("none", "x"),
        |batch| batch.remove("c"),
        |batch| batch.put("a/below", "a file"),
    ];
    for fail in failing {
        let mut batch = Batch::new();
        batch.put("a", "other").remove("b").put("x/y/z", "1").rename("c/new", "d");
        batch.put("c/again", "so that c is not empty");
        fail(&mut batch);
        assert!(store.write(batch).is_err());
        check(&store);
    }
    assert_eq!(store.written(), written, "nothing was written");
    store.write(Batch::new()).unwrap();
    // Changes of one batch see those before.
    let mut batch = Batch::new();
    batch.put("t", "1").put("t", "2").rename("t", "u").remove("u").put("v", "3").rename("v", "w");
    store.write(batch).unwrap();
    assert_eq!(store.get("w").unwrap().unwrap(), b"3");
    store.remove("w").unwrap();
    drop(store);
    check(&reopen(&disk));
}

#[test]
fn lists_and_scans_are_in_order() {
    let (_, store) = fresh();
    for key in ["b/2", "a", "b/10", "ab", "b/1/x", "c", "b-", "b/1/a", "\u{e9}"] {
        store.put(key, key).unwrap();
    }
    let listed = |directory: &str| -> Vec<String> { texts(store.list(directory).unwrap()) };
    assert_eq!(listed(""), ["a", "ab", "b", "b-", "c", "\u{e9}"]);
    assert_eq!(listed("b"), ["b/1", "b/10", "b/2"]);
    assert_eq!(listed("b/1"), ["b/1/a", "b/1/x"]);
    let scanned = |prefix: &str| scanned(&store, prefix);
    assert_eq!(scanned("b/1"), ["b/1", "b/1/a", "b/1/x", "b/10"]);
    assert_eq!(scanned("b/"), ["b/1", "b/1/a", "b/1/x", "b/10", "b/2"]);
    assert_eq!(scanned("a"), ["a", "ab"]);
    assert_eq!(scanned("zzz"), Vec::<String>::new());
    assert_eq!(scanned("none/"), Vec::<String>::new());
    let everything = ["a", "ab", "b", "b/1", "b/1/a", "b/1/x", "b/10", "b/2", "b-", "c", "\u{e9}"];
    assert_eq!(scanned(""), everything);
    assert_eq!(store.info().unwrap().keys, everything.len() as u64);
}

#[test]
fn every_acknowledged_call_is_durable() {
    let (disk, store) = fresh();
    let survives = |what: &str, check: &dyn Fn(&Store) -> bool| {
        let image = disk.power_cut_images(0, 1).remove(0);
        assert!(check(&reopen(&image)), "{what}");
    };
    store.put("k", "v").unwrap();
    survives("put", &|store| store.get("k").unwrap().unwrap() == b"v");
    store.put("big", vec![1; 200_000]).unwrap();
    survives("a large put", &|store| store.get("big").unwrap().unwrap() == vec![1; 200_000]);
    store.rename("k", "l").unwrap();
    survives("rename", &|store| store.get("k").unwrap().is_none() && store.get("l").unwrap().is_some());
    store.remove("l").unwrap();
    survives("remove", &|store| keys(store) == ["big"]);
    let mut batch = Batch::new();
    batch.put("a", "1").put("b", "2");
    store.write(batch).unwrap();
    survives("batch", &|store| keys(store) == ["a", "b", "big"]);
}

#[test]
fn a_store_that_need_not_be_durable_syncs_when_asked() {
    let disk = SimDisk::new();
    let store = Store::open_on(Arc::new(disk.clone()), Options { durable: false, ..options() }).unwrap();
    store.put("k", "v").unwrap();
    let lost = || reopen(&disk.power_cut_images(0, 1).remove(0)).get("k").unwrap().is_none();
    assert!(lost());
    let info = store.info().unwrap();
    assert!(info.durable < info.written);
    store.sync().unwrap();
    assert!(!lost());
    let info = store.info().unwrap();
    assert_eq!(info.durable, info.written);
}
