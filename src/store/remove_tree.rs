//! Removing a directory with all that is in it.
//!
//! In batches, each a transaction of its own, and one sync in the end. A batch is what others wait for at most; what is
//! remembered between two is the way from the top to where it goes on. What others put there meanwhile goes as well; what
//! they move away stays.

use std::ops::ControlFlow;

use super::attributes::EntryId;
use super::paths::parts;
use super::{Error, ROOT, Store, Transaction, Unlink};

/// Names taken away at once.
const BATCH: usize = 256;

/// A name that was taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The directory that it was in.
    pub parent: EntryId,
    /// The name.
    pub name: Vec<u8>,
    /// What it led to.
    pub id: EntryId,
}

/// A directory that is being emptied.
struct Level {
    parent: EntryId,
    name: Vec<u8>,
    id: EntryId,
    /// The place of the last child that was looked at.
    cookie: u64,
    /// It is gone through again, and nothing was found yet.
    again: bool,
}

impl Store {
    /// Removes a key, and if it is a directory all that is in it; says whether it was there. `between` hears after each
    /// batch what is gone, and may end it: `None`.
    ///
    /// # Errors
    /// Those of the log, after which a part may be gone; [`Error::NotEmpty`] if a directory says so in which there is nothing.
    pub fn remove_tree(
        &self,
        key: impl AsRef<[u8]>,
        between: &mut dyn FnMut(&[Removed]) -> ControlFlow<()>,
    ) -> Result<Option<bool>, Error> {
        let Some(top) = self.top_level(key.as_ref())? else { return Ok(Some(false)) };
        let mut levels = vec![top];
        let mut last = 0;
        while !levels.is_empty() {
            let mut removed = Vec::with_capacity(BATCH);
            let mut transaction = self.begin()?;
            transaction.keep_within(&mut levels);
            while let Some(level) = levels.last_mut() {
                match transaction.empty(level, &mut removed)? {
                    Step::Below(below) => levels.push(below),
                    Step::Gone => drop(levels.pop()),
                    Step::Full => break,
                }
            }
            last = last.max(transaction.commit()?);
            if between(&removed).is_break() {
                return Ok(None);
            }
        }
        self.acknowledge(last)?;
        Ok(Some(true))
    }

    fn top_level(&self, key: &[u8]) -> Result<Option<Level>, Error> {
        let (above, name) = parts(key)?;
        let transaction = self.begin()?;
        let mut parent = ROOT;
        for name in above {
            match transaction.lookup(parent, name) {
                Some(child) => parent = child,
                None => return Ok(None),
            }
        }
        let id = transaction.lookup(parent, name);
        Ok(id.map(|id| Level { parent, name: name.into(), id, cookie: 0, again: false }))
    }

    /// Children of a directory behind a place, also those that have expired and are there still. Nothing if it is none.
    fn some_children(&self, directory: EntryId, cookie: u64) -> Vec<(u64, Vec<u8>, EntryId)> {
        let keydir = self.keydir.read();
        let Some(children) = keydir.directory(directory) else { return Vec::new() };
        let named = |(cookie, id)| Some((cookie, keydir.name_at(directory, cookie, id)?.to_vec(), id));
        children.after_cookie(cookie).filter_map(named).take(BATCH).collect()
    }
}

/// What came of going through a directory.
enum Step {
    /// This directory in it comes first.
    Below(Level),
    /// It is gone.
    Gone,
    /// The batch is full.
    Full,
}

impl Transaction<'_> {
    /// Forgets a directory that others have moved elsewhere or removed since the last batch, with the way below it: what is
    /// not in the tree any more is not to go.
    fn keep_within(&self, levels: &mut Vec<Level>) {
        let there = |level: &Level| self.lookup(level.parent, &level.name) == Some(level.id);
        let kept = levels.iter().take_while(|level| there(level)).count();
        levels.truncate(kept);
    }

    /// Empties a directory as far as the batch goes, and takes it away when nothing is left.
    fn empty(&mut self, level: &mut Level, removed: &mut Vec<Removed>) -> Result<Step, Error> {
        while removed.len() < BATCH {
            let children = self.store.some_children(level.id, level.cookie);
            if children.is_empty() {
                if self.take_away(level, removed)? {
                    return Ok(Step::Gone);
                }
                continue;
            }
            for (cookie, name, id) in children.into_iter().take(BATCH - removed.len()) {
                (level.cookie, level.again) = (cookie, false);
                // Taken away by this transaction.
                if self.lookup(level.id, &name) != Some(id) {
                    continue;
                }
                if self.is_directory(id)? {
                    return Ok(Step::Below(Level { parent: level.id, name, id, cookie: 0, again: false }));
                }
                self.unlink(level.id, &name, Unlink::File)?;
                removed.push(Removed { parent: level.id, name, id });
            }
        }
        Ok(Step::Full)
    }

    /// Takes away what has been gone through. False if something came meanwhile: then it is gone through again.
    fn take_away(&mut self, level: &mut Level, removed: &mut Vec<Removed>) -> Result<bool, Error> {
        let what = if self.is_directory(level.id)? { Unlink::Directory } else { Unlink::File };
        match self.unlink(level.parent, &level.name, what) {
            Err(Error::NotEmpty) if !level.again => {
                (level.cookie, level.again) = (0, true);
                Ok(false)
            }
            Err(error) => Err(error),
            Ok(id) => {
                removed.push(Removed { parent: level.parent, name: std::mem::take(&mut level.name), id });
                Ok(true)
            }
        }
    }
}
