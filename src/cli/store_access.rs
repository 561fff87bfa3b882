//! The way to a store: through its daemon if it is mounted, else by opening it.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use super::control::{Answer, Connection, Reply, Request, TakeName, copy_value, execute};
use super::exit::{Failure, LOCKED, SILENT};
use super::output::Output;
use super::serving;
use super::spool::Spool;
use crate::store::{Error, MergePolicy, MergeWindow, Options, Store};
use crate::{fuse, log};

/// How long a daemon that is ending is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// What a command does to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// It looks.
    Read,
    /// It changes keys.
    Write,
    /// It changes keys, and makes the store if there is none.
    Create,
}

impl Access {
    pub(super) fn options(self) -> Options {
        // A command that is done in a moment would begin merges and give them up.
        let merge = MergePolicy { window: MergeWindow::Never, ..MergePolicy::default() };
        Options { read_only: self == Access::Read, create: self == Access::Create, merge, ..Options::default() }
    }
}

/// Opens a store, or has its daemon do what `ask` does with the connection: `None` from that if the daemon is ending.
/// Whoever is about to end, or holds the lock without listening yet or any more, is waited for.
pub(super) fn open<T>(
    path: &Path,
    options: &Options,
    mut ask: impl FnMut(Connection) -> Result<Option<T>, Failure>,
) -> Result<Opened<T>, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let in_time = Instant::now() < deadline;
        if let Some(connection) = Connection::open(path) {
            match ask(connection)? {
                Some(answer) => return Ok(Opened::Asked(answer)),
                None if in_time => {}
                None => return Err(in_use(path)),
            }
        } else {
            match Store::open(path, options.clone()) {
                Ok(store) => return Ok(Opened::Store(Box::new(store))),
                Err(Error::Log(log::Error::Locked)) if in_time => {}
                Err(Error::Log(log::Error::Locked)) => return Err(in_use(path)),
                Err(error) => return Err(refused(error).about(path.display())),
            }
        }
        std::thread::sleep(PAUSE);
    }
}

/// Who has a store, and why that process does not do what is asked.
fn in_use(path: &Path) -> Failure {
    let failure = Failure::from(Error::Log(log::Error::Locked)).about(path.display());
    match serving::of_store(path) {
        Some(process) if process.is_stopped() => {
            Failure { code: SILENT, message: format!("{}: {}", failure.message, serving::why_silent(Some(&process))) }
        }
        Some(process) => Failure { message: format!("{}: {process} has it", failure.message), ..failure },
        None => failure,
    }
}

/// Why a store was not opened, and what to do about it.
fn refused(error: Error) -> Failure {
    let repairable = match &error {
        Error::Log(log::Error::DamagedFile { .. }) => true,
        Error::Log(log::Error::Io { source, .. }) => source.raw_os_error() == Some(libc::EIO),
        _ => false,
    };
    let mut failure = Failure::from(error);
    if repairable {
        failure.message.push_str(": `caskfs repair --dry-run` says what can be saved");
    }
    failure
}

/// A store that this process holds, or what its daemon said.
pub(super) enum Opened<T> {
    Store(Box<Store>),
    Asked(T),
}

/// Opens a store for this process alone.
pub(super) fn open_alone(path: &Path, options: &Options) -> Result<Store, Failure> {
    // One that was unmounted is about to end.
    let place = |connection: Connection| {
        let info = match connection.call(&Request::Info, &mut std::io::empty(), &mut std::io::sink())? {
            Some(Reply::Info(info)) => info,
            _ => return Ok(None),
        };
        let place = info.mountpoint.unwrap_or_default();
        Ok(matches!(fuse::mounted_at(Path::new(&place)), Ok(Some(_))).then_some(place))
    };
    match open(path, options, place)? {
        Opened::Store(store) => Ok(*store),
        Opened::Asked(place) => {
            Err(Failure::new(LOCKED, format!("{}: the store is mounted at {place}", path.display())))
        }
    }
}

/// Sends a request that neither brings nor fetches a value.
pub(super) fn ask(path: &Path, access: Access, request: &Request) -> Result<Reply, Failure> {
    call(path, access, request, &mut std::io::empty())
}

/// Sends a request with its value, all of which is there already.
pub(super) fn send(path: &Path, request: &Request, value: &mut dyn Read) -> Result<(), Failure> {
    call(path, Access::Create, request, value).map(drop)
}

fn call(path: &Path, access: Access, request: &Request, input: &mut dyn Read) -> Result<Reply, Failure> {
    request.check()?;
    match open(path, &access.options(), |connection| connection.call(request, input, &mut std::io::sink()))? {
        Opened::Asked(reply) => Ok(reply),
        Opened::Store(store) => match execute(&store, request, input, &|| true)? {
            Answer::Reply(reply) => Ok(reply),
            Answer::Names(_) | Answer::Value(_) => Ok(Reply::Done),
        },
    }
}

/// Sends a request for a listing: its names go to `take` as they come. That must wait for no other program, since the
/// store is held meanwhile.
pub(super) fn list(path: &Path, request: &Request, take: &mut TakeName<'_>) -> Result<(), Failure> {
    request.check()?;
    if let Opened::Store(store) = open(path, &Access::Read.options(), |connection| connection.list(request, take))?
        && let Answer::Names(mut names) = execute(&store, request, &mut std::io::empty(), &|| true)?
    {
        while let Some(name) = names.next_met() {
            take(name?.into())?;
        }
    }
    Ok(())
}

/// Prints the value that a request asks for. The reader may be a program that waits for this store: so one that this
/// process holds is closed before anything is said to it.
pub(super) fn fetch(path: &Path, request: &Request, output: &mut Output) -> Result<(), Failure> {
    request.check()?;
    let options = Access::Read.options();
    let opened = open(path, &options, |connection| connection.call(request, &mut std::io::empty(), output))?;
    let Opened::Store(store) = opened else { return Ok(()) };
    let answer = execute(&store, request, &mut std::io::empty(), &|| true)?;
    let Answer::Value(value) = answer else { return Ok(()) };
    if !output.may_wait() {
        return copy_value(&value, output);
    }
    let mut spool = Spool::default();
    copy_value(&value, &mut spool)?;
    drop(value);
    drop(store);
    std::io::copy(&mut spool.into_value()?.bytes, output)?;
    Ok(())
}

/// A key from the command line: a leading slash is the root's, and may stand or not.
pub(super) fn key(argument: &std::ffi::OsStr) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    let bytes = argument.as_bytes();
    bytes.strip_prefix(b"/").unwrap_or(bytes).to_vec()
}
