//! Latencies of one kind of operation.

use std::time::Duration;

use serde::Serialize;

/// How long each operation took, in nanoseconds.
#[derive(Debug, Default)]
pub struct Latencies(Vec<u64>);

impl Latencies {
    /// Adds one operation.
    pub fn add(&mut self, latency: Duration) {
        self.0.push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds what another client saw.
    pub fn append(&mut self, mut other: Latencies) {
        self.0.append(&mut other.0);
    }

    /// Sums up what `clients` did in `elapsed`.
    #[must_use]
    pub fn measurement(mut self, operation: &str, clients: usize, elapsed: Duration) -> Measurement {
        self.0.sort_unstable();
        let seconds = elapsed.as_secs_f64();
        Measurement {
            operation: operation.to_owned(),
            clients,
            count: self.0.len() as u64,
            seconds,
            per_second: self.0.len() as f64 / seconds,
            p50_us: self.percentile(50),
            p99_us: self.percentile(99),
        }
    }

    /// In microseconds; 0 if there was no operation. The latencies are sorted.
    fn percentile(&self, percent: usize) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get(last * percent / 100).map_or(0.0, |nanoseconds| *nanoseconds as f64 / 1000.0)
    }
}

/// One result, printed as a line of JSON.
#[derive(Debug, Serialize)]
pub struct Measurement {
    pub operation: String,
    pub clients: usize,
    /// Operations, names or bytes.
    pub count: u64,
    pub seconds: f64,
    pub per_second: f64,
    /// Median and 99th percentile of an operation's latency in microseconds.
    pub p50_us: f64,
    pub p99_us: f64,
}

impl Measurement {
    /// Prints it.
    ///
    /// # Errors
    /// Standard output's.
    pub fn print(&self) -> std::io::Result<()> {
        use std::io::Write;
        let mut output = std::io::stdout().lock();
        serde_json::to_writer(&mut output, self)?;
        writeln!(output)?;
        output.flush()
    }
}
