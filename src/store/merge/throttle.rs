//! A rate limit: a token bucket that is told the time.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// A wait shorter than this is left for later: to sleep for so short is to sleep for longer.
const LEAST: Duration = Duration::from_millis(5);

/// So many bytes a second. What was not used of the last quarter of a second may be used at once.
#[derive(Debug)]
pub(in crate::store) struct Throttle {
    rate: Option<NonZeroU64>,
    /// Bytes that may be used; below 0, what was used ahead of time.
    tokens: f64,
    filled: Option<Instant>,
}

impl Throttle {
    pub(in crate::store) fn new(rate: Option<NonZeroU64>) -> Throttle {
        Throttle { rate, tokens: 0.0, filled: None }
    }

    /// Takes so many bytes; returns how long to wait before going on.
    pub(in crate::store) fn spend(&mut self, bytes: u64, now: Instant) -> Option<Duration> {
        let rate = self.rate?.get() as f64;
        let elapsed = self.filled.replace(now).map_or(Duration::ZERO, |filled| now.saturating_duration_since(filled));
        self.tokens = (self.tokens + elapsed.as_secs_f64() * rate).min(rate / 4.0) - bytes as f64;
        let wait = Duration::try_from_secs_f64(-self.tokens / rate).unwrap_or(Duration::ZERO);
        (wait >= LEAST).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spends until so much time has gone by, and returns the bytes.
    fn spent(rate: u64, chunk: u64, seconds: u64) -> u64 {
        let start = Instant::now();
        let (mut now, mut bytes) = (start, 0);
        let mut throttle = Throttle::new(NonZeroU64::new(rate));
        while now < start + Duration::from_secs(seconds) {
            bytes += chunk;
            now += throttle.spend(chunk, now).unwrap_or(Duration::ZERO);
        }
        bytes
    }

    #[test]
    fn a_rate_is_kept_whatever_the_size_of_the_pieces() {
        for (rate, chunk) in [(1_000_000, 100), (1_000_000, 150_000), (1_000, 16_000_000), (1 << 30, 1 << 20)] {
            let bytes = spent(rate, chunk, 60);
            let most = rate * 60 + chunk + rate / 100;
            assert!(bytes <= most && bytes + chunk >= rate * 60, "{bytes} of {most}, in pieces of {chunk}");
        }
    }

    #[test]
    fn idleness_is_no_credit() {
        let start = Instant::now();
        let mut throttle = Throttle::new(NonZeroU64::new(1_000));
        throttle.spend(10, start);
        let later = start + Duration::from_secs(3_600);
        assert_eq!(throttle.spend(250, later), None);
        assert_eq!(throttle.spend(500, later), Some(Duration::from_millis(500)));
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        assert_eq!(Throttle::new(None).spend(u64::MAX, Instant::now()), None);
    }
}
