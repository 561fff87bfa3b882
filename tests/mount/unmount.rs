//! How an unmount ends, whatever keeps the daemon: never without end, and with a word on why.

use std::ffi::OsStr;
use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::command::{assert_refused, caskfs, text};
use crate::sandbox::{ALONE, Sandbox, needs_root, require};

fn umount(sandbox: &Sandbox) -> Output {
    let begun = Instant::now();
    let output = caskfs([OsStr::new("umount"), sandbox.mountpoint().as_os_str()]);
    assert!(begun.elapsed() < Duration::from_secs(40), "it took {:?}", begun.elapsed());
    output
}

/// A bind mount holds the filesystem: the mountpoint is free, and it is said who goes on, and why.
#[test]
fn an_unmount_tells_of_a_bind_mount() {
    if !needs_root() {
        return;
    }
    let sandbox = Sandbox::mounted();
    let bind = sandbox.outside("bind");
    fs::create_dir(&bind).unwrap();
    sandbox.sh("cd /; mount --bind \"$MNT\" \"$OUT/bind\"; echo v > \"$MNT/key\"");
    let output = umount(&sandbox);
    let still = fs::read_to_string(bind.join("key"));
    sandbox.sh("cd /; umount \"$OUT/bind\"");
    assert_refused(&output, 27, &format!("is mounted on {} too", bind.display()));
    assert_eq!(still.unwrap(), "v\n");
    assert!(!sandbox.is_mounted());
    sandbox.wait_for_end();
}

/// As a container does that was started while the store was mounted. What is proposed in the message helps.
#[test]
fn an_unmount_tells_of_another_mount_namespace() {
    if !needs_root() {
        return;
    }
    require("unshare");
    let sandbox = Sandbox::mounted();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", "eval \"$ALONE\"; echo; exec sleep 300"]);
    command.env("ALONE", ALONE).env("MNT", sandbox.mountpoint());
    let mut container = command.current_dir("/").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = [0];
    std::io::Read::read_exact(container.stdout.as_mut().unwrap(), &mut line).unwrap();
    let output = umount(&sandbox);
    let alive = sandbox.daemons().len();
    sandbox.signal(Signal::SIGTERM);
    sandbox.wait_for_end();
    container.kill().unwrap();
    container.wait().unwrap();
    assert_refused(&output, 27, "in the mount namespace of process ");
    assert_eq!(alive, 1);
    sandbox.mount();
}

#[test]
fn a_stopped_daemon_is_said_to_be_stopped() {
    let sandbox = Sandbox::mounted();
    fs::write(sandbox.at("key"), "value").unwrap();
    let daemon = sandbox.daemons()[0];
    sandbox.stop();
    let output = umount(&sandbox);
    let get = sandbox.caskfs("get", &["key"]);
    sandbox.signal(Signal::SIGCONT);
    let wanted = format!("process {daemon} (caskfs) is stopped: `kill -CONT {daemon}` lets it go on");
    assert_refused(&output, 28, &wanted);
    assert_refused(&get, 28, &wanted);
    assert!(sandbox.is_mounted());
    assert_eq!(text(sandbox.caskfs("get", &["key"])), "value");
    sandbox.unmount();
}

/// One that has the store and does not listen is named, and how it is.
#[test]
fn who_has_a_store_is_named() {
    let sandbox = Sandbox::mounted();
    sandbox.unmount();
    let mut holder = Command::new("flock");
    let mut holder = holder.arg(sandbox.store().join("lock")).args(["sleep", "300"]).spawn().unwrap();
    let locked = || Command::new("flock").args(["-n"]).arg(sandbox.store().join("lock")).arg("true").status().unwrap();
    sandbox.wait("the lock", || !locked().success());
    let output = sandbox.caskfs("ls", &[]);
    let sleep = fs::read_to_string(format!("/proc/{0}/task/{0}/children", holder.id())).unwrap();
    Command::new("kill").arg(sleep.trim()).status().unwrap();
    holder.wait().unwrap();
    assert_refused(&output, 12, &format!("process {} (flock) has it", holder.id()));
}

/// The daemon is known by its mount: a name that is another store's leads nowhere, and a reader is waited for as well.
#[test]
fn an_unmount_waits_for_its_own_daemon() {
    let other = Sandbox::mounted();
    let name = other.store().canonicalize().unwrap();
    let name = name.to_str().unwrap();
    for options in [["--fsname", name].as_slice(), &["--fsname", "a name"], &["--read-only"]] {
        let sandbox = Sandbox::mounted();
        fs::write(sandbox.at("key"), "value").unwrap();
        sandbox.unmount();
        for _ in 0..5 {
            sandbox.mount_with(options);
            let begun = Instant::now();
            sandbox.unmount();
            assert!(begun.elapsed() < Duration::from_secs(20), "{options:?}: it took {:?}", begun.elapsed());
        }
    }
    assert_eq!(other.daemons().len(), 1);
}

/// umount(8) runs the helper that `uhelper` names, and so waits as well.
#[test]
fn umount_waits_for_the_daemon_with_the_helper() {
    if !needs_root() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.sh(r#"
        cd /
        unshare --mount --propagation private bash -euo pipefail -c '
            eval "$ALONE"
            mkdir "$OUT/sbin" "$OUT/work"
            mount -t tmpfs none "$OUT/work"
            mkdir "$OUT/work/upper" "$OUT/work/work"
            for program in mount umount; do ln -s "$(command -v caskfs)" "$OUT/work/upper/$program.fuse.caskfs"; done
            mount -t overlay overlay -o "lowerdir=/usr/sbin,upperdir=$OUT/work/upper,workdir=$OUT/work/work" /usr/sbin
            mount -f -t fuse.caskfs "$STORE" "$MNT"
            ! findmnt "$MNT"
            for round in 1 2 3 4 5 6; do
                mount -t fuse.caskfs -o uhelper=fuse.caskfs "$STORE" "$MNT"
                pid=$(caskfs info --json "$STORE" | sed "s/.*\"daemon_pid\":\([0-9]*\).*/\1/")
                echo $round > "$MNT/key"
                umount "$MNT"
                [ -z "$(cat /proc/$pid/cmdline 2> /dev/null | tr -d "\\0")" ] || { echo "the daemon goes on"; exit 1; }
            done
            mount -t fuse.caskfs -o uhelper=fuse.caskfs "$STORE" "$MNT"
            exec 5< "$MNT/key"
            ! umount "$MNT" 2> "$OUT/said"
            grep -q "is in use" "$OUT/said"
            umount -l "$MNT"
            cat <&5
        '
        "#);
    sandbox.wait_for_end();
}
