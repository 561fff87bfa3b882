//! What a power cut, and what the death of a process, leaves.

use std::collections::BTreeSet;

use super::{contents, disk_with, images_of_a};
use crate::medium::{Fault, Medium, SimDisk};

#[test]
fn unsynced_bytes_are_lost_or_kept() {
    let (disk, file) = disk_with(b"old");
    file.write_all_at(b"new and longer", 0).unwrap();
    assert_eq!(disk.file("a").unwrap(), b"new and longer");
    let images = disk.power_cut_images(0, 2);
    assert_eq!(images[0].file("a").unwrap(), b"old");
    assert_eq!(images[1].file("a").unwrap(), b"new and longer");
}

#[test]
fn synced_bytes_are_kept() {
    let (disk, file) = disk_with(b"old");
    file.write_all_at(b"newer", 0).unwrap();
    file.sync().unwrap();
    assert!(images_of_a(&disk).iter().all(|a| a.as_deref() == Some(b"newer")));
    file.set_len(2).unwrap();
    let found: BTreeSet<_> = images_of_a(&disk).into_iter().flatten().collect();
    assert_eq!(found, BTreeSet::from([b"newer".to_vec(), b"ne".to_vec()]));
}

#[test]
fn a_name_is_lost_until_its_directory_is_synced() {
    let disk = SimDisk::new();
    let file = disk.create("a").unwrap();
    file.write_all_at(b"bytes", 0).unwrap();
    file.sync().unwrap();
    let found: BTreeSet<_> = images_of_a(&disk).into_iter().collect();
    assert_eq!(found, BTreeSet::from([None, Some(b"bytes".to_vec())]));
    disk.sync_dir("").unwrap();
    assert!(images_of_a(&disk).iter().all(Option::is_some));

    disk.remove("a").unwrap();
    let images = disk.power_cut_images(0, 2);
    assert_eq!(images[0].file("a").unwrap(), b"bytes");
    assert_eq!(images[1].file("a"), None);
    disk.sync_dir("").unwrap();
    assert!(images_of_a(&disk).iter().all(Option::is_none));
}

#[test]
fn a_directory_is_lost_with_all_in_it_until_its_parent_is_synced() {
    let disk = SimDisk::new();
    disk.create_dir("d").unwrap();
    disk.create("d/a").unwrap().sync().unwrap();
    disk.sync_dir("d").unwrap();
    assert!(disk.power_cut_images(0, 1)[0].paths().is_empty());
    disk.sync_dir("").unwrap();
    assert_eq!(disk.power_cut_images(0, 1)[0].paths(), ["d/a"]);
}

#[test]
fn a_rename_is_done_or_not_done() {
    let disk = SimDisk::new();
    disk.put_file("a", "old");
    let file = disk.create("a.tmp").unwrap();
    file.write_all_at(b"new", 0).unwrap();
    file.sync().unwrap();
    disk.sync_dir("").unwrap();
    disk.rename("a.tmp", "a").unwrap();
    let mut found = BTreeSet::new();
    for image in disk.power_cut_images(3, 200) {
        found.insert((image.file("a"), image.file("a.tmp")));
    }
    let (old, new) = (Some(b"old".to_vec()), Some(b"new".to_vec()));
    assert_eq!(found, BTreeSet::from([(old, new.clone()), (new, None)]));
}

#[test]
fn a_rename_across_directories_may_leave_both_names_or_none() {
    let disk = SimDisk::new();
    disk.put_file("d/a", "bytes");
    disk.rename("d/a", "a").unwrap();
    let images = disk.power_cut_images(3, 200);
    let found: BTreeSet<_> = images.iter().map(SimDisk::paths).collect();
    assert_eq!(found.len(), 4, "{found:?}");
}

#[test]
fn a_link_is_lost_until_its_directory_is_synced() {
    let (disk, file) = disk_with(b"old");
    file.write_all_at(b"new", 0).unwrap();
    disk.create_dir("d").unwrap();
    disk.sync_dir("").unwrap();
    disk.hard_link("a", "d/b").unwrap();
    let images = disk.power_cut_images(3, 100);
    let found: BTreeSet<_> = images.iter().map(SimDisk::paths).collect();
    assert_eq!(found, BTreeSet::from([vec!["a".to_owned()], vec!["a".into(), "d/b".into()]]));
    disk.sync_dir("d").unwrap();
    disk.remove("a").unwrap();
    disk.sync_dir("").unwrap();
    let images = disk.power_cut_images(3, 100);
    assert!(images.iter().all(|image| image.paths() == ["d/b"]));
    // The name is durable, the bytes are not: they are synced through any name, or handle.
    let found: BTreeSet<_> = images.iter().map(|image| image.file("d/b").unwrap()).collect();
    assert!(found.contains(&b"old"[..]) && found.contains(&b"new"[..]));
    file.sync().unwrap();
    assert_eq!(disk.power_cut_images(0, 1)[0].file("d/b").unwrap(), b"new");
}

#[test]
fn both_names_lead_to_one_file_after_a_cut() {
    let (disk, _) = disk_with(b"old");
    disk.hard_link("a", "b").unwrap();
    disk.sync_dir("").unwrap();
    for image in disk.power_cut_images(0, 20) {
        image.open("a", true).unwrap().write_all_at(b"new", 0).unwrap();
        assert_eq!(image.file("b").unwrap(), b"new");
        let space = image.space().unwrap();
        assert_eq!(space.total - space.free, 3, "its bytes count once");
    }
}

#[test]
fn the_rename_of_a_directory_is_done_or_not_done() {
    let disk = SimDisk::new();
    disk.put_file("d.tmp/a", "bytes");
    disk.rename("d.tmp", "d").unwrap();
    let found: BTreeSet<_> = disk.power_cut_images(3, 100).iter().map(SimDisk::paths).collect();
    assert_eq!(found, BTreeSet::from([vec!["d.tmp/a".to_owned()], vec!["d/a".into()]]));
    disk.remove("d/a").unwrap();
    disk.remove_dir("d").unwrap();
    disk.sync_dir("").unwrap();
    assert!(disk.power_cut_images(3, 100).iter().all(|image| image.paths().is_empty()));
}

/// Every image of one file is made of bytes that were there, bytes that were written, and zeros where it grew.
#[test]
fn writes_are_torn_by_sector_and_by_byte() {
    let (disk, file) = disk_with(&[1; 1000]);
    file.write_all_at(&[2; 2000], 300).unwrap();
    let (mut lens, mut by_byte, mut reordered, mut zeros) = (BTreeSet::new(), 0, 0, 0);
    for a in images_of_a(&disk).into_iter().flatten() {
        lens.insert(a.len());
        assert!(a.len() >= 1000 && a.len() <= 2300);
        assert!(a[..300].iter().all(|byte| *byte == 1));
        assert!(a[300..1000].iter().all(|byte| matches!(byte, 1 | 2)));
        assert!(a[1000..].iter().all(|byte| matches!(byte, 0 | 2)));
        let edges: Vec<_> = (301..a.len()).filter(|at| (a[at - 1] == 2) != (a[*at] == 2)).collect();
        by_byte += usize::from(edges.iter().any(|at| at % 512 != 0 && *at != 1000));
        reordered += usize::from(edges.windows(2).any(|pair| a[pair[0]] != 2 && a[pair[1]] == 2));
        zeros += usize::from(a.contains(&0));
    }
    assert!(lens.len() > 10 && by_byte > 10 && reordered > 10 && zeros > 10);
}

#[test]
fn a_write_that_survives_an_earlier_one_leaves_zeros_before_it() {
    let (disk, file) = disk_with(b"");
    file.write_all_at(b"first", 0).unwrap();
    file.write_all_at(b"second", 5).unwrap();
    let found: BTreeSet<_> = images_of_a(&disk).into_iter().flatten().collect();
    assert!(found.contains(&b"first"[..]));
    assert!(found.contains(&b"firstsecond"[..]));
    assert!(found.contains(&b"\0\0\0\0\0second"[..]), "reordered");
    let torn = |a: &Vec<u8>| a.starts_with(b"firsts") && !a.ends_with(b"d");
    assert!(found.iter().any(torn));
}

#[test]
fn images_come_from_the_seed_alone() {
    let (disk, file) = disk_with(&[1; 3000]);
    for offset in 0..20 {
        file.write_all_at(&[offset; 700], u64::from(offset) * 500).unwrap();
    }
    let draw = |seed, count| -> Vec<_> {
        let images = disk.power_cut_images(seed, count);
        images.iter().map(|image| image.file("a")).collect()
    };
    assert_eq!(draw(5, 100), draw(5, 100));
    assert_eq!(draw(5, 100)[..40], draw(5, 40));
    assert_ne!(draw(5, 100), draw(6, 100));
}

#[test]
fn images_are_durable_apart_and_without_faults() {
    let (disk, file) = disk_with(b"old");
    let held = disk.lock("lock", false).unwrap();
    disk.sync_dir("").unwrap();
    disk.set_capacity(Some(100));
    disk.set_read_fault("a", true);
    disk.ignore_syncs("");
    disk.fail_at(disk.operations(), Fault::PowerCut);
    file.write_all_at(b"new", 0).unwrap_err();
    let image = disk.power_cut_images(0, 2).remove(1);
    assert_eq!(image.operations(), 0);
    assert_eq!(image.space().unwrap().total, 100);
    assert!(image.lock("lock", false).unwrap().is_some());
    let again = image.open("a", true).unwrap();
    assert_eq!(contents(&*again), b"old");
    again.write_all_at(b"newer", 0).unwrap();
    assert_eq!(image.power_cut_images(0, 1)[0].file("a").unwrap(), b"old");
    again.sync().unwrap();
    assert_eq!(image.power_cut_images(0, 1)[0].file("a").unwrap(), b"newer");
    assert_eq!(disk.file("a").unwrap(), b"old");
    drop(held);
}

#[test]
fn a_killed_process_leaves_everything_but_its_locks() {
    let (disk, file) = disk_with(b"old");
    file.write_all_at(b"new", 0).unwrap();
    disk.create("b").unwrap();
    let _held = disk.lock("b", false).unwrap();
    disk.fail_at(5, Fault::Io);
    disk.set_read_fault("a", true);
    let next = disk.restart();
    assert_eq!(next.operations(), 0);
    assert!(next.lock("b", false).unwrap().is_some());
    assert_eq!(next.paths(), ["a", "b"]);
    let again = next.open("a", true).unwrap();
    assert_eq!(contents(&*again), b"new");
    let image = next.power_cut_images(0, 1).remove(0);
    assert_eq!(image.paths(), ["a"], "what was unsynced still is");
    assert_eq!(image.file("a").unwrap(), b"old");
    again.sync().unwrap();
    assert_eq!(next.power_cut_images(0, 1)[0].file("a").unwrap(), b"new");
    assert_eq!(disk.power_cut_images(0, 1)[0].file("a").unwrap(), b"old");
}

#[test]
fn put_files_are_durable_even_over_unsynced_names() {
    let disk = SimDisk::new();
    disk.create_dir("d").unwrap();
    disk.create("d/a").unwrap();
    disk.put_file("d/a", "put");
    disk.put_file("e/f/g", vec![1, 2, 3]);
    for image in disk.power_cut_images(0, 50) {
        assert_eq!(image.paths(), ["d/a", "e/f/g"]);
        assert_eq!(image.file("d/a").unwrap(), b"put");
    }
}

#[test]
fn damage_is_on_the_medium() {
    let (disk, file) = disk_with(b"abc");
    file.write_all_at(b"B", 1).unwrap();
    assert!(disk.corrupt("a", 1, 0x01));
    assert!(disk.corrupt("a", 2, 0x01));
    assert!(!disk.corrupt("a", 3, 0x01));
    assert!(!disk.corrupt("b", 0, 0x01));
    assert_eq!(contents(&*file), b"aCb");
    let images = disk.power_cut_images(0, 2);
    assert_eq!(images[0].file("a").unwrap(), b"acb");
    assert_eq!(images[1].file("a").unwrap(), b"aCb");
    file.sync().unwrap();
    assert!(images_of_a(&disk).iter().all(|a| a.as_deref() == Some(b"aCb")));
    assert_eq!(disk.operations(), 2);
}
