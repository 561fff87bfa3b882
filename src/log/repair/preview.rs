//! A store as it would be after the files are put in order, for reading: nothing is written to the real one.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use super::Step;
use crate::log::files;
use crate::medium::{File, Lock, Medium, SimDisk, Space, Status};

/// A medium with some files renamed, hidden or replaced.
#[derive(Debug)]
pub struct Preview {
    medium: Arc<dyn Medium>,
    /// Where the files are that have other names.
    renamed: BTreeMap<String, String>,
    hidden: BTreeSet<String>,
    /// Small files that would be written.
    pub(super) files: SimDisk,
}

impl Preview {
    /// The medium after these steps, but for the small files.
    pub(super) fn renamed(medium: Arc<dyn Medium>, steps: &[Step]) -> Preview {
        let mut renamed = BTreeMap::new();
        let mut hidden = BTreeSet::new();
        for step in steps {
            match step {
                Step::PutBack { file, segment } => {
                    hidden.insert(file.clone());
                    renamed.insert(files::segment(*segment), file.clone());
                }
                Step::Quarantine { file, .. } => drop(hidden.insert(file.clone())),
                Step::Manifest { .. } | Step::Format { .. } => {}
            }
        }
        Preview { medium, renamed, hidden, files: SimDisk::new() }
    }
}

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Medium for Preview {
    fn create(&self, _: &str) -> io::Result<Arc<dyn File>> {
        refused()
    }

    fn open(&self, path: &str, _: bool) -> io::Result<Arc<dyn File>> {
        if let Ok(file) = self.files.open(path, false) {
            return Ok(file);
        }
        match self.renamed.get(path) {
            Some(place) => self.medium.open(place, false),
            None if self.hidden.contains(path) => Err(io::ErrorKind::NotFound.into()),
            None => self.medium.open(path, false),
        }
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        refused()
    }

    fn hard_link(&self, _: &str, _: &str) -> io::Result<()> {
        refused()
    }

    fn remove_dir(&self, _: &str) -> io::Result<()> {
        refused()
    }

    fn status(&self, path: &str) -> io::Result<Status> {
        match self.renamed.get(path) {
            Some(place) => self.medium.status(place),
            None if self.hidden.contains(path) => Err(io::ErrorKind::NotFound.into()),
            None => self.files.status(path).or_else(|_| self.medium.status(path)),
        }
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        refused()
    }

    fn create_dir(&self, _: &str) -> io::Result<()> {
        refused()
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let mut names = self.medium.list(path)?;
        names.retain(|name| !self.hidden.contains(&format!("{path}/{name}")));
        let inside = |file: &String| Some(file.strip_prefix(path)?.strip_prefix('/')?.to_owned());
        names.extend(self.renamed.keys().filter_map(inside));
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn sync_dir(&self, _: &str) -> io::Result<()> {
        refused()
    }

    fn space(&self) -> io::Result<Space> {
        self.medium.space()
    }

    fn lock(&self, _: &str, _: bool) -> io::Result<Option<Box<dyn Lock>>> {
        refused()
    }
}
