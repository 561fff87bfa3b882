//! Memory that was freed goes back to the system.
//!
//! The C library keeps what was freed for the next allocation. After something large is gone, a keydir or what many open
//! files held, hundreds of megabytes would stay with a process that has no use for them.

/// Gives the system back what the allocator keeps. Takes milliseconds: after something large was freed, and not in between.
#[expect(unsafe_code, reason = "no library wraps malloc_trim(3)")]
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time, from any thread: malloc_trim(3) is marked MT-Safe, and touches no memory in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
