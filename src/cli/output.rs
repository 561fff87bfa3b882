//! What a command prints: all of it goes through here, so that a reader that goes away ends each of them in the same way.
//!
//! `println!` panics when the other end of a pipe is closed, and a lint keeps it out of the commands. A failure of standard
//! output is marked as one, since a broken pipe may be that of a socket as well.

use std::fmt;
use std::io::{self, BufWriter, ErrorKind, Stdout, Write};

use super::exit::{Failure, NO_SPACE, OTHER, READER_GONE};
use super::logger::one_line;

/// Standard output.
pub(super) struct Output(BufWriter<Stdout>);

impl Output {
    pub(super) fn new() -> Output {
        Output(BufWriter::with_capacity(1 << 16, io::stdout()))
    }

    /// Whether a write may have to wait for another program: to anything but a file and `/dev/null`.
    pub(super) fn may_wait(&self) -> bool {
        use nix::sys::stat::{SFlag, fstat, major, minor};
        let Ok(found) = fstat(io::stdout()) else { return true };
        let kind = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT;
        let null = kind == SFlag::S_IFCHR && (major(found.st_rdev), minor(found.st_rdev)) == (1, 3);
        kind != SFlag::S_IFREG && !null
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(lost)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(lost)
    }
}

/// Why standard output took no more.
#[derive(Debug)]
struct Lost(io::Error);

impl fmt::Display for Lost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "standard output: {}", self.0)
    }
}

impl std::error::Error for Lost {}

fn lost(error: io::Error) -> io::Error {
    match error.kind() {
        // To be tried again.
        ErrorKind::Interrupted => error,
        kind => io::Error::new(kind, Lost(error)),
    }
}

/// The failure of a command that met this error: none to speak of if its reader went away.
pub(super) fn failure(error: &io::Error) -> Failure {
    let lost = error.get_ref().is_some_and(|inner| inner.is::<Lost>());
    match error.kind() {
        ErrorKind::BrokenPipe if lost => Failure::new(READER_GONE, ""),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Failure::new(NO_SPACE, error.to_string()),
        _ => Failure::new(OTHER, error.to_string()),
    }
}

/// Says something on standard error in one line, if anybody listens.
pub(super) fn say(text: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "caskfs: {}", one_line(&text.to_string()));
}
