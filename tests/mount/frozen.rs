//! `.snapshots` at the root of a mount, as programs see it.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::command::printed;
use crate::rsync::{assert_same, rsync};
use crate::sandbox::{Sandbox, require};
use crate::tree;

/// Runs a script in the mount, over and over, until the value is dropped.
struct Writers(Vec<std::process::Child>);

impl Writers {
    fn start(sandbox: &Sandbox, count: usize, script: &str) -> Writers {
        let script = format!("while :; do {script}\ndone");
        let spawn = |number: usize| sandbox.shell(&script).env("WRITER", number.to_string()).spawn().unwrap();
        Writers((0..count).map(spawn).collect())
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        for writer in &mut self.0 {
            let _ = writer.kill();
            let _ = writer.wait();
        }
    }
}

/// Changes everywhere in the tree that a snapshot was taken of: values, names, attributes, and removals.
const WRITER: &str = r#"
    for file in $(find tree -type f | shuf -n 20); do
        case $((RANDOM % 4)) in
            0) head -c $((RANDOM % 9000)) /dev/urandom > "$file" ;;
            1) mv "$file" "$file.$WRITER" ;;
            2) chmod 600 "$file" ;;
            3) rm -f "$file" ;;
        esac
    done 2> /dev/null || true
    mkdir -p "new/$WRITER" && head -c 20000 /dev/urandom > "new/$WRITER/$RANDOM"
"#;

#[test]
fn rsync_of_a_snapshot_under_load_is_the_tree_of_its_moment() {
    let sandbox = Sandbox::mounted();
    require("rsync");
    let (source, tree, frozen) = (sandbox.outside("source"), sandbox.at("tree"), sandbox.at(".snapshots/now/tree"));
    tree::make(&source);
    rsync(&[], &source, &tree);
    assert_same(&source, &tree);
    // Nothing is written in this moment, so that what it holds is known; but all the time from here on.
    fs::create_dir(sandbox.at(".snapshots/now")).unwrap();
    let writers = Writers::start(&sandbox, 3, WRITER);
    sandbox.wait("the writers", || sandbox.at("new/0").exists() && sandbox.at("new/2").exists());
    let out = sandbox.outside("out");
    rsync(&[], &frozen, &out);
    assert_same(&source, &out);
    assert_same(&out, &frozen);
    assert!(fs::read_dir(sandbox.at(".snapshots/now")).unwrap().count() == 1, "what is new is not in it");
    drop(writers);
    // That was no accident of what the kernel had kept.
    sandbox.crash();
    assert_same(&source, &frozen);
    let changed = rsync(&["-nci", "--delete"], &source, &tree);
    assert!(changed.lines().count() > 20, "the writers have changed what is live: {changed}");
}

/// Two keys that are set one after the other, over and over: a moment has the first, at most one step ahead.
#[test]
fn a_snapshot_under_load_has_no_later_change_without_the_earlier() {
    let sandbox = Sandbox::mounted_with(&["--sync", "interval"]);
    let writers = Writers::start(&sandbox, 3, "i=$((${i:-0} + 1)); echo $i > first.$WRITER; echo $i > second.$WRITER");
    let number = |path: &Path| fs::read_to_string(path).unwrap().trim().parse::<u64>().unwrap();
    // What is there may not be committed yet, but for what was there before.
    let committed = |writer: usize| {
        let second = fs::read_to_string(sandbox.at(format!("second.{writer}"))).unwrap_or_default();
        second.trim().parse::<u64>().is_ok_and(|number| number > 2)
    };
    sandbox.wait("the writers", || (0..3).all(committed));
    let mut last = 0;
    for round in 0..20 {
        let snapshot = sandbox.at(format!(".snapshots/{round}"));
        fs::create_dir(&snapshot).unwrap();
        for writer in 0..3 {
            let first = number(&snapshot.join(format!("first.{writer}")));
            let second = number(&snapshot.join(format!("second.{writer}")));
            assert!(first == second || first == second + 1, "{first} {second}");
            if writer == 0 {
                assert!(first >= last);
                last = first;
            }
        }
    }
    drop(writers);
}

#[test]
fn a_directory_in_it_is_a_snapshot() {
    let sandbox = Sandbox::mounted();
    sandbox.sh(r#"
        mkdir d; echo old > d/k; ln -s d/k link; ln d/k hard; setfattr -n user.x -v y d/k
        truncate -s 5M sparse; echo end >> sparse
        mkdir .snapshots/one
        [ "$(ls -A | xargs)" = "d hard link sparse" ]
        [ "$(ls .snapshots)" = one ]
        rm -rf d hard link; echo new > sparse
        cd .snapshots/one
        [ "$(ls | xargs)" = "d hard link sparse" ]
        [ "$(cat link)" = old ] && [ "$(readlink link)" = d/k ]
        [ "$(stat -c %i d/k)" = "$(stat -c %i hard)" ] && [ "$(stat -c %h hard)" = 2 ]
        [ "$(getfattr --only-values -n user.x hard)" = y ]
        [ "$(stat -c %s sparse)" = 5242884 ] && [ "$(stat -c %b sparse)" -lt 100 ]
        python3 -c "import os; f = os.open('sparse', os.O_RDONLY); assert os.lseek(f, 0, os.SEEK_DATA) > 5000000"
        [ "$(find . -type f | wc -l)" = 3 ]
        [ "$(cd .. && pwd)" = "$MNT/.snapshots" ]
        cp -a d "$MNT/back" && [ "$(cat "$MNT/back/k")" = old ]
        "#);
    for (script, reason) in [
        ("echo x > .snapshots/one/d/k", "Read-only file system"),
        ("touch .snapshots/one/new", "Read-only file system"),
        ("rm .snapshots/one/sparse", "Read-only file system"),
        ("mv .snapshots/one/sparse .", "Read-only file system"),
        ("mv .snapshots/one .snapshots/two", "not permitted"),
        ("mkdir .snapshots/one", "File exists"),
        ("rmdir .snapshots/two", "No such file"),
        ("rmdir .snapshots", "not permitted"),
    ] {
        let output = sandbox.try_sh(script);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(reason), "{script}: {said}");
    }
    sandbox.crash();
    sandbox.sh(r#"[ "$(cat .snapshots/one/link)" = old ]; rmdir .snapshots/one; [ -z "$(ls .snapshots)" ]"#);
    sandbox.crash();
    sandbox.sh(r#"[ -z "$(ls .snapshots)" ] && [ ! -e .snapshots/one ]"#);
}

/// The commands make and remove snapshots behind the kernel's back.
#[test]
fn what_a_command_does_to_snapshots_shows_at_once() {
    let sandbox = Sandbox::mounted();
    for round in 0..5 {
        fs::write(sandbox.at("key"), format!("{round}")).unwrap();
        assert!(!sandbox.at(".snapshots/same").exists());
        printed(crate::command::caskfs([
            "snapshot".as_ref(),
            "create".as_ref(),
            sandbox.store().as_os_str(),
            "same".as_ref(),
        ]));
        assert_eq!(fs::read_to_string(sandbox.at(".snapshots/same/key")).unwrap(), format!("{round}"));
        assert_eq!(fs::read_dir(sandbox.at(".snapshots")).unwrap().count(), 1);
        printed(crate::command::caskfs([
            "snapshot".as_ref(),
            "remove".as_ref(),
            sandbox.store().as_os_str(),
            "same".as_ref(),
        ]));
    }
    assert_eq!(fs::read_dir(sandbox.at(".snapshots")).unwrap().count(), 0);
}

#[test]
fn an_open_file_of_a_removed_snapshot_stays_readable() {
    let sandbox = Sandbox::mounted();
    let value: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    fs::write(sandbox.at("key"), &value).unwrap();
    sandbox.sh("mkdir .snapshots/one; rm key");
    let mut file = File::open(sandbox.at(".snapshots/one/key")).unwrap();
    let mut read = vec![0; 1000];
    file.read_exact(&mut read).unwrap();
    sandbox.sh("rmdir .snapshots/one; [ ! -e .snapshots/one ]; mkdir .snapshots/one; [ -z \"$(ls .snapshots/one)\" ]");
    file.read_to_end(&mut read).unwrap();
    assert!(read == value);
}
