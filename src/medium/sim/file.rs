//! An open file of a simulated disk.

use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::State;
use super::bytes::ByteChange;
use super::faults::Access;
use crate::medium::File;

/// The longest file: every byte of it, holes too, is held in memory.
const LONGEST: u64 = 1 << 32;

/// A handle on a file, whatever its name is by now.
pub(super) struct SimFile {
    pub(super) state: Arc<Mutex<State>>,
    /// The file's number.
    pub(super) file: u64,
    /// The path that it was opened by.
    pub(super) path: String,
    /// Whether it was opened for writing.
    pub(super) write: bool,
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile").field("path", &self.path).field("write", &self.write).finish_non_exhaustive()
    }
}

/// The place in memory of the byte at `offset`, or the length of a file that ends there.
fn place(offset: u64) -> io::Result<usize> {
    let place = usize::try_from(offset).ok();
    let place = place.filter(|_| offset <= LONGEST);
    place.ok_or_else(|| io::Error::from_raw_os_error(libc::EFBIG))
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state.lock();
        let wanted = offset..offset.saturating_add(buffer.len() as u64);
        state.faults.access(Access::Read, &self.path, &wanted)?;
        let mut unreadable = state.faults.unreadable();
        if unreadable.any(|path| state.tree.file_at(path).ok() == Some(self.file))
            || state.faults.is_bad(self.file, &wanted)
        {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let bytes = state.tree.file(self.file)?.now().as_slice();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = bytes.get(start..).unwrap_or_default();
        let len = found.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..len), found.get(..len)) {
            to.copy_from_slice(from);
        }
        Ok(len)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state.lock();
        let (wanted, end) = state.faults.begin_write(data.len())?;
        if !self.write {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        let len = state.tree.file(self.file)?.now().len();
        let offset = place(offset)?;
        place((offset + data.len()) as u64)?;
        let mut fits = wanted;
        if offset + wanted > len {
            let room = usize::try_from(state.room()).unwrap_or(usize::MAX);
            fits = wanted.min(len.saturating_add(room).saturating_sub(offset));
        }
        if fits == 0 && wanted > 0 {
            end?;
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        if fits > 0 {
            let data = data.get(..fits).unwrap_or_default().into();
            let write = ByteChange::Write { offset, data };
            state.tree.file_mut(self.file)?.change(write);
        }
        end.map(|()| fits)
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.state.lock();
        state.faults.powered()?;
        Ok(state.tree.file(self.file)?.now().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.faults.begin()?;
        if !self.write {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let len = place(len)?;
        let growth = len.saturating_sub(state.tree.file(self.file)?.now().len());
        if growth > 0 && growth as u64 > state.room() {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        let file = state.tree.file_mut(self.file)?;
        file.change(ByteChange::SetLen(len));
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if self.state.lock().sparse {
            return Err(io::ErrorKind::Unsupported.into());
        }
        match self.len()? < len {
            true => self.set_len(len),
            false => Ok(()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        let begun = state.faults.begin();
        let powered = state.faults.powered().is_ok();
        let ignored = state.ignores_sync(&self.path);
        let file = state.tree.file_mut(self.file)?;
        match begun {
            Ok(()) if !ignored => file.sync(),
            // When the power went, what was written may still have reached the medium.
            Err(_) if powered => file.fail_sync(),
            _ => {}
        }
        begun
    }
}
