//! What goes wrong on demand.

use std::io::{ErrorKind, Result};

use super::{contents, disk_with, errno, images_of_a, kind};
use crate::medium::{Fault, Medium, SimDisk};

#[test]
fn what_a_failed_sync_lost_no_later_sync_writes() {
    for fault in [Fault::Io, Fault::NoSpace] {
        let (disk, file) = disk_with(b"....");
        file.write_all_at(b"lost", 0).unwrap();
        disk.fail_at(disk.operations(), fault);
        file.sync().unwrap_err();
        assert_eq!(contents(&*file), b"lost", "it can still be read");
        file.write_all_at(b"kept", 4).unwrap();
        file.sync().unwrap();
        let images = disk.power_cut_images(0, 2);
        assert_eq!(images[0].file("a").unwrap(), b"....kept");
        assert_eq!(images[1].file("a").unwrap(), b"....kept");
        let found = images_of_a(&disk).into_iter().flatten();
        assert!(found.map(|a| a[4..].to_vec()).all(|tail| tail == b"kept"));
        let whole = |a: Option<Vec<u8>>| a.as_deref() == Some(b"lostkept");
        assert!(images_of_a(&disk).into_iter().any(whole), "nothing is known");
    }
}

#[test]
fn what_a_failed_directory_sync_lost_no_later_one_writes() {
    let disk = SimDisk::new();
    disk.create("a").unwrap();
    disk.fail_at(1, Fault::Io);
    assert_eq!(errno(disk.sync_dir("")), libc::EIO);
    disk.create("b").unwrap();
    disk.sync_dir("").unwrap();
    assert_eq!(disk.paths(), ["a", "b"]);
    let images = disk.power_cut_images(0, 100);
    assert_eq!(images[0].paths(), ["b"]);
    assert_eq!(images[1].paths(), ["b"]);
    assert!(images.iter().all(|image| image.file("b").is_some()));
}

#[test]
fn every_mutating_operation_is_counted_and_can_fail() {
    let operations: [fn(&SimDisk) -> Result<()>; 8] = [
        |disk| disk.create("new").map(drop),
        |disk| disk.rename("a", "b"),
        |disk| disk.remove("a"),
        |disk| disk.create_dir("d"),
        |disk| disk.sync_dir(""),
        |disk| disk.open("a", true)?.write_at(b"1234", 0).map(drop),
        |disk| disk.open("a", true)?.set_len(1),
        |disk| disk.open("a", true)?.sync(),
    ];
    for operation in operations {
        for (fault, code) in [(Fault::NoSpace, libc::ENOSPC), (Fault::Io, libc::EIO)] {
            let (disk, _) = disk_with(b"");
            disk.fail_at(0, fault);
            disk.fail_at(2, fault);
            disk.fail_at(3, Fault::Short);
            assert_eq!(errno(operation(&disk)), code);
            assert_eq!(disk.paths(), ["a"]);
            assert_eq!(disk.list("").unwrap(), ["a"]);
            assert_eq!(disk.operations(), 1);
            disk.sync_dir("").unwrap();
            assert_eq!(errno(operation(&disk)), code);
            operation(&disk).unwrap();
            assert_eq!(disk.operations(), 4);
            disk.fail_at(4, fault);
            disk.clear_faults();
            disk.sync_dir("").unwrap();
        }
    }
}

#[test]
fn reads_are_not_counted() {
    let (disk, file) = disk_with(b"abc");
    contents(&*file);
    disk.list("").unwrap();
    disk.space().unwrap();
    disk.lock("lock", true).unwrap();
    assert_eq!(disk.operations(), 0);
}

#[test]
fn a_faulty_write_is_short_or_half_done() {
    let (disk, file) = disk_with(b"");
    disk.fail_at(0, Fault::Short);
    assert_eq!(file.write_at(b"12345", 0).unwrap(), 3);
    assert_eq!(contents(&*file), b"123");
    disk.fail_at(1, Fault::Short);
    file.write_all_at(b"12345", 0).unwrap();
    assert_eq!(disk.operations(), 3, "the rest takes a second write");
    disk.fail_at(3, Fault::Io);
    assert_eq!(errno(file.write_at(b"abcde", 0)), libc::EIO);
    assert_eq!(contents(&*file), b"ab345");
    disk.fail_at(4, Fault::NoSpace);
    assert_eq!(errno(file.write_at(b"xyz", 0)), libc::ENOSPC);
    assert_eq!(contents(&*file), b"ab345");
}

#[test]
fn after_a_power_cut_nothing_works() {
    let (disk, file) = disk_with(b"old");
    file.write_all_at(b"new", 0).unwrap();
    let held = disk.lock("lock", false).unwrap();
    disk.fail_at(1, Fault::PowerCut);
    assert_eq!(errno(file.sync()), libc::EIO);
    assert_eq!(disk.operations(), 2);
    for _ in 0..2 {
        assert_eq!(errno(file.read_at(&mut [0], 0)), libc::EIO);
        assert_eq!(errno(file.len()), libc::EIO);
        assert_eq!(errno(file.write_at(b"x", 0)), libc::EIO);
        assert_eq!(errno(file.set_len(0)), libc::EIO);
        assert_eq!(errno(file.sync()), libc::EIO);
        assert_eq!(errno(disk.create("b")), libc::EIO);
        assert_eq!(errno(disk.create_dir("d")), libc::EIO);
        assert_eq!(errno(disk.open("a", false)), libc::EIO);
        assert_eq!(errno(disk.rename("a", "b")), libc::EIO);
        assert_eq!(errno(disk.remove("a")), libc::EIO);
        assert_eq!(errno(disk.list("")), libc::EIO);
        assert_eq!(errno(disk.sync_dir("")), libc::EIO);
        assert_eq!(errno(disk.space()), libc::EIO);
        assert_eq!(errno(disk.lock("lock", true)), libc::EIO);
        disk.clear_faults();
    }
    drop(held);
    assert_eq!(disk.operations(), 2);
    let images = disk.power_cut_images(0, 2);
    assert_eq!(images[0].file("a").unwrap(), b"old", "the sync did not happen");
    assert_eq!(images[1].file("a").unwrap(), b"new", "but nor did it fail");
}

#[test]
fn ignored_syncs_make_nothing_durable() {
    let disk = SimDisk::new();
    disk.put_file("d/a", "old");
    disk.put_file("b", "old");
    disk.ignore_syncs("d");
    for path in ["d/a", "b"] {
        let file = disk.open(path, true).unwrap();
        file.write_all_at(b"new", 0).unwrap();
        file.sync().unwrap();
    }
    disk.create("d/c").unwrap();
    disk.sync_dir("d").unwrap();
    assert_eq!(kind(disk.sync_dir("dd")), ErrorKind::NotFound);
    let image = disk.power_cut_images(0, 1).remove(0);
    assert_eq!(image.paths(), ["b", "d/a"]);
    assert_eq!(image.file("d/a").unwrap(), b"old");
    assert_eq!(image.file("b").unwrap(), b"new");
}

#[test]
fn ignored_directory_syncs_leave_the_files_alone() {
    let (disk, file) = disk_with(b"old");
    disk.ignore_dir_syncs("");
    file.write_all_at(b"new", 0).unwrap();
    file.sync().unwrap();
    disk.create("b").unwrap();
    disk.sync_dir("").unwrap();
    let image = disk.power_cut_images(0, 1).remove(0);
    assert_eq!(image.paths(), ["a"]);
    assert_eq!(image.file("a").unwrap(), b"new");
}

#[test]
fn a_full_disk_takes_what_fits() {
    let (disk, file) = disk_with(b"1234");
    disk.put_file("b", "1234");
    disk.set_capacity(Some(10));
    assert_eq!(file.write_at(b"5678", 4).unwrap(), 2);
    assert_eq!(disk.space().unwrap().available, 0);
    assert_eq!(errno(file.write_at(b"7", 6)), libc::ENOSPC);
    assert_eq!(errno(file.set_len(7)), libc::ENOSPC);
    assert_eq!(errno(file.write_all_at(b"12345678", 0)), libc::ENOSPC);
    file.write_all_at(b"654321", 0).unwrap();
    disk.create("empty").unwrap();
    disk.remove("b").unwrap();
    assert_eq!(disk.space().unwrap().free, 4);
    file.set_len(9).unwrap();
    assert_eq!(file.write_at(b"xyz", 20).map_err(|e| e.raw_os_error()), Err(Some(libc::ENOSPC)));
    disk.set_capacity(Some(3));
    assert_eq!(disk.space().unwrap().free, 0);
    disk.set_capacity(None);
    file.write_all_at(b"xyz", 20).unwrap();
    assert_eq!(errno(file.write_at(b"x", u64::MAX)), libc::EFBIG);
    assert_eq!(errno(file.set_len(1 << 50)), libc::EFBIG);
}

#[test]
fn a_read_fault_hits_open_handles_of_that_file_alone() {
    let (disk, file) = disk_with(b"abc");
    disk.put_file("b", "abc");
    disk.set_read_fault("a", true);
    assert_eq!(errno(file.read_at(&mut [0], 0)), libc::EIO);
    assert_eq!(file.len().unwrap(), 3);
    file.write_all_at(b"x", 0).unwrap();
    contents(&*disk.open("b", false).unwrap());
    disk.set_read_fault("a", false);
    assert_eq!(contents(&*file), b"xbc");
    disk.set_read_fault("a", true);
    disk.clear_faults();
    contents(&*file);
}

#[test]
fn clones_are_the_same_disk() {
    let disk = SimDisk::default();
    disk.clone().create("a").unwrap();
    assert_eq!(disk.paths(), ["a"]);
    assert!(format!("{disk:?}").contains("\"a\""));
}
