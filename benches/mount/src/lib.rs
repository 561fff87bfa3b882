//! What the programs of this crate share: latencies, and how they are told.

mod latencies;

pub use latencies::{Latencies, Measurement};
