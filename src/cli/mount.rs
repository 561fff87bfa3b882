//! `caskfs mount`: start the daemon, and return when the mount answers.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::arguments::MountArguments;
use super::exit::{Failure, OTHER};
use super::{daemon, process};

/// What the daemon says on its standard output when the mount answers.
pub(super) const READY: &str = "ready";

/// `given`: the arguments as they were given, the subcommand's name left out.
pub(super) fn run(arguments: &MountArguments, given: &[OsString]) -> Result<(), Failure> {
    if arguments.foreground {
        return daemon::run(arguments);
    }
    // A new process rather than a fork: no thread, lock or open file of this one is carried along.
    let mut daemon = Command::new(std::env::current_exe()?)
        .args(["mount", "--foreground", "--announce"])
        .args(given)
        .env_clear()
        .envs(process::environment())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    if let Some(output) = daemon.stdout.take() {
        BufReader::new(output).read_line(&mut line)?;
    }
    if line.trim_end() == READY {
        return Ok(());
    }
    // It has ended, or is about to, and has said why on the standard error that it shares with this process.
    let status = daemon.wait()?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0);
    match code {
        Some(code) => Err(Failure::new(code, "")),
        None => Err(Failure::new(OTHER, format!("the daemon ended before the mount answered ({status})"))),
    }
}
