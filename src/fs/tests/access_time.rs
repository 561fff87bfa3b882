//! Times of last access: when reading changes them, and what becomes of what is not in the log yet.

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::fs::{AccessTimes, SetTime};
use crate::store::{Clock, Time};

const SECOND: i64 = 1_000_000_000;

/// A filesystem with a clock that stands still until it is told.
fn mount(access_times: AccessTimes) -> (Mount, Arc<AtomicI64>) {
    let clock = Arc::new(AtomicI64::new(1000 * SECOND));
    let (disk, ticks) = (SimDisk::new(), Arc::clone(&clock));
    let options = FilesystemOptions { access_times, ..Default::default() };
    let clock_of_store = Clock::new(move || Time(ticks.load(Ordering::Relaxed)));
    let store =
        Options { create: true, segment_size: 1 << 16, background: false, clock: clock_of_store, ..Options::default() };
    let store = Store::open_on(Arc::new(disk.clone()), store).unwrap();
    (Mount { disk, filesystem: Filesystem::new(Arc::new(store), options.clone()), options }, clock)
}

fn tick(clock: &AtomicI64, seconds: i64) -> Time {
    Time(clock.fetch_add(seconds * SECOND, Ordering::Relaxed) + seconds * SECOND)
}

impl Mount {
    fn atime(&self, id: EntryId) -> Time {
        self.getattr(id).unwrap().attributes.atime
    }

    fn read_all(&self, id: EntryId) {
        self.read(id, 0, 1 << 20).unwrap();
    }
}

#[test]
fn a_time_that_is_no_later_than_the_last_change_is_renewed() {
    let (mount, clock) = mount(AccessTimes::Relative);
    let id = mount.file("key", b"value");
    let made = mount.atime(id);
    let first = tick(&clock, 10);
    assert_eq!(mount.atime(id), made, "stat is no access");
    mount.read_all(id);
    assert_eq!(mount.atime(id), first);
    tick(&clock, 10);
    mount.read_all(id);
    assert_eq!(mount.atime(id), first, "it is later than the last change");
    let before = mount.getattr(id).unwrap().attributes;
    mount.chmod(id, 0o600);
    assert_eq!(mount.atime(id), first);
    let second = tick(&clock, 10);
    mount.read_all(id);
    assert_eq!(mount.atime(id), second, "the last change was one of attributes");
    assert_eq!(mount.getattr(id).unwrap().attributes.mtime, before.mtime);
    tick(&clock, 24 * 60 * 60 - 1);
    mount.read_all(id);
    assert_eq!(mount.atime(id), second, "not quite a day");
    let day = tick(&clock, 1);
    mount.read_all(id);
    assert_eq!(mount.atime(id), day);
    // What is staged is a change too.
    let handle = mount.open(id, WRITE);
    tick(&clock, 1);
    mount.write((id, handle), 0, b"V");
    assert_eq!(mount.atime(id), day);
    let staged = tick(&clock, 1);
    mount.read_all(id);
    assert_eq!(mount.atime(id), staged);
    mount.close((id, handle));
    assert_eq!(mount.atime(id), staged);
    assert_eq!(mount.crash().atime(id), staged, "it went along with the value");
}

#[test]
fn the_options_say_when() {
    for (policy, changes) in [(AccessTimes::Strict, true), (AccessTimes::Never, false)] {
        let (mount, clock) = mount(policy);
        let id = mount.file("key", b"value");
        let made = mount.atime(id);
        for _ in 0..3 {
            let now = tick(&clock, 1);
            mount.read_all(id);
            assert_eq!(mount.atime(id), if changes { now } else { made });
        }
    }
}

#[test]
fn directories_and_links_are_read_too() {
    let (mount, clock) = mount(AccessTimes::Relative);
    let directory = mount.mkdir("directory");
    let link = mount.symlink(&USER, ROOT, b"link", b"target").unwrap().0.id;
    let now = tick(&clock, 1);
    mount.readdir(directory, 0, &mut |_, _| true).unwrap();
    mount.readlink(link).unwrap();
    assert_eq!((mount.atime(directory), mount.atime(link)), (now, now));
    assert!(mount.atime(ROOT) < now);
    let options = FilesystemOptions { no_directory_access_times: true, ..Default::default() };
    let mount = Mount::on(mount.disk.restart(), options);
    let before = mount.atime(ROOT);
    mount.readdir(ROOT, 0, &mut |_, _| true).unwrap();
    assert_eq!(mount.atime(ROOT), before);
}

#[test]
fn reading_writes_nothing_until_the_end() {
    let (mount, clock) = mount(AccessTimes::Relative);
    let (first, second) = (mount.file("first", b"1"), mount.file("second", b"2"));
    let now = tick(&clock, 1);
    let operations = mount.disk.operations();
    mount.read_all(first);
    mount.read_all(second);
    assert_eq!(mount.disk.operations(), operations);
    assert!(mount.crash().atime(first) < now, "a crash takes it");
    // A change of anything else takes it along.
    tick(&clock, 1);
    mount.chmod(first, 0o600);
    assert_eq!((mount.crash().atime(first), mount.atime(first)), (now, now));
    assert!(mount.crash().atime(second) < now);
    mount.sync_all().unwrap();
    assert_eq!(mount.crash().atime(second), now);
    let operations = mount.disk.operations();
    mount.sync_all().unwrap();
    assert_eq!(mount.disk.operations(), operations, "it is written once");
}

#[test]
fn what_is_set_counts_over_what_was_held() {
    let (mount, clock) = mount(AccessTimes::Relative);
    let id = mount.file("key", b"value");
    tick(&clock, 1);
    mount.read_all(id);
    mount.setattr(&USER, id, SetAttributes { atime: Some(SetTime::At(Time(5))), ..Default::default() });
    assert_eq!(mount.atime(id), Time(5));
    mount.sync_all().unwrap();
    assert_eq!(mount.crash().atime(id), Time(5));
}

#[test]
fn many_times_are_written_before_they_take_room() {
    let (mount, clock) = mount(AccessTimes::Relative);
    let ids: Vec<EntryId> = (0..5000).map(|number| mount.file(&format!("key{number}"), b"value")).collect();
    let now = tick(&clock, 1);
    ids.iter().for_each(|id| mount.read_all(*id));
    assert!(mount.state.lock().accesses.len() < 4096);
    let after = mount.crash();
    assert!(ids.iter().filter(|id| after.atime(**id) == now).count() >= 4096);
    assert!(ids.iter().all(|id| mount.atime(*id) == now));
}

#[test]
fn files_that_are_not_in_the_log_are_read_too() {
    let (mount, clock) = mount(AccessTimes::Relative);
    let fresh = mount.create("fresh");
    let gone = mount.create("gone");
    mount.unlink(ROOT, b"gone").unwrap();
    let now = tick(&clock, 1);
    mount.read_all(fresh.0);
    mount.read_all(gone.0);
    mount.filesystem.write_access_times(&mut mount.state.lock());
    assert_eq!((mount.atime(fresh.0), mount.atime(gone.0)), (now, now));
    mount.close(gone);
    mount.forget(gone.0, 1);
    assert_eq!(mount.state.lock().accesses.len(), 1);
    mount.close(fresh);
    assert_eq!(mount.crash().atime(fresh.0), now);
}
