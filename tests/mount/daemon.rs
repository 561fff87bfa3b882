//! The daemon as a process: what it inherits, what signals do to it, and what it says.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};

use crate::command::{assert_refused, caskfs, printed, text};
use crate::sandbox::{Sandbox, needs_root, require};

fn process(sandbox: &Sandbox, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}", sandbox.daemons()[0])).join(name)
}

/// What is open in a daemon, in the order of the numbers.
fn descriptors(sandbox: &Sandbox) -> Vec<(u32, String)> {
    let number = |entry: fs::DirEntry| entry.file_name().to_str().unwrap().parse().unwrap();
    let entries = fs::read_dir(process(sandbox, "fd")).unwrap().map(|entry| entry.unwrap());
    let mut found: Vec<(u32, String)> = entries
        .filter_map(|entry| Some((fs::read_link(entry.path()).ok()?.display().to_string(), number(entry))))
        .map(|(target, number)| (number, target))
        .collect();
    found.sort();
    found
}

/// Whoever starts it may hold locks and pipes: none of them is the daemon's.
#[test]
fn a_daemon_has_no_files_but_its_own() {
    let sandbox = Sandbox::new();
    sandbox.sh(r#"
        cd "$OUT"
        exec 9> lock; flock 9
        exec 8> >(cat > /dev/null) 7< /etc/passwd 200<> "$OUT/other"
        caskfs mount "$STORE" "$MNT"
        "#);
    let store = sandbox.store().canonicalize().unwrap();
    let log = store.join("daemon.log").display().to_string();
    let mut others = Vec::new();
    for (number, target) in descriptors(&sandbox) {
        let right = match number {
            0 | 1 => target == "/dev/null",
            2 => target == log,
            // The connection, twice; the log's directory, the lock, the segments; the control socket.
            _ => target == "/dev/fuse" || Path::new(&target).starts_with(&store),
        };
        match right {
            true => {}
            false => others.push((number, target)),
        }
    }
    let socket = |(_, target): &(u32, String)| target.starts_with("socket:");
    assert!(others.len() == 1 && others.iter().all(socket), "{others:?}");
    // The lock is free once the script has ended.
    sandbox.sh("flock --nonblock \"$OUT/lock\" true");
}

/// Whatever it is started with: a directory, a mask, limits, blocked and ignored signals, secrets.
#[test]
fn a_daemon_stands_on_its_own() {
    let sandbox = Sandbox::new();
    sandbox.sh(r#"
        cd "$OUT"; umask 0; ulimit -S -n 100; ulimit -S -t 1000; ulimit -S -f 8; trap '' HUP TERM
        SECRET=x AWS_SECRET_ACCESS_KEY=x caskfs mount "$STORE" "$MNT"
        head -c 3000000 /dev/zero 2> /dev/null | { ulimit -S -f unlimited; cat > "$MNT/big"; }
        (umask 022; echo v > "$MNT/key"; mkdir "$MNT/d")
        [ "$(stat -c %a "$MNT/key" "$MNT/d")" = "$(printf '644\n755')" ]
        "#);
    let pid = sandbox.daemons()[0];
    assert_eq!(fs::read_link(process(&sandbox, "cwd")).unwrap().as_os_str(), "/");
    assert_eq!(nix::unistd::getsid(Some(pid)).unwrap(), pid);
    let status = fs::read_to_string(process(&sandbox, "status")).unwrap();
    assert!(status.contains("\nUmask:\t0077\n"), "{status}");
    let environment = fs::read(process(&sandbox, "environ")).unwrap();
    let environment = String::from_utf8_lossy(&environment);
    assert!(environment.contains("PATH=") && !environment.contains("SECRET") && !environment.contains("HOME="));
    let limits = fs::read_to_string(process(&sandbox, "limits")).unwrap();
    let soft_and_hard = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let mut fields = line.split_whitespace().map(str::to_owned);
        (fields.next().unwrap(), fields.next().unwrap())
    };
    for name in ["Max open files", "Max file size", "Max cpu time"] {
        let (soft, hard) = soft_and_hard(name);
        assert_eq!(soft, hard, "{name}");
    }
    for entry in fs::read_dir(sandbox.store()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().mode() & 0o077, 0, "{:?} is open to others", entry.path());
    }
    // The signals that the script ignored.
    sandbox.signal(Signal::SIGTERM);
    sandbox.wait_for_end();
    assert!(!sandbox.is_mounted());
}

/// A limit that cannot be lifted, and that a segment would reach: a write beyond it would fail for good.
#[test]
fn a_limit_of_file_sizes_is_refused_before_it_is_met() {
    if !needs_root() {
        return;
    }
    require("setpriv");
    let sandbox = Sandbox::new();
    let script = |limit: u32, arguments: &str| {
        let without = "setpriv --bounding-set=-sys_resource --inh-caps=-sys_resource --";
        sandbox.try_sh(&format!("cd /; ulimit -f {limit}; {without} caskfs mount {arguments} \"$STORE\" \"$MNT\""))
    };
    assert_refused(&script(100, ""), 3, "files may have 102400 bytes here (`ulimit -f`)");
    assert!(!sandbox.store().exists() && !sandbox.is_mounted());
    assert!(script(100, "--segment-size 64K").status.success());
    fs::write(sandbox.at("key"), vec![7; 1_000_000]).unwrap();
    assert_eq!(fs::read(sandbox.at("key")).unwrap(), vec![7; 1_000_000]);
}

/// What must happen when a signal comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It syncs, unmounts, and ends.
    Unmounts,
    /// It goes on.
    GoesOn,
    /// It stands still until SIGCONT.
    Stops,
    /// It dies, and leaves a dead mount.
    Dies,
}

fn outcome(signal: i32) -> Outcome {
    match signal {
        libc::SIGTERM | libc::SIGINT | libc::SIGQUIT => Outcome::Unmounts,
        libc::SIGSTOP => Outcome::Stops,
        libc::SIGKILL | libc::SIGABRT | libc::SIGFPE | libc::SIGILL => Outcome::Dies,
        // Of BUS and SEGV the runtime takes the first, to see whether the fault comes again.
        _ => Outcome::GoesOn,
    }
}

/// Every signal that there is, but the two that the C library keeps to itself.
#[test]
fn each_signal_does_what_the_table_says() {
    let sandbox = Sandbox::mounted();
    let mut number = 0;
    for signal in (1..=64).filter(|signal| ![32, 33].contains(signal)) {
        number += 1;
        let key = format!("key{number}");
        fs::write(sandbox.at(&key), signal.to_string()).unwrap();
        let daemon = sandbox.daemons()[0];
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(daemon.to_string()).status().unwrap();
        assert!(sent.success());
        match outcome(signal) {
            Outcome::GoesOn => {}
            Outcome::Unmounts => {
                sandbox.wait_for_end();
                assert!(!sandbox.is_mounted(), "signal {signal} left a mount");
                sandbox.mount();
            }
            Outcome::Dies => {
                sandbox.wait_for_end();
                assert!(sandbox.is_mounted());
                sandbox.mount();
            }
            Outcome::Stops => {
                let state = || fs::read_to_string(format!("/proc/{daemon}/stat")).unwrap().contains(") T ");
                sandbox.wait("the stop", state);
                kill(daemon, Signal::SIGCONT).unwrap();
            }
        }
        assert_eq!(fs::read_to_string(sandbox.at(&key)).unwrap(), signal.to_string(), "after signal {signal}");
        match outcome(signal) {
            Outcome::GoesOn | Outcome::Stops => assert_eq!(sandbox.daemons(), [daemon], "signal {signal}"),
            Outcome::Unmounts | Outcome::Dies => assert_ne!(sandbox.daemons(), [daemon], "signal {signal}"),
        }
    }
    assert_eq!(fs::read_dir(sandbox.mountpoint()).unwrap().count(), number);
}

/// One that comes while the store is still being opened, or the mount being made, leaves nothing behind.
#[test]
fn a_signal_before_the_mount_leaves_none() {
    let sandbox = Sandbox::mounted();
    sandbox.sh("for i in $(seq 300); do echo $i > $i; done");
    sandbox.unmount();
    for pause in 0..40 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_caskfs"));
        command.args(["mount", "--foreground"]).arg(sandbox.store()).arg(sandbox.mountpoint());
        let mut daemon = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(pause));
        kill(nix::unistd::Pid::from_raw(daemon.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        daemon.wait().unwrap();
        assert!(!sandbox.is_mounted(), "a signal after {pause} ms left a mount");
    }
}

/// What logrotate does: it moves the file away, and sends SIGHUP.
#[test]
fn a_hangup_opens_the_log_anew() {
    let sandbox = Sandbox::mounted();
    let (log, moved) = (sandbox.store().join("daemon.log"), sandbox.store().join("moved"));
    fs::rename(&log, &moved).unwrap();
    sandbox.signal(Signal::SIGHUP);
    sandbox.wait("the new log", || log.exists());
    let target = || fs::read_link(process(&sandbox, "fd/2")).unwrap();
    sandbox.wait("the switch", || target() == log.canonicalize().unwrap());
    assert_eq!(descriptors(&sandbox).iter().filter(|(_, target)| target.ends_with("moved")).count(), 0);
    assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
    // One that would lead elsewhere is not opened, and the daemon goes on.
    let elsewhere = sandbox.outside("elsewhere");
    fs::write(&elsewhere, "").unwrap();
    fs::remove_file(&log).unwrap();
    symlink(&elsewhere, &log).unwrap();
    sandbox.signal(Signal::SIGHUP);
    fs::write(sandbox.at("key"), "value").unwrap();
    sandbox.signal(Signal::SIGTERM);
    sandbox.wait_for_end();
    assert_eq!(fs::metadata(&elsewhere).unwrap().len(), 0);
}

#[test]
fn a_link_in_place_of_the_log_is_refused() {
    let sandbox = Sandbox::mounted();
    sandbox.unmount();
    let (log, elsewhere) = (sandbox.store().join("daemon.log"), sandbox.outside("elsewhere"));
    fs::write(&elsewhere, "untouched").unwrap();
    fs::remove_file(&log).unwrap();
    symlink(&elsewhere, &log).unwrap();
    assert_refused(&sandbox.try_mount(&[]), 3, "daemon.log is no plain file");
    assert!(!sandbox.is_mounted());
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "untouched");
    fs::remove_file(&log).unwrap();
    sandbox.mount();
}

/// Root is told when somebody else decides what is in the store.
#[test]
fn a_store_of_somebody_else_is_told() {
    if !needs_root() {
        return;
    }
    let sandbox = Sandbox::mounted();
    sandbox.unmount();
    std::os::unix::fs::chown(sandbox.store(), Some(1234), Some(1234)).unwrap();
    let said = sandbox.mount();
    assert!(said.contains("belongs to user 1234"), "{said}");
}

/// A damaged key that is read again and again, one with a name that would forge a line, and many of them.
#[test]
fn errors_do_not_fill_the_log() {
    let sandbox = Sandbox::mounted();
    let forged = "key\n2026-01-01T00:00:00Z ERROR caskfs: forged";
    fs::write(sandbox.at(forged), "a value that goes bad").unwrap();
    for number in 0..300 {
        fs::write(sandbox.at(format!("many{number}")), "a value that goes bad").unwrap();
    }
    sandbox.remount();
    let segment = sandbox.store().join("segments/00000001.log");
    let mut bytes = fs::read(&segment).unwrap();
    while let Some(place) = bytes.windows(13).position(|window| window == b"that goes bad") {
        bytes[place] ^= 1;
    }
    fs::write(&segment, bytes).unwrap();
    let before = sandbox.log().len();
    for _ in 0..3000 {
        assert!(fs::read(sandbox.at(forged)).is_err());
    }
    let said = sandbox.log()[before..].to_owned();
    assert!(said.contains("key\\n2026-01-01T00:00:00Z ERROR caskfs: forged"), "{said}");
    assert!(!said.lines().any(|line| line.starts_with("2026-01-01T00:00:00Z")), "{said}");
    assert!(said.lines().count() <= 4, "{said}");
    for number in 0..300 {
        assert!(fs::read(sandbox.at(format!("many{number}"))).is_err());
    }
    let lines = sandbox.log()[before..].lines().count();
    assert!((64..=2 * 64 + 4).contains(&lines), "{lines} lines");
}

/// Damage to what was written last is told from what a crash leaves, since the daemon has closed the store.
#[test]
fn a_daemon_that_ends_closes_the_store() {
    for signal in [None, Some(Signal::SIGTERM)] {
        let sandbox = Sandbox::mounted();
        fs::write(sandbox.at("key"), "a value that goes bad").unwrap();
        match signal {
            None => sandbox.unmount(),
            Some(signal) => {
                sandbox.signal(signal);
                sandbox.wait_for_end();
            }
        }
        let segment = sandbox.store().join("segments/00000001.log");
        let mut bytes = fs::read(&segment).unwrap();
        let place = bytes.windows(13).position(|window| window == b"that goes bad").unwrap();
        bytes[place] ^= 1;
        fs::write(&segment, bytes).unwrap();
        assert_eq!(sandbox.caskfs("verify", &[]).status.code(), Some(13), "{signal:?}");
    }
}

/// A daemon that has no descriptor left takes commands again when it has.
#[test]
fn the_socket_outlives_a_full_table_of_descriptors() {
    require("prlimit");
    let sandbox = Sandbox::mounted();
    fs::write(sandbox.at("key"), "value").unwrap();
    printed(sandbox.caskfs("get", &["key"]));
    let limit = |limit: String| {
        let pid = sandbox.daemons()[0].to_string();
        let output = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={limit}:")]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    // The last command's connection is closed by now, or soon: the first number that is free is then what accept would get.
    let sockets = || descriptors(&sandbox).iter().filter(|(_, target)| target.starts_with("socket:")).count();
    sandbox.wait("the end of the connection", || sockets() == 1);
    let taken: Vec<u32> = descriptors(&sandbox).into_iter().map(|(number, _)| number).collect();
    let free = (0..).find(|number| !taken.contains(number)).unwrap();
    limit(free.to_string());
    let store = sandbox.store();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| caskfs(["get".as_ref(), store.as_os_str(), "key".as_ref()]));
        sandbox.wait("the refusal", || sandbox.log().contains("the control socket takes no commands for a moment"));
        limit("1024".into());
        assert_eq!(text(waiting.join().unwrap()), "value");
    });
    for _ in 0..300 {
        assert_eq!(text(sandbox.caskfs("get", &["key"])), "value");
    }
}

/// Whoever connects and says nothing keeps nobody out for long, and takes no more than a thread of a bounded number.
#[test]
fn idle_connections_are_bounded() {
    let sandbox = Sandbox::mounted();
    fs::write(sandbox.at("key"), "value").unwrap();
    let directory = fs::File::open(sandbox.store()).unwrap();
    let socket = format!("/proc/self/fd/{}/control", directory.as_raw_fd());
    let idle: Vec<_> = (0..200).map(|_| std::os::unix::net::UnixStream::connect(&socket).unwrap()).collect();
    let threads = || fs::read_dir(process(&sandbox, "task")).unwrap().count();
    sandbox.wait("the connections", || threads() >= 128);
    assert!(threads() < 160, "{} threads", threads());
    drop(idle);
    assert_eq!(text(sandbox.caskfs("get", &["key"])), "value");
}
