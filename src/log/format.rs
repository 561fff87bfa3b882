//! The format file: what a store says of itself, in four lines of text.

use std::fmt;
use std::io;

use super::error::{Context, Error};
use super::files;
use crate::medium::Medium;

/// The version that this program writes, and the newest that it reads. It reads all that were before.
pub const FORMAT_VERSION: u32 = 2;

/// Identity of a store, made at random when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreId(pub [u8; 16]);

impl fmt::Display for StoreId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

const FIRST_LINE: &str = "caskfs store";

/// Writes the format file: the last step of creating a store.
pub(super) fn write(medium: &dyn Medium, id: StoreId) -> io::Result<()> {
    let text = format!("{FIRST_LINE}\nversion {FORMAT_VERSION}\nid {id}\n");
    let crc = crc32fast::hash(text.as_bytes());
    files::replace(medium, files::FORMAT, format!("{text}checksum {crc:08x}\n").as_bytes()).map(drop)
}

/// Reads the format file. A version of the future is refused before anything else of the file is looked at.
pub(super) fn read(medium: &dyn Medium) -> Result<StoreId, Error> {
    let bytes = match files::read(medium, files::FORMAT, 4096) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::NotAStore),
        other => other.context(|| "reading the format file".into())?,
    };
    let damaged = |what| Error::DamagedFile { file: files::FORMAT.into(), what };
    let text = std::str::from_utf8(&bytes).map_err(|_| damaged("it is not text"))?;
    let mut lines = text.lines();
    if lines.next() != Some(FIRST_LINE) {
        return Err(Error::NotAStore);
    }
    let version = lines.next().and_then(|line| line.strip_prefix("version ")?.parse().ok());
    let version: u32 = version.ok_or_else(|| damaged("no version"))?;
    if version > FORMAT_VERSION {
        return Err(Error::FutureVersion { found: version, known: FORMAT_VERSION });
    }
    let id = lines.next().and_then(|line| parse_id(line.strip_prefix("id ")?)).ok_or_else(|| damaged("no id"))?;
    let (text, checksum) = text.rsplit_once("checksum ").ok_or_else(|| damaged("no checksum"))?;
    match u32::from_str_radix(checksum.trim_end(), 16) {
        Ok(crc) if crc == crc32fast::hash(text.as_bytes()) => Ok(id),
        _ => Err(damaged("wrong checksum")),
    }
}

fn parse_id(text: &str) -> Option<StoreId> {
    let number = (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok())??;
    Some(StoreId(number.to_be_bytes()))
}
