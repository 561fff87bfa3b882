//! What `caskfs mount` can be asked for.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;

use nix::sys::statvfs::{FsFlags, statvfs};

use crate::command::{assert_refused, caskfs, text};
use crate::sandbox::Sandbox;

#[test]
fn the_mount_table_names_type_store_and_place() {
    let sandbox = Sandbox::mounted();
    let entry = sandbox.mount_entry().unwrap();
    assert_eq!(entry[0], sandbox.store().canonicalize().unwrap().to_str().unwrap());
    assert_eq!(entry[2], "fuse.caskfs");
    let options: Vec<&str> = entry[3].split(',').collect();
    for wanted in ["rw", "nosuid", "nodev"] {
        assert!(options.contains(&wanted), "{wanted} is missing: {options:?}");
    }
    assert!(!options.contains(&"allow_other"));
}

#[test]
fn fsname_is_what_the_mount_table_shows() {
    let sandbox = Sandbox::mounted_with(&["--fsname", "my,store\\1"]);
    // The kernel writes a backslash as an octal number.
    assert_eq!(sandbox.mount_entry().unwrap()[0], "my,store\\1341");
    fs::write(sandbox.at("key"), "value").unwrap();
    assert_eq!(sandbox.caskfs("get", &["key"]).stdout, b"value");
    let output = caskfs(["umount".as_ref(), sandbox.mountpoint().as_os_str()]);
    assert!(output.status.success() && !sandbox.is_mounted());
    sandbox.wait_for_end();
}

#[test]
fn read_only_refuses_every_change() {
    let sandbox = Sandbox::mounted();
    sandbox.sh("mkdir d; echo v > d/k; ln -s k d/l");
    sandbox.unmount();
    let before = crate::command::snapshot(&sandbox.store());
    sandbox.mount_with(&["--read-only"]);
    assert!(sandbox.mount_entry().unwrap()[3].split(',').any(|option| option == "ro"));
    assert!(statvfs(&sandbox.mountpoint()).unwrap().flags().contains(FsFlags::ST_RDONLY));
    assert_eq!(sandbox.sh("cat d/l; ls d"), "v\nk\nl\n");
    for change in
        ["echo x > d/k", "echo x > new", "rm d/k", "mkdir e", "mv d e", "chmod 600 d/k", "touch d/k", "rmdir d"]
    {
        let output = sandbox.try_sh(change);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("Read-only file system"), "{change}: {said}");
    }
    // Readers share the store, and keep writers out.
    assert_eq!(sandbox.caskfs("get", &["d/k"]).stdout, b"v\n");
    text(caskfs(["umount".as_ref(), sandbox.mountpoint().as_os_str()]));
    sandbox.wait_for_end();
    assert_eq!(crate::command::snapshot(&sandbox.store()), before);
}

#[test]
fn a_store_that_is_not_there_cannot_be_mounted_to_be_read() {
    let sandbox = Sandbox::new();
    assert_refused(&sandbox.try_mount(&["--read-only"]), 10, "store");
    assert!(!sandbox.store().exists());
    assert!(!sandbox.is_mounted());
}

#[test]
fn owner_group_and_mask_are_shown_as_asked() {
    let sandbox = Sandbox::mounted_with(&["--uid", "1234", "--gid", "5678", "--umask", "027"]);
    // As root, since for anybody else the key belongs to a stranger.
    if !crate::sandbox::needs_root() {
        return;
    }
    sandbox.sh("mkdir d; echo v > d/k; chmod 666 d/k");
    for (name, mode) in [("d", 0o750), ("d/k", 0o640)] {
        let metadata = fs::metadata(sandbox.at(name)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o777), (1234, 5678, mode), "{name}");
    }
    sandbox.remount();
    let metadata = fs::metadata(sandbox.at("d/k")).unwrap();
    assert_eq!((metadata.uid(), metadata.mode() & 0o777), (0, 0o666), "what is stored stays as it is");
}

#[test]
fn every_way_to_sync_keeps_what_was_acknowledged() {
    for sync in ["close", "always", "interval"] {
        let sandbox = Sandbox::mounted_with(&["--sync", sync]);
        sandbox.sh("mkdir d; for i in $(seq 50); do echo $i > d/$i; done; mv d/1 d/one; rm d/2");
        let mut file = File::create(sandbox.at("synced")).unwrap();
        file.write_all(b"value").unwrap();
        file.sync_all().unwrap();
        // The operating system has it all, whether it was waited for or not.
        sandbox.crash();
        assert_eq!(sandbox.sh("ls d | wc -l; cat d/one d/50 synced").trim(), "49\n1\n50\nvalue", "--sync {sync}");
    }
}

/// The sequence number that is known to be on the disk, and the highest that was given out.
fn durable(sandbox: &Sandbox) -> (u64, u64) {
    let info = String::from_utf8(sandbox.caskfs("info", &["--json"]).stdout).unwrap();
    let number = |name: &str| -> u64 {
        let rest = info.split_once(&format!("\"{name}\":")).unwrap().1;
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
    };
    (number("durable_sequence"), number("sequence"))
}

/// Without a sync a change is on the disk at most a second later, and with `--sync always` before the call returns.
#[test]
fn what_is_waited_for_is_durable() {
    let sandbox = Sandbox::mounted_with(&["--sync", "always"]);
    for number in 0..20 {
        fs::create_dir(sandbox.at(number.to_string())).unwrap();
        let (durable, written) = durable(&sandbox);
        assert_eq!(durable, written);
    }
    sandbox.unmount();
    sandbox.mount();
    fs::create_dir(sandbox.at("d")).unwrap();
    sandbox.wait("the sync in the background", || {
        let (durable, written) = durable(&sandbox);
        durable == written
    });
}

/// Segments of the log, and the bytes in the longest.
fn segments(sandbox: &Sandbox) -> (usize, u64) {
    let segments = fs::read_dir(sandbox.store().join("segments")).unwrap();
    let sizes: Vec<u64> = segments.map(|segment| segment.unwrap().metadata().unwrap().len()).collect();
    (sizes.len(), sizes.into_iter().max().unwrap())
}

#[test]
fn segments_are_as_long_as_asked() {
    let sandbox = Sandbox::mounted_with(&["--segment-size", "16K"]);
    let keys: Vec<String> = (0..60).map(|number| format!("key{number}")).collect();
    let write = || keys.iter().for_each(|key| fs::write(sandbox.at(key), key.repeat(1_000)).unwrap());
    write();
    let (count, longest) = segments(&sandbox);
    assert!(count >= 20 && longest <= 16 << 10, "{count} segments of at most {longest} bytes");
    // It is no property of the store: the next mount may choose another.
    sandbox.unmount();
    sandbox.mount();
    let check = || keys.iter().all(|key| fs::read_to_string(sandbox.at(key)).unwrap() == key.repeat(1_000));
    assert!(check());
    write();
    text(sandbox.caskfs("compact", &[]));
    assert!(check());
    let (merged, _) = segments(&sandbox);
    assert!(merged < count / 2, "{merged} segments after the merge, {count} before it");
    sandbox.unmount();
    for wrong in ["4095", "2G", "4294967296", "16X", "K", "-1", ""] {
        assert_eq!(sandbox.try_mount(&[&format!("--segment-size={wrong}")]).status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn the_log_goes_where_it_is_told() {
    let sandbox = Sandbox::new();
    let log = sandbox.outside("log");
    sandbox.mount_with(&["--log-file", log.to_str().unwrap()]);
    assert!(log.exists());
    assert!(!sandbox.store().join("daemon.log").exists());
    sandbox.unmount();
}

/// What mount(8) does for this type: STORE MOUNTPOINT -o WORDS.
fn by_words(sandbox: &Sandbox, words: &[&str]) -> std::process::Output {
    let places = [sandbox.store().into_os_string(), sandbox.mountpoint().into_os_string()];
    caskfs(places.into_iter().chain(words.iter().map(Into::into)))
}

/// Each word, what the mount table then shows, and a script that proves it.
const WORDS: [(&str, &[&str], &str); 11] = [
    ("noexec", &["noexec"], "cp /bin/true t; ! ./t 2> /dev/null; cat t > /dev/null"),
    ("noexec,exec", &[], "cp /bin/true t; ./t"),
    ("nosymfollow", &["nosymfollow"], "echo v > f; ln -s f l; ! cat l 2> /dev/null; readlink l; cat f"),
    ("sync", &["sync"], "exec 5> f; echo v >&5; [ -s f ]; mkdir d"),
    ("dirsync", &["dirsync"], "mkdir d; echo v > f; mv f g"),
    ("lazytime", &["lazytime"], "echo v > f; cat f"),
    (
        "nodiratime",
        &["nodiratime", "relatime"],
        "mkdir d; touch -ad 2000-01-01 d; ls d; [ $(stat -c %X d) -lt 1000000000 ]",
    ),
    ("noatime", &["noatime"], "echo v > f; touch -ad 2000-01-01 f; cat f; [ $(stat -c %X f) -lt 1000000000 ]"),
    ("default_permissions", &["default_permissions"], "echo v > f; cat f"),
    ("ro,rw", &["rw"], "echo v > f"),
    ("defaults,nofail,_netdev,user,x-systemd.automount,silent,suid,dev", &["nosuid", "nodev"], "echo v > f"),
];

#[test]
fn each_word_of_mount_is_in_force() {
    if !crate::sandbox::needs_root() {
        return;
    }
    for (words, shown, script) in WORDS {
        let sandbox = Sandbox::new();
        let output = by_words(&sandbox, &["-o", words]);
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        let options = sandbox.sh("findmnt -n -o OPTIONS \"$MNT\"");
        let options: Vec<&str> = options.trim().split(',').collect();
        for option in shown {
            assert!(options.contains(option), "{words}: {options:?}");
        }
        sandbox.sh(script);
        if words.ends_with("sync") {
            let (durable, written) = durable(&sandbox);
            assert_eq!(durable, written, "{words}");
        }
    }
    for ro in [["-oro"].as_slice(), &["-r"], &["-nv", "-o", "rw,ro"]] {
        let sandbox = Sandbox::mounted();
        sandbox.unmount();
        assert!(by_words(&sandbox, ro).status.success());
        assert!(statvfs(&sandbox.mountpoint()).unwrap().flags().contains(FsFlags::ST_RDONLY), "{ro:?}");
    }
}

#[test]
fn words_that_promise_too_much_are_refused() {
    let sandbox = Sandbox::new();
    let refused = [
        ("mand", "the option mand is not kept"),
        ("iversion", "the option iversion is not kept"),
        ("nolazytime", "the option nolazytime is not kept"),
        ("usrquota", "there are no quotas"),
        ("user_id=5", "user_id=5 is the kernel's to say"),
        ("ro,wishful", "the option wishful is not known"),
        ("sync,sync_mode=interval", "choose one"),
    ];
    for (words, why) in refused {
        assert_refused(&by_words(&sandbox, &["-o", words]), 2, why);
        assert!(!sandbox.is_mounted() && !sandbox.store().exists(), "{words}");
    }
    // Sloppy: what is not known is left out, as it was asked for.
    assert!(by_words(&sandbox, &["-s", "-o", "wishful"]).status.success());
}

#[test]
fn a_fake_mount_mounts_nothing() {
    let sandbox = Sandbox::new();
    for words in [["-f"].as_slice(), &["-fnv", "-o", "noexec"]] {
        let output = by_words(&sandbox, words);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(!sandbox.is_mounted() && !sandbox.store().exists());
    }
    assert_refused(&by_words(&sandbox, &["-f", "-o", "wishful"]), 2, "not known");
}

/// What /etc/fstab and systemd do. mount(8) looks for the program where programs are installed: so it is, for those who live in
/// this script's own mount namespace.
#[test]
fn mount_mounts_it_by_its_type() {
    if !crate::sandbox::needs_root() {
        return;
    }
    crate::sandbox::require("fusermount3");
    let sandbox = Sandbox::new();
    sandbox.sh(r#"
        cd /
        programs=$(dirname "$(command -v caskfs)") unshare --mount --propagation private bash -euo pipefail -c '
            eval "$ALONE"
            trap "umount --lazy \"$MNT\" 2> /dev/null || true" EXIT
            mount --bind "$programs" /usr/local/bin
            mount -t fuse.caskfs "$STORE" "$MNT" -o noatime,nofail,x-systemd.requires=foo.mount,umask=027,allow_other
            echo value > "$MNT/key"
            [ "$(stat -c %a "$MNT/key")" = 640 ]
            findmnt -n -o OPTIONS "$MNT" | grep -q allow_other
            mount -o remount,ro "$MNT"
            ! touch "$MNT/other" 2> /dev/null
            mount -o remount,rw "$MNT"
            touch "$MNT/other"
            mount -o remount,noexec "$MNT"
            findmnt -n -o OPTIONS "$MNT" | grep -q noexec
            ! mount -o remount,strictatime "$MNT" 2> /dev/null
            umount "$MNT"
            mount -t fuse.caskfs -o noexec,nodiratime,sync "$STORE" "$MNT"
            for word in noexec nodiratime sync; do findmnt -n -o OPTIONS "$MNT" | grep -qw $word; done
            cp /bin/true "$MNT/true"
            ! "$MNT/true" 2> /dev/null
            umount "$MNT"
            mount -t fuse.caskfs -o ro "$STORE" "$MNT"
            [ "$(cat "$MNT/key")" = value ]
            ! touch "$MNT/key" 2> /dev/null
            umount "$MNT"
            ! mount -t fuse.caskfs -o wishful "$STORE" "$MNT" 2> "$OUT/said"
            grep -q "the option wishful is not known" "$OUT/said"
        '
        "#);
    sandbox.wait_for_end();
}
