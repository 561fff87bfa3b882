//! The `caskfs` command: one file for each subcommand.
//!
//! A store has one writer. While it is mounted that is the daemon, and every other command reaches it through a Unix
//! socket in the store directory ([`control`]); otherwise the command opens the store itself. Which of the two it is
//! nobody notices.

mod arguments;
mod control;
mod daemon;
mod exit;
mod get;
mod info;
mod listing;
mod ls;
mod mount;
mod mv;
mod put;
mod rm;
mod stat;
mod store_access;
mod umount;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};

/// Runs the command that the process's arguments name, and returns its exit code: see `docs/EXIT_CODES.md`.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let level = std::env::var("CASKFS_LOG").unwrap_or_else(|_| "warn".into());
    env_logger::Builder::new().parse_filters(&level).init();
    let result = match arguments.command {
        Command::Mount(options) => mount::run(&options),
        Command::Umount(options) => umount::run(&options),
        Command::Get(options) => get::run(&options),
        Command::Put(options) => put::run(&options),
        Command::Rm(options) => rm::run(&options),
        Command::Mv(options) => mv::run(&options),
        Command::Ls(options) => ls::run(&options),
        Command::Stat(options) => stat::run(&options),
        Command::Info(options) => info::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                eprintln!("caskfs: {}", failure.message);
            }
            ExitCode::from(failure.code)
        }
    }
}
