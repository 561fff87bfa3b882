//! What the daemon takes from whoever started it: nothing but its arguments, its standard streams, and the few
//! environment variables of [`KEPT`].
//!
//! | inherited | in the daemon |
//! |---|---|
//! | open files | closed, but the standard streams |
//! | working directory | `/`, once its paths are looked up |
//! | umask | 077: what it makes is for its own user. Modes of keys do not go by it |
//! | session, terminal | a session of its own, unless it stays in front |
//! | signals blocked or ignored | [`signals`](super::signals) says what each does |
//! | limits of file size and processor time | none if that is permitted, else the hard limit |
//! | limit of open files | the hard limit |
//! | all other limits | as they are: who sets a limit of memory or of core files means the daemon |

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};

use super::descriptors::close_inherited;
use super::exit::{Failure, OTHER};
use super::log_file::LogFile;
use super::mount::READY;

/// Environment variables that the daemon keeps, by how their names begin: where to find fusermount3, what to log, and
/// what the loader and the allocator were told.
const KEPT: [&str; 8] =
    ["PATH", "CASKFS_", "RUST_BACKTRACE", "RUST_LIB_BACKTRACE", "LD_", "GLIBC_TUNABLES", "MALLOC_", "TZ"];

/// The environment for a daemon.
pub(super) fn environment() -> impl Iterator<Item = (OsString, OsString)> {
    let kept = |name: &OsString| name.to_str().is_some_and(|name| KEPT.iter().any(|kept| name.starts_with(kept)));
    std::env::vars_os().filter(move |(name, _)| kept(name))
}

/// Lets go of what was inherited. Before anything is opened, and before any thread is started.
pub(super) fn begin() {
    if let Err(error) = close_inherited() {
        log::warn!("the open files of who started the daemon stay open in it: {error}");
    }
    umask(Mode::from_bits_truncate(0o077));
    raise(Resource::RLIMIT_NOFILE, "open files", false);
    raise(Resource::RLIMIT_FSIZE, "the size of a file", true);
    raise(Resource::RLIMIT_CPU, "processor time", true);
}

/// Raises a limit to the hard one, or beyond it if it may be lifted.
fn raise(resource: Resource, what: &str, lift: bool) {
    if lift && setrlimit(resource, RLIM_INFINITY, RLIM_INFINITY).is_ok() {
        return;
    }
    if let Err(error) = getrlimit(resource).and_then(|(_, hard)| setrlimit(resource, hard, hard)) {
        log::warn!("the limit of {what} stays as it is: {error}");
    }
}

/// Refuses to serve where the limit of a file's size is less than a segment: a write beyond it would fail, and that is final.
pub(super) fn check_file_size(segment_size: u32) -> Result<(), Failure> {
    match getrlimit(Resource::RLIMIT_FSIZE) {
        Ok((limit, _)) if limit < u64::from(segment_size) => Err(Failure::new(
            OTHER,
            format!(
                "files may have {limit} bytes here (`ulimit -f`), and a segment of the log has {segment_size}: raise the \
                 limit, or choose a smaller --segment-size"
            ),
        )),
        _ => Ok(()),
    }
}

/// Leaves the working directory: whatever is mounted there can be unmounted again.
pub(super) fn leave_directory() -> Result<(), Failure> {
    nix::unistd::chdir("/").map_err(failed)
}

/// Tells the command that started this process that the mount answers, and lets go of its terminal.
pub(super) fn detach(log_file: Option<&LogFile>) -> Result<(), Failure> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    // A session of its own: the terminal's signals are not for the daemon.
    nix::unistd::setsid().map_err(failed)?;
    let mut output = std::io::stdout();
    writeln!(output, "{READY}")?;
    output.flush()?;
    nix::unistd::dup2_stdin(&null).map_err(failed)?;
    nix::unistd::dup2_stdout(&null).map_err(failed)?;
    match log_file {
        Some(log_file) => Ok(log_file.attach()?),
        None => nix::unistd::dup2_stderr(&null).map_err(failed),
    }
}

fn failed(error: nix::Error) -> Failure {
    Failure::from(std::io::Error::from(error))
}
