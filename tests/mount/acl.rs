//! Access control lists, beside those of the filesystem that the temporary directory is on.

use std::fs;
use std::process::Command;

use crate::sandbox::{Sandbox, needs_root, require};

/// The two ways to mount: the kernel checks permissions; or it need not, since root alone may enter.
const MOUNTS: [&[&str]; 2] = [&["--allow-other"], &[]];

/// Runs a script in the mount and in a plain directory, and fails unless it prints the same.
#[track_caller]
fn same(sandbox: &Sandbox, script: &str) -> String {
    for program in ["setfacl", "getfacl", "getfattr", "setfattr", "setpriv", "rsync"] {
        require(program);
    }
    let prelude = r#"
        umask 022
        show() { for f; do stat -c '%n %A' "$f"; getfacl -pn --omit-header "$f" | sed '/^$/d'; done; }
        try() { local s=0; "$@" > said 2>&1 || s=$?; echo "$s $(sed 's/.*: //' said)"; rm -f said; }
        as() { setpriv --reuid="$1" --regid="$1" --clear-groups "${@:2}"; }
    "#;
    let plain = sandbox.outside("plain");
    fs::create_dir(&plain).unwrap();
    let there = sandbox.sh(&format!("cd \"$OUT/plain\"\n{prelude}{script}"));
    let here = sandbox.sh(&format!("{prelude}{script}"));
    assert_eq!(here, there, "the mount on the left");
    fs::remove_dir_all(&plain).unwrap();
    here
}

#[test]
fn lists_and_modes_are_as_elsewhere() {
    if !needs_root() {
        return;
    }
    let script = r#"
        echo v > f; chmod 640 f
        setfacl -m u:1234:rw f; show f
        chmod 600 f; show f
        chmod 666 f; show f
        setfacl -m m::r f; show f
        setfacl -b f; show f; getfattr -m - f
        setfacl -m u::rwx,g::r-x,o::--- f; show f; getfattr -m - -d f
        try setfacl -d -m u:1:r f
        ln -s f link
        try setfattr -h -n system.posix_acl_access -v 0x0200000001000600ffffffff04000400ffffffff20000400ffffffff link
        bad() { try setfattr -n system.posix_acl_access -v "$1" f; }
        bad 0x; bad 0x02; bad 0x02000000; bad 0x03000000
        bad 0x0200000001000600ffffffff04000400ffffffff20000400ffffffffff
        bad 0x0200000001000600ffffffff04000400ffffffff
        bad 0x0200000001000600ffffffff20000400ffffffff04000400ffffffff
        bad 0x0200000001000600ffffffff02000400d204000004000400ffffffff20000400ffffffff
        bad 0x0200000001000f00ffffffff04000400ffffffff20000400ffffffff
        show f
        setfattr -n system.posix_acl_access \
            -v 0x0200000001000600ffffffff02000400d204000004000400ffffffff10000600ffffffff20000400ffffffff f
        getfattr -e hex -n system.posix_acl_access f
        setfattr -x system.posix_acl_access f; show f
        try setfattr -x system.posix_acl_access f
        try getfattr -n system.posix_acl_access f
        m=$(stat -c %y f); c=$(stat -c %z f); sleep 0.02; setfacl -m u:1:r f
        [ "$m" = "$(stat -c %y f)" ] && [ "$c" != "$(stat -c %z f)" ]
        setfacl -b f; setfacl -m u:1:rx f; printf '#!/bin/sh\necho executed\n' > f; ./f; try ./f
        chmod -x f; try ./f; setfacl -m u:1:rx f; try ./f
    "#;
    for options in MOUNTS {
        let printed = same(&Sandbox::mounted_with(options), script);
        // That it is no filesystem without lists, twice.
        assert!(printed.contains("user:1234:rw-"), "{printed}");
    }
}

#[test]
fn who_may_keep_the_set_group_id_bit() {
    if !needs_root() {
        return;
    }
    let sandbox = Sandbox::mounted_with(&["--allow-other"]);
    let script = r#"
        echo v > s; chown 1000:1 s
        for who in '--regid=1000 --clear-groups' '--regid=1 --clear-groups' '--regid=1000 --groups 1,1000' \
            '--regid=1000 --groups 7'; do
            setfacl -b s; chmod 2775 s; setpriv --reuid=1000 $who setfacl -m u:1234:rwx s; echo "$who: $(stat -c %A s)"
        done
        setfacl -b s; chmod 2775 s; setfacl -m u:1234:rx s; stat -c %A s
    "#;
    same(&sandbox, script);
}

#[test]
fn default_lists_are_handed_down_as_elsewhere() {
    if !needs_root() {
        return;
    }
    let script = r#"
        mkdir d; setfacl -d -m u:1234:rwx,g::r-x,o::- d; show d
        (umask 077; echo v > d/f; mkdir d/s; mkfifo d/p; ln -s f d/l; mknod d/n c 1 3)
        show d/f d/s d/p d/n; stat -c '%n %A' d/l
        (umask 000; echo v > d/f2; mkdir -m 700 d/s2; : > d/s/deep); show d/f2 d/s2 d/s/deep
        setfacl -d -m u:1234:- d; echo v > d/g; show d/g
        setfacl -k d; (umask 027; echo v > d/h; mkdir d/i); show d d/h d/i
        mkdir e; setfacl -d -m u::rwx,g::rx,o::r e; (umask 077; echo v > e/f; mkdir e/g); show e/f e/g
        getfattr -m - e/f e/g
        mkdir t; chmod 2770 t; setfacl -d -m u:7:rx t; echo v > t/f; mkdir t/d; show t/f t/d
    "#;
    for options in MOUNTS {
        let sandbox = Sandbox::mounted_with(options);
        same(&sandbox, script);
        // A daemon that dies loses nothing of it.
        let before = sandbox.sh("getfacl -pnR .");
        sandbox.kill();
        sandbox.mount_with(options);
        assert_eq!(sandbox.sh("getfacl -pnR ."), before);
    }
}

#[test]
fn lists_decide_who_may_do_what() {
    if !needs_root() {
        return;
    }
    let sandbox = Sandbox::mounted_with(&["--allow-other"]);
    let script = r#"
        chmod 755 .; echo v > p; chmod 600 p
        may() {
            for id in 1234 1235; do
                r=no w=no
                as $id cat p > /dev/null 2>&1 && r=yes
                as $id sh -c 'exec 3>> p' 2> /dev/null && w=yes
                echo "$id reads: $r, writes: $w"
            done
        }
        may; setfacl -m u:1234:r p; may
        setfacl -m g:1235:rw p; may
        setfacl -m m::r p; may
        chmod 660 p; may
        setfacl -x u:1234 p; may
        setfacl -m o:r p; may
        setfacl -b p; may
        try as 1234 setfacl -m u:1234:rw p
        mkdir d; chmod 700 d; echo v > d/k; try as 1234 cat d/k
        setfacl -m u:1234:x d; try as 1234 cat d/k; try as 1234 ls d
        setfacl -m u:1234:rx d; try as 1234 ls d
        try as 1234 touch d/mine; setfacl -m u:1234:rwx d; try as 1234 touch d/mine
    "#;
    let printed = same(&sandbox, script);
    assert!(printed.contains("1235 reads: yes, writes: yes"), "{printed}");
}

#[test]
fn copies_take_lists_along() {
    if !needs_root() {
        return;
    }
    let script = r#"
        echo v > f; mkdir d; echo v > d/k; setfacl -m u:1234:rw,g:99:r f d/k; setfacl -d -m u:77:rwx d
        cp -a f f2; cp -a d d2; show f2 d2 d2/k
        mkdir r; rsync -aA f d r/; show r/f r/d r/d/k
        rsync -aAi f d r/
        setfacl -m u:1234:r f; rsync -aAi f d r/ | cut -c 1-11; show r/f
        getfacl -R d > "$OUT/saved"; setfacl -R -b d; setfacl --restore="$OUT/saved"; show d d/k
    "#;
    for options in MOUNTS {
        let sandbox = Sandbox::mounted_with(options);
        same(&sandbox, script);
        // Out of the mount and back.
        sandbox.sh("rsync -aA r/ $OUT/copy; rsync -aA $OUT/copy/ back");
        assert_eq!(sandbox.sh("cd back; getfacl -pnR ."), sandbox.sh("cd r; getfacl -pnR ."));
    }
}

#[test]
fn a_mount_for_its_user_alone_keeps_lists_too() {
    let sandbox = Sandbox::mounted();
    require("setfacl");
    sandbox.sh("echo v > k; setfacl -m u:1234:r k");
    sandbox.remount();
    assert!(sandbox.sh("getfacl -n k").contains("user:1234:r--"));
    sandbox.unmount();
    sandbox.mount_with(&["--umask", "077"]);
    assert_eq!(sandbox.sh("stat -c %a k; getfattr -m - k"), "600\n");
    assert!(!sandbox.try_sh("setfacl -m u:1:r k").status.success());
}

/// `ls -l` asks each file for a list and a label, unless it was told that there are none here.
#[test]
fn what_no_key_has_is_asked_for_once() {
    let answer = |sandbox: &Sandbox, name: &str| {
        let mut command = Command::new("getfattr");
        let output = command.args(["--absolute-names", "-n", name]).arg(sandbox.at("key")).output().unwrap();
        String::from_utf8_lossy(&output.stderr).trim().rsplit(": ").next().unwrap_or_default().to_owned()
    };
    require("getfattr");
    require("setfacl");
    if !needs_root() {
        return;
    }
    let names = ["system.posix_acl_access", "system.posix_acl_default", "security.selinux"];
    let sandbox = Sandbox::mounted();
    sandbox.sh("echo v > key; echo v > other");
    for name in names {
        assert_eq!(answer(&sandbox, name), "Operation not supported", "{name}");
    }
    assert_eq!(answer(&sandbox, "security.ima"), "No such attribute");
    sandbox.sh("setfacl -m u:1234:r other; setfattr -n security.selinux -v label other");
    for restarted in [false, true] {
        if restarted {
            sandbox.unmount();
            sandbox.mount();
        }
        assert_eq!(answer(&sandbox, names[0]), "No such attribute");
        assert_eq!(answer(&sandbox, names[1]), "Operation not supported");
        assert_eq!(answer(&sandbox, names[2]), "No such attribute");
    }
}
