//! The quarantine: a directory for each repair, `quarantine/N`, for what was taken out of the store.
//!
//! A file is there, durably, before anything is done to the original. So a repair that is cut short loses nothing; the
//! next one begins anew, with a directory of its own.

use std::io;

use crate::log::files;
use crate::medium::{File, Medium, cannot_link};

/// The directory in the store.
const QUARANTINE: &str = "quarantine";
/// The report of a repair.
const REPORT: &str = "report";

/// Bytes copied at once, and bytes that are left out where the medium fails to read.
const CHUNK: usize = 1 << 20;
const SECTOR: usize = 4096;

/// The quarantine of one repair. Its directory is made with the first file.
#[derive(Debug)]
pub struct Quarantine<'m> {
    medium: &'m dyn Medium,
    path: String,
    made: bool,
}

impl<'m> Quarantine<'m> {
    /// A new one, with a number that none has had.
    pub(super) fn new(medium: &'m dyn Medium) -> io::Result<Quarantine<'m>> {
        let names = match medium.list(QUARANTINE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        let highest = names.iter().filter_map(|name| name.parse::<u32>().ok()).max().unwrap_or(0);
        Ok(Quarantine { medium, path: format!("{QUARANTINE}/{}", highest.saturating_add(1)), made: false })
    }

    /// Its path in the store, if there is anything in it.
    pub fn path(&self) -> Option<&str> {
        self.made.then_some(&self.path)
    }

    /// Gives a file a second name there, durably; or makes a copy, where the file system has none. One that is missing is
    /// no matter.
    ///
    /// # Errors
    /// Those of the medium.
    pub fn keep(&mut self, file: &str) -> io::Result<()> {
        let from = match self.medium.open(file, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        self.make()?;
        let name = file.rsplit_once('/').map_or(file, |(_, name)| name);
        let mut place = format!("{}/{name}", self.path);
        // Two files may have had one name, the second after the first was moved away.
        while self.medium.status(&place).is_ok() {
            place.push('_');
        }
        match self.medium.hard_link(file, &place) {
            Err(error) if cannot_link(&error) => {
                let to = self.medium.create(&place)?;
                copy(&*from, &*to)?;
                to.sync()?;
            }
            other => other?,
        }
        self.medium.sync_dir(&self.path)
    }

    /// Keeps a segment, with its hint.
    ///
    /// # Errors
    /// Those of the medium.
    pub fn keep_segment(&mut self, id: u32) -> io::Result<()> {
        self.keep(&files::segment(id))?;
        self.keep(&files::hint(id))
    }

    /// Puts the repair's report there.
    ///
    /// # Errors
    /// Those of the medium.
    pub fn report(&mut self, text: &str) -> io::Result<()> {
        self.make()?;
        let file = self.medium.create(&format!("{}/{REPORT}", self.path))?;
        file.write_all_at(text.as_bytes(), 0)?;
        file.sync()?;
        self.medium.sync_dir(&self.path)
    }

    fn make(&mut self) -> io::Result<()> {
        if !self.made {
            for directory in [QUARANTINE, &self.path] {
                match self.medium.create_dir(directory) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    other => other?,
                }
            }
            self.medium.sync_dir(QUARANTINE)?;
            self.medium.sync_dir("")?;
            self.made = true;
        }
        Ok(())
    }
}

/// Copies a file. What cannot be read of it becomes zeros.
fn copy(from: &dyn File, to: &dyn File) -> io::Result<()> {
    let len = from.len()?;
    let mut buffer = vec![0; CHUNK];
    let mut offset = 0;
    while offset < len {
        let want = CHUNK.min(usize::try_from(len - offset).unwrap_or(CHUNK));
        let chunk = buffer.get_mut(..want).unwrap_or_default();
        if from.read_exact_at(chunk, offset).is_err() {
            for (index, sector) in chunk.chunks_mut(SECTOR).enumerate() {
                if from.read_exact_at(sector, offset + (index * SECTOR) as u64).is_err() {
                    sector.fill(0);
                }
            }
        }
        to.write_all_at(chunk, offset)?;
        offset += want as u64;
    }
    Ok(())
}

/// The path of a segment's file, for messages.
pub(super) fn in_segments(name: &str) -> String {
    format!("{}/{name}", files::SEGMENTS)
}
