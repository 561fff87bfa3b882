//! A tree goes in with rsync and comes out again, all of it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::sandbox::{Sandbox, require};
use crate::tree;

pub(crate) fn rsync(options: &[&str], from: &Path, to: &Path) -> String {
    require("rsync");
    let mut command = Command::new("rsync");
    command.args(["-aHAX", "--numeric-ids"]).args(options).arg(from.join("")).arg(to.join(""));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Contents, and all else that rsync carries over, with times to the nanosecond; and nothing is there beyond that.
#[track_caller]
pub(crate) fn assert_same(from: &Path, to: &Path) {
    assert_eq!(rsync(&["-nci", "--delete"], from, to), "");
    assert_eq!(rsync(&["-nci", "--delete", "--modify-window=-1"], from, to), "");
}

#[test]
fn a_tree_goes_in_and_comes_out() {
    let sandbox = Sandbox::mounted();
    let (source, copy, back) = (sandbox.outside("source"), sandbox.at("copy"), sandbox.outside("back"));
    tree::make(&source);
    rsync(&[], &source, &copy);
    assert_same(&source, &copy);
    sandbox.remount();
    assert_same(&source, &copy);
    rsync(&[], &copy, &back);
    assert_same(&source, &back);
    assert_same(&back, &source);

    // A second copy over the first writes nothing, and one that differs brings only the difference.
    assert_eq!(rsync(&["-i"], &source, &copy), "");
    fs::write(source.join("files/2/new"), "new").unwrap();
    fs::remove_file(source.join("links/soft")).unwrap();
    // Within one second the times of the directories differ in their nanoseconds alone.
    rsync(&["--delete", "--modify-window=-1"], &source, &copy);
    assert_same(&source, &copy);

    rsync(&["--inplace", "--no-whole-file", "--ignore-times", "--modify-window=-1"], &source, &copy);
    assert_same(&source, &copy);
}

#[test]
fn a_tree_survives_the_death_of_the_daemon() {
    let sandbox = Sandbox::mounted();
    let (source, copy) = (sandbox.outside("source"), sandbox.at("copy"));
    tree::make(&source);
    rsync(&[], &source, &copy);
    sandbox.crash();
    assert_same(&source, &copy);
    // And that was no accident of what was in memory.
    sandbox.remount();
    assert_same(&source, &copy);
}

/// The copy of a running store, made with rsync, is a store.
#[test]
fn the_store_of_an_unmounted_store_can_be_copied() {
    let sandbox = Sandbox::mounted();
    sandbox.sh("mkdir d; for i in $(seq 100); do echo $i > d/$i; done");
    sandbox.unmount();
    let copy = sandbox.outside("copy");
    rsync(&[], &sandbox.store(), &copy);
    fs::remove_dir_all(sandbox.store()).unwrap();
    fs::rename(copy, sandbox.store()).unwrap();
    sandbox.mount();
    sandbox.sh(r#"[ "$(cat d/* | sort -n | tail -n 1)" = 100 ]"#);
}

/// What the mount has at its root others cannot have there: they are told by their program that, and by the log why.
#[test]
fn a_tree_with_the_mounts_own_names_is_told_why() {
    let sandbox = Sandbox::mounted();
    let source = sandbox.outside("source");
    fs::create_dir_all(source.join(".snapshots")).unwrap();
    fs::write(source.join(".snapshots/file"), "x").unwrap();
    fs::write(source.join("key"), "x").unwrap();
    let said = sandbox.sh(r#"rsync -a "$OUT/source/" . 2>&1 || echo "code $?"; ls"#);
    assert!(said.contains(".snapshots/.file") && said.contains("code 23\n") && said.ends_with("key\n"), "{said}");
    assert!(sandbox.log().contains("which are the mount's own: a tree that has such a name"), "{}", sandbox.log());
    sandbox.sh(r#"rsync -a "$OUT/source" . && [ "$(cat source/.snapshots/file)" = x ]"#);
    sandbox.sh(r#"rsync -a --exclude /.snapshots "$OUT/source/" ."#);
}
