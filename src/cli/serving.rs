//! The process that serves a mount or has a store: which it is, how it is, and what keeps it.
//!
//! A mount's name says nothing (`--fsname` may be anything). Linux 6.17 and newer show in `/proc/PID/fdinfo` which FUSE
//! connection a descriptor is of; with an older one the daemon is asked over its socket where its mount is.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::control::Connection;
use crate::fuse::Mounted;

/// How often it is looked whether a process has ended.
const PAUSE: Duration = Duration::from_millis(20);

/// A process, which is no other that has its number later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pid: u32,
    /// When it was started, in the kernel's ticks.
    started: String,
    name: String,
}

impl Process {
    /// The process of this number, if it lives.
    pub(super) fn new(pid: u32) -> Option<Process> {
        let (name, fields) = stat(pid)?;
        let started = fields.get(19)?.clone();
        // A process whose first thread has ended lives as long as another has its files open.
        let is_over = fields.first()? == "Z" && fields.get(17)?.parse().is_ok_and(|threads: u32| threads <= 1);
        (!is_over).then_some(Process { pid, started, name })
    }

    /// Whether it has ended: then all that it had open is closed.
    pub(super) fn has_ended(&self) -> bool {
        Process::new(self.pid).is_none_or(|now| now.started != self.started)
    }

    /// Whether it was stopped (SIGSTOP), and takes part in nothing until it is let go on.
    pub(super) fn is_stopped(&self) -> bool {
        stat(self.pid).is_some_and(|(_, fields)| matches!(fields.first().map(String::as_str), Some("T" | "t")))
    }

    /// Waits until it has ended, for `patience` at most; whether it has.
    pub(super) fn wait(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            match self.has_ended() {
                true => return true,
                false if Instant::now() >= deadline => return false,
                false => std::thread::sleep(PAUSE),
            }
        }
    }

    /// Its number.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }
}

impl fmt::Display for Process {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "process {} ({})", self.pid, self.name)
    }
}

/// What to say of a process that should answer and does not.
pub(super) fn why_silent(process: Option<&Process>) -> String {
    match process {
        Some(process) if process.is_stopped() => {
            format!("{process} is stopped: `kill -CONT {}` lets it go on", process.pid)
        }
        Some(process) => format!("{process} is stuck, on its disk perhaps"),
        None => "it is stopped or stuck".to_owned(),
    }
}

/// The process that serves a mount, if it can be seen from here.
pub(super) fn of_mount(mounted: &Mounted) -> Option<Process> {
    let wanted = format!("fuse_connection:\t{}", mounted.device.1);
    let serves = |pid: &u32| {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        descriptors.flatten().any(|descriptor| {
            fs::read_link(descriptor.path()).is_ok_and(|target| target == Path::new("/dev/fuse"))
                && fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", descriptor.file_name().to_string_lossy()))
                    .is_ok_and(|about| about.lines().any(|line| line == wanted))
        })
    };
    match pids().find(serves) {
        Some(pid) => Process::new(pid),
        None => {
            let daemon = Connection::open(Path::new(&mounted.source))?;
            let process = daemon.peer();
            process.filter(|_| daemon.serves(&mounted.path))
        }
    }
}

/// The process that holds the lock of a store, if the kernel tells.
pub(super) fn of_store(store: &Path) -> Option<Process> {
    let lock = fs::metadata(store.join("lock")).ok()?;
    let (device, inode) = (lock.dev(), lock.ino());
    let locks = fs::read_to_string("/proc/locks").ok()?;
    // "1: FLOCK  ADVISORY  WRITE 4990 fe:00:10035730 0 EOF"
    let holder = locks.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(4);
        let pid = fields.next()?.parse().ok()?;
        let mut place = fields.next()?.split(':');
        let major = u64::from_str_radix(place.next()?, 16).ok()?;
        let minor = u64::from_str_radix(place.next()?, 16).ok()?;
        let same = nix::sys::stat::makedev(major, minor) == device && place.next()?.parse() == Ok(inode);
        same.then_some(pid)
    })?;
    Process::new(holder)
}

/// Where else a mount's filesystem is mounted: here, or in mount namespaces of other processes.
pub(super) fn elsewhere(mounted: &Mounted) -> Vec<String> {
    let device = format!("{}:{}", mounted.device.0, mounted.device.1);
    let mut found = Vec::new();
    let mut seen: Vec<PathBuf> = Vec::new();
    let own = fs::read_link("/proc/self/ns/mnt").ok();
    for pid in std::iter::once(std::process::id()).chain(pids()) {
        let Ok(namespace) = fs::read_link(format!("/proc/{pid}/ns/mnt")) else { continue };
        if seen.contains(&namespace) {
            continue;
        }
        let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        let places = table.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            (fields.get(2) == Some(&device.as_str())).then(|| fields.get(4).copied().unwrap_or_default().to_owned())
        });
        for place in places {
            match (Some(&namespace) == own.as_ref(), Process::new(pid)) {
                (false, Some(process)) => found.push(format!("{place} in the mount namespace of {process}")),
                _ => found.push(place),
            }
        }
        seen.push(namespace);
    }
    found
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// A process's name, and the fields of /proc/PID/stat behind it, from its state on (proc_pid_stat(5)).
fn stat(pid: u32) -> Option<(String, Vec<String>)> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let (before, after) = stat.rsplit_once(") ")?;
    let (_, name) = before.split_once('(')?;
    Some((name.to_owned(), after.split_ascii_whitespace().map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start() {
        let own = Process::new(std::process::id()).unwrap();
        assert!(!own.has_ended() && !own.is_stopped());
        let other = Process { started: "1".into(), ..own.clone() };
        assert!(other.has_ended(), "a later process with the same number");
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let process = Process::new(child.id()).unwrap();
        assert!(process.to_string().ends_with("(sleep)") && !process.wait(Duration::from_millis(50)));
        child.kill().unwrap();
        // It has ended before its parent asks.
        assert!(process.wait(Duration::from_secs(30)));
        child.wait().unwrap();
    }

    #[test]
    fn who_locks_a_store_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let options = crate::Options { create: true, ..crate::Options::default() };
        assert_eq!(of_store(directory.path()), None);
        let _store = crate::Store::open(directory.path(), options).unwrap();
        assert_eq!(of_store(directory.path()).unwrap().pid(), std::process::id());
    }
}
