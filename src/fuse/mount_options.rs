//! What is asked of a mount, and how fsconfig(2) and fusermount3 want it put.
//!
//! Always: nosuid and nodev (the values come from whoever may write the store). And `default_permissions`, so that the
//! kernel checks modes and owners from its caches instead of asking for each; but where nobody enters who would fail such a check.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use nix::unistd::{geteuid, getgid, getuid};

use super::Error;
use crate::fs::AccessTimes;

/// The filesystem's type in the mount table.
pub const FSTYPE: &str = "fuse.caskfs";

/// What mount(8) can ask of any filesystem, and the kernel keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountFlags {
    /// No program runs from it.
    pub noexec: bool,
    /// No symbolic link in it is followed.
    pub nosymfollow: bool,
    /// The mount table is to say that reading a directory leaves its time of access alone, which the daemon sees to.
    pub nodiratime: bool,
    /// The kernel syncs each write. For changes of names the filesystem must be [`SyncMode::Always`](crate::fs::SyncMode).
    pub sync: bool,
    /// The mount table is to say that changes of names are synced, which the daemon sees to.
    pub dirsync: bool,
    /// The mount table is to say that times are written late.
    pub lazytime: bool,
    /// The kernel checks modes and owners also where root alone may enter.
    pub check_permissions: bool,
    /// Labels for all files, where a security module (SELinux) takes them.
    pub contexts: Vec<(Context, String)>,
}

/// Which files a label is for: mount(8), `context`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "mount(8) says it")]
pub enum Context {
    All,
    Filesystem,
    Unlabeled,
    Root,
}

impl Context {
    /// mount(8)'s word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Context::All => "context",
            Context::Filesystem => "fscontext",
            Context::Unlabeled => "defcontext",
            Context::Root => "rootcontext",
        }
    }
}

/// How a store is to be mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// The directory to mount on. It must exist and be empty.
    pub mountpoint: PathBuf,
    /// The store directory: it may neither hold the mountpoint nor lie below it, and it names the mount.
    pub store: PathBuf,
    /// The source that the mount table shows; `None` for the store's absolute path. Some programs run a source as a
    /// command (`mount -o remount` does), so a bare word is a poor choice.
    pub source: Option<String>,
    /// Refuse every change.
    pub read_only: bool,
    /// What the mount table says of times of access. The daemon keeps them: see
    /// [`FilesystemOptions`](crate::fs::FilesystemOptions).
    pub access_times: AccessTimes,
    /// Let other users in, as far as modes and owners allow. Without it only the user who mounts may enter, not even
    /// root (fuse(4), `allow_other`). An ordinary user needs `user_allow_other` in `/etc/fuse.conf` for it.
    pub allow_other: bool,
    /// What else mount(8) was asked for.
    pub flags: MountFlags,
    /// Event-loop threads; 0 for the default.
    pub threads: usize,
    /// Keep the CPUs awake while requests come: answers come sooner, and the machine takes more power. For root.
    pub low_latency: bool,
}

impl MountOptions {
    /// The source to be shown, checked: `store` is the store's absolute path.
    pub(super) fn checked_source(&self, store: &OsStr) -> Result<OsString, Error> {
        let source = self.source.as_deref().map_or(store, OsStr::new);
        if source.is_empty() || source.as_bytes().contains(&0) {
            return Err(Error::BadSource { name: source.to_string_lossy().into_owned() });
        }
        Ok(source.to_owned())
    }

    /// Whether the kernel is to check modes and owners. Not where root alone may enter, who passes every check: before one the
    /// kernel asks for the directory's attributes anew whenever a name in it has come or gone, which is a request for
    /// each file that is made, renamed or removed.
    ///
    /// Root of a user namespace is not that root: without these checks the kernel keeps no access control lists for it.
    pub(super) fn checks_permissions(&self) -> bool {
        self.flags.check_permissions
            || self.allow_other
            || !getuid().is_root()
            || !geteuid().is_root()
            || !is_initial(USER_IDS)
    }

    /// What fsconfig(2) is told for the FUSE connection that `descriptor` is open on, but the source.
    pub(super) fn kernel_values(&self, descriptor: i32) -> Vec<(&'static str, String)> {
        let mut values = vec![
            ("fd", descriptor.to_string()),
            ("rootmode", "40000".into()),
            ("user_id", getuid().to_string()),
            ("group_id", getgid().to_string()),
            ("subtype", "caskfs".into()),
        ];
        values.extend(self.flags.contexts.iter().map(|(name, value)| (name.word(), value.clone())));
        values
    }

    /// The same of what has no value.
    pub(super) fn kernel_flags(&self) -> impl Iterator<Item = &'static str> {
        let flags = [
            (self.read_only, "ro"),
            (self.flags.sync, "sync"),
            (self.flags.dirsync, "dirsync"),
            (self.flags.lazytime, "lazytime"),
            (self.checks_permissions(), "default_permissions"),
            (self.allow_other, "allow_other"),
        ];
        flags.into_iter().filter(|(wanted, _)| *wanted).map(|(_, flag)| flag)
    }

    /// fusermount3's argument to `-o`.
    ///
    /// # Errors
    /// For what it has no word for.
    pub(super) fn helper_options(&self, source: &OsStr) -> Result<OsString, Error> {
        let flags = &self.flags;
        let unknown = [
            (flags.nosymfollow, "nosymfollow"),
            (flags.lazytime, "lazytime"),
            (!flags.contexts.is_empty(), "a security context"),
        ];
        if let Some((_, word)) = unknown.into_iter().find(|(asked, _)| *asked) {
            return Err(Error::RootOnly { what: word });
        }
        let mut options = b"nosuid,nodev,default_permissions,subtype=caskfs,fsname=".to_vec();
        options.extend(quote(source.as_bytes()));
        // It knows no word for the other times of access, which the daemon keeps, and not the kernel.
        let words: [(bool, &[u8]); 6] = [
            (self.read_only, b",ro"),
            (flags.noexec, b",noexec"),
            (flags.sync, b",sync"),
            (flags.dirsync, b",dirsync"),
            (self.access_times == AccessTimes::Never, b",noatime"),
            (self.allow_other, b",allow_other"),
        ];
        words.into_iter().filter(|(asked, _)| *asked).for_each(|(_, word)| options.extend(word));
        Ok(OsString::from_vec(options))
    }
}

/// Which users of the machine this process' users are: user_namespaces(7).
const USER_IDS: &str = "/proc/self/uid_map";

/// Whether such a file is that of the initial user namespace, where every number is itself.
fn is_initial(map: &str) -> bool {
    fs::read_to_string(map).is_ok_and(|map| map.split_ascii_whitespace().eq(["0", "0", "4294967295"]))
}

/// Sets a backslash before what would end an option's value: fusermount3 takes it off again.
pub(super) fn quote(value: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(value.len());
    for &byte in value {
        if byte == b',' || byte == b'\\' {
            quoted.push(b'\\');
        }
        quoted.push(byte);
    }
    quoted
}
