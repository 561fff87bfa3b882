//! A file that was filled with zeros before, into which one record after the other is written, and each is synced. Its size
//! and its blocks do not change, so that a sync carries no metadata.

use std::fs::{File, OpenOptions};
use std::io::{Result, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of the file; the records begin again at its start.
const FILE: usize = 64 << 20;

/// The file, removed again when it is dropped.
#[derive(Debug)]
pub struct RecordFile {
    path: PathBuf,
    file: File,
    record: Vec<u8>,
    offset: usize,
    number: u64,
}

impl RecordFile {
    /// Bytes of a record if nothing else is asked for: a value of 1 KiB, and what caskfs writes around it.
    pub const RECORD: usize = 1152;

    /// Makes the file in a directory, for records of so many bytes.
    pub fn create(directory: &Path, record: usize) -> Result<RecordFile> {
        let path = directory.join("disk.bench");
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
        let zeros = vec![0; 1 << 20];
        for _ in 0..FILE / zeros.len() {
            file.write_all(&zeros)?;
        }
        file.sync_all()?;
        Ok(RecordFile { path, file, record: vec![1; record.clamp(8, FILE)], offset: 0, number: 0 })
    }

    /// Writes the next record and waits for the disk.
    pub fn append(&mut self) -> Result<()> {
        self.number += 1;
        self.record[..8].copy_from_slice(&self.number.to_le_bytes());
        self.file.write_all_at(&self.record, self.offset as u64)?;
        self.file.sync_data()?;
        self.offset += self.record.len();
        if self.offset + self.record.len() > FILE {
            self.offset = 0;
        }
        Ok(())
    }
}

impl Drop for RecordFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
