//! The manifest is made anew while the log is open, when most of what it says is over: so it is never much longer than what
//! there is to say, and neither is a start that reads it.
//!
//! As ever: a temporary file, made durable, takes the name. Until then nothing has changed, and what fails is tried again
//! later; from then on it is not known which of both a power cut leaves, and a failure is final.

use std::io;

use super::error::{Error, of_sync};
use super::manifest::Manifest;
use super::{Log, StoreId, files};
use crate::medium::{Medium, Trouble};

impl Log {
    /// Makes the manifest anew if it is much longer than what it has to say.
    pub(super) fn tidy_manifest(&self) -> Result<(), Error> {
        let mut manifest = self.manifest.lock();
        if !manifest.is_wasteful() || self.check().is_err() {
            return Ok(());
        }
        let before = manifest.len();
        match shorten(&mut manifest, &*self.medium, self.id) {
            Ok(true) => log::debug!("the manifest had {before} entries, and has {} now", manifest.len()),
            Ok(false) => {}
            Err(error) => return Err(self.fail("replacing the manifest", &error)),
        }
        Ok(())
    }
}

/// False if nothing has changed.
fn shorten(manifest: &mut Manifest, medium: &dyn Medium, store: StoreId) -> io::Result<bool> {
    manifest.put_off();
    let (bytes, entries) = manifest.encode(store);
    let file = match files::put_aside(medium, files::MANIFEST, &bytes) {
        Ok(file) => file,
        Err(error) => {
            log::debug!("the manifest is not made anew: {error}");
            return Ok(false);
        }
    };
    match files::put_in_place(medium, files::MANIFEST) {
        Err(error) if Trouble::of(&error) != Trouble::Device => return Ok(false),
        other => other?,
    }
    medium.sync_dir("").map_err(|error| io::Error::other(of_sync(error)))?;
    manifest.replaced(file, entries);
    Ok(true)
}
