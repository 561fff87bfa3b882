//! What is agreed with the kernel when the connection opens.
//!
//! An allow-list: fuser passes on whatever the kernel offers, also what neither it nor this adapter can serve
//! (`SETXATTR_EXT` makes it panic, `OVER_IO_URING` hangs every request). What an older kernel does not offer is done
//! without; nothing here is needed for correctness.

use std::time::Duration;

use fuser::{InitFlags, KernelConfig};

/// What is asked for, and why it is safe for a filesystem that nobody else changes.
const WANTED: [InitFlags; 5] = [
    // Lookups and readdirs of one directory at the same time: `fs` locks for itself.
    InitFlags::FUSE_PARALLEL_DIROPS,
    // Attributes come with the names, always: who lists a directory mostly looks at what is in it.
    InitFlags::FUSE_DO_READDIRPLUS,
    // A symbolic link's target never changes, and an inode number is never used again.
    InitFlags::FUSE_CACHE_SYMLINKS,
    // `fs` takes suid and sgid away itself on write, truncate and chown; it spares a GETXATTR before every write.
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
    // The umask comes with the request: it does not count where a default access control list is inherited.
    InitFlags::FUSE_DONT_MASK,
];
// Not asked for, on purpose: POSIX_LOCKS and FLOCK_LOCKS (the kernel's own locks work, and die with their process),
// WRITEBACK_CACHE (slower here, and it hides data from sync(2)), EXPORT_SUPPORT (needs lookups of "." and ".."),
// READDIRPLUS_AUTO (asks for attributes with the first names alone, unless they were looked at before the rest is read; `du`, git
// and whoever else lists first and looks then sends a LOOKUP for every other name),
// ATOMIC_O_TRUNC (OPEN comes before the kernel has looked whether the file is a running program: O_RDONLY | O_TRUNC
// would empty it, and be refused; a SETATTR after OPEN empties it as atomically, since the file is then open for writing),
// AUTO_INVAL_DATA (nobody else writes), NO_OPEN_SUPPORT (handles carry state).

/// The largest WRITE that the kernel may send, and by it the largest READ, in bytes.
const MAX_WRITE: u32 = 1 << 20;

/// How many requests that no process waits for (readahead, write-back of mappings) may be under way.
const MAX_BACKGROUND: u16 = 64;

/// Asks the kernel to check permissions by access control lists, and says whether it will. No option of mount(2) belongs
/// to it, and no privilege.
pub(super) fn ask_for_acls(config: &mut KernelConfig) -> bool {
    config.add_capabilities(InitFlags::FUSE_POSIX_ACL).is_ok()
}

/// Fills in the answer to INIT.
pub(super) fn negotiate(config: &mut KernelConfig) {
    for capability in WANTED {
        if config.add_capabilities(capability).is_err() {
            log::info!("this kernel does not offer {capability:?}; doing without");
        }
    }
    // Each of these fails only on a value out of range, which these are not.
    let _ = config.set_max_write(MAX_WRITE);
    let _ = config.set_max_background(MAX_BACKGROUND);
    let _ = config.set_congestion_threshold(MAX_BACKGROUND / 4 * 3);
    let _ = config.set_time_granularity(Duration::from_nanos(1));
}
