//! What is written through the mount, and what another door puts meanwhile, do not mix.

use super::*;

const APPEND: Writing<'static> = Writing { kill: None, append: true };

fn append(mount: &Mount, (id, handle): (EntryId, HandleId), believed_end: u64, bytes: &[u8]) -> bool {
    mount.filesystem.write(id, handle, believed_end, bytes, APPEND).unwrap().moved
}

/// The kernel goes by the end that it knows of, which may be what was the end before.
#[test]
fn an_append_is_at_the_end_whatever_the_kernel_takes_for_it() {
    for put in [&b"AAAAAAAAAABBBBBBBBBB"[..], b"abc", b""] {
        let mount = Mount::new();
        let others = mount.filesystem.subscribe();
        // Nobody reads it, and nobody waits for that.
        others.closer().close();
        let id = mount.file("key", b"1234567890");
        let handle = mount.open(id, WRITE);
        mount.store().put("key", put).unwrap();
        assert!(append(&mount, (id, handle), 10, b"TAIL"));
        // The second piece of one write: where the first would have ended.
        assert!(append(&mount, (id, handle), 14, b"TAIL"));
        mount.close((id, handle));
        assert_eq!(mount.saved("key").unwrap(), [put, b"TAILTAIL"].concat());
    }
}

/// pwritev2 with RWF_NOAPPEND looks the same to the daemon.
#[test]
fn where_no_other_door_was_used_a_write_is_where_it_is_asked_for() {
    let mount = Mount::new();
    let _others = mount.filesystem.subscribe();
    let id = mount.file("key", b"1234567890");
    let handle = mount.open(id, WRITE);
    assert!(!append(&mount, (id, handle), 2, b"TAIL"));
    mount.close((id, handle));
    assert_eq!(mount.saved("key").unwrap(), b"12TAIL7890");
}

/// What was changed in place came before the put, and is gone with the value that it changed.
#[test]
fn a_put_replaces_what_is_staged_in_place() {
    let mount = Mount::new();
    let id = mount.file("key", b"1234567890");
    let handle = mount.open(id, WRITE);
    mount.write((id, handle), 2, b"staged");
    mount.write((id, handle), 10, b"more");
    mount.store().put("key", "put").unwrap();
    assert_eq!(mount.value("key").unwrap(), b"put");
    assert_eq!(mount.getattr(id).unwrap().size, 3);
    mount.write((id, handle), 1, b"U");
    assert_eq!(mount.value("key").unwrap(), b"pUt");
    mount.close((id, handle));
    assert_eq!(mount.saved("key").unwrap(), b"pUt");
    // Nothing written since: the close has nothing to commit.
    let handle = mount.open(id, WRITE);
    mount.write((id, handle), 0, &pattern(3 << 20, 1));
    mount.store().put("key", "again").unwrap();
    mount.close((id, handle));
    assert_eq!(mount.saved("key").unwrap(), b"again");
}

/// A value that is being set takes effect when it is whole: it is the last one to come, and nothing of the put is in it.
#[test]
fn a_value_that_is_being_set_is_not_mixed_with_one_that_was_put() {
    let mount = Mount::new();
    let old = mount.file("old", b"old");
    let truncated = (old, mount.open_truncated(&USER, old, WRITE));
    let created = mount.create("new");
    for (name, open) in [("old", truncated), ("new", created)] {
        mount.write(open, 0, b"first half, ");
        mount.store().put(name, pattern(100, 1)).unwrap();
        assert_eq!(mount.value(name).unwrap(), b"first half, ");
        assert!(mount.saved(name).unwrap() == pattern(100, 1));
        mount.write(open, 12, b"second half");
        mount.close(open);
        assert_eq!(mount.saved(name).unwrap(), b"first half, second half");
    }
}

/// Whoever keeps a copy is told of what others do, in order, and not of what it does itself.
#[test]
fn the_stream_tells_what_came_through_other_doors() {
    let mount = Mount::new();
    let changes = mount.filesystem.subscribe();
    let id = mount.file("key", b"own");
    std::thread::scope(|scope| {
        let put = scope.spawn(|| mount.store().put("key", "others'"));
        let Some(crate::store::News::Committed(committed)) = changes.next() else { panic!("nothing came") };
        let change = committed.changes.iter().find(|change| change.entry == id).unwrap();
        assert!(change.value && !change.made && change.size == (3, 7) && committed.sequence == mount.store().written());
        assert_eq!(change.stays, Some((ROOT, b"key"[..].into())));
        assert!(!mount.listings_last() && !put.is_finished(), "until it was dealt with");
        changes.closer().close();
        put.join().unwrap().unwrap();
    });
    assert_eq!(changes.next(), None);
    assert!(mount.listings_last());
}
