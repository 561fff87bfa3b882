//! Which segments there are: a map that is replaced and never changed under a reader.
//!
//! Invariants:
//! * A record that the keydir points to is in the map of that moment. So a reader that takes the map ([`Log::segments`])
//!   under the lock under which it looks a record up can read that record whenever it likes, without a lock, whatever a
//!   merge does meanwhile.
//! * A segment that a merge takes away leaves the map at once. Its file goes with its last reader, or with the next
//!   start: no manifest names it any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::error::Error;
use super::record::Location;
use super::segment::{Body, Segment, Wait};
use super::{Log, files};
use crate::medium::Medium;

/// The segments that there were at one moment. A clone is the same map.
#[derive(Clone, Debug, Default)]
pub struct Segments(Arc<BTreeMap<u32, Arc<Segment>>>);

impl Segments {
    /// The body of a record, verified against its checksums and against what the caller knows of it. `None`: that takes the
    /// medium, and the caller does not wait.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the bytes are not those that were written.
    pub fn read(&self, location: Location, body_len: u32, sequence: u64, wait: Wait) -> Result<Option<Body>, Error> {
        let missing = Error::Damaged { location, what: "its segment is missing" };
        let segment = self.0.get(&location.segment).ok_or(missing)?;
        let Some((header, body)) = segment.read(location, body_len, wait)? else { return Ok(None) };
        if header.sequence != sequence {
            return Err(Error::Damaged { location, what: "another record is in its place" });
        }
        Ok(Some(body))
    }

    pub(super) fn get(&self, id: u32) -> Option<&Arc<Segment>> {
        self.0.get(&id)
    }

    pub(super) fn contains(&self, id: u32) -> bool {
        self.0.contains_key(&id)
    }

    pub(super) fn all(&self) -> impl ExactSizeIterator<Item = &Arc<Segment>> {
        self.0.values()
    }
}

/// The segments of an open log.
#[derive(Debug)]
pub(super) struct SegmentMap {
    present: RwLock<Segments>,
    trash: Arc<Trash>,
}

impl SegmentMap {
    pub(super) fn new(segments: BTreeMap<u32, Arc<Segment>>, medium: Arc<dyn Medium>) -> SegmentMap {
        let trash = Arc::new(Trash { medium: Mutex::new(Some(medium)) });
        SegmentMap { present: RwLock::new(Segments(Arc::new(segments))), trash }
    }

    /// The segments that there are now.
    pub(super) fn now(&self) -> Segments {
        self.present.read().clone()
    }

    pub(super) fn get(&self, id: u32) -> Option<Arc<Segment>> {
        self.present.read().get(id).cloned()
    }

    pub(super) fn contains(&self, id: u32) -> bool {
        self.present.read().contains(id)
    }

    pub(super) fn insert(&self, segments: impl IntoIterator<Item = Arc<Segment>>) {
        let mut present = self.present.write();
        Arc::make_mut(&mut present.0).extend(segments.into_iter().map(|segment| (segment.id, segment)));
    }

    /// Takes a segment out of the map: its file is removed as soon as nobody reads it any more.
    fn remove(&self, id: u32) {
        let removed = Arc::make_mut(&mut self.present.write().0).remove(&id);
        if let Some(segment) = removed {
            segment.doom(Arc::clone(&self.trash));
        }
    }
}

impl Drop for SegmentMap {
    /// Who still reads a segment that was taken away may outlive the log, and the next process may give its number to
    /// another segment.
    fn drop(&mut self) {
        self.trash.medium.lock().take();
    }
}

/// Removes the files of segments that were taken away, for as long as the log is open.
#[derive(Debug)]
pub(super) struct Trash {
    medium: Mutex<Option<Arc<dyn Medium>>>,
}

impl Trash {
    /// Removes the file of a segment that nobody reads any more.
    pub(super) fn remove(&self, id: u32) {
        // Held meanwhile: the log does not close, and so nobody else can have the store, before the file is gone.
        let Some(medium) = &*self.medium.lock() else { return };
        if let Err(error) = medium.remove(&files::segment(id)) {
            log::warn!("segment {id} is merged, but its file stays: {error}");
        }
    }
}

impl Log {
    /// The segments that there are now. Whoever takes them under the lock under which it looks up where a record is can
    /// read that record for as long as it keeps them.
    pub fn segments(&self) -> Segments {
        self.segments.now()
    }

    /// Takes segments away that the manifest names no more. Whoever has them goes on reading them: a file goes with its
    /// last reader.
    pub fn drop_segments(&self, ids: &[u32]) {
        for id in ids {
            if self.hinted.lock().remove(id) {
                // A hint without its segment does not count, and the next start removes it.
                let _ = self.medium.remove(&files::hint(*id));
            }
            self.segments.remove(*id);
        }
    }
}
