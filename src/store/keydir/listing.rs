//! Listings: directories that are read piece by piece, and yet as they were at one moment.
//!
//! A listing goes through a tree from the top down, each directory in the order of its cookies, and takes the keydir's
//! read lock for one piece at a time. While it is open, whoever changes the keydir first keeps for it what it has yet to
//! show: by directory and cookie the name that was there (or that none was), and by entry what stat showed. What is kept
//! goes before what is there. So everything that a listing shows was true together, at the moment when it was opened.
//!
//! * Only the first change since that moment keeps something: what is kept already is older.
//! * What lies behind the listing, or outside of the tree that it goes through, is not kept. Where that is in doubt, it is.
//! * Whoever changes the keydir holds its write lock, and whoever reads a piece its read lock: a listing's own lock is
//!   never waited for.
//! * What is kept is memory, up to a limit. Beyond it the listing ends with an error, and nobody else notices.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::ops::Bound;
use std::sync::{Arc, Weak};

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::Keydir;
use super::entries::Entries;
use crate::store::attributes::{EntryId, Kind, ROOT, Stat};
use crate::store::directory::{Directory, last_place};
use crate::store::error::Error;

/// What a table takes for what is kept of a place or an entry, about, its name left out.
const KEPT: usize = 96;
/// The steps from an entry to the root, should damage have made a circle.
const STEPS: usize = 1 << 20;

/// A name that a listing shows.
#[derive(Clone, Debug)]
pub(in crate::store) struct Found {
    /// How many directories it is below the top.
    pub(in crate::store) depth: usize,
    pub(in crate::store) name: Box<[u8]>,
    pub(in crate::store) seen: Seen,
}

/// What an entry showed at the moment of a listing.
#[derive(Clone, Debug)]
pub(in crate::store) struct Seen {
    pub(in crate::store) stat: Stat,
    /// The target of a symbolic link.
    pub(in crate::store) target: Box<[u8]>,
}

/// What a listing goes through.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Scope<'f> {
    /// The directory where it begins.
    pub(in crate::store) top: EntryId,
    /// What the names right below that begin with.
    pub(in crate::store) front: &'f [u8],
    /// Whether it goes into the directories that it meets.
    pub(in crate::store) recursive: bool,
    /// What has expired by this second is not shown.
    pub(in crate::store) horizon: i64,
    /// Bytes that may be kept for it.
    pub(in crate::store) limit: usize,
}

/// A listing under way. Nothing more is kept for it once it is dropped.
#[derive(Debug)]
pub(in crate::store) struct Listing(Arc<Mutex<View>>);

/// The listings under way.
#[derive(Debug, Default)]
pub(super) struct Listings(Mutex<Vec<Weak<Mutex<View>>>>);

impl Listings {
    /// Calls this for each.
    fn each(&mut self, mut keep: impl FnMut(&mut View)) {
        let open = self.0.get_mut();
        if open.is_empty() {
            return;
        }
        open.retain(|view| {
            let Some(view) = view.upgrade() else { return false };
            let mut view = view.lock();
            keep(&mut view);
            !view.overrun
        });
    }

    /// Bytes of memory, about.
    pub(super) fn memory(&self) -> usize {
        let open = self.0.lock();
        open.iter().filter_map(Weak::upgrade).map(|view| view.lock().bytes).sum()
    }
}

/// A directory that a listing is in.
#[derive(Debug)]
struct Level {
    directory: EntryId,
    /// Everything up to this cookie was shown.
    cursor: u64,
}

/// Who had a place in a directory; `None` if nobody had.
type Occupant = Option<(EntryId, Box<[u8]>)>;

/// What is known of a listing.
#[derive(Debug)]
struct View {
    front: Box<[u8]>,
    recursive: bool,
    horizon: i64,
    limit: usize,
    /// From the top to the directory that is being read.
    levels: Vec<Level>,
    /// Where in `levels` a directory is.
    depths: HashMap<EntryId, usize>,
    /// By directory and cookie, what was there before it changed.
    places: HashMap<EntryId, BTreeMap<u64, Occupant>>,
    /// What entries showed before they changed; `None` for those that were not to be shown.
    entries: HashMap<EntryId, Option<Seen>>,
    /// Where directories were that have another name now, or none.
    homes: HashMap<EntryId, (EntryId, u64)>,
    /// Bytes that are kept.
    bytes: usize,
    /// That they were too many.
    overrun: bool,
}

impl Keydir {
    /// Begins a listing at this moment, and reads its first piece. There is none if the piece was all.
    pub(in crate::store) fn open_listing(&self, scope: Scope<'_>, piece: usize) -> (Vec<Found>, Option<Listing>) {
        let mut view = View::new(scope);
        let found = view.piece(&self.entries, piece);
        if view.levels.is_empty() {
            return (found, None);
        }
        let view = Arc::new(Mutex::new(view));
        let mut open = self.listings.0.lock();
        open.retain(|view| view.strong_count() > 0);
        open.push(Arc::downgrade(&view));
        (found, Some(Listing(view)))
    }

    /// Reads the next piece of a listing, of so many names at most; nothing at its end.
    pub(in crate::store) fn continue_listing(&self, listing: &Listing, piece: usize) -> Result<Vec<Found>, Error> {
        let mut view = listing.0.lock();
        loop {
            if view.overrun {
                return Err(Error::TooManyChanges);
            }
            let found = view.piece(&self.entries, piece);
            if !found.is_empty() || view.levels.is_empty() {
                return Ok(found);
            }
        }
    }

    /// An entry is about to change: what stat shows of it is kept for the listings that have yet to show it.
    pub(super) fn keep_entry(&mut self, id: EntryId) {
        let Keydir { listings, entries, .. } = self;
        listings.each(|view| view.keep_entry(entries, id));
    }

    /// Somebody took this place in a directory, which was free.
    pub(super) fn keep_free(&mut self, directory: EntryId, cookie: u64, id: EntryId, is_directory: bool) {
        let Keydir { listings, entries, .. } = self;
        listings.each(|view| {
            let is_ahead = view.keep_place(entries, (directory, cookie), is_directory, || None);
            if is_directory && is_ahead && !entries.contains(id) {
                // Made since: nothing of what it will hold is kept.
                view.entries.insert(id, None);
                view.count(KEPT);
            }
        });
    }

    /// A directory is about to go: those who are still in it, and go with it, gave their places up.
    pub(super) fn keep_children(&mut self, directory: EntryId) {
        let Keydir { listings, entries, .. } = self;
        listings.each(|view| {
            let children = entries.get_whole(directory).and_then(|node| node.directory.as_deref());
            for (cookie, id) in children.into_iter().flat_map(|children| children.after_cookie(0)) {
                let name = entries.name_at(directory, cookie, id);
                let is_directory = entries.get_whole(id).is_some_and(|node| node.is_directory());
                if let Some(name) = name {
                    view.keep_place(entries, (directory, cookie), is_directory, || Some((id, name.into())));
                }
            }
        });
    }

    /// An entry gave its place in a directory up.
    pub(super) fn keep_occupied(&mut self, place: (EntryId, u64), id: EntryId, is_directory: bool, name: &[u8]) {
        let Keydir { listings, entries, .. } = self;
        listings.each(|view| {
            view.keep_place(entries, place, is_directory, || Some((id, name.into())));
        });
    }
}

impl View {
    fn new(scope: Scope<'_>) -> View {
        let Scope { top, front, recursive, horizon, limit } = scope;
        let mut view = View {
            front: front.into(),
            recursive,
            horizon,
            limit,
            levels: Vec::new(),
            depths: HashMap::new(),
            places: HashMap::new(),
            entries: HashMap::new(),
            homes: HashMap::new(),
            bytes: 0,
            overrun: false,
        };
        view.enter(top);
        view
    }

    fn enter(&mut self, directory: EntryId) {
        self.depths.insert(directory, self.levels.len());
        self.levels.push(Level { directory, cursor: 0 });
    }

    /// The directory that is being read is read.
    fn leave(&mut self) {
        let Some(Level { directory, .. }) = self.levels.pop() else { return };
        self.depths.remove(&directory);
        self.places.remove(&directory);
        self.homes.remove(&directory);
    }

    /// Goes on by so many places, and returns what was met.
    fn piece(&mut self, entries: &Entries, places: usize) -> Vec<Found> {
        let mut found = Vec::new();
        for _ in 0..places {
            let Some(Level { directory, cursor }) = self.levels.last_mut() else { break };
            let directory = *directory;
            match next_place(entries, self.places.get_mut(&directory), directory, *cursor) {
                Some((cookie, occupant)) => {
                    *cursor = cookie;
                    if let Some((id, name)) = occupant {
                        found.extend(self.show(entries, id, name));
                    }
                }
                None => self.leave(),
            }
        }
        found
    }

    /// What there is to be shown of an entry, which is entered if it is a directory.
    fn show(&mut self, entries: &Entries, id: EntryId, name: Box<[u8]>) -> Option<Found> {
        let depth = self.levels.len().checked_sub(1)?;
        if depth == 0 && !name.starts_with(&self.front) {
            return None;
        }
        let seen = match self.entries.get(&id) {
            Some(kept) => kept.clone()?,
            None => look(entries, id, self.horizon)?,
        };
        let kind = seen.stat.attributes.kind;
        // With one name it is not met again.
        if (kind == Kind::Directory || seen.stat.links == 1) && self.entries.remove(&id).is_some() {
            self.bytes = self.bytes.saturating_sub(KEPT + seen.target.len());
        }
        if kind == Kind::Directory && self.recursive {
            self.enter(id);
        }
        Some(Found { depth, name, seen })
    }

    fn keep_entry(&mut self, entries: &Entries, id: EntryId) {
        if self.entries.contains_key(&id) || !self.awaits(entries, id) {
            return;
        }
        let seen = look(entries, id, self.horizon);
        self.count(KEPT + seen.as_ref().map_or(0, |seen| seen.target.len()));
        self.entries.insert(id, seen);
    }

    /// Keeps who had a place, if that has yet to be met: says whether it has.
    fn keep_place(
        &mut self,
        entries: &Entries,
        (directory, cookie): (EntryId, u64),
        is_directory: bool,
        occupant: impl FnOnce() -> Occupant,
    ) -> bool {
        if self.overrun || !self.is_ahead(entries, directory, cookie) {
            return false;
        }
        let Slot::Vacant(place) = self.places.entry(directory).or_default().entry(cookie) else { return true };
        let occupant = occupant();
        let bytes = KEPT + occupant.as_ref().map_or(0, |(_, name)| name.len());
        if let Some((id, _)) = occupant.as_ref().filter(|_| is_directory) {
            self.homes.entry(*id).or_insert((directory, cookie));
        }
        place.insert(occupant);
        self.count(bytes);
        true
    }

    /// Counts what is kept; if it is too much, all of it is dropped.
    fn count(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes > self.limit {
            self.overrun = true;
            self.bytes = 0;
            (self.places, self.entries, self.homes) = Default::default();
        }
    }

    /// Whether an entry may have yet to be shown.
    fn awaits(&self, entries: &Entries, id: EntryId) -> bool {
        let mut first = None;
        let more = entries.find_name(id, |parent, name| first.replace((parent, last_place(name))).is_some());
        let further = entries.further.count(id) > 0;
        match (first, more) {
            _ if self.overrun => false,
            _ if further => true,
            (None, _) => false,
            // Where all of its names are is not looked up.
            (Some(_), Some(_)) => true,
            (Some((parent, cookie)), None) => self.is_ahead(entries, parent, cookie),
        }
    }

    /// Whether a place has yet to be met.
    fn is_ahead(&self, entries: &Entries, directory: EntryId, cookie: u64) -> bool {
        let mut place = (directory, cookie);
        for _ in 0..STEPS {
            let (directory, cookie) = place;
            if let Some(level) = self.depths.get(&directory).and_then(|depth| self.levels.get(*depth)) {
                return cookie > level.cursor;
            }
            // Whoever has reached the root has not met the top; and what was made since is not shown.
            let made_since = matches!(self.entries.get(&directory), Some(None));
            if directory == ROOT || made_since || !self.recursive {
                return false;
            }
            let Some(above) = self.home(entries, directory) else { return true };
            place = above;
        }
        true
    }

    /// Where a directory was at the moment of the listing, if that is still to be met; else where it is.
    fn home(&self, entries: &Entries, directory: EntryId) -> Option<(EntryId, u64)> {
        if let Some(home) = self.homes.get(&directory) {
            return Some(*home);
        }
        let mut place = None;
        entries.find_name(directory, |parent, name| {
            place = Some((parent, last_place(name)));
            true
        });
        place
    }
}

/// What an entry shows, and its target.
fn look(entries: &Entries, id: EntryId, horizon: i64) -> Option<Seen> {
    let stat = entries.published(id, horizon)?;
    let target = match stat.attributes.kind {
        Kind::Symlink => entries.get(id).map(|node| node.state.target.clone()).unwrap_or_default(),
        _ => Box::default(),
    };
    Some(Seen { stat, target })
}

/// The next place of a directory, and who was there: what is kept of it goes before what is there.
fn next_place(
    entries: &Entries,
    kept: Option<&mut BTreeMap<u64, Occupant>>,
    directory: EntryId,
    cursor: u64,
) -> Option<(u64, Occupant)> {
    let children = entries.get_whole(directory).and_then(|node| node.directory.as_deref());
    let there = children.and_then(|children: &Directory| children.after_cookie(cursor).next());
    let first_kept = kept.as_ref().and_then(|kept| kept.range((Bound::Excluded(cursor), Bound::Unbounded)).next());
    match (first_kept.map(|(cookie, _)| *cookie), there) {
        (Some(cookie), there) if there.is_none_or(|(other, _)| cookie <= other) => {
            Some((cookie, kept.and_then(|kept| kept.remove(&cookie)).flatten()))
        }
        (_, Some((cookie, id))) => {
            let name = entries.name_at(directory, cookie, id);
            Some((cookie, name.map(|name| (id, name.into()))))
        }
        (_, None) => None,
    }
}
