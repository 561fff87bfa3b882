//! Who may mount, and who may enter.

use std::fs;
use std::os::unix::fs::chown;
use std::process::Command;

use crate::sandbox::{ALONE, Sandbox, needs_root, require};

/// nobody, on Debian.
const NOBODY: u32 = 65_534;

/// Runs a command in the mount as nobody, and says whether that went well.
pub(crate) fn as_nobody(sandbox: &Sandbox, script: &str) -> bool {
    require("setpriv");
    let identity = ["--reuid=65534", "--regid=65534", "--clear-groups", "--", "sh", "-c"];
    let mut command = Command::new("setpriv");
    command.args(identity).arg(script).current_dir("/").env("MNT", sandbox.mountpoint());
    command.output().unwrap().status.success()
}

#[test]
fn others_enter_only_if_they_are_let_in() {
    if !needs_root() {
        return;
    }
    let sandbox = Sandbox::mounted();
    fs::write(sandbox.at("key"), "value").unwrap();
    assert!(as_nobody(&sandbox, "true"));
    assert!(!as_nobody(&sandbox, "cat \"$MNT/key\""));
    assert!(!as_nobody(&sandbox, "ls \"$MNT\""));
    sandbox.unmount();
    sandbox.mount_with(&["--allow-other"]);
    assert!(sandbox.mount_entry().unwrap()[3].split(',').any(|option| option == "allow_other"));
    assert!(as_nobody(&sandbox, "[ \"$(cat \"$MNT/key\")\" = value ]"));
    // Permissions are as anywhere else.
    assert!(!as_nobody(&sandbox, "echo x > \"$MNT/key\""));
    assert!(!as_nobody(&sandbox, "echo x > \"$MNT/new\""));
    assert!(!as_nobody(&sandbox, "rm -f \"$MNT/key\""));
    sandbox.sh("mkdir -m 777 open; mkdir -m 1777 sticky; echo v > sticky/k; echo v > secret; chmod 600 secret");
    assert!(as_nobody(&sandbox, "cd \"$MNT/open\" && echo x > mine && mkdir d && [ $(stat -c %u mine) = 65534 ]"));
    assert!(!as_nobody(&sandbox, "rm -f \"$MNT/sticky/k\""));
    assert!(!as_nobody(&sandbox, "cat \"$MNT/secret\""));
    assert!(!as_nobody(&sandbox, "chown 0 \"$MNT/open/mine\""));
    sandbox.unmount();
}

/// Where root alone may enter the kernel checks no permissions, and what it still asks is answered as elsewhere.
#[test]
fn root_alone_is_checked_for_nothing_but_what_nobody_may_execute() {
    if !needs_root() {
        return;
    }
    let sandbox = Sandbox::mounted();
    let checked =
        |sandbox: &Sandbox| sandbox.mount_entry().unwrap()[3].split(',').any(|option| option == "default_permissions");
    assert!(!checked(&sandbox));
    let script = r#"
        may() { for how in r w x; do if test -$how "$1"; then echo "$1: $how"; fi; done; }
        echo 'echo ran' > f; mkfifo p; mkdir d; ln -s f l; ln -s nowhere n
        for mode in 000 400 200 100 010 001 666 755; do
            chmod $mode f p d; echo $mode; for each in f p d l n missing; do may $each; done
            ./f 2> /dev/null || echo "f: $?"
            cat f; echo "echo $mode" >> f; touch d/$mode; ls d; (cd d && echo in d)
        done
        chmod 555 .; echo new > new; rm new; chmod 0 f; mv f g; chown 7:8 g; chmod 4755 g; touch g; stat -c '%A %u %g' g
        mkdir sticky; chmod 1777 sticky; echo v > sticky/k; chown 7 sticky sticky/k; rm sticky/k; chmod 755 .
    "#;
    let plain = sandbox.outside("plain");
    fs::create_dir(&plain).unwrap();
    let elsewhere = sandbox.sh(&format!("cd \"$OUT/plain\"\n{script}"));
    assert_eq!(sandbox.sh(script), elsewhere);
    assert!(elsewhere.contains("f: x") && elsewhere.contains("f: 126"), "{elsewhere}");
    sandbox.unmount();
    sandbox.mount_with(&["--allow-other"]);
    assert!(checked(&sandbox));
}

/// An ordinary user mounts through fusermount3. In a mount namespace of its own, since /dev/fuse must be open to all,
/// as Debian has it, and need not be in a container.
#[test]
fn an_ordinary_user_mounts() {
    if !needs_root() {
        // Every other test is this one then.
        return;
    }
    require("fusermount3");
    require("unshare");
    let sandbox = Sandbox::new();
    let home = sandbox.outside("home");
    fs::create_dir(&home).unwrap();
    // Where the user can run it: the target directory may be closed.
    fs::copy(env!("CARGO_BIN_EXE_caskfs"), home.join("caskfs")).unwrap();
    fs::create_dir(home.join("dev")).unwrap();
    chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
    let as_user = r#"
        cd "$1"
        mkdir mnt
        ./caskfs mount store mnt
        grep -q "^$1/store $1/mnt fuse.caskfs rw,nosuid,nodev.*user_id=65534.*,default_permissions" /proc/self/mounts
        echo value > mnt/key
        ./caskfs put store other thing
        [ "$(cat mnt/key mnt/other)" = "$(printf 'value\nthing')" ]
        [ "$(stat -c %u mnt/key)" = 65534 ]
        setfacl -m u:1234:r mnt/key
        getfacl -n mnt/key | grep -q '^user:1234:r--'
        ./caskfs umount mnt
        ! grep -q "$1/mnt" /proc/self/mounts
        ./caskfs mount --fsname 'a,b' store mnt
        grep -q '^a,b ' /proc/self/mounts
        [ "$(cat mnt/key)" = value ]
        fusermount3 -u mnt
        ./caskfs mount --read-only store mnt
        ! sh -c 'echo x > mnt/key' 2>/dev/null
        fusermount3 -u mnt
        # A daemon that dies, and its mount.
        ./caskfs mount store mnt
        end() {
            pid=$(./caskfs info "$2" --json | sed 's/.*"daemon_pid":\([0-9]*\).*/\1/')
            kill -$1 $pid
            while [ -n "$(tr -d '\0' 2>/dev/null < /proc/$pid/cmdline)" ]; do sleep 0.02; done
        }
        end KILL store
        ./caskfs mount store mnt 2>&1 | grep -q 'died without unmounting'
        [ "$(cat mnt/key)" = value ]
        end TERM store
        ! grep -q "$1/mnt" /proc/self/mounts
        [ "$(./caskfs get store key)" = value ]
        # Two at once, also on what a dead daemon left: one of them is there, and lives.
        ./caskfs put store2 key other
        for round in 1 2 3 4 5 6 7 8; do
            ./caskfs mount store mnt 2>/dev/null & one=$!
            ./caskfs mount store2 mnt 2>/dev/null & two=$!
            won=0
            wait $one && won=$((won + 1))
            wait $two && won=$((won + 1))
            [ $won = 1 ]
            cat mnt/key
            [ "$(grep -c " $1/mnt " /proc/self/mounts)" = 1 ]
            end KILL "$(findmnt -n -o SOURCE mnt)"
        done
        ./caskfs umount mnt
        # What fusermount3 has no word for is refused, and what it has is in force.
        ! ./caskfs mount --mount-flag nosymfollow store mnt 2> said
        grep -q 'nosymfollow is for root' said
        ./caskfs mount --mount-flag noexec store mnt
        findmnt -n -o OPTIONS mnt | grep -qw noexec
        ./caskfs umount mnt
    "#;
    let as_root = r#"
        eval "$ALONE"
        mount -t tmpfs -o mode=755 none "$1/dev"
        mknod "$1/dev/fuse" c 10 229
        chmod 666 "$1/dev/fuse"
        mount --bind "$1/dev/fuse" /dev/fuse
        exec timeout 100 setpriv --reuid=65534 --regid=65534 --clear-groups -- bash -euxo pipefail -c "$2" user "$1"
    "#;
    let mut command = Command::new("unshare");
    command.env("ALONE", ALONE);
    command.args(["-m", "bash", "-euo", "pipefail", "-c", as_root, "root"]).arg(&home).arg(as_user);
    let output = command.current_dir("/").output().unwrap();
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
}

/// Who may write to a file must not remove it by saying when it expires, from directories of others.
#[test]
fn only_the_owner_and_root_let_a_file_expire() {
    if !needs_root() {
        return;
    }
    let sandbox = Sandbox::mounted_with(&["--allow-other"]);
    sandbox.sh("mkdir -m 755 plain; mkdir -m 1777 sticky; for k in plain/k sticky/k; do echo v > $k; chmod 666 $k; done; ln plain/k l");
    for key in ["plain/k", "sticky/k"] {
        assert!(!as_nobody(&sandbox, &format!("setfattr -n user.caskfs.expires -v +0 \"$MNT/{key}\"")));
        assert!(as_nobody(&sandbox, &format!("setfattr -n user.other -v 1 \"$MNT/{key}\"")), "writing is allowed");
        sandbox.sh(&format!("setfattr -n user.caskfs.expires -v +1h {key}"));
        assert!(!as_nobody(&sandbox, &format!("setfattr -x user.caskfs.expires \"$MNT/{key}\"")));
    }
    assert!(as_nobody(&sandbox, "cd \"$MNT/sticky\" && echo v > mine && setfattr -n user.caskfs.expires -v +0 mine"));
    sandbox.wait("the file's end", || !sandbox.at("sticky/mine").exists());
    assert!(sandbox.at("l").exists() && sandbox.at("sticky/k").exists());
    sandbox.unmount();
}

/// The kernel keeps modes. What a user's change of the value takes away is gone from what it keeps, too.
#[test]
fn what_a_change_of_the_value_takes_away_shows_at_once() {
    if !needs_root() {
        return;
    }
    let sandbox = Sandbox::mounted_with(&["--allow-other"]);
    sandbox.sh("mkdir -m 777 d; head -c 100000 /dev/urandom > d/from; chmod 644 d/from");
    let changes = [
        "printf x >> f",
        "printf x | dd of=f conv=notrunc status=none",
        "fallocate -l 200000 f",
        "fallocate -p -o 0 -l 4096 f",
        "truncate -s 10 f",
        "python3 -c 'import os; os.copy_file_range(os.open(\"from\", 0), os.open(\"f\", os.O_WRONLY), 50000)'",
    ];
    for change in changes {
        for (mode, left) in [("6777", "777"), ("2767", "767"), ("4767", "767")] {
            sandbox.sh(&format!("cd d; rm -f f; head -c 100000 from > f; chmod {mode} f; stat -c %a f"));
            assert!(as_nobody(&sandbox, &format!("cd \"$MNT/d\" && {change}")), "{change}");
            // The mode alone: the kernel is asked for nothing that it was told to forget anyway.
            assert_eq!(sandbox.sh("stat -c %a d/f").trim(), left, "{change} of {mode}");
        }
    }
    sandbox.sh("cd d; for k in p c s; do case $k in p) mkfifo p;; c) mknod c c 1 3;; s) python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")';; esac; chown 65534:65534 $k; chmod 6775 $k; done");
    assert!(as_nobody(&sandbox, "cd \"$MNT/d\" && chown 65534:65534 p c s"));
    assert_eq!(sandbox.sh("stat -c %a d/p d/c d/s"), "775\n775\n775\n");
    sandbox.unmount();
}
