//! A value on its way between a store and another program.
//!
//! A store that is not mounted is locked while it is open, and the program at the other end of a pipe may be one that wants
//! it too. So a value is wholly here before the one is opened, or after it was closed: the beginning in memory, the rest in
//! a file without a name. That file is where temporary files are wanted (`TMPDIR`), as sort(1) has it: there need not be a
//! store yet, it may lie on a medium that is read only, and a full one must still give its values out.

use std::fs::File;
use std::io::{self, BufReader, Cursor, ErrorKind, Read, Seek, SeekFrom, Write};

use super::exit::Failure;

/// Bytes that are kept in memory.
const IN_MEMORY: usize = 8 << 20;

/// Bytes read at once.
const PIECE: usize = 1 << 16;

/// A value that is being gathered.
#[derive(Default)]
pub(super) struct Spool {
    memory: Vec<u8>,
    rest: Option<File>,
    len: u64,
}

impl Spool {
    /// All of it, from the beginning, and how long it is.
    pub(super) fn into_value(self) -> io::Result<Value> {
        let Spool { memory, rest, len } = self;
        let memory = Cursor::new(memory);
        Ok(match rest {
            None => Value { len, bytes: Box::new(memory) },
            Some(mut rest) => {
                rest.seek(SeekFrom::Start(0))?;
                Value { len, bytes: Box::new(memory.chain(BufReader::with_capacity(PIECE, rest))) }
            }
        })
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.rest {
            Some(rest) => rest.write(bytes).map_err(no_room)?,
            None if self.memory.len() < IN_MEMORY => {
                let fits = bytes.get(..IN_MEMORY - self.memory.len()).unwrap_or(bytes);
                self.memory.extend_from_slice(fits);
                fits.len()
            }
            None => self.rest.insert(tempfile::tempfile().map_err(no_room)?).write(bytes).map_err(no_room)?,
        };
        self.len += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn no_room(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::Interrupted {
        return error;
    }
    let place = std::env::temp_dir();
    let text = format!("a temporary file in {} (TMPDIR says where): {error}", place.display());
    io::Error::new(error.kind(), text)
}

/// A whole value, of which the length is known.
pub(super) struct Value {
    pub(super) len: u64,
    pub(super) bytes: Box<dyn Read>,
}

impl Value {
    /// A value from the command line.
    pub(super) fn given(bytes: &[u8]) -> Value {
        Value { len: bytes.len() as u64, bytes: Box::new(Cursor::new(bytes.to_vec())) }
    }

    /// All that standard input has. A long file is not copied: to read it waits for nobody.
    pub(super) fn from_input() -> Result<Value, Failure> {
        let input = |error: io::Error| Failure::from(error).about("standard input");
        let mut file = File::from(nix::unistd::dup(io::stdin()).map_err(io::Error::from).map_err(input)?);
        if let Some(len) = long_file(&mut file) {
            return Ok(Value { len, bytes: Box::new(BufReader::with_capacity(PIECE, file)) });
        }
        let mut spool = Spool::default();
        let mut buffer = vec![0; PIECE];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(spool.into_value()?),
                Ok(len) => spool.write_all(buffer.get(..len).unwrap_or_default())?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(input(error)),
            }
        }
    }
}

/// How much is left of a file that does not fit in memory. The length of a short one may be a lie, as in /proc.
fn long_file(file: &mut File) -> Option<u64> {
    let metadata = file.metadata().ok().filter(|metadata| metadata.is_file())?;
    let left = metadata.len().checked_sub(file.stream_position().ok()?)?;
    Some(left).filter(|left| *left > IN_MEMORY as u64)
}

/// A reader that gives as many bytes as were promised, or fails: the one who sends them may die on the way.
pub(super) struct Promised<'a> {
    bytes: &'a mut dyn Read,
    left: u64,
}

impl<'a> Promised<'a> {
    pub(super) fn new(bytes: &'a mut dyn Read, len: u64) -> Promised<'a> {
        Promised { bytes, left: len }
    }
}

impl Read for Promised<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let len = self.bytes.read(buffer.get_mut(..want).unwrap_or_default())?;
        if len == 0 && want > 0 {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, format!("it ended {} bytes too early", self.left)));
        }
        self.left -= len as u64;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_gives_back_what_it_took() {
        for len in [0, 1, IN_MEMORY - 1, IN_MEMORY, IN_MEMORY + 1, 3 * IN_MEMORY] {
            let bytes: Vec<u8> = (0..len).map(|number| (number ^ number >> 8) as u8).collect();
            let mut spool = Spool::default();
            bytes.chunks(PIECE + 7).for_each(|chunk| spool.write_all(chunk).unwrap());
            assert!(spool.memory.len() <= IN_MEMORY);
            let mut value = spool.into_value().unwrap();
            let mut back = Vec::new();
            value.bytes.read_to_end(&mut back).unwrap();
            assert!(back == bytes && value.len == len as u64, "{len}");
        }
    }

    #[test]
    fn a_value_that_is_cut_short_is_none() {
        let mut buffer = Vec::new();
        assert_eq!(Promised::new(&mut &b"123456"[..], 5).read_to_end(&mut buffer).unwrap(), 5);
        assert_eq!(Promised::new(&mut &b""[..], 0).read_to_end(&mut buffer).unwrap(), 0);
        let error = Promised::new(&mut &b"1234"[..], 5).read_to_end(&mut buffer).unwrap_err();
        assert_eq!(error.to_string(), "it ended 1 bytes too early");
    }
}
