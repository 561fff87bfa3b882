//! How a mount begins and ends.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::command::{assert_refused, caskfs};
use crate::sandbox::{Sandbox, is_root};

#[test]
fn signals_unmount_and_lose_nothing() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let sandbox = Sandbox::mounted();
        fs::write(sandbox.at("key"), "value").unwrap();
        sandbox.signal(signal);
        sandbox.wait_for_end();
        assert!(!sandbox.is_mounted());
        sandbox.mount();
        assert_eq!(fs::read(sandbox.at("key")).unwrap(), b"value");
    }
}

/// Whoever has a file open does not keep the daemon, and loses nothing of what was written.
#[test]
fn a_signal_saves_what_open_files_hold() {
    let sandbox = Sandbox::mounted();
    let mut file = OpenOptions::new().create_new(true).write(true).open(sandbox.at("open")).unwrap();
    file.write_all(&vec![7; 3_000_000]).unwrap();
    sandbox.signal(Signal::SIGTERM);
    sandbox.wait_for_end();
    assert!(!sandbox.is_mounted());
    assert!(file.write_all(b"more").is_err());
    drop(file);
    sandbox.mount();
    assert_eq!(fs::read(sandbox.at("open")).unwrap(), vec![7; 3_000_000]);
}

#[test]
fn a_daemon_in_front_ends_with_zero() {
    let sandbox = Sandbox::new();
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_caskfs"));
    daemon.args(["mount", "--foreground"]).arg(sandbox.store()).arg(sandbox.mountpoint());
    let mut daemon = daemon.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    sandbox.wait("the mount", || sandbox.is_mounted());
    sandbox.wait("an answer", || fs::write(sandbox.at("key"), "value").is_ok());
    assert_eq!(sandbox.sh("cat key"), "value");
    sandbox.signal(Signal::SIGINT);
    assert_eq!(daemon.wait().unwrap().code(), Some(0));
    assert!(!sandbox.is_mounted());
}

/// `caskfs mount` returns when the mount answers, and `caskfs umount` when the store is free again.
#[test]
fn a_store_can_be_mounted_again_at_once() {
    let sandbox = Sandbox::new();
    for number in 0..20 {
        sandbox.mount();
        fs::write(sandbox.at(number.to_string()), number.to_string()).unwrap();
        assert_eq!(fs::read_dir(sandbox.mountpoint()).unwrap().count(), number + 1);
        sandbox.unmount();
    }
    assert!(fs::read_dir(sandbox.mountpoint()).unwrap().next().is_none());
}

/// Whoever else unmounts ends the daemon too, and a mount that comes right after waits for that.
#[test]
fn others_may_unmount() {
    let mut programs = vec![["fusermount3", "-u"].as_slice()];
    if is_root() {
        programs.push(&["umount"]);
    }
    for program in programs {
        let sandbox = Sandbox::new();
        for number in 0..20 {
            sandbox.mount();
            fs::write(sandbox.at("key"), number.to_string()).unwrap();
            let output = Command::new(program[0]).args(&program[1..]).arg(sandbox.mountpoint()).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(!sandbox.is_mounted());
        }
        sandbox.wait_for_end();
        assert_eq!(sandbox.caskfs("get", &["key"]).stdout, b"19");
    }
}

#[test]
fn a_dead_mount_is_taken_over_and_says_so() {
    let sandbox = Sandbox::mounted();
    fs::write(sandbox.at("key"), "value").unwrap();
    sandbox.kill();
    assert!(sandbox.is_mounted(), "the kernel keeps a dead mount");
    assert!(fs::read_dir(sandbox.mountpoint()).is_err());
    let said = sandbox.mount();
    assert!(said.lines().count() == 1 && said.contains("died without unmounting"), "{said}");
    assert_eq!(fs::read(sandbox.at("key")).unwrap(), b"value");
    sandbox.unmount();
}

#[test]
fn a_dead_mount_can_be_unmounted() {
    let sandbox = Sandbox::mounted();
    sandbox.kill();
    let output = caskfs(["umount".as_ref(), sandbox.mountpoint().as_os_str()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.lines().count() == 1 && said.contains("had died"), "{said}");
    assert!(!sandbox.is_mounted());
    let again = caskfs(["umount".as_ref(), sandbox.mountpoint().as_os_str()]);
    assert_refused(&again, 25, "no caskfs store is mounted there");
}

/// A second daemon may not have the store, nor another store the mountpoint.
#[test]
fn what_is_mounted_stays_mounted() {
    let sandbox = Sandbox::mounted();
    fs::write(sandbox.at("key"), "value").unwrap();
    assert_refused(&sandbox.try_mount(&[]), 24, "already mounted");
    let (store, elsewhere) = (sandbox.store(), sandbox.outside("elsewhere"));
    fs::create_dir(&elsewhere).unwrap();
    let output = caskfs(["mount".as_ref(), store.as_os_str(), elsewhere.as_os_str()]);
    assert_refused(&output, 12, "the store is mounted at ");
    let other = sandbox.outside("other");
    let output = caskfs(["mount".as_ref(), other.as_os_str(), sandbox.mountpoint().as_os_str()]);
    assert_refused(&output, 24, "already mounted");
    assert!(!other.exists());
    assert_eq!(fs::read(sandbox.at("key")).unwrap(), b"value");
    assert_eq!(sandbox.daemons().len(), 1);
}

#[test]
fn a_mount_in_use_stays_unless_it_is_taken_away() {
    let sandbox = Sandbox::mounted();
    let file = fs::File::create(sandbox.at("key")).unwrap();
    let mountpoint = sandbox.mountpoint();
    let umount = |options: &[&str]| {
        caskfs([&["umount"], options].concat().into_iter().map(AsRef::as_ref).chain([mountpoint.as_os_str()]))
    };
    assert_refused(&umount(&[]), 26, "is in use");
    assert!(sandbox.is_mounted());
    let output = umount(&["--lazy"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!sandbox.is_mounted());
    // Whoever has a file open can still finish it.
    (&file).write_all(b"value").unwrap();
    drop(file);
    sandbox.wait_for_end();
    assert_eq!(sandbox.caskfs("get", &["key"]).stdout, b"value");
}

#[test]
fn a_daemon_that_is_stopped_hangs_no_command() {
    let sandbox = Sandbox::mounted();
    sandbox.stop();
    let begun = Instant::now();
    let mount = sandbox.try_mount(&[]);
    let get = sandbox.caskfs("get", &["key"]);
    assert!(begun.elapsed() < Duration::from_secs(60));
    sandbox.signal(Signal::SIGCONT);
    assert_refused(&mount, 24, "already mounted");
    assert_refused(&get, 28, "the daemon does not answer");
    sandbox.unmount();
}
