//! The file `clock`: what the layer above noted of the time. It means nothing to the log, and nothing is lost with it.

use super::error::{Context, Error};
use super::{Decoder, Encoder, Log, files};

const MAGIC: &[u8; 8] = b"CASKCLK\x01";
const LEN: u64 = 44;

impl Log {
    /// What was noted of the time, if it is there and as it was written.
    pub fn read_clock(&self) -> Option<[i64; 4]> {
        decode(&files::read(&*self.medium, files::CLOCK, LEN).ok()?)
    }

    /// Notes it, in the place of what was noted before.
    ///
    /// # Errors
    /// Those of the medium: they do no harm.
    pub fn write_clock(&self, note: [i64; 4]) -> Result<(), Error> {
        self.check()?;
        files::replace(&*self.medium, files::CLOCK, &encode(note)).context(|| "noting the time".into()).map(drop)
    }
}

fn encode(note: [i64; 4]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    note.into_iter().for_each(|number| bytes.put_i64(number));
    bytes.put_u32(crc32fast::hash(&bytes));
    bytes
}

fn decode(bytes: &[u8]) -> Option<[i64; 4]> {
    let (body, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    let mut decoder = Decoder::new(body.strip_prefix(MAGIC)?);
    let mut note = [0; 4];
    for number in &mut note {
        *number = decoder.i64().ok()?;
    }
    let whole = decoder.rest().is_empty() && Decoder::new(crc).u32().ok()? == crc32fast::hash(body);
    whole.then_some(note)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_of_the_time_is_read_as_it_was_written_or_not_at_all() {
        let note = [1, -2, i64::MAX, i64::MIN];
        let bytes = encode(note);
        assert_eq!(bytes.len() as u64, LEN);
        assert_eq!(decode(&bytes), Some(note));
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&changed), None, "bit {bit}");
        }
        (0..bytes.len()).for_each(|len| assert_eq!(decode(&bytes[..len]), None));
    }
}
