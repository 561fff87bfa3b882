//! Repair: a store that was damaged opens again, and is clean; what is lost is said, key by key.
//!
//! The files are put in order first (`log::repair`), so that the log can be opened, as far as it is there. Then
//! everything is read. Whoever stands in a damaged part is marked: a record of its own says that the value is lost, and
//! survives what is done next. What others have borrowed from damaged segments, and can be read, becomes their own. At last
//! what is intact of these segments is copied into fresh ones (`Log::salvage`). So a key whose value is damaged stays `EIO` until it is set anew, and never becomes shorter or
//! older because the damage is gone.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::merge::make_own;
use super::verify::{Touched, makes_sense};
use super::{EntryId, Error, Options, Progress, Store, io_error};
use crate::log::{self, Inspection, Location, Quarantine, Unread};
use crate::medium::{Disk, Medium};

/// Entries that are marked in one transaction.
const CHUNK: usize = 1000;

/// How a repair is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepairMode {
    /// Say what would be done, and change nothing.
    pub dry_run: bool,
    /// What cannot be read is lost. Otherwise a repair that meets such a thing changes nothing: the next attempt may be able
    /// to read it.
    pub give_up_unread: bool,
}

/// What a repair has done, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// What was done, or would be, in order. Empty for a store that is whole.
    pub steps: Vec<String>,
    /// What could not be read, and so counts as lost.
    pub unread: Vec<Unread>,
    /// Keys of which something is lost. The value of a file is `EIO` until it is set anew or removed; what has no value
    /// may have an older name, or older attributes.
    pub lost_keys: Vec<String>,
    /// Names given to directories whose own record is lost.
    pub lost_directories: Vec<String>,
    /// The directory of the quarantine, in the store, that holds what was taken out.
    pub quarantine: Option<String>,
}

impl fmt::Display for RepairReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.dry_run { "would:  " } else { "done:   " };
        let found = "if it is given up, the steps below follow";
        let unread = |unread: &Unread| writeln!(formatter, "unread:  {unread} ({found})");
        if self.dry_run {
            self.unread.iter().try_for_each(unread)?;
        }
        self.steps.iter().try_for_each(|step| writeln!(formatter, "{verb} {step}"))?;
        self.lost_keys.iter().try_for_each(|key| writeln!(formatter, "lost:    {key}"))?;
        let found = "its keys are there, its own name is lost";
        self.lost_directories.iter().try_for_each(|name| writeln!(formatter, "found:   {name} ({found})"))
    }
}

/// What is wrong inside the log.
struct Damage {
    /// Entries of whose value a part is lost.
    values: Vec<EntryId>,
    /// Entries that have their value, if any, but whose names and attributes must be written again.
    states: Vec<EntryId>,
    /// Directories that were made up for their children.
    directories: Vec<String>,
    /// Damaged segments, and what is wrong with each.
    segments: BTreeMap<u32, String>,
    /// Hints that do not fit their segments.
    hints: Vec<String>,
    /// What the start cut off as a torn tail, by a manifest that the repair has made.
    torn: Vec<log::Damage>,
    /// What could not be read.
    unread: Vec<Unread>,
}

impl Store {
    /// Repairs the store in a directory, which nobody may have open; or says what that would do.
    ///
    /// ```
    /// use caskfs::store::RepairMode;
    /// use caskfs::{Options, Store};
    ///
    /// let directory = tempfile::tempdir()?;
    /// let options = Options { create: true, ..Options::default() };
    /// Store::open(directory.path(), options.clone())?.put("users/42", "Ada")?;
    /// std::fs::remove_file(directory.path().join("manifest"))?;
    /// assert!(Store::open(directory.path(), options.clone()).is_err());
    /// let report = Store::repair(directory.path(), options.clone(), RepairMode::default(), &mut |_| {})?;
    /// assert_eq!(report.steps.len(), 1);
    /// assert_eq!(Store::open(directory.path(), options)?.get("users/42")?.as_deref(), Some(&b"Ada"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Store::open`], but for damage; [`log::Error::Unread`] if something cannot be read that was not to be given up.
    /// What was done before an error stays, and a repair can begin anew.
    pub fn repair(
        path: impl AsRef<Path>,
        options: Options,
        mode: RepairMode,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<RepairReport, Error> {
        let absolute = path.as_ref().canonicalize().map_err(|source| io_error("finding the store", source))?;
        // A snapshot whose manifest is lost does not say any more that it is one; its place does.
        let place = absolute.parent().filter(|parent| parent.ends_with("snapshots")).and_then(Path::parent);
        if place.is_some_and(|store| Inspection::probe(&Disk::new(store)).is_ok()) {
            return Err(log::Error::Frozen.into());
        }
        Store::repair_on(Arc::new(Disk::new(absolute)), options, mode, progress)
    }

    /// Repairs the store on a medium.
    ///
    /// # Errors
    /// As [`Store::repair`].
    pub fn repair_on(
        medium: Arc<dyn Medium>,
        options: Options,
        mode: RepairMode,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<RepairReport, Error> {
        let RepairMode { dry_run, give_up_unread } = mode;
        let options = Options { create: false, read_only: dry_run, strict: false, background: false, ..options };
        // Before the lock, whose file would be the first change to a directory that is none of ours.
        Inspection::probe(&*medium)?;
        let lock = super::take_lock(&*medium, dry_run)?;
        let inspection = Inspection::of(&medium)?;
        let steps = inspection.steps.iter().map(ToString::to_string).collect();
        let mut report = RepairReport { dry_run, steps, ..RepairReport::default() };
        // Asked before anything is changed, and again of what only the log tells.
        let refuse = |unread: &[Unread]| match dry_run || give_up_unread || unread.is_empty() {
            true => Ok(()),
            false => Err(Error::from(log::Error::Unread(unread.to_vec()))),
        };
        refuse(&inspection.unread)?;
        if dry_run {
            let store = Store::open_locked(Arc::new(inspection.preview(&medium)?), options, lock, Some(mode))?;
            store.tell(&store.damage(&inspection, progress), &mut report);
            return Ok(report);
        }
        let mut quarantine = inspection.carry_out(&*medium)?;
        let store = Store::open_locked(Arc::clone(&medium), options, lock, Some(mode))?;
        let damage = store.damage(&inspection, progress);
        refuse(&damage.unread)?;
        store.tell(&damage, &mut report);
        let also_lost = store.mend(&damage, &mut quarantine, give_up_unread)?;
        report.lost_keys.extend(also_lost.iter().map(|id| store.path(*id)));
        if !report.steps.is_empty() {
            quarantine.report(&report.to_string()).map_err(|source| io_error("writing the report", source))?;
            report.quarantine = quarantine.path().map(str::to_owned);
        }
        store.close()?;
        Ok(report)
    }

    /// Reads everything, and says what is damaged.
    fn damage(&self, inspection: &Inspection, progress: &mut dyn FnMut(Progress)) -> Damage {
        let found = self.verify(&mut |now| {
            progress(now);
            ControlFlow::Continue(())
        });
        let found = found.unwrap_or_default();
        let mut unread = inspection.unread.clone();
        unread.extend(self.recovery_report().unread.iter().map(Unread::from));
        unread.extend(found.unread().map(Unread::from));
        unread.sort_by(|one, other| (&one.file, one.offset, one.len).cmp(&(&other.file, other.offset, other.len)));
        unread.dedup();
        let mut segments = BTreeMap::new();
        for defect in &found.defects {
            if let Some(id) = defect.segment.filter(|id| self.log.is_ended(*id)) {
                segments.entry(id).or_insert_with(|| defect.what.clone());
            }
        }
        let lost = "it is missing, or nothing in it can be read";
        segments.extend(self.log.lost_segments().into_iter().map(|id| (id, lost.to_owned())));
        let Touched { values, states, .. } = self.touched_by(&found.defects);
        Damage {
            values,
            states,
            directories: self.recovery_report().lost_directories.clone(),
            segments,
            hints: found.useless_hints,
            torn: if inspection.makes_manifest() { self.recovery_report().torn.clone() } else { Vec::new() },
            unread,
        }
    }

    /// Adds to a report what is to be done about damage, and what that cost.
    fn tell(&self, damage: &Damage, report: &mut RepairReport) {
        let Damage { values, states, directories, segments, hints, torn, unread } = damage;
        report.unread.clone_from(unread);
        let recovered = self.recovery_report();
        report.lost_keys = values.iter().map(|id| self.path(*id)).collect();
        report.lost_keys.extend_from_slice(&recovered.damaged_keys);
        report.lost_keys.extend_from_slice(&recovered.unread_keys);
        report.lost_keys.sort();
        report.lost_keys.dedup();
        report.lost_directories.clone_from(directories);
        let steps = &mut report.steps;
        // What opening has settled by itself: the log ends where a record does, but before the last one.
        let missing = recovered.damage.iter().chain(&recovered.unread);
        let ends = missing.filter(|damage| damage.len == 0 && segments.is_empty());
        steps.extend(ends.map(|damage| {
            format!("write manifest anew: what was written last is missing, at {} and behind it", damage.location)
        }));
        let why = "they are no whole transaction, and no record says that they were acknowledged";
        steps.extend(torn.iter().map(|torn| format!("cut off {} bytes at {}: {why}", torn.len, torn.location)));
        steps.extend(values.iter().map(|id| format!("mark {} as lost", self.path(*id))));
        steps.extend(states.iter().map(|id| format!("write the name and attributes of {} anew", self.path(*id))));
        steps.extend(directories.iter().map(|name| format!("keep {name}, a directory whose own record is lost")));
        steps.extend(segments.iter().map(|(id, why)| {
            let file = file(*id);
            format!("move {file} to the quarantine, and put what is intact of it in its place: {why}")
        }));
        let why = "it is not as its segment is, and is made anew";
        steps.extend(hints.iter().map(|hint| format!("move {hint} to the quarantine: {why}")));
    }

    /// Mends what is damaged. Returns the entries whose values turned out to be lost too.
    fn mend(
        &self,
        damage: &Damage,
        quarantine: &mut Quarantine<'_>,
        give_up_unread: bool,
    ) -> Result<Vec<EntryId>, Error> {
        let quarantined = |source| io_error("filling the quarantine", source);
        let found = damage.directories.iter().filter_map(|name| Some(self.stat(name).ok()??.id));
        let states: Vec<EntryId> = damage.states.iter().chain(&damage.values).copied().chain(found).collect();
        for chunk in states.chunks(CHUNK) {
            self.write_states(chunk)?;
        }
        for chunk in damage.values.chunks(CHUNK) {
            self.begin()?.mark_lost(chunk)?;
        }
        // The records of a damaged segment will be in other places, and nobody finds them there for those who borrowed them.
        let segments: Vec<u32> = damage.segments.keys().copied().collect();
        let unreadable = make_own(&self.log, &self.keydir, &segments, &mut |_| Ok(()))?;
        if let Some(unread) = unreadable.iter().find(|unreadable| !unreadable.is_damaged && !give_up_unread) {
            return Err(log::Error::Unread(vec![Unread { file: file(unread.segment), offset: 0, len: 0 }]).into());
        }
        let mut also_lost: Vec<EntryId> = unreadable.into_iter().map(|unreadable| unreadable.entry).collect();
        let known: HashSet<EntryId> = damage.values.iter().copied().collect();
        also_lost.retain(|entry| !known.contains(entry));
        for chunk in also_lost.chunks(CHUNK) {
            self.begin()?.mark_lost(chunk)?;
        }
        self.sync()?;
        for torn in damage.torn.iter().filter(|torn| !damage.segments.contains_key(&torn.location.segment)) {
            quarantine.keep(&torn.location.file()).map_err(quarantined)?;
        }
        for id in damage.segments.keys() {
            quarantine.keep_segment(*id).map_err(quarantined)?;
            self.log.salvage(*id, &makes_sense, give_up_unread)?;
        }
        for hint in &damage.hints {
            quarantine.keep(hint).map_err(quarantined)?;
            self.log.medium().remove(hint).map_err(quarantined)?;
        }
        if !damage.segments.is_empty() || !damage.hints.is_empty() {
            self.write_hints()?;
        }
        Ok(also_lost)
    }

    /// Writes the states of entries once more: what holds them may go.
    fn write_states(&self, entries: &[EntryId]) -> Result<(), Error> {
        let mut transaction = self.begin()?;
        for id in entries {
            match transaction.attributes(*id) {
                // It has expired meanwhile.
                Err(Error::Stale) => {}
                attributes => {
                    transaction.set_attributes(*id, attributes?)?;
                    transaction.renew_names(*id)?;
                }
            }
        }
        transaction.commit().map(drop)
    }
}

fn file(segment: u32) -> String {
    Location { segment, offset: 0 }.file()
}
