//! What FUSE alone allows: a filesystem in memory, with every cache of the kernel that a sole writer may use, and without
//! any persistence. Whatever a store takes beyond this is its own.
//!
//! No filesystem to be used: permissions, times and hard links are kept as far as tar and rsync look at them.

mod adapter;
mod tree;

use std::path::PathBuf;

use caskfs_bench_mount::RecordFile;
use clap::Parser;
use fuser::{Config, MountOption, SessionACL};

/// Mounts a filesystem in memory, until somebody unmounts it.
#[derive(Parser)]
struct Arguments {
    mountpoint: PathBuf,
    /// Threads that serve requests.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Answers an fsync when one record more is on the disk, in a file in this directory: what FUSE and a disk allow one
    /// client together.
    #[arg(long)]
    disk: Option<PathBuf>,
    /// Lets the kernel leave the modes unchecked, as caskfs does for a root that alone may enter.
    #[arg(long)]
    unchecked: bool,
}

fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("ceiling".into()),
        MountOption::CUSTOM("subtype=ceiling".into()),
    ];
    if !arguments.unchecked {
        config.mount_options.push(MountOption::DefaultPermissions);
    }
    config.acl = SessionACL::All;
    config.n_threads = Some(arguments.threads);
    config.clone_fd = arguments.threads > 1;
    let disk = arguments.disk.map(|directory| RecordFile::create(&directory, RecordFile::RECORD)).transpose()?;
    fuser::mount(adapter::Ceiling::new(disk), &arguments.mountpoint, &config)
}
