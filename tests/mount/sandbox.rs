//! A store and a mountpoint of a test's own, which leave nothing behind whatever becomes of the test.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::command;

/// How long a daemon gets to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a script runs first in a mount namespace of its own: it lets go of other tests' mounts, which it would keep alive.
pub(crate) const ALONE: &str = r#"
    { findmnt -rn -t fuse.caskfs -o TARGET || true; } | while read -r mount; do
        case $mount in "${MNT:-none}" | "${MNT:-none}"/*) ;; *) umount -i -l "$mount" || true ;; esac
    done
"#;

pub(crate) struct Sandbox {
    directory: TempDir,
    store: PathBuf,
}

impl Sandbox {
    /// A place for a store, and an empty directory to mount it on.
    pub(crate) fn new() -> Sandbox {
        Sandbox::with_store(None)
    }

    /// The same with a store elsewhere, on another filesystem perhaps.
    pub(crate) fn with_store(store: Option<PathBuf>) -> Sandbox {
        require_fuse();
        let directory = tempfile::Builder::new().prefix("caskfs-test-").tempdir().unwrap();
        // Tests of other users' rights look in from outside.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let store = store.unwrap_or_else(|| directory.path().join("store"));
        let sandbox = Sandbox { directory, store };
        fs::create_dir(sandbox.mountpoint()).unwrap();
        fs::create_dir(sandbox.outside("")).unwrap();
        sandbox
    }

    /// The same, and mounted.
    pub(crate) fn mounted() -> Sandbox {
        Sandbox::mounted_with(&[])
    }

    /// Mounted with options.
    pub(crate) fn mounted_with(options: &[&str]) -> Sandbox {
        let sandbox = Sandbox::new();
        sandbox.mount_with(options);
        sandbox
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.store.clone()
    }

    pub(crate) fn mountpoint(&self) -> PathBuf {
        self.directory.path().join("mnt")
    }

    /// A path in the mount.
    pub(crate) fn at(&self, key: impl AsRef<OsStr>) -> PathBuf {
        self.mountpoint().join(key.as_ref())
    }

    /// A path in a plain directory beside it.
    pub(crate) fn outside(&self, name: &str) -> PathBuf {
        self.directory.path().join("outside").join(name)
    }

    /// Mounts, and returns what that said on standard error.
    pub(crate) fn mount(&self) -> String {
        self.mount_with(&[])
    }

    #[track_caller]
    pub(crate) fn mount_with(&self, options: &[&str]) -> String {
        let output = self.try_mount(options);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "caskfs mount: {}: {said}", output.status);
        assert!(self.is_mounted());
        said
    }

    pub(crate) fn try_mount(&self, options: &[&str]) -> Output {
        let mut arguments: Vec<OsString> = vec!["mount".into()];
        arguments.extend(options.iter().map(OsString::from));
        arguments.extend([self.store().into(), self.mountpoint().into()]);
        command::caskfs(arguments)
    }

    /// `caskfs umount`.
    #[track_caller]
    pub(crate) fn unmount(&self) {
        let output = command::caskfs([OsStr::new("umount"), self.mountpoint().as_os_str()]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "caskfs umount: {}: {said}", output.status);
        assert!(!self.is_mounted());
        assert_eq!(self.daemons(), [], "the daemon outlived the unmount");
    }

    #[track_caller]
    pub(crate) fn remount(&self) {
        self.unmount();
        self.mount();
    }

    /// kill -9 of the daemon, and a new one that takes its mount over.
    #[track_caller]
    pub(crate) fn crash(&self) {
        self.kill();
        self.mount();
    }

    /// kill -9 of the daemon.
    #[track_caller]
    pub(crate) fn kill(&self) {
        self.signal(Signal::SIGKILL);
        self.wait_for_end();
    }

    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        let daemons = self.daemons();
        assert_eq!(daemons.len(), 1, "one daemon is wanted");
        kill(daemons[0], signal).unwrap();
    }

    /// SIGSTOP of the daemon, which stands still when this returns.
    #[track_caller]
    pub(crate) fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        // A thread that is not stopped yet may still take a request, and then nothing frees whoever waits for the answer.
        let threads = format!("/proc/{}/task", self.daemons()[0]);
        let stopped = |thread: fs::DirEntry| {
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap();
            stat.rsplit(')').next().unwrap().trim_start().starts_with('T')
        };
        self.wait("the stop", || fs::read_dir(&threads).unwrap().all(|thread| stopped(thread.unwrap())));
    }

    /// Waits until no daemon is left.
    #[track_caller]
    pub(crate) fn wait_for_end(&self) {
        self.wait("the daemon's end", || self.daemons().is_empty());
    }

    #[track_caller]
    pub(crate) fn wait(&self, what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < deadline, "waited for {what} in vain");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The processes that serve this store.
    pub(crate) fn daemons(&self) -> Vec<Pid> {
        let store = self.store();
        let serves = |process: &Path| {
            let arguments = fs::read(process.join("cmdline")).unwrap_or_default();
            let has = |wanted: &[u8]| arguments.split(|&byte| byte == 0).any(|argument| argument == wanted);
            has(b"--foreground") && has(store.as_os_str().as_bytes())
        };
        let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
        let pid = |process: PathBuf| process.file_name()?.to_str()?.parse().ok().map(Pid::from_raw);
        processes.filter(|process| serves(process)).filter_map(pid).collect()
    }

    pub(crate) fn is_mounted(&self) -> bool {
        self.mount_entry().is_some()
    }

    /// This mount's line in /proc/mounts, in fields: source, mountpoint, type, options.
    pub(crate) fn mount_entry(&self) -> Option<Vec<String>> {
        let table = fs::read_to_string("/proc/self/mounts").unwrap();
        let mountpoint = self.mountpoint();
        let lines = table.lines().map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        lines.rev().find(|fields| Path::new(&fields[1]) == mountpoint)
    }

    /// Runs a shell script in the mount, in which a command that fails ends it, and returns what it printed. `$OUT` is
    /// the plain directory, `$STORE` the store, `$MNT` the mountpoint, and `caskfs` on the PATH.
    #[track_caller]
    pub(crate) fn sh(&self, script: &str) -> String {
        let output = self.try_sh(script);
        let (out, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{script}\n{}\n{out}\n{said}", output.status);
        out.into_owned()
    }

    pub(crate) fn try_sh(&self, script: &str) -> Output {
        self.shell(script).output().unwrap()
    }

    /// The shell, not started yet.
    pub(crate) fn shell(&self, script: &str) -> Command {
        let mut path = Path::new(env!("CARGO_BIN_EXE_caskfs")).parent().unwrap().as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", script]).current_dir(self.mountpoint()).stdin(Stdio::null());
        command
            .env("ALONE", ALONE)
            .env("OUT", self.outside(""))
            .env("STORE", self.store())
            .env("MNT", self.mountpoint());
        command.env("PATH", path).env("HOME", self.outside("")).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        command
    }

    /// `caskfs COMMAND STORE ARGUMENTS...`
    pub(crate) fn caskfs(&self, name: &str, arguments: &[&str]) -> Output {
        let mut all: Vec<OsString> = vec![name.into(), self.store().into()];
        all.extend(arguments.iter().map(OsString::from));
        command::caskfs(all)
    }

    /// The daemon's log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.store().join("daemon.log")).unwrap_or_default()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
        // Before the unmount, which would wait for a daemon that hangs.
        for daemon in self.daemons() {
            let _ = kill(daemon, Signal::SIGKILL);
        }
        let deadline = Instant::now() + PATIENCE;
        while !self.daemons().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        for _ in 0..8 {
            if !self.is_mounted() {
                break;
            }
            let mut unmount = if is_root() { Command::new("umount") } else { Command::new("fusermount3") };
            unmount.args(if is_root() { ["-l"].as_slice() } else { &["-u", "-z"] });
            let _ = unmount.arg(self.mountpoint()).output();
        }
    }
}

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Says so and returns false if this test cannot be run by an ordinary user.
pub(crate) fn needs_root() -> bool {
    if !is_root() {
        eprintln!("not run: only root can");
    }
    is_root()
}

/// Fails if a program that a test runs is not installed.
#[track_caller]
pub(crate) fn require(program: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    assert!(there, "{program} is not installed: run scripts/install-dependencies --tests");
}

fn require_fuse() {
    assert!(
        Path::new("/dev/fuse").exists(),
        "these tests mount, and there is no /dev/fuse: load the module (modprobe fuse), or start the container with \
         --device /dev/fuse --cap-add SYS_ADMIN"
    );
    if !is_root() {
        require("fusermount3");
    }
}
