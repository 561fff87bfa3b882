//! Ways in for the fuzz targets. No part of the API.

use super::attributes::{Attributes, Kind, Time};
use super::record::{
    Link, NodeState, Share, decode_data, decode_hole, decode_name, decode_node, decode_share, encode_data, encode_hole,
    encode_name, encode_node, encode_share, is_name,
};

/// Fronts of node records with names that no entry can have.
pub fn odd_names() -> Vec<Vec<u8>> {
    let time = Time::default();
    let attributes =
        Attributes { kind: Kind::File, mode: 0o600, uid: 0, gid: 0, rdev: 0, atime: time, mtime: time, ctime: time };
    let front = |name: &[u8]| {
        let links = vec![Link { parent: 1, name: name.into() }];
        let (xattrs, target) = Default::default();
        let state = NodeState { attributes, size: 0, links, further: 0, xattrs, target, expires: None, value_start: 1 };
        encode_node(&state, 1, 0)
    };
    [b"".as_slice(), b".", b"..", b"/absolute", b"a/b", b"a\0b"].map(front).into()
}

/// Reads a record's front as each kind of body. What is read and written again reads the same.
///
/// # Panics
/// If it does not.
pub fn bodies(front: &[u8]) {
    for (sequence, bulk) in [(1, 0), (1 << 40, 100)] {
        if let Some(node) = decode_node(front, sequence, bulk) {
            assert!(node.state.links.iter().all(|link| is_name(&link.name)), "{front:?}");
            let again = encode_node(&node.state, sequence, node.stage);
            let read = decode_node(&again, sequence, bulk).map(|again| (again.state, again.stage));
            // A stage of this number is none.
            assert!(node.stage == 0 || read == Some((node.state, node.stage)), "{front:?}");
        }
        if let Some(Share { stage, offset, len, extent }) = decode_share(front, sequence) {
            assert_eq!(encode_share(stage, offset, len, &extent), front);
            assert!(extent.source < sequence && u64::from(extent.skip) + len <= extent.body_len.into());
        }
        if let Some((stage, offset, _)) = decode_data(front, bulk) {
            assert_eq!(encode_data(stage, offset), front);
        }
    }
    if let Some((parent, name)) = decode_name(front) {
        assert_eq!(decode_name(&encode_name(parent, name)), Some((parent, name)));
    }
    if let Some((stage, offset, len)) = decode_hole(front) {
        assert_eq!(encode_hole(stage, offset, len), front);
    }
}
