//! Files that are open only now and then.

use std::sync::Arc;

use super::*;
use crate::medium::open_files::{bound, open_files};
use crate::medium::{Cached, Fault, Trouble, retry};

#[test]
fn any_number_of_files_is_read_and_few_are_open() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::new(directory.path());
    let cached = Cached::new(Arc::new(disk.clone()));
    let count = 2 * bound() + 10;
    let files: Vec<_> = (0..count)
        .map(|number| {
            let path = number.to_string();
            disk.create(&path).unwrap().write_all_at(path.as_bytes(), 0).unwrap();
            cached.open(&path, false).unwrap()
        })
        .collect();
    for _ in 0..3 {
        for (number, file) in files.iter().enumerate() {
            assert_eq!(contents(&**file), number.to_string().as_bytes());
            assert!(open_files() <= bound(), "{} of {}", open_files(), bound());
        }
    }
    // What is not open is not waited for.
    let mut buffer = [0; 1];
    let waiting = files.iter().filter(|file| !file.read_cached_at(&mut buffer, 0).unwrap()).count();
    assert!(waiting >= count - bound(), "{waiting}");
    drop(files);
    // Files that are not there any more stand in nobody's way.
    let file = cached.open("7", false).unwrap();
    assert_eq!(contents(&*file), b"7");
}

#[test]
fn a_file_that_is_written_stays_open_until_it_is_released() {
    let directory = tempfile::tempdir().unwrap();
    let cached = Cached::new(Arc::new(Disk::new(directory.path())));
    let written: Vec<_> = (0..2 * bound()).map(|number| cached.create(&number.to_string()).unwrap()).collect();
    cached.create("last").unwrap();
    for file in &written {
        // One that was opened again could only be read.
        file.write_all_at(b"bytes", 0).unwrap();
        file.sync().unwrap();
    }
    let opened = cached.open("0", true).unwrap();
    written.iter().for_each(|file| file.release());
    opened.write_all_at(b"other", 0).unwrap();
    assert!(open_files() <= bound());
    assert_eq!(contents(&*written[0]), b"other");
    assert_eq!(contents(&*written[1]), b"bytes");
}

#[test]
fn threads_share_what_is_open() {
    let disk = SimDisk::new();
    let cached = Cached::new(Arc::new(disk.clone()));
    let count = bound() + 50;
    (0..count).for_each(|number| disk.put_file(&number.to_string(), number.to_le_bytes()));
    let files: Vec<_> = (0..count).map(|number| cached.open(&number.to_string(), false).unwrap()).collect();
    std::thread::scope(|scope| {
        for start in 0..4 {
            let files = &files;
            scope.spawn(move || {
                for round in 0..3 * count {
                    let number = (start * 101 + round * 7) % count;
                    assert_eq!(contents(&*files[number]), number.to_le_bytes());
                }
            });
        }
    });
}

#[test]
fn what_passes_is_tried_again_and_nothing_else_is() {
    for errno in [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EINTR, libc::EAGAIN] {
        let disk = SimDisk::new();
        (0..3).for_each(|operation| disk.fail_at(operation, Fault::Errno(errno)));
        assert!(Cached::new(Arc::new(disk.clone())).create("a").is_ok());
        assert_eq!(disk.operations(), 4);
        let always = retry(|| disk.create("a").and(Err::<(), _>(std::io::Error::from_raw_os_error(errno))));
        assert_eq!(kind(always), ErrorKind::AlreadyExists);
        let error = std::io::Error::from_raw_os_error(errno);
        assert_eq!(Trouble::of(&error), Trouble::Passing);
        let opened = matches!(errno, libc::EMFILE | libc::ENFILE);
        assert_eq!(Trouble::of_sync(&error) == Trouble::Passing, opened, "an fsync is never tried again");
    }
    for (errno, trouble) in [(libc::ENOSPC, Trouble::Full), (libc::EDQUOT, Trouble::Full), (libc::EIO, Trouble::Device)]
    {
        let disk = SimDisk::new();
        disk.fail_at(0, Fault::Errno(errno));
        assert_eq!(self::errno(retry(|| disk.create("a"))), errno);
        assert_eq!(disk.operations(), 1);
        assert_eq!(Trouble::of(&std::io::Error::from_raw_os_error(errno)), trouble);
    }
}
