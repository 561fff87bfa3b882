//! What a keydir must not do after a start that could not read the whole log: a later one may read the rest.

use super::entries::Entry;
use super::{Keydir, Node};
use crate::log::MAX_ENTRY;
use crate::store::Error;
use crate::store::attributes::EntryId;

/// More ids than are ever given out between two starts.
const HIDDEN: EntryId = 1 << 32;

impl Keydir {
    /// A part of the log is unread. What is there may have any id up to far beyond those that were seen: none of these is
    /// given out. And what was made up of directories, because nothing is known of them but what is in them, is never written.
    pub(in crate::store) fn miss_unread(&mut self) {
        self.next_id = self.next_id.saturating_add(HIDDEN).min(MAX_ENTRY + 1);
        let unread = self.ids().filter(|id| self.entries.get_whole(*id).is_some_and(Node::is_made_up)).collect();
        self.unread = unread;
    }

    /// An entry of which a record is to be written.
    ///
    /// # Errors
    /// [`Error::Unread`] if its own record is, so that the new one would say what nobody knows; [`Error::Stale`].
    pub(in crate::store) fn to_be_changed(&self, id: EntryId) -> Result<Entry<'_>, Error> {
        match self.unread.contains(&id) {
            true => Err(Error::Unread("nothing is known of the directory but what is in it")),
            false => self.get(id).ok_or(Error::Stale),
        }
    }
}
