//! One operation of one client.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write as _};
use std::path::{Path, PathBuf};

use clap::ValueEnum;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Create a key and write its value.
    Put,
    /// Give a key a new value in place: truncate and write.
    Overwrite,
    /// Give a key a new value by way of a temporary file and rename.
    Replace,
    /// Open and read once what the kernel has in its cache.
    Get,
    /// As cat does: open, fstat, read until the end.
    Cat,
    /// lstat of keys that are there.
    Stat,
    /// lstat of keys that are not.
    Negative,
    /// Unlink every key.
    Delete,
    /// lstat of keys that the kernel has not seen before.
    ColdStat,
    /// cat of keys that the kernel has not seen before.
    ColdGet,
    /// readdir and lstat of each name.
    List,
    /// Write one large file, fsync included.
    StreamWrite,
    /// Read it, when the filesystem that it is in has nothing of it in the page cache.
    StreamRead,
    /// Read it once more.
    StreamReadWarm,
}

impl Kind {
    /// As on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// How values are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write {
    pub(crate) fsync: bool,
    pub(crate) size: usize,
}

/// A client, with all that it needs made before the clock runs.
pub(crate) struct Client {
    write: Write,
    value: Vec<u8>,
    buffer: Vec<u8>,
    temporary: PathBuf,
}

impl Client {
    pub(crate) fn new(number: usize, directory: &Path, write: Write) -> Client {
        let value: Vec<u8> = (0..write.size).map(|byte| (byte * 31 + number) as u8).collect();
        Client {
            write,
            value,
            buffer: vec![0; write.size * 2],
            temporary: directory.join(format!(".temporary-{number}")),
        }
    }

    pub(crate) fn perform(&mut self, kind: Kind, key: &Path) -> io::Result<()> {
        match kind {
            Kind::Put => self.put(OpenOptions::new().write(true).create_new(true).open(key)?),
            Kind::Overwrite => self.put(OpenOptions::new().write(true).truncate(true).open(key)?),
            Kind::Replace => {
                self.put(OpenOptions::new().write(true).create(true).truncate(true).open(&self.temporary)?)?;
                fs::rename(&self.temporary, key)
            }
            Kind::Get => {
                let read = File::open(key)?.read(&mut self.buffer)?;
                self.check(read)
            }
            Kind::Cat => {
                let mut file = File::open(key)?;
                let mut left = file.metadata()?.len() as usize;
                while let read @ 1.. = file.read(&mut self.buffer)? {
                    left = left.saturating_sub(read);
                }
                self.check(self.write.size - left)
            }
            Kind::Stat => fs::symlink_metadata(key).map(drop),
            Kind::Negative => match fs::symlink_metadata(key) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
                Ok(_) => Err(io::Error::other("a key is there that nobody has put")),
            },
            Kind::Delete => fs::remove_file(key),
            Kind::ColdStat
            | Kind::ColdGet
            | Kind::List
            | Kind::StreamWrite
            | Kind::StreamRead
            | Kind::StreamReadWarm => Err(io::Error::other("this is not done by a client")),
        }
    }

    fn put(&mut self, mut file: File) -> io::Result<()> {
        file.write_all(&self.value)?;
        if self.write.fsync {
            file.sync_all()?;
        }
        // Dropping it would hide an error of close, and close is what makes a value durable on some.
        nix::unistd::close(file).map_err(io::Error::from)
    }

    fn check(&self, read: usize) -> io::Result<()> {
        if read == self.write.size { Ok(()) } else { Err(io::Error::other(format!("{read} bytes were read"))) }
    }
}
