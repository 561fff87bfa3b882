//! What mount(8) can ask of any filesystem, as arguments of `caskfs mount`.

use clap::{Args, ValueEnum};

use super::arguments::MountArguments;
use super::exit::{Failure, USAGE};
use crate::fs::SyncMode;
use crate::fuse::{Context, MountFlags};

#[derive(Debug, Args)]
pub(super) struct FlagArguments {
    /// A flag of mount(8), as in fstab; may be given several times.
    #[arg(long = "mount-flag", value_enum, value_name = "FLAG")]
    flags: Vec<Flag>,
    /// A label of SELinux: `context=LABEL`, or one of its kin.
    #[arg(long, hide = true, value_name = "WORD=LABEL", value_parser = context)]
    security_context: Vec<(Context, String)>,
}

/// A word of mount(8) that takes effect in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Flag {
    /// No program runs from the mount.
    Noexec,
    /// No symbolic link in it is followed.
    Nosymfollow,
    /// Each write and each change of a name waits for the disk: with it comes `--sync always`.
    Sync,
    /// Each change of a name waits for the disk: the same.
    Dirsync,
    /// Times are written late: of access they always are.
    Lazytime,
    /// The kernel checks modes and owners, also where root alone may enter.
    DefaultPermissions,
}

impl FlagArguments {
    fn has(&self, flag: Flag) -> bool {
        self.flags.contains(&flag)
    }

    /// For the mount.
    pub(super) fn of_mount(&self, arguments: &MountArguments) -> MountFlags {
        MountFlags {
            noexec: self.has(Flag::Noexec),
            nosymfollow: self.has(Flag::Nosymfollow),
            nodiratime: arguments.nodiratime,
            sync: self.has(Flag::Sync),
            dirsync: self.has(Flag::Dirsync),
            lazytime: self.has(Flag::Lazytime),
            check_permissions: self.has(Flag::DefaultPermissions),
            contexts: self.security_context.clone(),
        }
    }

    /// What waits for the disk.
    ///
    /// # Errors
    /// If what is asked for contradicts itself.
    pub(super) fn sync_mode(&self, asked: SyncMode) -> Result<SyncMode, Failure> {
        match (self.has(Flag::Sync) || self.has(Flag::Dirsync), asked) {
            (true, SyncMode::Interval) => {
                Err(Failure::new(USAGE, "sync and dirsync wait for the disk, and --sync interval does not: choose one"))
            }
            (true, _) => Ok(SyncMode::Always),
            (false, asked) => Ok(asked),
        }
    }
}

fn context(argument: &str) -> Result<(Context, String), String> {
    let (word, label) = argument.split_once('=').ok_or("a label is wanted: context=LABEL")?;
    let context = match word {
        "context" => Context::All,
        "fscontext" => Context::Filesystem,
        "defcontext" => Context::Unlabeled,
        "rootcontext" => Context::Root,
        _ => return Err(format!("{word} is no kind of context")),
    };
    Ok((context, label.to_owned()))
}
