//! A disk that others fill to the last block.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use nix::unistd::close;

use crate::base::{Base, Kind};
use crate::sandbox::Sandbox;
use crate::unmount;

/// Takes all the room there is, but for so many bytes.
fn fill(base: &Path, leave: u64) {
    let mut file = OpenOptions::new().create(true).append(true).open(base.join("filler")).unwrap();
    let mut piece = 1 << 20;
    while piece >= 512 {
        match file.write_all(&vec![b'x'; piece]) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => piece /= 2,
            Err(error) => panic!("{error}"),
        }
    }
    let len = file.metadata().unwrap().len();
    file.set_len(len.saturating_sub(leave)).unwrap();
    file.sync_all().unwrap();
}

fn make_room(base: &Path) {
    fs::remove_file(base.join("filler")).unwrap();
    // ext4 gives room back when this is committed.
    File::open(base).unwrap().sync_all().unwrap();
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    Ok(close(file)?)
}

fn value(key: usize) -> Vec<u8> {
    format!("the value of key {key}\n").into_bytes().repeat(100 + 30 * key)
}

const KEYS: usize = 60;

/// More than the log has written ahead: what has its room already is taken on a full disk too.
const LONG: usize = 3 << 20;

fn check(sandbox: &Sandbox, from: usize) {
    for key in 0..KEYS {
        match fs::read(sandbox.at(format!("k{key}"))) {
            Ok(found) => assert!(key >= from && found == value(key), "k{key} is not as it was"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => assert!(key < from, "k{key} is gone"),
            Err(error) => panic!("k{key}: {error}"),
        }
    }
}

/// Writes are refused with `ENOSPC` and change nothing, reads go on; and so does everything, without a hand laid on it,
/// once there is room.
#[test]
fn a_disk_filled_by_others_loses_nothing() {
    let Some(base) = Base::new(Kind::Ext4, 300) else { return };
    let sandbox = Sandbox::with_store(Some(base.path().join("store")));
    sandbox.mount();
    (0..KEYS).for_each(|key| write(&sandbox.at(format!("k{key}")), &value(key)).unwrap());
    fill(&base.path(), 0);
    let long = vec![b'n'; LONG];
    for attempt in 0..3 {
        for name in ["new", "k1", "k2"] {
            let error = write(&sandbox.at(name), &long).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENOSPC), "{name}, attempt {attempt}: {error}");
        }
    }
    // A write that failed is still shown while the daemon lives; what was committed is what a crash leaves.
    assert_eq!(fs::read(sandbox.at("k3")).unwrap(), value(3));
    // The log complains of nothing else.
    let lost = "was closed, and what was not yet written of it is lost: no space left on the medium";
    let errors = |line: &&str| line.contains("ERROR") && !line.contains(lost);
    assert_eq!(sandbox.log().lines().filter(errors).count(), 0, "{}", sandbox.log());
    make_room(&base.path());
    write(&sandbox.at("k0"), &value(0)).unwrap();
    write(&sandbox.at("k1"), &value(1)).unwrap();
    write(&sandbox.at("k2"), &value(2)).unwrap();
    fs::remove_file(sandbox.at("new")).unwrap();
    check(&sandbox, 0);
    sandbox.crash();
    check(&sandbox, 0);
}

/// The daemon dies on the full disk. The next one finds room in the reserve, and keys can be removed.
#[test]
fn a_daemon_that_dies_on_a_full_disk_loses_nothing() {
    let Some(base) = Base::new(Kind::Ext4, 300) else { return };
    let sandbox = Sandbox::with_store(Some(base.path().join("store")));
    sandbox.mount();
    (0..KEYS).for_each(|key| write(&sandbox.at(format!("k{key}")), &value(key)).unwrap());
    fill(&base.path(), 0);
    for name in ["k1", "new"] {
        let error = write(&sandbox.at(name), &vec![b'n'; LONG]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC), "{name}: {error}");
    }
    sandbox.kill();
    // Readers need no room.
    sandbox.mount_with(&["--read-only"]);
    check(&sandbox, 0);
    unmount(&sandbox);
    assert!(sandbox.store().join("reserve").exists());
    sandbox.mount();
    check(&sandbox, 0);
    for removed in 0..KEYS / 2 {
        fs::remove_file(sandbox.at(format!("k{removed}"))).unwrap();
    }
    check(&sandbox, KEYS / 2);
    sandbox.crash();
    check(&sandbox, KEYS / 2);
    make_room(&base.path());
    write(&sandbox.at("new"), b"new").unwrap();
    sandbox.crash();
    check(&sandbox, KEYS / 2);
    assert!(sandbox.store().join("reserve").exists(), "it is there again");
}

/// Whatever a user does to his own files on a full disk, something of the reserve is left, and root can empty the disk.
#[test]
fn a_user_cannot_take_the_reserve() {
    let Some(base) = Base::new(Kind::Ext4, 300) else { return };
    crate::sandbox::require("setpriv");
    let sandbox = Sandbox::with_store(Some(base.path().join("store")));
    sandbox.mount_with(&["--allow-other"]);
    (0..KEYS).for_each(|key| write(&sandbox.at(format!("k{key}")), &value(key)).unwrap());
    fs::create_dir(sandbox.at("open")).unwrap();
    sandbox.sh("chmod 777 open");
    let as_user = |script: &str| {
        let identity = ["--reuid=65534", "--regid=65534", "--clear-groups", "--", "bash", "-c"];
        let mut command = std::process::Command::new("setpriv");
        command.args(identity).arg(format!("cd \"$MNT/open\" && {{ {script}\n}}")).env("MNT", sandbox.mountpoint());
        let output = command.current_dir("/").output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let full = |(success, error): (bool, String)| assert!(!success && error.contains("No space left"), "{error}");
    assert!(as_user("for i in $(seq 400); do echo $i > f$i; done").0);
    full(as_user("cat /dev/zero > filler"));
    full(as_user("for i in $(seq 100000); do echo > small$i || exit 1; done"));
    let long = "x=$(head -c 60000 /dev/zero | tr '\\0' x); r=0";
    full(as_user(&format!("{long}; for i in $(seq 400); do setfattr -n user.x -v $x f$i || r=1; done; exit $r")));
    full(as_user("for i in $(seq 100000); do ln f1 link$i || exit 1; done"));
    full(as_user("for i in $(seq 100000); do mkdir d$i || exit 1; done"));
    full(as_user("for i in $(seq 100000); do ln -s target s$i || exit 1; done"));
    full(as_user("while chmod 600 f*; do chmod 644 f*; done; exit 1"));
    full(as_user("for i in $(seq 100000); do mv f1 moved && mv moved f1 || exit 1; done"));
    // Root's turn.
    fs::rename(sandbox.at("k30"), sandbox.at("moved")).unwrap();
    fs::rename(sandbox.at("moved"), sandbox.at("k30")).unwrap();
    for key in 0..10 {
        fs::remove_file(sandbox.at(format!("k{key}"))).unwrap();
    }
    check(&sandbox, 10);
    unmount(&sandbox);
    sandbox.mount_with(&["--allow-other"]);
    check(&sandbox, 10);
    fs::rename(sandbox.at("k30"), sandbox.at("moved")).unwrap();
    fs::rename(sandbox.at("moved"), sandbox.at("k30")).unwrap();
    sandbox.sh("rm -r open");
    assert!(sandbox.caskfs("compact", &[]).status.success());
    write(&sandbox.at("new"), &vec![b'n'; LONG]).unwrap();
    sandbox.crash();
    check(&sandbox, 10);
}
