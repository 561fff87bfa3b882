//! The keydir's memory: what is packed is unpacked as it was, and the table of entries does what a map does.

use std::collections::HashMap;

use proptest::prelude::*;

use super::decoders::state;
use crate::log::{HEADER_LEN, Location};
use crate::store::attributes::{Attributes, EntryId, Kind, ROOT, Time};
use crate::store::extents::{Extent, Extents};
use crate::store::keydir::{Entries, Keydir, Meta, Node};
use crate::store::record::{Link, NodeRecord, NodeState, encode_node};
use crate::store::transaction::new_state;
use crate::store::usage::Usage;

prop_compose! {
    fn location()(segment: u32, offset: u32) -> Location {
        Location { segment, offset }
    }
}

prop_compose! {
    fn extent()(location in location(), (body_len, skip, sequence) in any::<(u32, u32, u64)>(), lent: bool) -> Extent {
        let source = if lent { sequence / 2 } else { sequence };
        Extent { source, ..Extent::own(location, body_len, skip, sequence) }
    }
}

/// Where the value is: nowhere, behind the front of the node record, in another record, or in several.
fn extents() -> impl Strategy<Value = Vec<(u64, u64, Option<Extent>)>> {
    prop_oneof![
        Just(vec![]),
        (1..100_000u64).prop_map(|len| vec![(0, len, None)]),
        (1..u64::MAX, extent()).prop_map(|(len, extent)| vec![(0, len, Some(extent))]),
        (extent(), extent()).prop_map(|(a, b)| vec![(0, 10, Some(a)), (20, 10, Some(b))]),
    ]
}

prop_compose! {
    fn node()(
        mut state in state(),
        location in location(),
        (sequence, value_sequence) in any::<(u64, u64)>(),
        pieces in extents(),
        (provisional, directory, own_size) in any::<(bool, bool, bool)>(),
    ) -> Node {
        state.attributes.kind = if directory { Kind::Directory } else { Kind::File };
        if let (true, [(_, len, _)]) = (own_size, &*pieces) {
            state.size = *len;
        }
        let front = encode_node(&state, sequence, 0).len();
        let mut node = Node::new(state);
        for (start, len, extent) in pieces {
            let inline = Extent::own(location, (front as u64 + len) as u32, front as u32, sequence);
            node.extents.insert(start..start + len, extent.unwrap_or(inline), &mut Usage::default());
        }
        node.value_sequence = value_sequence;
        node.provisional = provisional;
        node.meta = (!provisional).then_some(Meta { location, sequence, len: (HEADER_LEN + front) as u64 });
        node
    }
}

fn pieces(extents: &Extents) -> Vec<(std::ops::Range<u64>, Extent)> {
    extents.within(0..u64::MAX)
}

fn check(entries: &Entries, id: EntryId, expected: Option<&Node>) {
    let found = entries.get(id);
    assert_eq!(found.is_some(), expected.is_some());
    assert_eq!(entries.contains(id), expected.is_some());
    let (Some(found), Some(expected)) = (found, expected) else { return };
    assert_eq!(found.state, expected.state);
    assert_eq!(pieces(&found.extents), pieces(&expected.extents));
    assert_eq!((found.meta, found.value_sequence), (expected.meta, expected.value_sequence));
    assert_eq!((found.provisional, found.is_directory()), (expected.provisional, expected.is_directory()));
    assert_eq!(entries.stat(id), Some(expected.stat(id)));
    for link in &expected.state.links {
        let is_it = |parent, name: &[u8]| parent == link.parent && *name == *link.name;
        assert_eq!(entries.find_name(id, is_it), Some(&*link.name));
    }
    assert_eq!(entries.find_name(id, |_, _| false), None);
}

fn copy(node: &Node) -> Node {
    let mut copy = Node::new(node.state.clone());
    copy.extents = node.extents.clone();
    (copy.meta, copy.value_sequence, copy.provisional) = (node.meta, node.value_sequence, node.provisional);
    copy
}

proptest! {
    #[test]
    fn an_entry_is_kept_as_it_was(node in node(), id: u64) {
        let mut entries = Entries::new();
        entries.insert(id, copy(&node));
        check(&entries, id, Some(&node));
        check(&entries, id ^ 1, None);
        let taken = entries.remove(id).unwrap();
        prop_assert_eq!(&taken.state, &node.state);
        check(&entries, id, None);
    }

    #[test]
    fn the_entries_are_a_map(steps in prop::collection::vec((0..3u8, 0..40u64, node()), 1..200)) {
        let mut entries = Entries::new();
        let mut map: HashMap<EntryId, Node> = HashMap::new();
        for (what, id, node) in steps {
            // Neighbours and strangers.
            let id = if id % 2 == 0 { id } else { id << 40 };
            match what {
                0 => {
                    prop_assert_eq!(entries.remove(id).is_some(), map.remove(&id).is_some());
                }
                _ if map.contains_key(&id) => {
                    let changed = entries.change(id, |old| {
                        let was_directory = old.is_directory();
                        *old = copy(&node);
                        was_directory
                    });
                    prop_assert_eq!(changed, map.insert(id, copy(&node)).map(|old| old.is_directory()));
                }
                _ => {
                    entries.insert(id, copy(&node));
                    map.insert(id, copy(&node));
                }
            }
            check(&entries, id, map.get(&id));
            prop_assert_eq!(entries.len(), map.len());
            entries.check_sums();
        }
        map.iter().for_each(|(id, node)| check(&entries, *id, Some(node)));
    }
}

/// A file as `put` makes it.
fn plain_node() -> Node {
    let time = Time(1_795_000_000_123_456_789);
    let attributes = Attributes {
        kind: Kind::File,
        mode: 0o644,
        uid: 1000,
        gid: 1000,
        rdev: 0,
        atime: time,
        mtime: time,
        ctime: time,
    };
    let link = Link { parent: 2_000_000, name: (*b"0123456789").into() };
    let sequence = 20_000_000;
    let mut state = new_state(attributes, b"");
    state.links.push(link);
    (state.size, state.value_start) = (1024, sequence);
    let location = Location { segment: 300, offset: 60_000_000 };
    let skip = encode_node(&state, sequence, 0).len() as u32;
    let extent = Extent::own(location, skip + 1024, skip, sequence);
    let mut node = Node::new(state);
    node.extents.insert(0..1024, extent, &mut Usage::default());
    node.meta = Some(Meta { location, sequence, len: HEADER_LEN as u64 + u64::from(skip) });
    node.value_sequence = sequence;
    node
}

/// Ten thousand files of one kind, with a name of ten bytes, and then as many again in their place.
#[test]
fn a_plain_file_takes_less_than_a_hundred_bytes_and_its_room_is_used_again() {
    let mut entries = Entries::new();
    let mut node = plain_node();
    let fill = |entries: &mut Entries, node: &mut Node, ids: std::ops::Range<u64>| {
        for id in ids {
            node.state.links[0].name = format!("{id:010}").into_bytes().into();
            entries.insert(id, copy(node));
        }
    };
    fill(&mut entries, &mut node, 2_000_000..2_010_000);
    let memory = entries.memory().total();
    assert!(memory < 10_000 * 100, "{memory}");
    for round in 1..10u64 {
        let first = 2_000_000 + round * 10_000;
        (first - 10_000..first).for_each(|id| assert!(entries.remove(id).is_some()));
        fill(&mut entries, &mut node, first..first + 10_000);
    }
    assert_eq!(entries.memory().total(), memory);
}

/// A right checksum is no proof of sense: directories that were not a tree would be listed for ever.
#[test]
fn a_record_that_contradicts_what_is_known_is_refused() {
    let record = |kind, links: &[(EntryId, &str)]| {
        let links = links.iter().map(|(parent, name)| Link { parent: *parent, name: name.as_bytes().into() });
        let time = Time::default();
        let attributes = Attributes { kind, mode: 0, uid: 0, gid: 0, rdev: 0, atime: time, mtime: time, ctime: time };
        NodeRecord { state: NodeState { links: links.collect(), ..new_state(attributes, b"") }, stage: 0, inline: None }
    };
    let mut keydir = Keydir::new();
    let at = Location { segment: 1, offset: 0 };
    keydir.apply_node(2, 1, at, 100, record(Kind::File, &[(ROOT, "file")]));
    keydir.apply_node(3, 2, at, 100, record(Kind::Directory, &[(ROOT, "directory")]));
    let contradicts = |id, kind, links: &[(EntryId, &str)]| keydir.contradicts(id, &record(kind, links));
    assert!(!contradicts(2, Kind::File, &[(ROOT, "a"), (3, "b")]));
    assert!(!contradicts(3, Kind::Directory, &[(ROOT, "moved")]));
    assert!(!contradicts(ROOT, Kind::Directory, &[]));
    assert!(contradicts(2, Kind::Directory, &[(ROOT, "file")]));
    assert!(contradicts(3, Kind::Symlink, &[(ROOT, "directory")]));
    assert!(contradicts(3, Kind::Directory, &[(ROOT, "directory"), (3, "itself")]));
    assert!(contradicts(ROOT, Kind::Directory, &[(3, "above")]));
    assert!(contradicts(4, Kind::Directory, &[(ROOT, "one"), (ROOT, "other")]), "of an entry that is not known too");
}
