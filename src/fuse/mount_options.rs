//! What is asked of a mount, and how mount(2) and fusermount3 want it put.
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
        self.allow_other || !getuid().is_root() || !geteuid().is_root() || !is_initial(USER_IDS)
    }

    /// mount(2)'s data for the FUSE connection that `descriptor` is open on. The source is no part of it: it is an
    /// argument of its own and needs no quoting.
    pub(super) fn kernel_data(&self, descriptor: i32) -> String {
        let mut data =
            format!("fd={descriptor},rootmode=40000,user_id={},group_id={}", getuid().as_raw(), getgid().as_raw());
        if self.checks_permissions() {
            data.push_str(",default_permissions");
        }
        if self.allow_other {
            data.push_str(",allow_other");
        }
        data
    }

    /// fusermount3's argument to `-o`.
    pub(super) fn helper_options(&self, source: &OsStr) -> OsString {
        let mut options = b"nosuid,nodev,default_permissions,subtype=caskfs,fsname=".to_vec();
        options.extend(quote(source.as_bytes()));
        if self.read_only {
            options.extend(b",ro");
        }
        // It knows no word for the others.
        if self.access_times == AccessTimes::Never {
            options.extend(b",noatime");
        }
        if self.allow_other {
            options.extend(b",allow_other");
        }
        OsString::from_vec(options)
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
