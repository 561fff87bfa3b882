//! Random numbers that are cheap beside any operation, and the same in each run.

/// Marsaglia's xorshift64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(0x9E37_79B9_7F4A_7C15 ^ ((seed + 1) << 32))
    }

    /// One of the numbers from 0, this one left out.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }
}
