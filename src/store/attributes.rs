//! What the keydir knows of an entry besides its name and value.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The id of an entry: a file's inode number. Never used twice.
pub type EntryId = u64;

/// The root directory's id.
pub const ROOT: EntryId = 1;

/// A point in time: nanoseconds since 1970, negative before it. Covers the years 1677 to 2262.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i64);

impl Time {
    /// A time from seconds and nanoseconds since 1970, held to the range that a [`Time`] covers.
    pub fn new(seconds: i64, nanoseconds: u32) -> Time {
        Time(seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(nanoseconds)))
    }

    /// Whole seconds since 1970, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// Whole seconds since 1970, rounded up.
    pub fn seconds_up(self) -> i64 {
        self.seconds() + i64::from(self.nanoseconds() > 0)
    }

    /// Nanoseconds within the second, 0 to 999,999,999.
    pub fn nanoseconds(self) -> u32 {
        self.0.rem_euclid(1_000_000_000) as u32
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Time {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Time(i64::try_from(after.as_nanos()).unwrap_or(i64::MAX)),
            Err(before) => Time(i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |n| -n)),
        }
    }
}

impl From<Time> for SystemTime {
    fn from(time: Time) -> SystemTime {
        let distance = Duration::from_nanos(time.0.unsigned_abs());
        if time.0 >= 0 { UNIX_EPOCH + distance } else { UNIX_EPOCH - distance }
    }
}

/// What an entry is. The numbers are those on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A regular file: a key with a value.
    File = 1,
    /// A directory.
    Directory = 2,
    /// A symbolic link.
    Symlink = 3,
    /// A named pipe.
    Fifo = 4,
    /// A Unix socket.
    Socket = 5,
    /// A character device.
    CharDevice = 6,
    /// A block device.
    BlockDevice = 7,
}

impl Kind {
    /// The kind with this number on disk.
    pub fn from_number(number: u8) -> Option<Kind> {
        Some(match number {
            1 => Kind::File,
            2 => Kind::Directory,
            3 => Kind::Symlink,
            4 => Kind::Fifo,
            5 => Kind::Socket,
            6 => Kind::CharDevice,
            7 => Kind::BlockDevice,
            _ => return None,
        })
    }
}

/// The attributes that are stored with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// What the entry is.
    pub kind: Kind,
    /// Permission bits with suid, sgid and sticky: 0 to 0o7777.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node, as Linux's `new_encode_dev` has it; else 0.
    pub rdev: u32,
    /// Last access.
    pub atime: Time,
    /// Last change of the value.
    pub mtime: Time,
    /// Last change of the value, the name or the attributes.
    pub ctime: Time,
}

/// What stat(2) shows of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The entry's id: its inode number.
    pub id: EntryId,
    /// The stored attributes.
    pub attributes: Attributes,
    /// Length of the value, of a symbolic link's target, or 4096 for a directory, in bytes.
    pub size: u64,
    /// Bytes of the value that the log holds (holes take none).
    pub allocated: u64,
    /// Number of names; of a directory, 2 and one for each directory in it.
    pub links: u32,
    /// When a file is gone by itself, a whole second. One that has expired, and lives on while it is open, keeps it; one
    /// that was removed does not.
    pub expires: Option<Time>,
}
