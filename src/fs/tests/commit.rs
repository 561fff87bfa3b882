//! When what is written to a file is committed.

use super::*;

#[test]
fn flush_of_a_file_that_was_only_created_commits_nothing() {
    let mount = Mount::new();
    let (id, handle) = mount.create("key");
    let operations = mount.disk.operations();
    assert_eq!(mount.flush(id, handle).unwrap(), None);
    assert_eq!(mount.disk.operations(), operations);
    assert_eq!(mount.saved("key"), None);
}

#[test]
fn flush_of_a_file_that_was_only_emptied_commits_nothing() {
    let mount = Mount::new();
    let id = mount.file("key", b"old");
    let handle = mount.open_truncated(&USER, id, WRITE);
    assert_eq!(mount.flush(id, handle).unwrap(), None);
    assert_eq!(mount.value("key").unwrap(), b"");
    assert_eq!(mount.saved("key").unwrap(), b"old");
    // The shell closes the copy of the descriptor before `echo` writes: what comes is still one whole set.
    mount.write((id, handle), 0, b"new");
    assert_eq!(mount.saved("key").unwrap(), b"old");
    assert!(mount.close((id, handle)));
    assert_eq!(mount.saved("key").unwrap(), b"new");
}

#[test]
fn flush_of_a_file_emptied_through_its_handle_commits_nothing() {
    let mount = Mount::new();
    let id = mount.file("key", b"old");
    let handle = mount.open(id, WRITE);
    mount.filesystem.setattr(&USER, id, Some(handle), resize(0)).unwrap();
    assert_eq!(mount.flush(id, handle).unwrap(), None);
    assert_eq!(mount.saved("key").unwrap(), b"old");
    mount.release(id, handle).unwrap();
    assert_eq!(mount.saved("key").unwrap(), b"");
}

#[test]
fn flush_of_a_handle_that_has_not_written_commits_nothing() {
    let mount = Mount::new();
    let id = mount.file("key", b"old");
    let (writer, reader) = (mount.open(id, WRITE), mount.open(id, READ));
    let idle = mount.open(id, WRITE);
    mount.write((id, writer), 0, b"new");
    assert_eq!(mount.flush(id, reader).unwrap(), None);
    assert_eq!(mount.flush(id, idle).unwrap(), None);
    mount.release(id, reader).unwrap();
    mount.release(id, idle).unwrap();
    assert_eq!(mount.saved("key").unwrap(), b"old");
    assert!(mount.close((id, writer)));
    assert_eq!(mount.saved("key").unwrap(), b"new");
}

#[test]
fn flush_of_a_handle_that_has_written_commits() {
    let mount = Mount::new();
    let (id, handle) = mount.create("key");
    mount.write((id, handle), 0, b"value");
    assert_eq!(mount.saved("key"), None);
    let sequence = mount.flush(id, handle).unwrap().unwrap();
    assert_eq!(mount.saved("key").unwrap(), b"value");
    assert!(mount.store().info().unwrap().durable < sequence, "the caller is told what to wait for");
    // The second descriptor of the same open file has nothing to add.
    assert_eq!(mount.flush(id, handle).unwrap(), None);
}

#[test]
fn flush_waits_for_bytes_that_another_handle_has_committed() {
    let mount = Mount::new();
    let (id, first) = mount.create("key");
    let second = mount.open(id, WRITE);
    mount.write((id, first), 0, b"one");
    mount.write((id, second), 3, b"two");
    let committed = mount.flush(id, second).unwrap();
    assert_eq!(mount.saved("key").unwrap(), b"onetwo");
    assert!(committed.is_some());
    assert!(mount.flush(id, first).unwrap() >= committed);
}

#[test]
fn flush_of_a_forked_child_commits_the_half_that_is_there() {
    let mount = Mount::new();
    let id = mount.file("key", b"the old value");
    let handle = mount.open_truncated(&USER, id, WRITE);
    mount.write((id, handle), 0, b"half");
    // The child exits, and with it closes its copy.
    assert!(mount.flush(id, handle).unwrap().is_some());
    assert_eq!(mount.saved("key").unwrap(), b"half");
    mount.write((id, handle), 4, b" and half");
    assert_eq!(mount.saved("key").unwrap(), b"half");
    mount.close((id, handle));
    assert_eq!(mount.saved("key").unwrap(), b"half and half");
}

#[test]
fn release_commits_a_file_that_was_only_created() {
    let mount = Mount::new();
    let open = mount.create("key");
    assert!(!mount.close(open));
    assert_eq!(mount.saved("key").unwrap(), b"");
}

#[test]
fn release_commits_a_file_that_was_made_to_be_read() {
    let mount = Mount::new();
    let (stat, handle) = mount.filesystem.create(&USER, ROOT, b"key", 0o644, READ).unwrap();
    assert!(!mount.close((stat.id, handle)));
    assert_eq!(mount.saved("key").unwrap(), b"");
}

#[test]
fn release_commits_a_file_that_was_only_emptied() {
    let mount = Mount::new();
    let id = mount.file("key", b"old");
    let open = (id, mount.open_truncated(&USER, id, WRITE));
    assert!(!mount.close(open));
    assert_eq!(mount.saved("key").unwrap(), b"");
}

#[test]
fn release_of_a_file_emptied_by_a_reader_commits_beside_other_readers() {
    let mount = Mount::new();
    let id = mount.file("key", b"old");
    let reader = mount.open(id, READ);
    let emptied = mount.open_truncated(&USER, id, READ);
    mount.close((id, emptied));
    assert_eq!(mount.saved("key").unwrap(), b"");
    mount.close((id, reader));
}

#[test]
fn release_commits_what_a_mapping_wrote_after_the_last_flush() {
    let mount = Mount::new();
    let (id, handle) = mount.create("key");
    mount.write((id, handle), 0, b"one");
    mount.flush(id, handle).unwrap();
    mount.write((id, handle), 3, b"two");
    assert_eq!(mount.saved("key").unwrap(), b"one");
    mount.release(id, handle).unwrap();
    assert_eq!(mount.saved("key").unwrap(), b"onetwo");
}

#[test]
fn fsync_commits_whatever_is_there() {
    let mount = Mount::new();
    let (id, handle) = mount.create("key");
    assert!(mount.fsync(id, handle).unwrap().is_some());
    assert_eq!(mount.saved("key").unwrap(), b"");
    mount.write((id, handle), 0, b"half");
    let sequence = mount.fsync(id, handle).unwrap().unwrap();
    assert_eq!(mount.saved("key").unwrap(), b"half");
    mount.store().wait(sequence).unwrap();
    let image = mount.disk.power_cut_images(1, 1).remove(0);
    assert_eq!(Mount::on(image, FilesystemOptions::default()).value("key").unwrap(), b"half");
}

/// A set is atomic: a backup program that syncs what it reads must not publish the half of it, and neither must one that syncs
/// the directory.
#[test]
fn who_does_not_write_publishes_no_half_written_value() {
    let mount = Mount::new();
    let directory = mount.mkdir("directory");
    let (created, handle) = mount.filesystem.create(&USER, directory, b"created", 0o644, WRITE).unwrap();
    let old = mount.file("old", b"the whole old value");
    let writers = [(created.id, handle), (old, mount.open_truncated(&USER, old, WRITE))];
    for writer in writers {
        mount.write(writer, 0, b"half");
        let reader = mount.open(writer.0, READ);
        let synced = mount.fsync(writer.0, reader).unwrap().unwrap();
        assert!(synced >= mount.store().written(), "what is committed is waited for all the same");
        mount.close((writer.0, reader));
    }
    assert!(mount.fsyncdir(directory).unwrap().is_some() && mount.fsyncdir(ROOT).unwrap().is_some());
    assert_eq!(mount.saved("directory/created"), None);
    assert_eq!(mount.saved("old").unwrap(), b"the whole old value");
    for writer in writers {
        mount.write(writer, 4, b" and half");
        mount.fsync(writer.0, writer.1).unwrap();
    }
    assert_eq!(mount.saved("directory/created").unwrap(), b"half and half");
    assert_eq!(mount.saved("old").unwrap(), b"half and half");
}

/// The checkpointer of a database syncs files that other processes have open and write: PostgreSQL's tables, SQLite's
/// write-ahead log. It opens them for writing, too.
#[test]
fn who_may_write_publishes_what_others_wrote() {
    let mount = Mount::new();
    let (id, backend) = mount.create("table");
    let checkpointer = mount.open(id, WRITE);
    for page in [&b"one"[..], b"two"] {
        mount.write((id, backend), 0, page);
        mount.fsync(id, checkpointer).unwrap();
        assert_eq!(mount.saved("table").unwrap(), page);
    }
}

/// What is changed in place is no set: any fsync makes it durable, as POSIX has it.
#[test]
fn fsync_by_a_reader_commits_what_was_changed_in_place() {
    let mount = Mount::new();
    let id = mount.file("key", b"value");
    let (writer, reader) = (mount.open(id, WRITE), mount.open(id, READ));
    mount.write((id, writer), 0, b"V");
    mount.fsync(id, reader).unwrap();
    assert_eq!(mount.saved("key").unwrap(), b"Value");
}

/// What a handle wrote went when another emptied the file: what is there now is not its own to publish.
#[test]
fn who_wrote_before_another_set_the_value_publishes_nothing_of_that() {
    let mount = Mount::new();
    let id = mount.file("key", b"value");
    let (first, last) = (mount.open(id, WRITE), mount.open(id, WRITE));
    mount.write((id, first), 0, b"V");
    mount.filesystem.setattr(&USER, id, Some(last), resize(0)).unwrap();
    mount.write((id, last), 0, b"half");
    mount.close((id, first));
    assert_eq!(mount.saved("key").unwrap(), b"value");
    // The same if its bytes were committed by an fsync before.
    mount.fsync(id, last).unwrap();
    let third = mount.open(id, WRITE);
    mount.write((id, third), 0, b"HALF");
    mount.fsync(id, third).unwrap();
    mount.write((id, last), 4, b", other half");
    mount.close((id, third));
    assert_eq!(mount.saved("key").unwrap(), b"HALF");
    mount.close((id, last));
    assert_eq!(mount.saved("key").unwrap(), b"HALF, other half");
}

#[test]
fn fsync_of_a_directory_commits_files_that_nobody_writes() {
    let mount = Mount::new();
    let directory = mount.mkdir("directory");
    mount.filesystem.create(&USER, directory, b"lock", 0o644, READ).unwrap();
    mount.create("outside");
    assert!(mount.fsyncdir(directory).unwrap().is_some());
    assert_eq!(mount.saved("directory/lock").unwrap(), b"");
    assert_eq!(mount.saved("outside"), None);
}

#[test]
fn a_crash_before_the_commit_leaves_the_old_value_whole_and_new_keys_absent() {
    let mount = Mount::new();
    let old = pattern(3 << 20, 1);
    let id = mount.file("old", &old);
    let handle = mount.open_truncated(&USER, id, WRITE);
    let fresh = mount.create("new");
    // More than stays in memory: some of it is in the log, and belongs to nobody.
    for offset in (0..3 << 20).step_by(100_000) {
        mount.write((id, handle), offset, &pattern(100_000, 2));
        mount.write(fresh, offset, &pattern(100_000, 3));
    }
    assert!(mount.store().info().unwrap().log_bytes > 6 << 20);
    let after = mount.crash();
    assert_eq!(after.value("new"), None);
    assert!(after.value("old").unwrap() == old);
    assert_eq!(after.store().recovery_report().damage, vec![]);
}

#[test]
fn a_crash_leaves_an_overwritten_part_with_all_or_nothing() {
    let mount = Mount::new();
    let mut value = pattern(300_000, 1);
    let id = mount.file("key", &value);
    let handle = mount.open(id, WRITE);
    mount.write((id, handle), 10_000, &[7; 5000]);
    mount.write((id, handle), 200_000, &[8; 5000]);
    assert!(mount.saved("key").unwrap() == value);
    mount.flush(id, handle).unwrap();
    value[10_000..15_000].fill(7);
    value[200_000..205_000].fill(8);
    assert!(mount.saved("key").unwrap() == value);
}

#[test]
fn sync_all_commits_what_is_open() {
    let mount = Mount::new();
    let written = mount.create("written");
    mount.write(written, 0, b"value");
    mount.create("created");
    mount.sync_all().unwrap();
    assert_eq!(mount.saved("written").unwrap(), b"value");
    assert_eq!(mount.saved("created").unwrap(), b"");
}

#[test]
fn truncate_by_path_is_committed_at_once() {
    let mount = Mount::new();
    let id = mount.file("key", b"0123456789");
    mount.setattr(&USER, id, resize(4));
    assert_eq!(mount.saved("key").unwrap(), b"0123");
    mount.setattr(&USER, id, resize(0));
    assert_eq!(mount.saved("key").unwrap(), b"");
    mount.setattr(&USER, id, resize(3));
    assert_eq!(mount.saved("key").unwrap(), [0; 3]);
}

#[test]
fn truncate_by_path_waits_for_the_close_of_a_writer() {
    let mount = Mount::new();
    let id = mount.file("key", b"0123456789");
    let writer = mount.open(id, WRITE);
    mount.setattr(&USER, id, resize(4));
    assert_eq!(mount.saved("key").unwrap(), b"0123456789");
    assert_eq!(mount.value("key").unwrap(), b"0123");
    mount.close((id, writer));
    assert_eq!(mount.saved("key").unwrap(), b"0123");
}

#[test]
fn release_of_a_handle_whose_bytes_another_has_emptied_commits_nothing() {
    let mount = Mount::new();
    let id = mount.file("key", b"old");
    let first = mount.open(id, WRITE);
    mount.write((id, first), 0, b"lost");
    let second = mount.open_truncated(&USER, id, WRITE);
    assert_eq!(mount.flush(id, first).unwrap(), None);
    mount.release(id, first).unwrap();
    assert_eq!(mount.saved("key").unwrap(), b"old");
    mount.write((id, second), 0, b"new");
    assert!(mount.close((id, second)));
    assert_eq!(mount.saved("key").unwrap(), b"new");
}
