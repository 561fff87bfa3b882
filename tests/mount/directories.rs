//! Directories with many keys in them.

use std::collections::BTreeSet;
use std::fs::{self, File};

use crate::sandbox::Sandbox;

/// Makes empty keys. They are on the disk after the next sync.
fn make(sandbox: &Sandbox, directory: &str, count: u32) {
    fs::create_dir(sandbox.at(directory)).unwrap();
    for number in 0..count {
        File::create_new(sandbox.at(directory).join(number.to_string())).unwrap();
    }
}

#[test]
fn ten_thousand_keys_are_listed_once_each() {
    let sandbox = Sandbox::mounted();
    make(&sandbox, "keys", 10_000);
    let list = || -> Vec<String> {
        fs::read_dir(sandbox.at("keys"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    let names = list();
    assert_eq!(names.len(), 10_000);
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 10_000);
    sandbox.remount();
    assert_eq!(list(), names, "the order stays as it was");
    assert_eq!(sandbox.sh("find keys -type f -printf x | wc -c").trim(), "10000");
    assert_eq!(sandbox.sh("ls -l keys | tail -n +2 | wc -l").trim(), "10000");
}

/// What os.scandir() and unlink() do together: each entry goes as soon as it was seen.
#[test]
fn removing_while_listing_loses_no_name() {
    let sandbox = Sandbox::mounted();
    make(&sandbox, "keys", 3_000);
    let mut seen = 0;
    for entry in fs::read_dir(sandbox.at("keys")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
        seen += 1;
    }
    assert_eq!(seen, 3_000);
    assert_eq!(fs::read_dir(sandbox.at("keys")).unwrap().count(), 0);
    fs::remove_dir(sandbox.at("keys")).unwrap();
}

#[test]
fn adding_while_listing_shows_each_old_name_once() {
    let sandbox = Sandbox::mounted();
    make(&sandbox, "keys", 2_000);
    let mut seen = Vec::new();
    for (number, entry) in fs::read_dir(sandbox.at("keys")).unwrap().take(10_000).enumerate() {
        seen.push(entry.unwrap().file_name().into_string().unwrap());
        if number < 2_000 {
            File::create_new(sandbox.at("keys").join(format!("new-{number}"))).unwrap();
        }
    }
    let old: Vec<_> = seen.iter().filter(|name| !name.starts_with("new-")).collect();
    assert_eq!(old.len(), 2_000);
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len());
}

#[test]
fn find_deletes_three_thousand_keys() {
    let sandbox = Sandbox::mounted();
    sandbox.sh("mkdir -p a/b; for i in $(seq 1500); do : > a/$i; : > a/b/$i; done");
    sandbox.sh(r#"find a -type f -delete; [ "$(find a)" = $'a\na/b' ]; find a -delete; [ -z "$(ls -A)" ]"#);
    sandbox.crash();
    sandbox.sh(r#"[ -z "$(ls -A)" ]"#);
}

#[test]
fn names_of_any_bytes() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let sandbox = Sandbox::mounted();
    let long = [b'x'; 255];
    let names: [&[u8]; 6] =
        [b"\xff\xfe", b"new\nline", b"back\\slash \"quotes\"", "\u{dc}n\u{ef}".as_bytes(), b"...", &long];
    for name in names {
        fs::write(sandbox.at(OsStr::from_bytes(name)), name).unwrap();
    }
    let too_long = fs::write(sandbox.at(OsStr::from_bytes(&[b'x'; 256])), b"").unwrap_err();
    assert_eq!(too_long.raw_os_error(), Some(libc::ENAMETOOLONG));
    sandbox.crash();
    for name in names {
        assert_eq!(fs::read(sandbox.at(OsStr::from_bytes(name))).unwrap(), name);
    }
    assert_eq!(fs::read_dir(sandbox.mountpoint()).unwrap().count(), names.len());
}
