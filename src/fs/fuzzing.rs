//! Ways in for the fuzz targets. No part of the API.

use super::acl::Acl;

/// Decodes an access control list. What is encoded again decodes to the same, with any mode.
///
/// # Panics
/// If it does not.
pub fn acl(bytes: &[u8]) {
    let Ok(mut acl) = Acl::decode(bytes) else { return };
    assert_eq!(Acl::decode(&acl.encode()).ok().as_ref(), Some(&acl));
    for mode in [0, 0o640, 0o777] {
        acl.set_mode(mode);
        assert_eq!(acl.mode(), mode);
        assert_eq!(Acl::decode(&acl.encode()).ok().as_ref(), Some(&acl));
    }
}

/// `u::rw-,u:1000:rwx,g::r--,m::rwx,o::---`
pub fn sample_acl() -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in
        [(1u16, 6u16, u32::MAX), (2, 7, 1000), (4, 4, u32::MAX), (16, 7, u32::MAX), (32, 0, u32::MAX)]
    {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}
