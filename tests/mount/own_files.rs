//! `.caskfs` at the root of a mount, as programs see it.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::command::{assert_refused, printed};
use crate::sandbox::{Sandbox, needs_root, require};

#[test]
fn every_way_to_read_gives_the_whole_text() {
    let sandbox = Sandbox::mounted();
    require("python3");
    sandbox.sh(r#"
        cd .caskfs
        [ "$(ls)" = "$(printf 'contract\nrecovery\nstats\nversion')" ]
        for file in contract recovery version; do
            size=$(stat -c %s $file)
            [ $size -gt 0 ]
            [ "$(cat $file | wc -c)" = $size ]
            [ "$(wc -c < $file)" = $size ]
            [ "$(dd if=$file bs=1 status=none | wc -c)" = $size ]
            python3 -c "assert len(open('$file', 'rb').read()) == $size; assert len(open('$file').read()) == $size"
            cp $file "$OUT/$file"
            cmp $file "$OUT/$file"
            tail -n 1 $file > /dev/null
        done
        [ "$(head -n 1 version)" = "caskfs $(caskfs --version | cut -d' ' -f2)" ]
        # Texts that grow between stat and read are not cut.
        for i in 1 2 3; do
            for j in $(seq 40); do echo v > ../key$i.$j; done
            cat stats | tail -n 1 | grep -q '^caskfs_[a-z_]* [0-9]*$'
            grep -qx "caskfs_keys $((i * 40))" stats
            [ "$(wc -l < stats)" = "$(cat stats | wc -l)" ]
        done
        "#);
}

#[test]
fn what_walks_the_root_does_not_meet_it() {
    let sandbox = Sandbox::mounted();
    require("rsync");
    sandbox.sh(r#"
        echo v > key
        cat .caskfs/stats > /dev/null
        [ "$(ls -A)" = key ]
        [ "$(find . | sort | xargs)" = ". ./key" ]
        rsync -aHAX ./ "$OUT/copy"
        [ "$(ls -A "$OUT/copy")" = key ]
        rsync -aHAX --delete "$OUT/copy/" ./
        rm -rf ./* && cat .caskfs/version > /dev/null
        "#);
    sandbox.remount();
    sandbox.sh("[ -z \"$(ls -A)\" ] && cat .caskfs/recovery | head -n 1 | grep -q 'records were read'");
}

#[test]
fn nobody_changes_it() {
    let sandbox = Sandbox::mounted();
    let refused = |script: &str, reason: &str| {
        let output = sandbox.try_sh(script);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(reason), "{script}: {said}");
    };
    sandbox.sh("mkdir directory; echo v > key");
    refused("mkdir .caskfs", "File exists");
    refused("mkdir .snapshots", "File exists");
    refused("echo v > .snapshots", "Is a directory");
    refused("ln -s key .snapshots", "Operation not permitted");
    refused("ln -sT key .snapshots", "File exists");
    refused("rmdir .caskfs", "Operation not permitted");
    refused("rm -r .caskfs", "Operation not permitted");
    refused("mv .caskfs other", "Operation not permitted");
    refused("mv -T directory .caskfs", "Operation not permitted");
    refused("mv key .caskfs/key", "Operation not permitted");
    refused("mv directory .snapshots", "Operation not permitted");
    refused("touch .caskfs/new", "Operation not permitted");
    refused("echo v > .caskfs/version", if crate::sandbox::is_root() { "not permitted" } else { "denied" });
    refused("ln .caskfs/version link", "not permitted");
    sandbox.sh("cat .caskfs/version > /dev/null; [ \"$(ls -A | xargs)\" = 'directory key' ]");
    assert_refused(&sandbox.caskfs("put", &[".caskfs", "v"]), 3, "reserved");
    assert_refused(&sandbox.caskfs("mv", &["key", ".snapshots"]), 3, "reserved");
    assert_refused(&sandbox.caskfs("get", &[".caskfs/version"]), 1, "no such key");
}

/// What the daemon is told through the mount shows in its figures, which are made without the mount.
#[test]
fn stats_and_info_tell_the_same() {
    let sandbox = Sandbox::mounted();
    sandbox.sh("for i in $(seq 20); do head -c 1000 /dev/zero > key$i; done");
    let stats = fs::read_to_string(sandbox.at(".caskfs/stats")).unwrap();
    let info = String::from_utf8(printed(sandbox.caskfs("info", &["--json"]))).unwrap();
    let value = |name: &str| stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
    assert_eq!(value("caskfs_put_bytes_total"), "20000");
    for (name, field) in [
        ("caskfs_put_bytes_total", "put_bytes"),
        ("caskfs_appended_bytes_total", "appended_bytes"),
        ("caskfs_keys", "keys"),
        ("caskfs_dead_bytes", "dead_bytes"),
        ("caskfs_merges_total", "merges"),
        ("caskfs_written_sequence", "sequence"),
    ] {
        let wanted = format!("\"{field}\":{}", value(name));
        assert!(info.contains(&format!("{wanted},")), "{wanted}: {info}");
    }
    // Each close waited for a sync.
    let syncs: u64 = value("caskfs_sync_duration_seconds_count").parse().unwrap();
    let waiters: u64 = value("caskfs_sync_waiters_sum").parse().unwrap();
    assert!(syncs >= 20 && waiters >= 20, "{stats}");
    let shown = String::from_utf8(printed(sandbox.caskfs("info", &[]))).unwrap();
    for line in ["writes:     19.5 KiB of values put", "syncs:      ", "memory:     "] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
}

#[test]
fn it_is_there_on_a_read_only_mount() {
    let sandbox = Sandbox::mounted();
    sandbox.unmount();
    sandbox.mount_with(&["--read-only"]);
    sandbox.sh("grep -qx 'caskfs_failed 0' .caskfs/stats && grep -q 'A set is atomic' .caskfs/contract");
}

#[test]
fn the_report_is_for_the_owner_alone() {
    if !needs_root() {
        return;
    }
    let sandbox = Sandbox::mounted_with(&["--allow-other"]);
    assert_eq!(fs::metadata(sandbox.at(".caskfs/recovery")).unwrap().mode() & 0o7777, 0o400);
    let script = "cat \"$MNT/.caskfs/stats\" > /dev/null";
    assert!(crate::users::as_nobody(&sandbox, script));
    assert!(!crate::users::as_nobody(&sandbox, &script.replace("stats", "recovery")));
}
