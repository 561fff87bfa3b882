//! Times of last access through the kernel, which keeps pages and attributes itself.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::sandbox::Sandbox;

/// The time of last access in nanoseconds, as it is shown.
fn atime(sandbox: &Sandbox, name: &str) -> i64 {
    let metadata = fs::symlink_metadata(sandbox.at(name)).unwrap();
    metadata.atime() * 1_000_000_000 + metadata.atime_nsec()
}

#[test]
fn reading_renews_the_time_of_access_once() {
    let sandbox = Sandbox::mounted();
    sandbox.sh("mkdir d; echo value > d/k; ln -s k d/l");
    // What the kernel has in its cache it does not ask for.
    sandbox.remount();
    let made: Vec<i64> = ["d", "d/k", "d/l"].map(|name| atime(&sandbox, name)).to_vec();
    sandbox.sh("cat d/k; ls d; readlink d/l");
    let read: Vec<i64> = ["d", "d/k", "d/l"].map(|name| atime(&sandbox, name)).to_vec();
    assert!(made.iter().zip(&read).all(|(made, read)| made < read), "{made:?} {read:?}");
    sandbox.remount();
    let kept: Vec<i64> = ["d", "d/k", "d/l"].map(|name| atime(&sandbox, name)).to_vec();
    assert_eq!(kept, read, "the unmount has written them");
    sandbox.sh("cat d/k; ls d; readlink d/l");
    let again: Vec<i64> = ["d", "d/k", "d/l"].map(|name| atime(&sandbox, name)).to_vec();
    assert_eq!(again, read, "they are later than the last change");
    // A change, and the next read counts again.
    sandbox.sh("chmod 600 d/k");
    sandbox.remount();
    sandbox.sh("cat d/k");
    assert!(atime(&sandbox, "d/k") > read[1]);
}

#[test]
fn each_read_counts_if_it_is_asked_for() {
    let sandbox = Sandbox::mounted_with(&["--atime", "strictatime", "--nodiratime"]);
    sandbox.sh("echo value > k");
    let directory = atime(&sandbox, ".");
    let mut last = atime(&sandbox, "k");
    for _ in 0..3 {
        sandbox.sh("cat k; ls");
        let now = atime(&sandbox, "k");
        assert!(now > last);
        last = now;
    }
    assert_eq!(atime(&sandbox, "."), directory);
}

#[test]
fn no_read_counts_if_none_is_to() {
    let sandbox = Sandbox::mounted_with(&["--atime", "noatime"]);
    assert!(sandbox.mount_entry().unwrap()[3].split(',').any(|option| option == "noatime"));
    sandbox.sh("mkdir d; echo value > d/k");
    sandbox.unmount();
    sandbox.mount_with(&["--atime", "noatime"]);
    let before = (atime(&sandbox, "d"), atime(&sandbox, "d/k"));
    sandbox.sh("cat d/k; ls d");
    assert_eq!((atime(&sandbox, "d"), atime(&sandbox, "d/k")), before);
}

#[test]
fn fstab_says_when_reading_counts() {
    let sandbox = Sandbox::new();
    for (option, counts) in [("noatime", 0), ("relatime", 1), ("strictatime", 2)] {
        // As mount(8) runs it.
        let mount = format!("cd /; caskfs \"$STORE\" \"$MNT\" -o rw,{option},dev,suid; ");
        sandbox.sh(&(mount.clone() + "echo value > \"$MNT/k\"; caskfs umount \"$MNT\""));
        let read = r#"
            grep " $MNT " /proc/self/mounts > "$OUT/table"
            last=$(stat -c %x "$MNT/k") counted=0
            for i in 1 2; do
                cat "$MNT/k" > /dev/null
                now=$(stat -c %x "$MNT/k")
                [ "$now" = "$last" ] || counted=$((counted + 1))
                last=$now
            done
            echo $counted
            caskfs umount "$MNT"
        "#;
        assert_eq!(sandbox.sh(&(mount + read)).trim(), counts.to_string(), "{option}");
        let table = fs::read_to_string(sandbox.outside("table")).unwrap();
        assert_eq!(table.contains("noatime"), option == "noatime", "{table}");
    }
}
