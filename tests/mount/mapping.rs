//! Shared mappings: mmap(2) needs `unsafe`, which is kept to this file.

#![expect(unsafe_code, reason = "mmap(2)")]

use std::fs::{self, OpenOptions};
use std::os::fd::AsRawFd;
use std::ptr;

use crate::sandbox::Sandbox;

#[test]
fn a_shared_mapping_is_written_back() {
    const LEN: usize = 3 * 4096 + 100;
    let sandbox = Sandbox::mounted();
    let path = sandbox.at("mapped");
    fs::write(&path, vec![b'.'; LEN]).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping of a file that nobody shortens, unmapped below and not used after.
    let mapping = unsafe { libc::mmap(ptr::null_mut(), LEN, access, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    assert_ne!(mapping, libc::MAP_FAILED);
    // SAFETY: as above; nobody else in this process looks at those bytes.
    let bytes = unsafe { std::slice::from_raw_parts_mut(mapping.cast::<u8>(), LEN) };
    bytes[..5].copy_from_slice(b"begin");
    // SAFETY: the mapping is as long as this.
    assert_eq!(unsafe { libc::msync(mapping, LEN, libc::MS_SYNC) }, 0);
    assert_eq!(&fs::read(&path).unwrap()[..6], b"begin.");
    // The descriptor goes before the mapping, and the last bytes are written in between: after the last FLUSH.
    drop(file);
    bytes[LEN - 3..].copy_from_slice(b"end");
    // SAFETY: `bytes` is not used any more.
    assert_eq!(unsafe { libc::munmap(mapping, LEN) }, 0);
    sandbox.remount();
    let value = fs::read(&path).unwrap();
    assert_eq!(value.len(), LEN);
    assert!(value.starts_with(b"begin.") && value.ends_with(b".end"));
}
