//! The way to a store: through its daemon if it is mounted, else by opening it.

use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::control::{Caches, Connection, Reply, Request, copy_value, execute};
use super::exit::{Failure, LOCKED};
use crate::store::{Error, Options, Store};

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
    fn options(self) -> Options {
        Options { read_only: self == Access::Read, create: self == Access::Create, ..Options::default() }
    }
}

/// A store that this process holds, or its daemon.
pub(super) enum Opened {
    Store(Box<Store>),
    Daemon(Connection),
}

/// Opens a store, or connects to its daemon. One that has stopped to listen, but still holds the lock, is about to
/// end: it is waited for.
pub(super) fn open(path: &Path, options: &Options) -> Result<Opened, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(connection) = Connection::open(path) {
            return Ok(Opened::Daemon(connection));
        }
        match Store::open(path, options.clone()) {
            Ok(store) => return Ok(Opened::Store(Box::new(store))),
            Err(Error::Log(crate::log::Error::Locked)) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            Err(error) => return Err(Failure::from(error).about(path.display())),
        }
    }
}

/// Opens a store for this process alone.
pub(super) fn open_alone(path: &Path, options: &Options) -> Result<Store, Failure> {
    match open(path, options)? {
        Opened::Store(store) => Ok(*store),
        Opened::Daemon(connection) => {
            let place = match connection.call(&Request::Info, &mut std::io::empty(), &mut std::io::sink()) {
                Ok(Reply::Info(info)) => info.mountpoint.map(|path| format!(" at {path}")).unwrap_or_default(),
                _ => String::new(),
            };
            Err(Failure::new(LOCKED, format!("{}: the store is mounted{place}", path.display())))
        }
    }
}

/// Sends a request the right way.
pub(super) fn call(
    path: &Path,
    access: Access,
    request: &Request,
    input: &mut dyn Read,
    output: &mut dyn Write,
) -> Result<Reply, Failure> {
    match open(path, &access.options())? {
        Opened::Daemon(connection) => connection.call(request, input, output),
        Opened::Store(store) => {
            let reply = execute(&store, &Caches(None), request, input)?;
            if let Reply::Value { id, size } = reply {
                copy_value(&store, id, size, output)?;
            }
            Ok(reply)
        }
    }
}

/// Sends a request that neither brings nor fetches a value.
pub(super) fn ask(path: &Path, access: Access, request: &Request) -> Result<Reply, Failure> {
    call(path, access, request, &mut std::io::empty(), &mut std::io::sink())
}

/// A key from the command line: a leading slash is the root's, and may stand or not.
pub(super) fn key(argument: &std::ffi::OsStr) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    let bytes = argument.as_bytes();
    bytes.strip_prefix(b"/").unwrap_or(bytes).to_vec()
}
