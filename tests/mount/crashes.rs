//! kill -9 of the daemon, and what the next one finds. Of kills while others write, `tests/faults.rs`.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;

use crate::sandbox::Sandbox;

#[test]
fn changes_of_names_survive_kill_nine() {
    let sandbox = Sandbox::mounted();
    let script = r#"
        mkdir -p a/b/c; echo 1 > a/one; echo 2 > a/two; ln a/one a/b/hard; ln -s one a/soft
        mv a/two a/b/c/; mv a/b A; rm a/one; chmod 751 A; touch -h -d @1234567.000000089 a/soft
        setfattr -n user.k -v v A/hard; truncate -s 1 A/hard; mkdir gone; rmdir gone
    "#;
    sandbox.sh(script);
    sandbox.crash();
    sandbox.sh(r#"
        [ "$(find . | sort)" = $'.\n./A\n./A/c\n./A/c/two\n./A/hard\n./a\n./a/soft' ]
        [ "$(cat A/hard A/c/two)" = 12 ] && [ "$(stat -c '%a %h' A/hard)" = '644 1' ] && [ "$(stat -c %a A)" = 751 ]
        [ "$(find a/soft -printf '%T@')" = 1234567.0000000890 ]
        [ "$(getfattr --only-values -n user.k A/hard)" = v ]
        "#);
}

/// A set is atomic: a program that syncs what it reads, or the directory, publishes no half of it.
#[test]
fn a_sync_by_who_only_reads_publishes_no_half_written_value() {
    let sandbox = Sandbox::mounted();
    sandbox.sh("echo whole > key; mkdir d");
    let (mut key, mut new) = (File::create(sandbox.at("key")).unwrap(), File::create(sandbox.at("d/new")).unwrap());
    key.write_all(b"half").unwrap();
    new.write_all(b"half").unwrap();
    // As coreutils' sync does; but a program that is started would close its copies of the writers' descriptors.
    for path in ["key", "d/new", "d", ""] {
        File::open(sandbox.at(path)).unwrap().sync_all().unwrap();
    }
    assert_eq!(fs::read(sandbox.at("d/new")).unwrap(), b"half");
    sandbox.kill();
    drop((key, new));
    sandbox.mount();
    assert_eq!(sandbox.sh("cat key; ls d"), "whole\n");
}

/// A database syncs through a descriptor of its checkpointer's what other processes wrote through theirs.
#[test]
fn a_sync_by_who_may_write_makes_durable_what_others_wrote() {
    let sandbox = Sandbox::mounted();
    let backend = File::create(sandbox.at("table")).unwrap();
    backend.write_all_at(b"page", 0).unwrap();
    fs::OpenOptions::new().read(true).write(true).open(sandbox.at("table")).unwrap().sync_all().unwrap();
    sandbox.kill();
    drop(backend);
    sandbox.mount();
    assert_eq!(fs::read(sandbox.at("table")).unwrap(), b"page");
}
