//! A command's end of the socket.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;

use super::{Name, Reply, Request, TAKEN, socket_path};
use crate::cli::exit::{DAMAGED, Failure, OTHER, SILENT};
use crate::cli::progress::Bar;
use crate::cli::serving::{Process, why_silent};

/// How long a daemon gets to take a request on.
const PATIENCE: Duration = Duration::from_secs(10);

/// What takes the names of a listing.
pub(in crate::cli) type TakeName<'t> = dyn FnMut(Name) -> Result<(), Failure> + 't;

/// A connection to the daemon, for one request.
pub(in crate::cli) struct Connection(UnixStream);

impl Connection {
    /// Connects to the daemon of a store, if there is one.
    pub(in crate::cli) fn open(store: &Path) -> Option<Connection> {
        let directory = File::open(store).ok()?;
        UnixStream::connect(socket_path(&directory)).ok().map(Connection)
    }

    /// The process that listens.
    pub(in crate::cli) fn peer(&self) -> Option<Process> {
        let peer = getsockopt(&self.0, PeerCredentials).ok()?;
        Process::new(u32::try_from(peer.pid()).ok()?)
    }

    /// Whether the daemon's mount is there.
    pub(in crate::cli) fn serves(self, mountpoint: &Path) -> bool {
        match self.call(&Request::Info, &mut std::io::empty(), &mut std::io::sink()) {
            Ok(Some(Reply::Info(info))) => info.mountpoint.is_some_and(|place| Path::new(&place) == mountpoint),
            _ => false,
        }
    }

    /// Asks; the value of a `put` comes from `input`, that of a `get` goes to `output`. `None` if the daemon is ending:
    /// then nothing was done, and nothing was taken from `input`.
    pub(in crate::cli) fn call(
        self,
        request: &Request,
        input: &mut dyn Read,
        output: &mut dyn Write,
    ) -> Result<Option<Reply>, Failure> {
        self.exchange(request, input, output, &mut |_| Ok(()))
    }

    /// Asks for a listing, whose names go to `take` as they come. `None` as of [`Connection::call`].
    pub(in crate::cli) fn list(self, request: &Request, take: &mut TakeName<'_>) -> Result<Option<Reply>, Failure> {
        self.exchange(request, &mut std::io::empty(), &mut std::io::sink(), take)
    }

    /// Has the daemon keep a snapshot of now until the answer is dropped. `None` as of [`Connection::call`].
    pub(in crate::cli) fn hold_snapshot(self) -> Result<Option<Held>, Failure> {
        let Some(stream) = self.begin(&Request::Backup)? else { return Ok(None) };
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line)?;
        match serde_json::from_str(&line).map_err(std::io::Error::from)? {
            Reply::Backup { name } => Ok(Some(Held { stream, name })),
            Reply::Failed(failure) => Err(failure),
            _ => Err(Failure::new(OTHER, "the daemon answers something else")),
        }
    }

    /// Says what is wanted. `None` if the daemon does not take it on.
    fn begin(self, request: &Request) -> Result<Option<UnixStream>, Failure> {
        let Connection(mut stream) = self;
        let mut line = serde_json::to_vec(request).map_err(std::io::Error::from)?;
        line.push(b'\n');
        let mut taken = [0];
        stream.set_read_timeout(Some(PATIENCE))?;
        match stream.write_all(&line).and_then(|()| stream.read_exact(&mut taken)) {
            Ok(()) if taken == [TAKEN] => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let daemon = Connection(stream).peer();
                return Err(Failure::new(
                    SILENT,
                    format!("the daemon does not answer: {}", why_silent(daemon.as_ref())),
                ));
            }
            _ => return Ok(None),
        }
        // What it has taken on may take its time.
        stream.set_read_timeout(None)?;
        Ok(Some(stream))
    }

    fn exchange(
        self,
        request: &Request,
        input: &mut dyn Read,
        output: &mut dyn Write,
        take: &mut TakeName<'_>,
    ) -> Result<Option<Reply>, Failure> {
        let Some(mut stream) = self.begin(request)? else { return Ok(None) };
        // A refusal may come before all of the value is sent: then the answer says why. The daemon hears of the end in any
        // case, and so does not wait for more.
        let sent = std::io::copy(input, &mut stream);
        let sent = stream.shutdown(Shutdown::Write).and(sent);
        let mut answer = BufReader::new(&stream);
        let mut bar = Bar::default();
        let mut line = String::new();
        let reply = loop {
            line.clear();
            // Names are long lines; those of requests are not.
            answer.read_line(&mut line)?;
            if line.is_empty() {
                sent?;
                return Err(Failure::new(OTHER, "the daemon ended before it answered"));
            }
            match serde_json::from_str(&line).map_err(std::io::Error::from)? {
                Reply::Names(names) => names.into_iter().try_for_each(&mut *take)?,
                Reply::Progress { done, total } => bar.show(done, Some(total)),
                reply => break reply,
            }
        };
        drop(bar);
        if let Reply::Value { size, .. } = reply {
            let copied = std::io::copy(&mut answer.take(size), output)?;
            output.flush()?;
            if copied < size {
                return Err(Failure::new(DAMAGED, "the value could not be read to its end: see the daemon's log"));
            }
        }
        match reply {
            Reply::Failed(failure) => Err(failure),
            reply => Ok(Some(reply)),
        }
    }
}

/// A snapshot that a daemon keeps for this command.
pub(in crate::cli) struct Held {
    stream: UnixStream,
    /// The snapshot's name.
    pub(in crate::cli) name: String,
}

impl Held {
    /// Has the snapshot removed. False if the daemon has ended meanwhile, and left that to the command.
    pub(in crate::cli) fn end(self) -> Result<bool, Failure> {
        let mut line = String::new();
        self.stream.shutdown(Shutdown::Write)?;
        BufReader::new(&self.stream).read_line(&mut line)?;
        match line.as_str() {
            "" => Ok(false),
            line => match serde_json::from_str(line).map_err(std::io::Error::from)? {
                Reply::Failed(failure) => Err(failure),
                _ => Ok(true),
            },
        }
    }
}
