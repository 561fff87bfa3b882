//! Which inode number belongs to what.
//!
//! The upper 16 bits are the number of a tree, the lower 48 the entry's id in it. Tree 0 is the store's own: ids are
//! counted up from 1, so that at a million new keys a second they fit for nine years.

use crate::store::{EntryId, Error, MAX_ENTRY};

const SHIFT: u32 = MAX_ENTRY.count_ones();

/// The tree of the mount's own files.
const OWN: u64 = 1;

/// The trees of snapshots, in the order in which they were first seen.
pub(super) const FIRST_SNAPSHOT: u64 = 2;
pub(super) const LAST_SNAPSHOT: u64 = 0xffff;

/// The number of `.snapshots` among the mount's own files.
const SNAPSHOTS: u64 = 0xffff;

/// An entry of the mount's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// `.caskfs`
    Directory,
    /// `.snapshots`
    Snapshots,
    /// A file in `.caskfs`.
    File(Text),
}

/// A file of the mount's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    Stats,
    Recovery,
    Contract,
    Version,
}

/// The files in `.caskfs`, in the order in which they are listed.
pub(super) const TEXTS: [(&str, Text); 4] =
    [("stats", Text::Stats), ("recovery", Text::Recovery), ("contract", Text::Contract), ("version", Text::Version)];

/// What an inode number belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The store's own tree.
    Live(EntryId),
    /// The mount's own files.
    Own(Node),
    /// The entry of this id in the snapshot of this number.
    Frozen(u64, EntryId),
}

impl Place {
    /// # Errors
    /// [`Error::Stale`] for a number that was never given out.
    pub(super) fn of(id: EntryId) -> Result<Place, Error> {
        match (id >> SHIFT, id & ((1 << SHIFT) - 1)) {
            (0, id) => Ok(Place::Live(id)),
            (OWN, 0) => Ok(Place::Own(Node::Directory)),
            (OWN, SNAPSHOTS) => Ok(Place::Own(Node::Snapshots)),
            (OWN, number) => {
                let text = TEXTS.iter().zip(1..).find(|(_, own)| *own == number);
                text.map(|((_, text), _)| Place::Own(Node::File(*text))).ok_or(Error::Stale)
            }
            (snapshot, id) => Ok(Place::Frozen(snapshot, id)),
        }
    }
}

/// The inode number of an entry of a tree.
pub(super) fn outer(tree: u64, id: EntryId) -> EntryId {
    (tree << SHIFT) | id
}

impl Node {
    /// Its inode number.
    pub(super) fn id(self) -> EntryId {
        let number = match self {
            Node::Directory => 0,
            Node::Snapshots => SNAPSHOTS,
            Node::File(text) => TEXTS.iter().zip(1..).find(|((_, each), _)| *each == text).map_or(0, |(_, own)| own),
        };
        outer(OWN, number)
    }
}

/// Whether what was shown of an entry stays true until it is changed through the mount or told otherwise. If not, it
/// must be asked for again each time, attributes and contents.
pub fn lasts(id: EntryId) -> bool {
    id >> SHIFT != OWN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_a_number_of_its_own() {
        assert_eq!(Place::of(1).ok(), Some(Place::Live(1)));
        assert_eq!(Place::of(outer(7, 1)).ok(), Some(Place::Frozen(7, 1)));
        assert_eq!(Place::of(u64::MAX).ok(), Some(Place::Frozen(LAST_SNAPSHOT, (1 << 48) - 1)));
        let nodes = TEXTS.iter().map(|(_, text)| Node::File(*text)).chain([Node::Directory, Node::Snapshots]);
        let mut ids: Vec<u64> = nodes.clone().map(Node::id).collect();
        for (node, id) in nodes.zip(&ids) {
            assert_eq!(Place::of(*id).ok(), Some(Place::Own(node)));
            assert!(!lasts(*id) && lasts(*id & 0xffff));
        }
        ids.dedup();
        assert_eq!(ids.len(), 6);
        for stray in [(1 << 48) | 5, (1 << 48) | 0xfffe] {
            assert!(matches!(Place::of(stray), Err(Error::Stale)), "{stray:x}");
        }
    }
}
