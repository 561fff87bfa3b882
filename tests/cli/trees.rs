//! Trees of files that go into a store and out of it: deep ones, unreadable ones, and such as want to go elsewhere.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, mkdirat};

use crate::command::{assert_refused, caskfs, printed, snapshot, text};
use crate::keys::{run, store_with};

const NOBODY: u32 = 65_534;

/// `caskfs COMMAND FROM TO ARGUMENTS...`
fn copy(command: &str, from: &Path, to: &Path, arguments: &[&str]) -> Output {
    caskfs(words(command, from, to, arguments))
}

fn words(command: &str, from: &Path, to: &Path, arguments: &[&str]) -> Vec<OsString> {
    let mut all: Vec<OsString> = vec![command.into(), from.into(), to.into()];
    all.extend(arguments.iter().map(OsString::from));
    all
}

/// Asserts that something was left out: each of these lines, and then how many.
#[track_caller]
fn assert_left_out(output: &Output, lines: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(19), "{said}");
    assert_eq!(said.lines().count(), lines.len() + 1, "{said}");
    for line in lines {
        assert!(said.lines().any(|found| found.starts_with("caskfs: ") && found.contains(line)), "{line:?}: {said}");
    }
    assert!(said.lines().last().unwrap().contains("all else is imported: --continue"), "{said}");
}

/// The directory this deep below another one.
fn descend(top: &Path, depth: usize, make: bool) -> OwnedFd {
    let name = "a directory with a long name ".repeat(4);
    let mut here = open(top, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
    for _ in 0..depth {
        if make {
            mkdirat(&here, name.as_str(), Mode::S_IRWXU).unwrap();
        }
        here = openat(&here, name.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
    }
    here
}

/// The longest path is 12 KB, and the kernel takes 4.
#[test]
fn a_deep_tree_goes_in_and_out() {
    const DEPTH: usize = 100;
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    fs::create_dir(at("source")).unwrap();
    let bottom = descend(&at("source"), DEPTH, true);
    let path = |directory: &OwnedFd, name: &str| {
        use std::os::fd::AsRawFd;
        Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name)
    };
    fs::write(path(&bottom, "file"), "at the bottom").unwrap();
    fs::hard_link(path(&bottom, "file"), path(&bottom, "other")).unwrap();
    fs::hard_link(path(&bottom, "file"), path(&descend(&at("source"), 50, false), "above")).unwrap();
    fs::set_permissions(path(&bottom, ""), Permissions::from_mode(0o511)).unwrap();
    assert_eq!(text(copy("import", &at("source"), &at("store"), &[])), "");
    assert_eq!(text(copy("import", &at("source"), &at("store"), &["--continue"])), "");
    assert_eq!(text(copy("export", &at("store"), &at("target"), &[])), "");
    let back = descend(&at("target"), DEPTH, false);
    assert_eq!(fs::read_to_string(path(&back, "file")).unwrap(), "at the bottom");
    let found = nix::sys::stat::fstat(&back).unwrap();
    let wanted = nix::sys::stat::fstat(&bottom).unwrap();
    assert_eq!(
        (found.st_mode, found.st_mtime, found.st_mtime_nsec),
        (wanted.st_mode, wanted.st_mtime, wanted.st_mtime_nsec)
    );
    assert_eq!(std::os::unix::fs::MetadataExt::nlink(&fs::metadata(path(&back, "other")).unwrap()), 3);
    fs::set_permissions(path(&bottom, ""), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(path(&back, ""), Permissions::from_mode(0o755)).unwrap();
}

/// As an ordinary user, whoever runs the tests: root can read everything.
fn as_nobody(home: &Path, arguments: &[OsString]) -> Output {
    let program = home.join("caskfs");
    if !program.exists() {
        fs::copy(env!("CARGO_BIN_EXE_caskfs"), &program).unwrap();
    }
    let mut command = Command::new(program);
    if nix::unistd::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.args(arguments).stdin(Stdio::null()).current_dir(home).output().unwrap()
}

#[test]
fn what_cannot_be_read_is_left_out_and_comes_later() {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
    let at = |name: &str| place.path().join(name);
    for directory in ["tree", "tree/closed", "tree/open", "tree/listed"] {
        fs::create_dir(at(directory)).unwrap();
    }
    for file in ["tree/a", "tree/b", "tree/closed/c", "tree/open/d", "tree/listed/e"] {
        fs::write(at(file), file).unwrap();
    }
    fs::create_dir(at("place")).unwrap();
    if nix::unistd::geteuid().is_root() {
        for name in ["tree", "tree/closed", "tree/open", "tree/listed", "tree/a", "tree/b", "place"] {
            chown(at(name), Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    let modes = |file, closed, listed| {
        for (name, mode) in [("tree/b", file), ("tree/closed", closed), ("tree/listed", listed)] {
            fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
        }
    };
    modes(0o000, 0o300, 0o600);
    let store = at("place/store");
    let import = |arguments: &[&str]| as_nobody(place.path(), &words("import", &at("tree"), &store, arguments));
    let list = || text(as_nobody(place.path(), &["ls".into(), store.clone().into(), "-r".into()]));
    let denied = ["/tree/b: Permission denied", "/tree/closed: Permission denied", "/tree/listed/e: Permission denied"];
    assert_left_out(&import(&[]), &denied);
    assert_eq!(list(), "a\nlisted/\nopen/\nopen/d\n");
    // Nothing has changed.
    assert_left_out(&import(&["--continue"]), &denied);
    assert_refused(&import(&[]), 17, "--continue");
    modes(0o644, 0o755, 0o755);
    assert_eq!(text(import(&["--continue"])), "");
    assert_eq!(list(), "a\nb\nclosed/\nclosed/c\nlisted/\nlisted/e\nopen/\nopen/d\n");
}

/// What is equal stays, what changed is replaced, what is missing comes, and what the tree does not have stays as well.
#[test]
fn an_import_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let (tree, store) = (place.path().join("tree"), place.path().join("store"));
    fs::create_dir_all(tree.join("d/empty")).unwrap();
    for name in ["same", "longer", "newer", "d/kind", "gone", "d/linked"] {
        fs::write(tree.join(name), name).unwrap();
    }
    fs::hard_link(tree.join("d/linked"), tree.join("name")).unwrap();
    symlink("same", tree.join("link")).unwrap();
    symlink("same", tree.join("other")).unwrap();
    nix::unistd::mkfifo(&tree.join("fifo"), Mode::S_IRWXU).unwrap();
    let socket = UnixListener::bind(tree.join("socket")).unwrap();
    assert_eq!(text(copy("import", &tree, &store, &[])), "");
    drop(socket);
    let inode = |key: &str| {
        let said = text(run(&store, "stat", &[key, "--json"]));
        said.split("\"inode\":").nth(1).unwrap().split(',').next().unwrap().to_owned()
    };
    let kept = ["same", "d/linked", "name", "link", "fifo", "socket", "d", "d/empty"];
    let before = kept.map(inode);
    let replaced = ["longer", "newer", "d/kind", "other", "d/zlate"];
    printed(run(&store, "put", &["mine", "stays"]));
    printed(run(&store, "rm", &["gone"]));
    fs::write(tree.join("longer"), "much longer than before").unwrap();
    fs::write(tree.join("newer"), "newER").unwrap();
    fs::remove_file(tree.join("d/kind")).unwrap();
    fs::create_dir(tree.join("d/kind")).unwrap();
    fs::write(tree.join("d/kind/below"), "x").unwrap();
    fs::remove_file(tree.join("other")).unwrap();
    symlink("longer", tree.join("other")).unwrap();
    fs::hard_link(tree.join("d/linked"), tree.join("d/zlate")).unwrap();
    assert_eq!(text(copy("import", &tree, &store, &["--continue"])), "");
    assert_eq!(kept.map(inode), before);
    assert_eq!(inode("d/zlate"), inode("name"));
    for key in replaced {
        assert!(!before.contains(&inode(key)) || key == "d/zlate", "{key}");
    }
    printed(run(&store, "rm", &["mine"]));
    let back = place.path().join("back");
    assert_eq!(text(copy("export", &store, &back, &[])), "");
    let without = |tree: &Path| -> Vec<(std::path::PathBuf, String)> {
        let all = snapshot(tree).into_iter();
        all.map(|(path, what)| (path.strip_prefix(tree).unwrap().to_owned(), what)).collect()
    };
    // A directory's length is its file system's own affair.
    let files =
        |tree: &Path| -> Vec<_> { without(tree).into_iter().filter(|(path, _)| !tree.join(path).is_dir()).collect() };
    assert_eq!(files(&back), files(&tree));
    assert!(files(&back).len() > 10);
    // A directory that holds keys is not replaced by a file.
    fs::remove_dir_all(tree.join("d/kind")).unwrap();
    fs::write(tree.join("d/kind"), "a file again").unwrap();
    assert_left_out(&copy("import", &tree, &store, &["--continue"]), &["d/kind: the directory is not empty"]);
}

#[test]
fn what_a_mount_reserves_is_left_out_with_a_word() {
    let place = tempfile::tempdir().unwrap();
    let (tree, store) = (place.path().join("tree"), place.path().join("store"));
    fs::create_dir_all(tree.join(".snapshots/monday")).unwrap();
    fs::write(tree.join(".caskfs"), "x").unwrap();
    fs::write(tree.join("key"), "x").unwrap();
    let lines =
        ["/.caskfs: operation not permitted: the names .caskfs", "/.snapshots: operation not permitted: the names"];
    assert_left_out(&copy("import", &tree, &store, &[]), &lines);
    assert_eq!(text(run(&store, "ls", &["-r"])), "key\n");
    assert_eq!(text(copy("import", &tree, &store, &["--below", "below"])), "");
    assert_eq!(text(run(&store, "ls", &["-r", "below/.snapshots"])), "below/.snapshots/monday/\n");
}

/// Changes what stands in the bodies of a store's records, and puts their checksums right.
fn rename_on_disk(store: &Path, from: &[u8], to: &[u8]) -> usize {
    let u32_at = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let mut changed = 0;
    for segment in fs::read_dir(store.join("segments")).unwrap().map(|entry| entry.unwrap().path()) {
        if segment.extension() == Some(OsStr::new("hint")) {
            fs::remove_file(segment).unwrap();
            continue;
        }
        let mut bytes = fs::read(&segment).unwrap();
        let seed = u32_at(&bytes, 60);
        let mut at = 64;
        while at + 40 <= bytes.len() && u32_at(&bytes, at + 8) != 0 {
            let end = at + 40 + u32_at(&bytes, at + 8) as usize;
            while let Some(found) = bytes[at + 40..end].windows(from.len()).position(|window| window == from) {
                bytes[at + 40 + found..][..to.len()].copy_from_slice(to);
                changed += 1;
            }
            let body = crc32fast::hash(&bytes[at + 40..end]);
            bytes[at + 4..at + 8].copy_from_slice(&body.to_le_bytes());
            let mut header = crc32fast::Hasher::new_with_initial(seed);
            header.update(&(at as u32).to_le_bytes());
            header.update(&bytes[at + 4..at + 40]);
            bytes[at..at + 4].copy_from_slice(&header.finalize().to_le_bytes());
            at = end.next_multiple_of(8);
        }
        fs::write(segment, bytes).unwrap();
    }
    changed
}

/// A store that somebody made up names the directory above, and a place elsewhere.
#[test]
fn names_that_lead_elsewhere_are_not_exported() {
    for (name, bad) in [
        ("zz", "..".to_owned()),
        ("zzz", "../".to_owned()),
        ("zzzzz", "/tmp/".to_owned()),
        ("zzzzzz", "../bad".to_owned()),
    ] {
        let store = store_with(&["good", &format!("{name}/planted"), &format!("d/{name}")]);
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("around")).unwrap();
        let target = place.path().join("around/target");
        let length = name.len() as u8;
        let with = |name: &str| [&[length], name.as_bytes()].concat();
        assert!(rename_on_disk(store.path(), &with(name), &with(&bad)) > 0);
        let output = copy("export", store.path(), &target, &[]);
        assert_eq!(output.status.code(), Some(13), "{bad}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.stderr.is_empty());
        let mut found: Vec<_> = snapshot(place.path()).into_keys().collect();
        found.retain(|path| !path.starts_with(&target));
        assert_eq!(found, [place.path().to_owned(), place.path().join("around")], "{bad}");
        assert!(!Path::new("/tmp/planted").exists());
        assert_eq!(fs::read_to_string(target.join("good")).unwrap(), "good", "{bad}");
    }
}

/// The target may be a symbolic link, since somebody gave it; what is below is what was made.
#[test]
fn an_export_goes_where_it_was_told() {
    let store = store_with(&["d/key"]);
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("real")).unwrap();
    symlink("real", place.path().join("link")).unwrap();
    printed(copy("export", store.path(), &place.path().join("link"), &[]));
    assert_eq!(fs::read_to_string(place.path().join("real/d/key")).unwrap(), "d/key");
    fs::write(place.path().join("file"), "").unwrap();
    assert_refused(&copy("export", store.path(), &place.path().join("file"), &[]), 3, "Not a directory");
}
