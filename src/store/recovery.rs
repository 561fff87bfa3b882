//! Building the keydir from the log.
//!
//! Two threads share the work: one reads the log and decodes, the other changes the keydir.

use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;

use super::attributes::EntryId;
use super::extents::Extent;
use super::keydir::{Keydir, Node, Plain};
use super::record::{self, Link, NodeRecord, Share};
use crate::log::{Damage, Header, Location, Report, Stretches, Visit};

/// What to do where a start could not read everything.
pub const UNREAD_ADVICE: &str = "until a start has read everything nothing is merged and no expired key is removed: see \
     to the disk, then close the store and open it again; `caskfs repair --give-up-unread` goes on without what is unread";

/// What the last start found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Records read.
    pub records: u64,
    /// Segments whose hints were read in their stead.
    pub hints: u64,
    /// Unacknowledged bytes at the end of the log that a crash left and that were cut off.
    pub torn: Vec<Damage>,
    /// Stretches of the log that are not as they were written.
    pub damage: Vec<Damage>,
    /// Stretches of the log that the medium has failed to read. What is there may be as it was written: until a start has
    /// read it, nothing is merged, and nothing that expires is removed.
    pub unread: Vec<Damage>,
    /// Keys of which a record is damaged, or missing.
    pub damaged_keys: Vec<String>,
    /// Keys of which a record could not be read, or may be among what could not.
    pub unread_keys: Vec<String>,
    /// Names given to directories whose own record is lost.
    pub lost_directories: Vec<String>,
}

/// What is noted while the records are applied.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Entries of which a record is damaged.
    damaged: Vec<EntryId>,
    /// Those of which one could not be read, or may be among what could not.
    unread: Vec<EntryId>,
    /// Unreadable stretches met so far.
    unreadable: u32,
    /// The last record that is missing altogether: nobody knows any more whose it was.
    lost: u64,
}

/// A record as it is to be applied: what it says is read where the log is read, and takes effect in order.
struct Decoded {
    entry: EntryId,
    sequence: u64,
    location: Location,
    body_len: u32,
    /// How many unreadable stretches came before it.
    unreadable: u32,
    /// Whether the medium has failed to read one of them, or its body.
    unread: bool,
    body: Option<Body>,
}

enum Body {
    /// Its bytes are in the batch.
    Plain(Plain),
    Node(NodeRecord),
    Data {
        stage: u64,
        offset: u64,
        len: u64,
    },
    Hole {
        stage: u64,
        offset: u64,
        len: u64,
    },
    Share(Share),
    Tombstone,
    Loss,
    Name(Link),
    NameGone(Link),
    /// A name that cannot be read. It costs nothing but itself.
    BrokenName,
}

/// Records that are handed over at once.
#[derive(Default)]
struct Batch {
    records: Vec<Decoded>,
    /// The plain files among them, packed.
    bytes: Vec<u8>,
}

impl Batch {
    fn push(&mut self, visit: &Visit<'_>) {
        let Visit { header, location, unreadable, unread, .. } = *visit;
        let (entry, sequence, body_len) = (header.entry, header.sequence, header.body_len);
        let body = visit.front.and_then(|front| match header.kind {
            record::NODE => Plain::new(header, location, front, &mut self.bytes).map(Body::Plain),
            _ => None,
        });
        let broken = matches!(header.kind, record::NAME | record::NAME_GONE).then_some(Body::BrokenName);
        let body = body.or_else(|| decode(header, visit.front?)).or(broken);
        self.records.push(Decoded { entry, sequence, location, body_len, unreadable, unread, body });
    }
}

/// `None` if the body makes no sense although its checksum holds.
fn decode(header: &Header, front: &[u8]) -> Option<Body> {
    Some(match header.kind {
        record::NODE => Body::Node(record::decode_node(front, header.sequence, header.bulk_len())?),
        record::DATA => {
            let (stage, offset, len) = record::decode_data(front, header.bulk_len())?;
            Body::Data { stage, offset, len }
        }
        record::HOLE => {
            let (stage, offset, len) = record::decode_hole(front)?;
            Body::Hole { stage, offset, len }
        }
        record::SHARE => Body::Share(record::decode_share(front, header.sequence)?),
        record::TOMBSTONE => Body::Tombstone,
        record::LOSS => Body::Loss,
        record::NAME => Body::Name(decode_link(front)?),
        record::NAME_GONE => Body::NameGone(decode_link(front)?),
        _ => return None,
    })
}

fn decode_link(front: &[u8]) -> Option<Link> {
    record::decode_name(front).map(|(parent, name)| Link { parent, name: name.into() })
}

/// Applies records to a keydir.
struct Applier {
    keydir: Keydir,
    findings: Findings,
}

impl Applier {
    fn new() -> Applier {
        Applier { keydir: Keydir::new(), findings: Findings::default() }
    }

    fn apply_all(&mut self, batch: Batch) {
        batch.records.into_iter().for_each(|record| self.apply(record, &batch.bytes));
    }

    fn apply(&mut self, record: Decoded, bytes: &[u8]) {
        if record.unreadable > self.findings.unreadable {
            self.findings.unreadable = record.unreadable;
            self.findings.lost = record.sequence - 1;
        }
        let (entry, sequence, unread) = (record.entry, record.sequence, record.unread);
        let stage = self.apply_body(record, bytes);
        // A missing record among those of a value may be a piece of it, and would read as a hole.
        if stage.is_none_or(|stage| stage != 0 && stage <= self.findings.lost) {
            self.damage(entry, sequence, unread);
        }
    }

    fn damage(&mut self, entry: EntryId, sequence: u64, unread: bool) {
        self.keydir.apply_damage(entry, sequence);
        let list = if unread { &mut self.findings.unread } else { &mut self.findings.damaged };
        list.push(entry);
    }

    /// Returns the stage that the record publishes, 0 if it does not; `None` if it is damaged.
    fn apply_body(&mut self, record: Decoded, bytes: &[u8]) -> Option<u64> {
        let Decoded { entry, sequence, location, body_len, unread, body, .. } = record;
        match body? {
            Body::Tombstone => self.keydir.apply_tombstone(entry),
            Body::Plain(plain) => {
                if !self.keydir.apply_plain(&plain, bytes) {
                    let front = plain.front(bytes);
                    let node = record::decode_node(front, sequence, body_len.saturating_sub(front.len() as u32))?;
                    if self.keydir.contradicts(entry, &node) {
                        return None;
                    }
                    self.keydir.apply_node(entry, sequence, location, body_len, node);
                }
            }
            Body::Loss => self.keydir.apply_loss(entry, sequence),
            Body::Name(link) => {
                if !self.keydir.apply_name(entry, sequence, location, &link) {
                    return None;
                }
            }
            Body::NameGone(link) => self.keydir.apply_name_gone(entry, &link),
            Body::BrokenName => {
                let Findings { damaged, unread: list, .. } = &mut self.findings;
                if unread { list } else { damaged }.push(entry);
            }
            Body::Node(node) => {
                if self.keydir.contradicts(entry, &node) {
                    return None;
                }
                let stage = node.stage;
                self.miss_value(entry, sequence, &node, unread);
                self.keydir.apply_node(entry, sequence, location, body_len, node);
                return Some(stage);
            }
            Body::Data { stage, offset, len } => {
                let extent = Extent::own(location, body_len, 0, sequence);
                self.keydir.apply_data(entry, stage, offset, len, extent);
            }
            Body::Hole { stage, offset, len } => self.keydir.apply_hole(entry, stage, offset, len),
            Body::Share(share) => self.keydir.apply_share(entry, location.segment, share),
        }
        Some(0)
    }

    /// A node record may speak of a value that another record should have brought: if that one is lost, whoever's it
    /// was, the key is damaged. (A merge takes such a record away, but leaves the bytes.)
    fn miss_value(&mut self, entry: EntryId, sequence: u64, node: &NodeRecord, unread: bool) {
        let (start, size) = (node.state.value_start, node.state.size);
        let elsewhere = size > 0 && start < sequence && node.stage == 0 && node.inline.is_none();
        let lost = elsewhere && start > 0 && start <= self.findings.lost;
        let has_it = |old: &Node| old.state.value_start >= start || old.has_all(start, size);
        if lost && !self.keydir.get(entry).is_some_and(|old| has_it(&old)) {
            self.damage(entry, start, unread);
        }
    }
}

/// Records in a batch.
const BATCH: usize = 4096;

/// Builds the keydir of a log while that is read: a thread applies what another one reads, if there is much of it.
pub(super) struct Loader {
    batch: Batch,
    applier: Option<Applier>,
    thread: Option<(SyncSender<Batch>, JoinHandle<Applier>)>,
}

impl Loader {
    pub(super) fn new() -> Loader {
        Loader { batch: Batch::default(), applier: Some(Applier::new()), thread: None }
    }

    /// Takes the next record.
    pub(super) fn push(&mut self, visit: &Visit<'_>) {
        self.batch.push(visit);
        if self.batch.records.len() >= BATCH {
            let next = Batch { records: Vec::with_capacity(BATCH), bytes: Vec::with_capacity(self.batch.bytes.len()) };
            let full = std::mem::replace(&mut self.batch, next);
            self.hand_over(full);
        }
    }

    fn hand_over(&mut self, batch: Batch) {
        if let Some(mut applier) = self.applier.take() {
            let (sender, batches) = std::sync::mpsc::sync_channel::<Batch>(4);
            let run = move || {
                batches.into_iter().for_each(|batch| applier.apply_all(batch));
                applier
            };
            self.thread = Some((sender, std::thread::spawn(run)));
        }
        if let Some((sender, _)) = &self.thread {
            // It fails if the thread has panicked, which `finish` will tell.
            let _ = sender.send(batch);
        }
    }

    /// The keydir, and what was noted.
    pub(super) fn finish(mut self) -> (Keydir, Findings) {
        let last = std::mem::take(&mut self.batch);
        let mut applier = match self.thread.take() {
            Some((sender, thread)) => {
                drop(sender);
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
            None => self.applier.unwrap_or_else(Applier::new),
        };
        applier.apply_all(last);
        (applier.keydir, applier.findings)
    }
}

/// Puts the report together. `may_hold` says whether a segment reaches so far that a record with a body of this length may
/// be there.
pub(super) fn report(
    keydir: &mut Keydir,
    log: Report,
    findings: Findings,
    may_hold: &dyn Fn(Location, u32) -> bool,
) -> RecoveryReport {
    let wrong = keydir.settle_names();
    let lost_directories = keydir.finish_recovery();
    if !log.unread.is_empty() {
        keydir.miss_unread();
    }
    let missing = Stretches::of_damage(log.damage.iter().chain(&log.unread));
    let is_there = |location, body_len| may_hold(location, body_len) && !missing.touch_record(location, body_len);
    let dangling = keydir.mark_dangling(&is_there);
    let Findings { mut damaged, mut unread, .. } = findings;
    if log.unread.is_empty() { &mut damaged } else { &mut unread }.extend(dangling.into_iter().chain(wrong));
    let paths = |entries: Vec<EntryId>| {
        let mut paths: Vec<String> = entries.into_iter().map(|id| keydir.path(id)).collect();
        paths.sort();
        paths.dedup();
        paths
    };
    let damaged_keys = paths(damaged);
    let mut unread_keys = paths(unread);
    unread_keys.retain(|key| damaged_keys.binary_search(key).is_err());
    RecoveryReport {
        records: log.records,
        hints: log.hints.len() as u64,
        torn: log.torn,
        damage: log.damage,
        unread: log.unread,
        damaged_keys,
        unread_keys,
        lost_directories,
    }
}

impl RecoveryReport {
    /// Whether nothing was damaged, and all could be read. A torn tail is no damage.
    pub fn is_clean(&self) -> bool {
        let whole = self.damage.is_empty() && self.damaged_keys.is_empty() && self.lost_directories.is_empty();
        whole && self.unread.is_empty() && self.unread_keys.is_empty()
    }

    /// Bytes of the log that could not be read; 0 if all were.
    pub fn unread_bytes(&self) -> u64 {
        self.unread.iter().map(|unread| unread.len.max(1)).sum()
    }

    /// Tells the operator, in a line for each finding.
    pub(super) fn tell(&self) {
        for torn in &self.torn {
            log::warn!("cut off {} unacknowledged bytes at {}, left by a crash", torn.len, torn.location);
        }
        for damage in &self.damage {
            log::error!("{} bytes are damaged at {}", damage.len, damage.location);
        }
        for unread in &self.unread {
            log::error!("{} bytes at {} could not be read, and are not lost", unread.len, unread.location);
        }
        if !self.unread.is_empty() {
            log::error!("{UNREAD_ADVICE}");
        }
        for key in &self.damaged_keys {
            log::error!("a record of {key} is damaged");
        }
        for key in &self.unread_keys {
            log::error!("a record of {key} could not be read");
        }
        for name in &self.lost_directories {
            log::error!("the name of a directory is lost: it is now {name}");
        }
    }
}
