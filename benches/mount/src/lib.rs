//! What the programs of this crate share: latencies, how they are told, and the bare disk.

mod latencies;
mod record_file;

pub use latencies::{Latencies, Measurement};
pub use record_file::RecordFile;
