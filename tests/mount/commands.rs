//! The commands beside the mount: both see the same keys at once.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};

use crate::command::{assert_refused, caskfs_fed, printed, text};
use crate::sandbox::Sandbox;

#[test]
fn what_a_command_changes_the_mount_shows() {
    let sandbox = Sandbox::mounted();
    let at = |key: &str| sandbox.at(key);
    // The kernel learns, and keeps, that there is no such key.
    assert!(!at("d/key").exists() && !at("key").exists());
    printed(sandbox.caskfs("put", &["key", "one"]));
    printed(sandbox.caskfs("put", &["d/key", "one"]));
    assert_eq!(fs::read(at("key")).unwrap(), b"one");
    assert_eq!(sandbox.sh("ls; cat d/key; ls d"), "d\nkey\nonekey\n");

    // A value that is in the kernel's cache, with its length; shorter, longer, and large.
    for value in ["two", "much longer than before", "3", "", "four"] {
        printed(sandbox.caskfs("put", &["key", value]));
        assert_eq!(fs::read(at("key")).unwrap(), value.as_bytes());
        assert_eq!(fs::metadata(at("key")).unwrap().len(), value.len() as u64);
    }
    let large: Vec<u8> = (0..3_000_000u32).map(|number| (number >> 7) as u8).collect();
    let put = ["put".into(), sandbox.store().into_os_string(), "key".into()];
    printed(caskfs_fed(&put, &large));
    assert_eq!(fs::read(at("key")).unwrap(), large);
    assert_eq!(printed(sandbox.caskfs("get", &["key"])), large);

    printed(sandbox.caskfs("mv", &["key", "d/moved"]));
    assert!(!at("key").exists());
    assert_eq!(fs::read(at("d/moved")).unwrap(), large);
    assert_eq!(sandbox.sh("ls d"), "key\nmoved\n");
    printed(sandbox.caskfs("rm", &["d/moved"]));
    assert!(!at("d/moved").exists());
    assert_refused(&sandbox.caskfs("rm", &["d/moved"]), 1, "no such key");
    printed(sandbox.caskfs("mv", &["d", "e"]));
    assert_eq!(sandbox.sh("ls; ls e; cat e/key"), "e\nkey\none");
    printed(sandbox.caskfs("rm", &["-r", "e"]));
    assert_eq!(sandbox.sh("ls -A"), "");
    assert!(!at("e/key").exists() && !at("e").exists());
}

#[test]
fn what_the_mount_changes_a_command_shows() {
    let sandbox = Sandbox::mounted();
    sandbox.sh(
        "mkdir -p users/old; echo Ada > users/42; ln -s 42 users/link; chmod 640 users/42; truncate -s 5G users/big",
    );
    assert_eq!(text(sandbox.caskfs("get", &["users/42"])), "Ada\n");
    assert_eq!(text(sandbox.caskfs("ls", &[])), "users/\n");
    assert_eq!(text(sandbox.caskfs("ls", &["users"])), "users/42\nusers/big\nusers/link\nusers/old/\n");
    assert_eq!(text(sandbox.caskfs("ls", &["users/4"])), "users/42\n");
    let long = text(sandbox.caskfs("ls", &["-l", "users"]));
    assert!(long.lines().next().unwrap().starts_with("-rw-r-----   1 "), "{long}");
    assert!(long.contains(" 5368709120 ") && long.contains("users/link -> 42\n"), "{long}");
    let stat = text(sandbox.caskfs("stat", &["users/42", "--json"]));
    let inode = sandbox.sh("stat -c %i users/42");
    assert!(stat.contains(&format!("\"inode\":{},", inode.trim())) && stat.contains("\"mode\":\"0640\""), "{stat}");
    assert_refused(&sandbox.caskfs("get", &["users"]), 3, "it is a directory");
    assert_refused(&sandbox.caskfs("get", &["users/43"]), 1, "users/43: no such key");
    assert_refused(&sandbox.caskfs("put", &["users", "x"]), 3, "it is a directory");
    assert_refused(&sandbox.caskfs("rm", &["users"]), 3, "not empty");

    let info = text(sandbox.caskfs("info", &[]));
    let mounted =
        format!("at {} by process {}", sandbox.mountpoint().canonicalize().unwrap().display(), sandbox.daemons()[0]);
    assert!(info.contains(&mounted) && info.contains("healthy"), "{info}");
    sandbox.unmount();
    assert_eq!(text(sandbox.caskfs("get", &["users/42"])), "Ada\n");
    assert!(text(sandbox.caskfs("info", &[])).contains("mounted:    no"));
}

/// What is open keeps the value that it has; what is opened after a `put` has the new one.
#[test]
fn a_put_over_an_open_file() {
    let sandbox = Sandbox::mounted();
    fs::write(sandbox.at("key"), "old value").unwrap();
    let file = File::open(sandbox.at("key")).unwrap();
    printed(sandbox.caskfs("put", &["key", "new"]));
    assert_eq!(fs::read(sandbox.at("key")).unwrap(), b"new");
    let mut seen = [0; 3];
    file.read_exact_at(&mut seen, 0).unwrap();
    assert!(&seen == b"old" || &seen == b"new");
}

#[test]
fn a_put_is_on_the_disk_when_it_returns() {
    let sandbox = Sandbox::mounted();
    for number in 0..10 {
        printed(sandbox.caskfs("put", &[&format!("key{number}"), "value"]));
    }
    sandbox.crash();
    assert_eq!(sandbox.sh("cat key* | wc -c").trim(), "50");
}

#[test]
fn many_commands_at_once() {
    let sandbox = Sandbox::mounted();
    sandbox.sh(
        r#"
        pids=()
        for i in $(seq 20); do
            { caskfs put "$STORE" "dir/$((i % 3))/k$i" "v$i" && [ "$(caskfs get "$STORE" "dir/$((i % 3))/k$i")" = "v$i" ]; } &
            pids+=($!)
            { echo "v$i" > "m$i" && [ "$(caskfs get "$STORE" "m$i")" = "v$i" ]; } &
            pids+=($!)
        done
        for pid in "${pids[@]}"; do wait $pid; done
        [ "$(find dir -type f | wc -l)" = 20 ]
        "#,
    );
}

#[test]
fn the_socket_is_the_owners_alone() {
    let sandbox = Sandbox::mounted();
    let mode = |path: std::path::PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(sandbox.store().join("control")), 0o600);
    assert_eq!(mode(sandbox.store()), 0o700);
    assert_eq!(mode(sandbox.store().join("daemon.log")), 0o600);
    sandbox.unmount();
    assert!(!sandbox.store().join("control").exists());
}

/// A program that is fed by one command and feeds another does not deadlock the daemon.
#[test]
fn commands_in_a_pipe() {
    let sandbox = Sandbox::mounted();
    sandbox.sh(r#"
        head -c 5000000 /dev/urandom > big
        caskfs get "$STORE" big | caskfs put "$STORE" copy
        cmp big copy
        caskfs get "$STORE" big | head -c 10 > /dev/null || true
        caskfs ls "$STORE" | grep -qx copy
        "#);
    // A reader that goes away is no fault.
    assert_eq!(sandbox.log(), "");
}

/// Through the daemon, which has the segments open; what went bad meanwhile is found.
#[test]
fn a_mounted_store_is_verified() {
    let sandbox = Sandbox::mounted();
    fs::write(sandbox.at("good"), "a good value").unwrap();
    fs::write(sandbox.at("bad"), "a value that goes bad").unwrap();
    assert!(text(sandbox.caskfs("verify", &[])).starts_with("read: "));
    let segment = sandbox.store().join("segments/00000001.log");
    let mut bytes = fs::read(&segment).unwrap();
    let place = bytes.windows(13).position(|window| window == b"that goes bad").unwrap();
    bytes[place] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let output = sandbox.caskfs("verify", &[]);
    assert_eq!(output.status.code(), Some(13));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("\ndamaged: bad\n"), "{said}");
    assert!(!said.contains("good"), "{said}");
}

/// What a command has not said to its end, nobody has said: a killed one sets nothing, nor does one that cannot read.
#[test]
fn a_put_that_is_cut_short() {
    let sandbox = Sandbox::mounted();
    printed(sandbox.caskfs("put", &["key", "old"]));
    let put = |len: u64| {
        let mut stream = std::os::unix::net::UnixStream::connect(sandbox.store().join("control")).unwrap();
        let key: Vec<String> = b"key".iter().map(u8::to_string).collect();
        let line = format!(r#"{{"Put":{{"key":[{}],"ttl":null,"len":{len}}}}}"#, key.join(","));
        stream.write_all(format!("{line}\n").as_bytes()).unwrap();
        stream.write_all(b"half of").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said
    };
    let said = put(100);
    assert!(said.contains("it ended 93 bytes too early"), "{said}");
    assert_eq!(fs::read(sandbox.at("key")).unwrap(), b"old");
    assert!(put(7).ends_with("\"Done\"\n"));
    assert_eq!(fs::read(sandbox.at("key")).unwrap(), b"half of");

    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_caskfs"));
    command.args(["put".as_ref(), sandbox.store().as_os_str(), "key".as_ref()]);
    let output = command.stdin(File::open("/").unwrap()).output().unwrap();
    assert_refused(&output, 3, "standard input: Is a directory");
    assert_eq!(fs::read(sandbox.at("key")).unwrap(), b"half of");
    // Nor is the value of a command that waits for the rest of it.
    let mut put = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    put.stdin.as_mut().unwrap().write_all(&[b'x'; 200_000]).unwrap();
    put.kill().unwrap();
    put.wait().unwrap();
    assert_eq!(fs::read(sandbox.at("key")).unwrap(), b"half of");
}

/// One sync for all of it; and a command that is killed stops the daemon in what it does for it.
#[test]
fn a_tree_is_removed_by_a_command() {
    let sandbox = Sandbox::mounted();
    let fill =
        |count: usize| sandbox.sh(&format!("mkdir -p d/e; seq {count} | sed 's,^,d/e/,' | xargs touch; sync -f d"));
    let syncs = || {
        sandbox
            .sh("grep ^caskfs_sync_duration_seconds_count .caskfs/stats | cut -d' ' -f2")
            .trim()
            .parse::<u64>()
            .unwrap()
    };
    fill(2_000);
    assert_eq!(sandbox.sh("ls d/e | wc -l").trim(), "2000");
    let before = syncs();
    printed(sandbox.caskfs("rm", &["-r", "d"]));
    // One, and those that come by themselves each second.
    assert!(syncs() - before < 100, "{} syncs", syncs() - before);
    assert_eq!(sandbox.sh("ls -A; ! test -e d/e/1"), "");

    fill(20_000);
    let mut stream = std::os::unix::net::UnixStream::connect(sandbox.store().join("control")).unwrap();
    stream.write_all(b"{\"Remove\":{\"key\":[100],\"recursive\":true}}\n").unwrap();
    let mut taken = [0];
    stream.read_exact(&mut taken).unwrap();
    drop(stream);
    sandbox.wait("the request's end", || sandbox.log().contains("went away"));
    let left = sandbox.sh("ls d/e | wc -l").trim().parse::<u64>().unwrap();
    assert!(left > 0, "everything was removed for nobody");
    printed(sandbox.caskfs("rm", &["-r", "d"]));
    assert_eq!(sandbox.sh("ls -A"), "");
}

/// The kernel places what is appended at the end that it knows of. Put behind its back, longer and shorter.
#[test]
fn an_append_after_a_put_is_at_its_end() {
    let sandbox = Sandbox::mounted();
    for put in ["AAAAAAAAAABBBBBBBBBB", "abc", ""] {
        sandbox.sh("printf 1234567890 > l");
        let mut open = fs::OpenOptions::new().append(true).open(sandbox.at("l")).unwrap();
        printed(sandbox.caskfs("put", &["l", put]));
        sandbox.sh("printf TAIL >> l");
        assert_eq!(fs::read(sandbox.at("l")).unwrap(), format!("{put}TAIL").as_bytes());
        open.write_all(b"MORE").unwrap();
        drop(open);
        assert_eq!(fs::read(sandbox.at("l")).unwrap(), format!("{put}TAILMORE").as_bytes());
        assert_eq!(text(sandbox.caskfs("get", &["l"])), format!("{put}TAILMORE"));
    }
}

/// Whoever reads from the kernel's pages asks nobody how long the value is: splice, sendfile and mappings.
#[test]
fn readers_of_pages_see_what_was_put() {
    let sandbox = Sandbox::mounted();
    for (old, new) in [(10, 20), (10, 100_000), (100_000, 4097), (5000, 0), (0, 1), (4096, 8192), (8192, 4096)] {
        let (old, new) = ("o".repeat(old), "n".repeat(new));
        fs::write(sandbox.at("key"), &old).unwrap();
        assert_eq!(fs::read(sandbox.at("key")).unwrap(), old.as_bytes());
        let script = format!(
            r#"
import os, mmap, subprocess, sys
old, new = {}, {}
f = os.open("key", os.O_RDONLY)
m = mmap.mmap(f, max(old, 1), prot=mmap.PROT_READ) if old else None
if m: assert m[:old] == b"o" * old
subprocess.run(["caskfs", "put", os.environ["STORE"], "key"], input=b"n" * new, check=True)
def spliced(start):
    r, w = os.pipe()
    got, at = b"", start
    while True:
        n = os.splice(f, w, 65536, offset_src=at)
        if n == 0: break
        at += n
        got += os.read(r, n)
    os.close(r); os.close(w)
    return got
got = spliced(0)
assert got == b"n" * new, (len(got), new, got[:20])
t = os.memfd_create("t")
sent = 0
while (n := os.sendfile(t, f, sent, 1 << 20)): sent += n
assert sent == new, (sent, new)
if new:
    m2 = mmap.mmap(f, new, prot=mmap.PROT_READ)
    assert m2[:new] == b"n" * new
if m and min(old, new): assert m[:min(old, new)] == b"n" * min(old, new)
"#,
            old.len(),
            new.len()
        );
        fs::write(sandbox.outside("readers.py"), script).unwrap();
        sandbox.sh("python3 \"$OUT/readers.py\"");
    }
}

/// The kernel moves a directory that another door has moved, with whoever works in it and what is mounted below.
#[test]
fn a_directory_that_a_command_moves_stays_a_working_directory() {
    let sandbox = Sandbox::mounted();
    sandbox.sh(r#"
        mkdir -p a/b/c x; echo v > a/b/c/k; cd a/b/c
        caskfs mv "$STORE" a/b x/y
        [ "$(/bin/pwd)" = "$MNT/x/y/c" ] && [ "$(cat k)" = v ]
        ls "$MNT/a" "$MNT/x/y/c" > /dev/null
        [ "$(/bin/pwd)" = "$MNT/x/y/c" ] && echo w > k && [ "$(cat "$MNT/x/y/c/k")" = w ]
        "#);
    if !crate::sandbox::needs_root() {
        return;
    }
    // In a mount namespace of its own, so that nothing is left behind.
    sandbox.sh(r#"
        mkdir -p m/n/o
        unshare -m bash -euc '
            mount -t tmpfs none m/n/o; echo inside > m/n/o/k
            caskfs mv "$STORE" m/n z
            [ "$(cat z/o/k)" = inside ] && [ ! -e m/n ]
        '
        "#);
}
