//! Listing keys: in pieces, in bounded memory, and all as they were at one moment (`keydir::listing`).

use std::collections::VecDeque;
use std::fmt;

use super::Store;
use super::attributes::{Kind, Stat};
use super::error::Error;
use super::keydir::{Found, Keydir, Listing, Scope, Seen};

/// Names that are read while the keydir's lock is held: those who write wait so long.
const PIECE: usize = 256;
/// Bytes that are kept for one listing of what changes while it is under way.
const KEPT: usize = 64 << 20;

/// A key with what stat shows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The key: a path from the root.
    pub key: Vec<u8>,
    /// What it is.
    pub stat: Stat,
    /// A symbolic link's target; empty for all others.
    pub target: Box<[u8]>,
}

/// A name that a [`Scan`] has met, without the path above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Met {
    /// How many directories it is below those that are met first.
    pub depth: usize,
    /// The name; of those that are met first the whole key.
    pub name: Vec<u8>,
    /// What it is.
    pub stat: Stat,
    /// A symbolic link's target; empty for all others.
    pub target: Box<[u8]>,
}

/// Keys, one after the other, as they were when [`Store::scan`] was called: each directory before what is in it, and the
/// names in a directory in an order that is the directory's own. It takes bounded memory, however many there are.
///
/// What changes meanwhile is kept for it in memory. If that is more than 64 MiB, it ends with [`Error::TooManyChanges`].
pub struct Scan<'a> {
    store: &'a Store,
    /// The key of the directory where it begins.
    above: Vec<u8>,
    /// What was read and is to be handed out.
    piece: VecDeque<Found>,
    /// `None` when everything was read.
    listing: Option<Listing>,
    /// The key that was handed out last.
    key: KeyPath,
}

/// A key that is gone through name by name.
#[derive(Debug, Default)]
pub(crate) struct KeyPath {
    key: Vec<u8>,
    /// Where its names end.
    ends: Vec<usize>,
}

impl KeyPath {
    /// Puts a name behind the first `depth` ones, in the place of all others.
    pub(crate) fn descend(&mut self, depth: usize, name: &[u8]) {
        self.ends.truncate(depth);
        self.key.truncate(self.ends.last().copied().unwrap_or(0));
        if depth > 0 {
            self.key.push(b'/');
        }
        self.key.extend_from_slice(name);
        self.ends.push(self.key.len());
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }
}

impl fmt::Debug for Scan<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Scan").field("key", &String::from_utf8_lossy(self.key.key())).finish_non_exhaustive()
    }
}

impl Store {
    /// Every key that begins with these bytes, directories included, as they are now: what changes while the result is
    /// read does not show in it. Each directory comes before what is in it; the names in a directory come in an order of
    /// its own. For those of one directory in order of names see [`Store::list`].
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// let store = caskfs::Store::open(directory.path(), caskfs::Options { create: true, ..Default::default() })?;
    /// store.put("users/42", "Ada")?;
    /// let keys = store.scan("users/").map(|listed| Ok(listed?.key)).collect::<Result<Vec<_>, caskfs::Error>>()?;
    /// assert_eq!(keys, [b"users/42"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn scan(&self, prefix: impl AsRef<[u8]>) -> Scan<'_> {
        self.scan_keeping(prefix.as_ref(), KEPT)
    }

    /// [`Store::scan`] for which so many bytes may be kept.
    pub(super) fn scan_keeping(&self, prefix: &[u8], limit: usize) -> Scan<'_> {
        let (above, front) = match prefix.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (prefix.get(..slash).unwrap_or_default(), prefix.get(slash + 1..).unwrap_or_default()),
            None => (&[][..], prefix),
        };
        self.remove_due();
        let horizon = self.horizon();
        let keydir = self.keydir.read();
        match keydir.resolve(above) {
            Ok(Some(top)) => self.begin_scan(&keydir, above, Scope { top, front, recursive: true, horizon, limit }),
            _ => Scan::new(self, above, Vec::new()),
        }
    }

    /// The keys right below a directory, in order, as they are now; the empty key is the root.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotADirectory`]; [`Error::TooManyChanges`].
    pub fn list(&self, directory: impl AsRef<[u8]>) -> Result<Vec<Listed>, Error> {
        let key = directory.as_ref();
        let mut listed = self.list_unsorted(key)?.collect::<Result<Vec<Listed>, Error>>()?;
        listed.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        Ok(listed)
    }

    /// As [`Store::list`], in the directory's own order and in bounded memory.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotADirectory`].
    pub fn list_unsorted(&self, directory: impl AsRef<[u8]>) -> Result<Scan<'_>, Error> {
        let key = directory.as_ref();
        self.remove_due();
        let horizon = self.horizon();
        let keydir = self.keydir.read();
        let top = keydir.resolve(key)?.ok_or(Error::NotFound)?;
        match keydir.published(top, horizon) {
            Some(stat) if stat.attributes.kind == Kind::Directory => {}
            Some(_) => return Err(Error::NotADirectory),
            None => return Err(Error::NotFound),
        }
        let scope = Scope { top, front: b"", recursive: false, horizon, limit: KEPT };
        Ok(self.begin_scan(&keydir, key, scope))
    }

    fn begin_scan(&self, keydir: &Keydir, above: &[u8], scope: Scope<'_>) -> Scan<'_> {
        let (found, listing) = keydir.open_listing(scope, PIECE);
        Scan { listing, ..Scan::new(self, above, found) }
    }
}

impl<'a> Scan<'a> {
    /// One that hands this out, and then nothing.
    fn new(store: &'a Store, above: &[u8], found: Vec<Found>) -> Scan<'a> {
        Scan { store, above: above.to_vec(), piece: found.into(), listing: None, key: KeyPath::default() }
    }

    /// The next name, without the path above it: for those who have that already. Keys of deep trees are long.
    pub fn next_met(&mut self) -> Option<Result<Met, Error>> {
        let Found { depth, name, seen: Seen { stat, target } } = match self.next_found()? {
            Ok(found) => found,
            Err(error) => return Some(Err(error)),
        };
        let name = match depth {
            0 if !self.above.is_empty() => [&self.above, &b"/"[..], &name].concat(),
            _ => name.into_vec(),
        };
        Some(Ok(Met { depth, name, stat, target }))
    }

    fn next_found(&mut self) -> Option<Result<Found, Error>> {
        if self.piece.is_empty() {
            let listing = self.listing.as_ref()?;
            match self.store.keydir.read().continue_listing(listing, PIECE) {
                Ok(found) => self.piece = found.into(),
                Err(error) => {
                    self.listing = None;
                    return Some(Err(error));
                }
            }
            if self.piece.is_empty() {
                self.listing = None;
            }
        }
        self.piece.pop_front().map(Ok)
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<Listed, Error>;

    fn next(&mut self) -> Option<Result<Listed, Error>> {
        let Met { depth, name, stat, target } = match self.next_met()? {
            Ok(met) => met,
            Err(error) => return Some(Err(error)),
        };
        self.key.descend(depth, &name);
        Some(Ok(Listed { key: self.key.key().to_vec(), stat, target }))
    }
}
