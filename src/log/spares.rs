//! The segments that come after the active one, made ahead so that no writer waits for an fsync.
//!
//! One is made at a time, and numbers are given in that order: so the writer uses them in order of their numbers.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::error::Error;
use super::segment::Segment;
use super::{Log, manifest};

/// How many are kept ready.
const AHEAD: usize = 1;

/// Empty segments, and the numbers of those to come.
pub(super) struct Spares {
    ready: Mutex<VecDeque<Arc<Segment>>>,
    /// Held while one is made.
    making: Mutex<()>,
    next_number: AtomicU32,
    /// Called when one has been used.
    used: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl fmt::Debug for Spares {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Spares").field("ready", &self.ready).finish_non_exhaustive()
    }
}

impl Spares {
    /// With those that are there, in order of their numbers.
    pub(super) fn new(ready: VecDeque<Arc<Segment>>, next_number: u32) -> Spares {
        let (ready, next_number) = (Mutex::new(ready), AtomicU32::new(next_number));
        Spares { ready, making: Mutex::new(()), next_number, used: OnceLock::new() }
    }

    /// A number that no segment has.
    pub(super) fn number(&self) -> u32 {
        let next = |number: u32| Some(number.saturating_add(1));
        self.next_number.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or(u32::MAX)
    }

    fn take(&self) -> Option<Arc<Segment>> {
        self.ready.lock().pop_front()
    }
}

impl Log {
    /// Has `used` called whenever the writer has gone on in another segment: it should see to it that [`Log::prepare`] is
    /// called, and what was left is synced, on another thread. Only the first call counts.
    pub fn when_rotated(&self, used: Box<dyn Fn() + Send + Sync>) {
        let _ = self.spares.used.set(used);
    }

    /// Prepares the segment after the active one, so that no writer waits for it.
    ///
    /// # Errors
    /// A full disk is reported and can be ignored: the writer tries again when it needs the segment.
    pub fn prepare(&self) -> Result<(), Error> {
        let _alone = self.spares.making.lock();
        while self.spares.ready.lock().len() < AHEAD {
            let segment = self.create_segment(self.spares.number())?;
            self.spares.ready.lock().push_back(segment);
        }
        Ok(())
    }

    /// Whether a writer that needs a segment now need not wait for it.
    pub fn is_prepared(&self) -> bool {
        !self.spares.ready.lock().is_empty()
    }

    /// The segment to go on in.
    pub(super) fn next_segment(&self) -> Result<Arc<Segment>, Error> {
        if let Some(ready) = self.spares.take() {
            return Ok(ready);
        }
        self.counters.segment_awaited();
        let _alone = self.spares.making.lock();
        match self.spares.take() {
            Some(ready) => Ok(ready),
            None => self.create_segment(self.spares.number()),
        }
    }

    /// Tells whoever prepares segments that one was used.
    pub(super) fn tell_rotated(&self) {
        self.counters.rotated();
        if let Some(used) = self.spares.used.get() {
            used();
        }
    }

    fn create_segment(&self, id: u32) -> Result<Arc<Segment>, Error> {
        self.check()?;
        let mut manifest = self.manifest.lock();
        // Until the manifest names it, the segment does not exist, and a full disk is no harm.
        let announced = Segment::create(&self.cached, id, manifest.epoch, self.id).and_then(|segment| {
            manifest.append(&manifest::Change::Open { segment: id })?;
            Ok(Arc::new(segment))
        });
        let segment = announced.map_err(|error| self.failed("creating a segment", error))?;
        manifest.sync().map_err(|error| self.fail("fsync of the manifest", &error))?;
        self.segments.insert([Arc::clone(&segment)]);
        Ok(segment)
    }
}
