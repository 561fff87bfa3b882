//! The bodies of records: read as written, and never a panic on what a disk hands in.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::log::{Encoder, Location};
use crate::store::extents::Extent;
use crate::store::record::{
    Link, NodeRecord, NodeState, Share, decode_data, decode_hole, decode_name, decode_node, decode_share, encode_data,
    encode_hole, encode_name, encode_node, encode_share, is_name,
};
use crate::store::{Attributes, Kind, MAX_ENTRY, Time};

/// A name that an entry can have.
fn name() -> impl Strategy<Value = Box<[u8]>> {
    bytes(256).prop_filter("a component of a path", |name| is_name(name))
}

fn bytes(longest: usize) -> impl Strategy<Value = Box<[u8]>> {
    vec(any::<u8>(), 0..longest).prop_map(Vec::into_boxed_slice)
}

prop_compose! {
    fn attributes()(
        kind in 1..=7u8,
        mode in 0..=0o7777u16,
        (uid, gid, rdev) in any::<(u32, u32, u32)>(),
        times in any::<[i64; 3]>(),
    ) -> Attributes {
        let [atime, mtime, ctime] = times.map(Time);
        Attributes { kind: Kind::from_number(kind).unwrap(), mode, uid, gid, rdev, atime, mtime, ctime }
    }
}

prop_compose! {
    pub(super) fn state()(
        attributes in attributes(),
        (size, value_start) in any::<(u64, u64)>(),
        links in vec((0..=MAX_ENTRY, name()), 0..4),
        (expires, further) in (any::<Option<i64>>(), 0..=u64::from(u32::MAX)),
        xattrs in vec((bytes(100), bytes(1000)), 0..4),
        target in bytes(300),
    ) -> NodeState {
        let links = links.into_iter().map(|(parent, name)| Link { parent, name }).collect();
        NodeState { attributes, size, links, further, xattrs, target, expires, value_start }
    }
}

proptest! {
    #[test]
    fn a_node_is_read_as_written(state in state(), sequence: u64, stage: u64, bulk: u32) {
        let front = encode_node(&state, sequence, stage);
        let inline = (bulk > 0).then_some((front.len() as u32, bulk));
        prop_assert_eq!(decode_node(&front, sequence, bulk), Some(NodeRecord { state, stage, inline }));
    }

    #[test]
    fn a_parent_that_cannot_be_makes_no_sense(mut state in state(), parent in MAX_ENTRY + 1..) {
        state.links.push(Link { parent, name: b"name"[..].into() });
        prop_assert_eq!(decode_node(&encode_node(&state, 7, 0), 7, 0), None);
    }

    /// A name that would lead whoever makes a path of it elsewhere is damage, among whatever others it stands.
    #[test]
    fn a_name_that_no_entry_can_have_makes_no_sense(mut state in state(), place: prop::sample::Index, odd in 0..7usize) {
        let odd: &[u8] = [b"".as_slice(), b".", b"..", b"/", b"/etc/passwd", b"../up", b"nul\0"][odd];
        let place = place.index(state.links.len() + 1);
        state.links.insert(place, Link { parent: 1, name: odd.into() });
        prop_assert_eq!(decode_node(&encode_node(&state, 7, 0), 7, 0), None);
    }

    #[test]
    fn a_node_that_is_cut_off_is_none(state in state(), stage: u64, cut: prop::sample::Index) {
        let front = encode_node(&state, 7, stage);
        prop_assert_eq!(decode_node(&front[..cut.index(front.len())], 7, 0), None);
    }

    #[test]
    fn any_bytes_are_decoded_without_a_panic(mut body in vec(any::<u8>(), 0..300), kind in 0..9u8, sequence: u64) {
        let _ = (decode_node(&body, sequence, 0), decode_data(&body, 1), decode_hole(&body));
        let _ = (decode_share(&body, sequence), decode_name(&body));
        if let Some(first) = body.first_mut() {
            *first = kind;
        }
        if let Some(node) = decode_node(&body, sequence, 9) {
            prop_assert!((1..=7).contains(&kind));
            prop_assert_eq!(node.inline, Some((body.len() as u32, 9)));
        }
    }

    #[test]
    fn counts_that_cannot_be_true_take_no_memory(state in state(), place: prop::sample::Index, count: u64) {
        let mut front = encode_node(&state, 0, 0);
        let at = place.index(front.len());
        let mut number = Vec::new();
        number.put_varint(count);
        front.splice(at..at + 1, number);
        if let Some(node) = decode_node(&front, 0, 0) {
            prop_assert!(node.state.links.len() + node.state.xattrs.len() + node.state.target.len() <= front.len());
        }
    }

    #[test]
    fn shares_are_read_as_written(
        (stage, offset, len) in any::<(u64, u64, u64)>(),
        (segment, at, body_len, skip) in any::<(u32, u32, u32, u32)>(),
        (source, sequence) in any::<(u64, u64)>(),
        (short, older) in any::<(bool, bool)>(),
    ) {
        // Mostly what makes sense.
        let (body_len, skip) = if short { (body_len % (1 << 25), skip % 1000) } else { (body_len, skip) };
        let len = if short { len % 100_000 } else { len };
        let source = if older { source % sequence.max(1) } else { source };
        let location = Location { segment, offset: at };
        let extent = Extent { location, body_len, skip, sequence, source };
        let body = encode_share(stage, offset, len, &extent);
        let inside = len.checked_add(skip.into()).is_some_and(|end| end <= body_len.into()) && body_len <= 1 << 24;
        let sense = len > 0 && offset.checked_add(len).is_some() && inside && segment > 0;
        let sense = sense && source > 0 && source < sequence;
        prop_assert_eq!(decode_share(&body, sequence), sense.then_some(Share { stage, offset, len, extent }));
        prop_assert_eq!(decode_share(&body[..body.len() - 1], sequence), None);
        prop_assert_eq!(decode_share(&[&body[..], &[0]].concat(), sequence), None);
        prop_assert_eq!(body.len(), 48);
    }

    #[test]
    fn names_are_read_as_written(parent in 0..=MAX_ENTRY, name in name()) {
        let body = encode_name(parent, &name);
        prop_assert_eq!(decode_name(&body), Some((parent, &*name)));
        prop_assert_eq!(decode_name(&body[..body.len() - 1]), None);
        let longer = [&body[..], &[0]].concat();
        prop_assert_eq!(decode_name(&longer), None);
    }

    #[test]
    fn data_and_holes_are_read_as_written(stage: u64, offset: u64, len: u64, value in bytes(100)) {
        let front = encode_data(stage, offset);
        let end = offset.checked_add(value.len() as u64);
        prop_assert_eq!(decode_data(&front, value.len() as u32), end.map(|_| (stage, offset, value.len() as u64)));
        let body = encode_hole(stage, offset, len);
        prop_assert_eq!(decode_hole(&body), offset.checked_add(len).map(|_| (stage, offset, len)));
        prop_assert_eq!(decode_hole(&body[..23]), None);
        prop_assert_eq!(decode_data(&front[..15], 0), None);
    }
}
