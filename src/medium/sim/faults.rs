//! What goes wrong, and when: the count of operations and the faults planted on it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;

use super::random::Random;

/// What goes wrong with one operation of a [`SimDisk`](super::SimDisk).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `ENOSPC`, and nothing is done. A sync that fails so loses what it was to make durable, as with `Io`.
    NoSpace,
    /// `EIO`. A write leaves the first half of its bytes (rounded down). A sync loses what it was to make durable: it
    /// stays readable, but no later sync writes it. Anything else is not done.
    Io,
    /// This errno, and nothing is done. A sync loses what it was to make durable, as with `Io`; but `EMFILE` and `ENFILE`
    /// say that it was not begun.
    Errno(i32),
    /// A write takes the first half of its bytes (rounded up) and says so. Anything else goes well.
    Short,
    /// The power goes: this operation does not happen, and it and everything after it fails with `EIO`.
    PowerCut,
}

/// What a [`Passing`] fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads of a file.
    Read,
    /// Opening or creating a file, listing a directory, asking for what stands at a path.
    Open,
}

/// A fault that passes: some accesses fail, and those after them go well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passing {
    /// What fails,
    pub access: Access,
    /// of files whose path starts with this, or of directories,
    pub prefix: String,
    /// and, of reads, if they want any of these bytes.
    pub bytes: Range<u64>,
    /// The errno.
    pub errno: i32,
    /// How many such accesses fail.
    pub times: u64,
}

/// Faults by chance: windows of accesses in which one errno strikes.
#[derive(Clone, Copy, Debug)]
struct Weather {
    seed: u64,
    one_in: usize,
}

/// So many accesses share their luck.
const WINDOW: u64 = 4;

impl Weather {
    /// What happens to an access, by its number: most windows are fair.
    fn strikes(self, access: Access, number: u64) -> Option<i32> {
        let mut random = Random::new(self.seed, number / WINDOW);
        if !random.one_in(self.one_in) {
            return None;
        }
        let errnos: &[i32] = match access {
            Access::Read => &[libc::EIO, libc::EINTR, libc::ENOMEM],
            Access::Open => &[libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EINTR],
        };
        errnos.get(random.below(errnos.len())).copied()
    }
}

/// The faults planted on a disk.
#[derive(Default)]
pub(super) struct Faults {
    /// Mutating operations begun so far.
    operations: u64,
    /// Accesses so far that a passing fault could have hit.
    accesses: u64,
    passing: Vec<Passing>,
    weather: Option<Weather>,
    planted: BTreeMap<u64, Fault>,
    unreadable: BTreeSet<String>,
    /// Files by number, and what of them cannot be read.
    bad: Vec<(u64, Range<u64>)>,
    power_is_off: bool,
}

impl Faults {
    pub(super) fn operations(&self) -> u64 {
        self.operations
    }

    pub(super) fn plant(&mut self, operation: u64, fault: Fault) {
        self.planted.insert(operation, fault);
    }

    pub(super) fn set_unreadable(&mut self, path: &str, on: bool) {
        if on {
            self.unreadable.insert(path.to_owned());
        } else {
            self.unreadable.remove(path);
        }
    }

    /// The paths that cannot be read.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = &str> {
        self.unreadable.iter().map(String::as_str)
    }

    pub(super) fn set_bad(&mut self, file: u64, bytes: Range<u64>) {
        self.bad.push((file, bytes));
    }

    /// Whether some of these bytes of a file cannot be read.
    pub(super) fn is_bad(&self, file: u64, bytes: &Range<u64>) -> bool {
        let hit = |bad: &Range<u64>| bad.start < bytes.end && bytes.start < bad.end;
        self.bad.iter().any(|(number, bad)| *number == file && hit(bad))
    }

    pub(super) fn pass_by(&mut self, passing: Passing) {
        self.passing.push(passing);
    }

    pub(super) fn set_weather(&mut self, seed: u64, one_in: usize) {
        self.weather = (one_in > 0).then_some(Weather { seed, one_in });
    }

    /// Counts an access to a path, and fails if a passing fault hits it. `bytes` are those that a read wants.
    pub(super) fn access(&mut self, access: Access, path: &str, bytes: &Range<u64>) -> io::Result<()> {
        self.powered()?;
        let number = self.accesses;
        self.accesses += 1;
        let hit = self.passing.iter_mut().find(|passing| {
            let wanted = access == Access::Open || passing.bytes.start < bytes.end && bytes.start < passing.bytes.end;
            passing.times > 0 && passing.access == access && path.starts_with(&passing.prefix) && wanted
        });
        let by_chance = || self.weather.and_then(|weather| weather.strikes(access, number));
        let errno = match hit {
            Some(passing) => {
                passing.times -= 1;
                Some(passing.errno)
            }
            None => by_chance(),
        };
        errno.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }

    /// Forgets every fault; power that is off stays off.
    pub(super) fn clear(&mut self) {
        self.passing.clear();
        self.weather = None;
        self.planted.clear();
        self.unreadable.clear();
        self.bad.clear();
    }

    /// Fails once the power is off.
    pub(super) fn powered(&self) -> io::Result<()> {
        if self.power_is_off {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        Ok(())
    }

    /// Counts a mutating operation and returns its fault. One that comes after the power went is not counted.
    fn count(&mut self) -> io::Result<Option<Fault>> {
        self.powered()?;
        let fault = self.planted.get(&self.operations).copied();
        self.operations += 1;
        self.power_is_off = fault == Some(Fault::PowerCut);
        Ok(fault)
    }

    /// Begins an operation that is done as a whole or not at all.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        match self.count()? {
            None | Some(Fault::Short) => Ok(()),
            Some(Fault::NoSpace) => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
            Some(Fault::Errno(errno)) => Err(io::Error::from_raw_os_error(errno)),
            Some(Fault::Io | Fault::PowerCut) => Err(io::Error::from_raw_os_error(libc::EIO)),
        }
    }

    /// Begins a write of `len` bytes: how many of them to write, and how to end then.
    pub(super) fn begin_write(&mut self, len: usize) -> io::Result<(usize, io::Result<()>)> {
        match self.count()? {
            None => Ok((len, Ok(()))),
            Some(Fault::Short) => Ok((len.div_ceil(2), Ok(()))),
            Some(Fault::NoSpace) => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
            Some(Fault::Errno(errno)) => Err(io::Error::from_raw_os_error(errno)),
            Some(Fault::Io) => Ok((len / 2, Err(io::Error::from_raw_os_error(libc::EIO)))),
            Some(Fault::PowerCut) => Err(io::Error::from_raw_os_error(libc::EIO)),
        }
    }
}
