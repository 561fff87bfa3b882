//! The simulated disk loses what a power cut may take, and nothing else; it fails when it is told to.

mod faults;
mod images;

use std::sync::Arc;

use crate::medium::tests::{contents, errno, kind};
use crate::medium::{File, Medium, SimDisk};

/// A disk with a durable file `a` of the given bytes, and a handle on it.
fn disk_with(bytes: &[u8]) -> (SimDisk, Arc<dyn File>) {
    let disk = SimDisk::new();
    disk.put_file("a", bytes);
    let file = disk.open("a", true).unwrap();
    (disk, file)
}

/// What file `a` holds on each of many images.
fn images_of_a(disk: &SimDisk) -> Vec<Option<Vec<u8>>> {
    let images = disk.power_cut_images(1, 500);
    images.iter().map(|image| image.file("a")).collect()
}
