//! The bodies of records: read as written, and never a panic on what a disk hands in.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::store::record::{
    Link, NodeRecord, NodeState, decode_data, decode_hole, decode_node, encode_data, encode_hole, encode_node,
};
use crate::store::{Attributes, Kind, Time};

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
    fn state()(
        attributes in attributes(),
        (size, value_start) in any::<(u64, u64)>(),
        links in vec((any::<(u64, u64)>(), bytes(256)), 0..4),
        xattrs in vec((bytes(100), bytes(1000)), 0..4),
        target in bytes(300),
    ) -> NodeState {
        let links = links.into_iter().map(|((parent, cookie), name)| Link { parent, cookie, name }).collect();
        NodeState { attributes, size, links, xattrs, target, value_start }
    }
}

proptest! {
    #[test]
    fn a_node_is_read_as_written(state in state(), stage: u64, value in prop::option::of(bytes(200))) {
        let mut body = encode_node(&state, stage, value.is_some());
        let inline = value.as_ref().map(|value| (body.len() as u32, value.len() as u32));
        body.extend_from_slice(value.as_deref().unwrap_or_default());
        prop_assert_eq!(decode_node(&body), Some(NodeRecord { state, stage, inline }));
    }

    #[test]
    fn a_node_that_is_cut_off_is_none(state in state(), stage: u64, cut: prop::sample::Index) {
        let body = encode_node(&state, stage, false);
        prop_assert_eq!(decode_node(&body[..cut.index(body.len())]), None);
    }

    #[test]
    fn any_bytes_are_decoded_without_a_panic(mut body in vec(any::<u8>(), 0..300), kind in 0..9u8) {
        let _ = decode_node(&body);
        let _ = (decode_data(&body), decode_hole(&body));
        if let Some(first) = body.first_mut() {
            *first = kind;
        }
        if let Some(node) = decode_node(&body) {
            prop_assert!((1..=7).contains(&kind));
            if let Some((skip, len)) = node.inline {
                prop_assert_eq!((skip + len) as usize, body.len());
            }
        }
    }

    #[test]
    fn counts_that_cannot_be_true_take_no_memory(state in state(), links: u32, xattrs: u16, target: u16) {
        let mut body = encode_node(&state, 0, false);
        // Where the counts stand: behind the attributes and three numbers.
        body[64..68].copy_from_slice(&links.to_le_bytes());
        body[68..70].copy_from_slice(&xattrs.to_le_bytes());
        body[70..72].copy_from_slice(&target.to_le_bytes());
        if let Some(node) = decode_node(&body) {
            prop_assert_eq!(node.state.links.len(), links as usize);
            prop_assert_eq!(node.state.xattrs.len(), usize::from(xattrs));
            prop_assert_eq!(node.state.target.len(), usize::from(target));
        }
    }

    #[test]
    fn data_and_holes_are_read_as_written(stage: u64, offset: u64, len: u64, value in bytes(100)) {
        let mut body = encode_data(stage, offset).to_vec();
        body.extend_from_slice(&value);
        let end = offset.checked_add(value.len() as u64);
        prop_assert_eq!(decode_data(&body), end.map(|_| (stage, offset, value.len() as u64)));
        let body = encode_hole(stage, offset, len);
        prop_assert_eq!(decode_hole(&body), offset.checked_add(len).map(|_| (stage, offset, len)));
        prop_assert_eq!(decode_hole(&body[..23]), None);
        prop_assert_eq!(decode_data(&body[..15]), None);
    }
}
