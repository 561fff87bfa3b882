//! The open files that a new process inherits: whatever lacked FD_CLOEXEC where it was started, a script's lock or the end
//! of a pipe.
//!
//! `unsafe` is here alone: closing descriptors by number is safe only while nothing in the process owns one of them.

use std::io;

/// Closes all of them but the three standard ones. For a process that has opened nothing yet, and runs one thread.
#[expect(unsafe_code, reason = "the standard library and nix close what they own, and nobody owns these")]
pub(super) fn close_inherited() -> io::Result<()> {
    let (first, last, flags): (libc::c_uint, libc::c_uint, libc::c_uint) = (3, libc::c_uint::MAX, 0);
    // SAFETY: close_range(2) touches no memory. This process has opened no descriptor above the standard ones yet, so that
    // none is closed under its owner.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
