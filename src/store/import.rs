//! An entry that comes from elsewhere, with all that it has, in one transaction.

use std::io;

use super::attributes::{Attributes, EntryId, Kind};
use super::xattrs::XattrMode;
use super::{Error, Store, Transaction, Unlink, Update, check_name, io_error};

/// What is brought in.
#[derive(Clone, Copy, Debug)]
pub struct Import<'a> {
    /// The directory that it goes into, and its name there.
    pub parent: EntryId,
    /// Its name there.
    pub name: &'a [u8],
    /// Its attributes; the time of the last change of anything will be the present.
    pub attributes: Attributes,
    /// A symbolic link's target.
    pub target: &'a [u8],
    /// Its extended attributes: names and values.
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
    /// A file's length in bytes.
    pub size: u64,
    /// What has the name goes, in the same transaction; a directory only if it is empty.
    pub replace: bool,
}

/// Gives the bytes of a value, in order, each piece with its offset; what is left out is a hole.
pub type Pieces<'a> = dyn FnMut() -> io::Result<Option<(u64, Vec<u8>)>> + 'a;

impl Store {
    /// Makes an entry with its value, attributes and extended attributes: all of it or nothing, in bounded memory. It is
    /// durable after the next [`Store::sync`].
    ///
    /// # Errors
    /// [`Error::Exists`] if the name is taken, or [`Error::NotEmpty`] if it is to be replaced; those of [`check_name`], of the pieces and of the log.
    pub fn import(&self, new: &Import<'_>, pieces: &mut Pieces<'_>) -> Result<EntryId, Error> {
        check_name(new.name)?;
        // The bytes belong to nobody until the transaction is committed.
        let id = self.spare_id()?;
        let mut update = Update { replace: true, size: new.size, ..Update::default() };
        let made = self.stage_pieces(id, &mut update, pieces).and_then(|()| {
            let mut transaction = self.begin()?;
            if new.replace {
                transaction.vacate(new.parent, new.name)?;
            }
            transaction.check_vacant(new.parent, new.name)?;
            transaction.make_as(id, new.attributes, new.target)?;
            transaction.attach(id, new.parent, new.name)?;
            for (name, value) in new.xattrs {
                transaction.set_xattr(id, name, value, XattrMode::Set)?;
            }
            if new.attributes.kind == Kind::File {
                transaction.set_value(id, update.clone())?;
            }
            // After what changes the times.
            let ctime = transaction.now();
            transaction.set_attributes(id, Attributes { ctime, ..new.attributes })?;
            transaction.commit()
        });
        self.abandon(update.stage);
        made.map(|_| id)
    }

    /// Stages all pieces but the last, which stays in the update.
    fn stage_pieces(&self, entry: EntryId, update: &mut Update<'_>, pieces: &mut Pieces<'_>) -> Result<(), Error> {
        let mut held: Option<(u64, Vec<u8>)> = None;
        while let Some(piece) = pieces().map_err(|source| io_error("reading what is imported", source))? {
            update.size = update.size.max(piece.0 + piece.1.len() as u64);
            if let Some((offset, bytes)) = held.replace(piece) {
                update.stage = self.stage(entry, update.stage, offset, &bytes)?.stage;
            }
        }
        update.bytes.extend(held.map(|(offset, bytes)| (offset, bytes.into())));
        Ok(())
    }
}

impl Transaction<'_> {
    /// Takes a name away if it is taken, whatever it leads to; a directory only if it is empty.
    ///
    /// # Errors
    /// [`Error::NotEmpty`].
    pub fn vacate(&mut self, parent: EntryId, name: &[u8]) -> Result<(), Error> {
        let Some(old) = self.lookup(parent, name) else { return Ok(()) };
        let what = if self.is_directory(old)? { Unlink::Directory } else { Unlink::File };
        self.unlink(parent, name, what).map(drop)
    }
}
