//! POSIX access control lists: acl(5), as the kernel's `fs/posix_acl.c` has them.
//!
//! A list is the value of an extended attribute, in the form of `linux/posix_acl_xattr.h`: a `u32` version, then for each
//! entry a `u16` tag, `u16` permissions and a `u32` user or group, all little-endian. Whoever writes the store may put any
//! bytes there, so that a list is checked whenever it is decoded:
//! - the entries are in the order of their tags;
//! - there is one for the owner, one for the owning group, one for others, and at most one mask;
//! - there is a mask if there is an entry of a user or group of its own.

use crate::store::Error;

const VERSION: u32 = 2;
const HEADER: usize = 4;
const ENTRY: usize = 8;

/// The id of an entry that has none.
const NOBODY: u32 = u32::MAX;

/// Whom an entry is about. The numbers are those of the attribute, and their order that of the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
enum Tag {
    Owner = 0x01,
    User = 0x02,
    OwningGroup = 0x04,
    Group = 0x08,
    Mask = 0x10,
    Other = 0x20,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    tag: Tag,
    /// Read 4, write 2, execute 1.
    permissions: u16,
    id: u32,
}

/// A list that keeps the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Acl {
    entries: Vec<Entry>,
}

impl Acl {
    /// Decodes an attribute's value.
    ///
    /// # Errors
    /// [`Error::NotSupported`] for another version, [`Error::Invalid`] for anything that is no list.
    pub(super) fn decode(bytes: &[u8]) -> Result<Acl, Error> {
        let (version, rest) = bytes.split_first_chunk::<HEADER>().ok_or(INVALID)?;
        if u32::from_le_bytes(*version) != VERSION {
            return Err(Error::NotSupported("this version of an access control list"));
        }
        let chunks = rest.chunks_exact(ENTRY);
        if !chunks.remainder().is_empty() {
            return Err(INVALID);
        }
        let entries: Vec<Entry> = chunks.map(Entry::decode).collect::<Result<_, _>>()?;
        let acl = Acl { entries };
        acl.is_valid().then_some(acl).ok_or(INVALID)
    }

    /// The attribute's value.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for Entry { tag, permissions, id } in &self.entries {
            bytes.extend((*tag as u16).to_le_bytes());
            bytes.extend(permissions.to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        bytes
    }

    fn is_valid(&self) -> bool {
        let count = |tag| self.entries.iter().filter(|entry| entry.tag == tag).count();
        let ones = [Tag::Owner, Tag::OwningGroup, Tag::Other].map(count) == [1, 1, 1];
        let named = count(Tag::User) + count(Tag::Group);
        ones && count(Tag::Mask) <= 1
            && (named == 0 || count(Tag::Mask) == 1)
            && self.entries.is_sorted_by_key(|e| e.tag)
    }

    /// Whether permission bits say all that the list says.
    pub(super) fn is_equivalent_to_mode(&self) -> bool {
        self.entries.iter().all(|entry| matches!(entry.tag, Tag::Owner | Tag::OwningGroup | Tag::Other))
    }

    /// The permission bits that belong to the list: the group's are the mask, where there is one.
    pub(super) fn mode(&self) -> u16 {
        let group = self.group_class();
        let bits = |entry: &Entry| entry.permissions << shift(entry.tag, group).unwrap_or(0);
        self.entries.iter().filter(|entry| shift(entry.tag, group).is_some()).map(bits).sum()
    }

    /// Makes the list agree with new permission bits: chmod(2).
    pub(super) fn set_mode(&mut self, mode: u16) {
        let group = self.group_class();
        for entry in &mut self.entries {
            if let Some(shift) = shift(entry.tag, group) {
                entry.permissions = mode >> shift & 0o7;
            }
        }
    }

    /// Makes an inherited list of what its maker asked for with `mode`: neither then allows more than the other did.
    pub(super) fn restrict(&mut self, mode: u16) {
        self.set_mode(self.mode() & mode);
    }

    /// The entry behind the group's permission bits.
    fn group_class(&self) -> Tag {
        let masked = self.entries.iter().any(|entry| entry.tag == Tag::Mask);
        if masked { Tag::Mask } else { Tag::OwningGroup }
    }
}

/// Where an entry's permissions are in a mode, if they are.
fn shift(tag: Tag, group_class: Tag) -> Option<u32> {
    match tag {
        Tag::Owner => Some(6),
        Tag::Other => Some(0),
        tag if tag == group_class => Some(3),
        _ => None,
    }
}

const INVALID: Error = Error::Invalid("it is no access control list");

impl Entry {
    fn decode(bytes: &[u8]) -> Result<Entry, Error> {
        let &[t0, t1, p0, p1, i0, i1, i2, i3] = bytes else { return Err(INVALID) };
        let permissions = u16::from_le_bytes([p0, p1]);
        let id = u32::from_le_bytes([i0, i1, i2, i3]);
        let tag = match u16::from_le_bytes([t0, t1]) {
            0x01 => Tag::Owner,
            0x02 => Tag::User,
            0x04 => Tag::OwningGroup,
            0x08 => Tag::Group,
            0x10 => Tag::Mask,
            0x20 => Tag::Other,
            _ => return Err(INVALID),
        };
        let named = matches!(tag, Tag::User | Tag::Group);
        if permissions > 0o7 || (named && id == NOBODY) {
            return Err(INVALID);
        }
        Ok(Entry { tag, permissions, id: if named { id } else { NOBODY } })
    }
}
