//! Reading directories while they change.

use std::collections::BTreeSet;

use super::*;
use crate::store::Kind;

const FILES: usize = 3000;

fn fill(mount: &Mount, directory: EntryId, prefix: &str, count: usize) {
    for number in 0..count {
        mount.mknod(&USER, directory, format!("{prefix}{number}").as_bytes(), Kind::File, 0o644, 0).unwrap();
    }
}

/// Up to `count` names behind a cookie, and the cookie of the last.
fn portion(mount: &Mount, directory: EntryId, cookie: &mut u64, count: usize) -> Vec<String> {
    let mut names = Vec::new();
    mount
        .readdir(directory, *cookie, &mut |entry, stat| {
            assert!(entry.id == stat.id || entry.name == b"..");
            assert!(entry.cookie > *cookie);
            *cookie = entry.cookie;
            names.push(String::from_utf8(entry.name.clone()).unwrap());
            names.len() < count
        })
        .unwrap();
    names
}

#[test]
fn removing_while_reading_loses_none() {
    let mount = Mount::new();
    let directory = mount.mkdir("directory");
    fill(&mount, directory, "", FILES);
    // As `rm -r` does it: read some, remove them, read on.
    let (mut cookie, mut removed) = (0, 0);
    loop {
        let names = portion(&mount, directory, &mut cookie, 70);
        if names.is_empty() {
            break;
        }
        for name in names.iter().filter(|name| !name.starts_with('.')) {
            mount.unlink(directory, name.as_bytes()).unwrap();
            removed += 1;
        }
    }
    assert_eq!(removed, FILES);
    mount.rmdir(ROOT, b"directory").unwrap();
}

#[test]
fn names_that_stay_are_seen_once_whatever_else_changes() {
    let mount = Mount::new();
    let directory = mount.mkdir("directory");
    for number in 0..500 {
        fill(&mount, directory, &format!("stays{number}."), 1);
        fill(&mount, directory, &format!("goes{number}."), 1);
    }
    let (mut cookie, mut seen, mut round) = (0, BTreeSet::new(), 0);
    loop {
        let names = portion(&mount, directory, &mut cookie, 37);
        if names.is_empty() {
            break;
        }
        for name in names {
            assert!(seen.insert(name.clone()), "{name} is repeated");
        }
        // Before and behind the place that was reached.
        for number in [round * 10, 499 - round * 10] {
            let _ = mount.unlink(directory, format!("goes{number}.0").as_bytes());
        }
        if round < 20 {
            fill(&mount, directory, &format!("comes{round}."), 3);
        }
        round += 1;
    }
    assert_eq!(seen.iter().filter(|name| name.starts_with("stays")).count(), 500);
    assert!(seen.contains(".") && seen.contains(".."));
}

#[test]
fn a_cookie_outlives_its_name() {
    let mount = Mount::new();
    let directory = mount.mkdir("directory");
    fill(&mount, directory, "", 10);
    let mut cookie = 0;
    let all = portion(&mount, directory, &mut cookie, 100);
    cookie = 0;
    assert_eq!(portion(&mount, directory, &mut cookie, 7), all[..7]);
    mount.unlink(directory, all[6].as_bytes()).unwrap();
    mount.unlink(directory, all[7].as_bytes()).unwrap();
    assert_eq!(portion(&mount, directory, &mut cookie, 100), all[8..]);
}

#[test]
fn a_cookie_is_good_after_a_restart() {
    let mount = Mount::new();
    let directory = mount.mkdir("directory");
    fill(&mount, directory, "", 10);
    let mut cookie = 0;
    let all = portion(&mount, directory, &mut cookie, 100);
    cookie = 0;
    portion(&mount, directory, &mut cookie, 8);
    assert_eq!(portion(&mount.crash(), directory, &mut cookie, 100), all[8..]);
}

#[test]
fn a_reader_sees_every_name_that_stays_once_while_others_are_renamed() {
    let mount = Mount::new();
    let directory = mount.mkdir("directory");
    fill(&mount, directory, "", 10);
    let mut cookie = 0;
    let mut seen = portion(&mount, directory, &mut cookie, 5);
    mount.rename(directory, b"7", directory, b"seven", Default::default()).unwrap();
    seen.extend(portion(&mount, directory, &mut cookie, 100));
    seen.sort();
    let of_it = seen.iter().filter(|name| *name == "7" || *name == "seven").count();
    assert!(of_it <= 2 && seen.windows(2).all(|pair| pair[0] != pair[1]), "{seen:?}");
    seen.retain(|name| name != "7" && name != "seven");
    assert_eq!(seen, [".", "..", "0", "1", "2", "3", "4", "5", "6", "8", "9"]);
}

#[test]
fn readdir_of_what_is_no_directory_is_refused() {
    let mount = Mount::new();
    let id = mount.file("key", b"value");
    assert_eq!(errno(mount.readdir(id, 0, &mut |_, _| true)), libc::ENOTDIR);
    assert_eq!(errno(mount.readdir(12345, 0, &mut |_, _| true)), libc::ESTALE);
}

#[test]
fn a_created_file_is_listed_with_what_is_written_to_it() {
    let mount = Mount::new();
    let open = mount.create("key");
    mount.write(open, 0, b"value");
    let mut sizes = Vec::new();
    mount
        .readdir(ROOT, 2, &mut |entry, stat| {
            sizes.push((entry.name.clone(), stat.size));
            true
        })
        .unwrap();
    assert_eq!(sizes, [(b"key".to_vec(), 5)]);
}
