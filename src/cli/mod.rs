//! The `caskfs` command: one file for each subcommand.
//!
//! A store has one writer. While it is mounted that is the daemon, and every other command reaches it through a Unix
//! socket in the store directory (`control`); otherwise the command opens the store itself. Which of the two it is
//! nobody notices.

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod arguments;
mod backup;
mod compact;
mod control;
mod daemon;
mod descriptors;
mod exit;
mod expiring;
mod export;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod get;
mod import;
mod info;
mod listing;
mod log_file;
mod log_limit;
mod logger;
mod ls;
mod merge_arguments;
mod mount;
mod mount_flags;
mod mount_helper;
mod mount_words;
mod mv;
mod output;
mod process;
mod progress;
mod put;
mod repair;
mod restore;
mod rm;
mod serving;
mod signals;
mod snapshot;
mod spool;
mod stat;
mod store_access;
mod umount;
mod values;
mod verify;
mod walk;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};
use exit::Failure;
use mount_helper::Call;
use output::Output;

/// Runs the command that the process's arguments name, and returns its exit code: see `docs/EXIT_CODES.md`.
pub fn main() -> ExitCode {
    logger::start();
    let mut output = Output::new();
    let result = run(std::env::args_os().collect(), &mut output);
    // What was printed comes before what is said of it.
    match result.and(output.flush().map_err(Failure::from)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                output::say(&failure.message);
            }
            ExitCode::from(failure.code)
        }
    }
}

fn run(arguments: Vec<OsString>, output: &mut Output) -> Result<(), Failure> {
    let arguments = match mount_helper::parse(&arguments).transpose()? {
        Some(Call::Run(translated)) => translated,
        // That it is understood is all that is wanted.
        Some(Call::Fake(translated)) => {
            Arguments::parse_from(&translated);
            return Ok(());
        }
        Some(Call::Remount { mountpoint, words }) => return mount_helper::remount(&mountpoint, &words),
        None => arguments,
    };
    match Arguments::parse_from(&arguments).command {
        Command::Mount(options) => mount::run(&options, arguments.get(2..).unwrap_or_default()),
        Command::Umount(options) => umount::run(&options),
        Command::Get(options) => get::run(&options, output),
        Command::Put(options) => put::run(&options),
        Command::Rm(options) => rm::run(&options),
        Command::Mv(options) => mv::run(&options),
        Command::Ls(options) => ls::run(&options, output),
        Command::Stat(options) => stat::run(&options, output),
        Command::Info(options) => info::run(&options, output),
        Command::Compact(options) => compact::run(&options, output),
        Command::Snapshot(options) => snapshot::run(&options, output),
        Command::Verify(options) => verify::run(&options, output),
        Command::Backup(options) => backup::run(&options, output),
        Command::Restore(options) => restore::run(&options, output),
        Command::Export(options) => export::run(&options),
        Command::Import(options) => import::run(&options),
        Command::Repair(options) => repair::run(&options, output),
    }
}
