//! The daemon's end of the socket.

use std::fs::{File, Permissions};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::requests::{Requests, Running};
use super::{Answer, MAX_LINE, Reply, Request, TAKEN, copy_value, execute, socket_path, verify};
use crate::cli::exit::{Failure, OTHER};
use crate::cli::walk::by_descriptor;
use crate::store::{Scan, Store, Value};

/// How many commands are served at a time; others wait.
const CONNECTIONS: usize = 128;

/// How long it takes no connection after it could not.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a command gets to say what it wants.
const SILENCE: Duration = Duration::from_secs(30);

/// How long the requests that were taken on get to finish when the daemon ends.
const PATIENCE: Duration = Duration::from_secs(10);

/// Names of a listing that are sent at once.
const NAMES: usize = 256;

/// Answers requests while it lives.
pub(in crate::cli) struct Server {
    service: Arc<Service>,
}

/// What every connection needs.
struct Service {
    store: Arc<Store>,
    /// The store directory, whatever it is called by now.
    directory: File,
    mountpoint: String,
    requests: Requests,
}

impl Server {
    /// Listens in the store directory, which this process has locked: a socket that is there is a dead daemon's.
    pub(in crate::cli) fn start(store: Arc<Store>, directory: &Path, mountpoint: &Path) -> Result<Server, Failure> {
        let directory = File::open(directory)?;
        let socket = socket_path(&directory);
        match std::fs::remove_file(&socket) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let listener = UnixListener::bind(&socket).inspect_err(|_| {
            // A file system that knows no sockets may have made something else.
            let _ = std::fs::remove_file(&socket);
        })?;
        std::fs::set_permissions(&socket, Permissions::from_mode(0o600))?;
        let service = Arc::new(Service {
            store,
            directory,
            mountpoint: mountpoint.display().to_string(),
            requests: Requests::default(),
        });
        let served = Arc::downgrade(&service);
        thread::Builder::new().name("caskfs-control".into()).spawn(move || listen(&listener, &served))?;
        Ok(Server { service })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Whoever comes now finds no daemon, waits for the lock, and opens the store itself.
        let _ = std::fs::remove_file(socket_path(&self.service.directory));
        self.service.requests.close(PATIENCE);
    }
}

/// Where a directory is now.
fn path_of(directory: &File) -> String {
    let path = std::fs::read_link(by_descriptor(directory)).unwrap_or_default();
    path.display().to_string()
}

/// Takes connections until the process ends. One that cannot be taken now, for lack of descriptors, memory or threads, waits
/// in the socket's queue.
///
/// Between two connections it holds nothing of the store, so that a daemon that ends closes it.
fn listen(listener: &UnixListener, service: &Weak<Service>) {
    let places = Arc::new(Places::default());
    loop {
        let place = Places::take(&places);
        let served = listener.accept().and_then(|(connection, _)| {
            let service = Weak::clone(service);
            let serve = move || {
                let _place = place;
                if let Err(error) = serve(&service, &connection) {
                    log::warn!("a command went away in the middle of its request: {error}");
                }
            };
            thread::Builder::new().name("caskfs-request".into()).spawn(serve)
        });
        if let Err(error) = served {
            log::error!("the control socket takes no commands for a moment: {error}");
            thread::sleep(PAUSE);
        }
    }
}

/// Whether there is still somebody at the other end. One who has said all that it has to say closes its half alone.
fn listens(connection: &UnixStream) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let mut asked = [PollFd::new(connection.as_fd(), PollFlags::empty())];
    let gone = poll(&mut asked, PollTimeout::ZERO).is_ok()
        && asked.iter().any(|fd| fd.revents().is_some_and(|found| found.intersects(PollFlags::POLLHUP)));
    !gone
}

/// How many connections have a thread.
#[derive(Default)]
struct Places {
    taken: Mutex<usize>,
    freed: Condvar,
}

impl Places {
    /// Waits for a place, which is free again when what is returned is dropped.
    fn take(places: &Arc<Places>) -> Place {
        let mut taken = places.taken.lock();
        places.freed.wait_while(&mut taken, |taken| *taken >= CONNECTIONS);
        *taken += 1;
        Place(Arc::clone(places))
    }
}

struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.taken.lock() -= 1;
        self.0.freed.notify_one();
    }
}

/// Serves one connection. The service is asked for once there is something to do: who connects and says nothing keeps no
/// store open.
fn serve(service: &Weak<Service>, connection: &UnixStream) -> std::io::Result<()> {
    let mut input = BufReader::new(connection);
    let mut line = String::new();
    connection.set_read_timeout(Some(SILENCE))?;
    if (&mut input).take(MAX_LINE).read_line(&mut line)? == 0 {
        // Somebody who only looked whether a daemon listens.
        return Ok(());
    }
    // The value of a `put` may come from a program that takes its time.
    connection.set_read_timeout(None)?;
    // None: the daemon ends, and has done nothing.
    service.upgrade().map_or(Ok(()), |service| service.serve(connection, &line, &mut input))
}

impl Service {
    fn serve(&self, connection: &UnixStream, line: &str, input: &mut dyn Read) -> std::io::Result<()> {
        let Some(running) = self.requests.take() else { return Ok(()) };
        (&*connection).write_all(&[TAKEN])?;
        let mut output = BufWriter::new(connection);
        let reply = match serde_json::from_str(line) {
            Ok(Request::Verify) => verify(&self.store, &mut |done, total| {
                serde_json::to_writer(&mut output, &Reply::Progress { done, total })?;
                output.write_all(b"\n").and_then(|()| output.flush())
            }),
            Ok(Request::Backup) => return self.back_up(running, input, &mut output),
            Ok(request) => match self.answer(&request, input, connection) {
                Answer::Reply(reply) => reply,
                Answer::Names(names) => send_names(names, &mut output)?,
                Answer::Value(value) => return send_value(&value, &mut output, || listens(connection)),
            },
            Err(error) => Reply::Failed(Failure::new(
                OTHER,
                format!("the daemon does not know this request: it may be older than the command ({error})"),
            )),
        };
        serde_json::to_writer(&mut output, &reply)?;
        output.write_all(b"\n")?;
        output.flush()
    }

    /// Keeps a snapshot for as long as the command holds on to the connection, or lives. A daemon that ends does not wait for
    /// it: the command removes the snapshot then, and if it was killed the next backup does.
    fn back_up(&self, running: Running<'_>, input: &mut dyn Read, output: &mut dyn Write) -> std::io::Result<()> {
        let mut say = |reply: &Reply| {
            serde_json::to_writer(&mut *output, reply)?;
            output.write_all(b"\n").and_then(|()| output.flush())
        };
        let source = match self.store.begin_backup() {
            Ok(source) => source,
            Err(error) => return say(&Reply::Failed(error.into())),
        };
        let told = say(&Reply::Backup { name: source.name.clone() });
        drop(running);
        let held = told.and_then(|()| std::io::copy(input, &mut std::io::sink()));
        let Some(_running) = self.requests.take() else { return Ok(()) };
        let removed = self.store.end_backup(source);
        held?;
        say(&removed.map_or_else(|error| Reply::Failed(error.into()), |()| Reply::Done))
    }

    fn answer(&self, request: &Request, input: &mut dyn Read, connection: &UnixStream) -> Answer<'_> {
        match execute(&self.store, request, input, &|| listens(connection)) {
            Ok(Answer::Reply(Reply::Info(mut info))) => {
                info.store = path_of(&self.directory);
                info.mountpoint = Some(self.mountpoint.clone());
                info.daemon_pid = Some(std::process::id());
                Answer::Reply(Reply::Info(info))
            }
            Ok(answer) => answer,
            Err(failure) => Answer::Reply(Reply::Failed(failure)),
        }
    }
}

/// Sends a value, and first how long it is.
fn send_value(value: &Value<'_>, output: &mut dyn Write, listens: impl Fn() -> bool) -> std::io::Result<()> {
    serde_json::to_writer(&mut *output, &Reply::Value { size: value.len() })?;
    output.write_all(b"\n")?;
    if let Err(failure) = copy_value(value, output) {
        if !listens() {
            // As in `caskfs get STORE KEY | head`: no fault of anybody's.
            return Ok(());
        }
        // The command sees that bytes are missing.
        log::error!("{}", failure.message);
    }
    output.flush()
}

/// Sends the names of a listing, some at a time; the reply with which it ends is to be sent yet.
fn send_names(mut names: Scan<'_>, output: &mut dyn Write) -> std::io::Result<Reply> {
    loop {
        let mut piece = Vec::new();
        while piece.len() < NAMES {
            match names.next_met() {
                Some(Ok(met)) => piece.push(met.into()),
                Some(Err(error)) => return Ok(Reply::Failed(error.into())),
                None => break,
            }
        }
        if piece.is_empty() {
            return Ok(Reply::Done);
        }
        serde_json::to_writer(&mut *output, &Reply::Names(piece))?;
        output.write_all(b"\n")?;
    }
}
