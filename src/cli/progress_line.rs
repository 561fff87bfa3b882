//! How far a long command has come: a line on standard error, if a person sees it.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::listing::bytes;

/// How often the line is written anew.
const INTERVAL: Duration = Duration::from_millis(200);

/// A line that says how much is done. Nothing is shown where standard error is no terminal.
pub(super) struct ProgressLine {
    what: &'static str,
    shown: Option<Instant>,
    terminal: bool,
}

impl ProgressLine {
    pub(super) fn new(what: &'static str) -> ProgressLine {
        ProgressLine { what, shown: None, terminal: std::io::stderr().is_terminal() }
    }

    /// So many bytes are done, of so many if that is known.
    pub(super) fn show(&mut self, done: u64, total: Option<u64>) {
        if !self.terminal || self.shown.is_some_and(|shown| shown.elapsed() < INTERVAL) {
            return;
        }
        self.shown = Some(Instant::now());
        let of = total.map(|total| format!(" of {}", bytes(total))).unwrap_or_default();
        // What nobody can read need not be written.
        let _ = write!(std::io::stderr(), "\r{} {}{of}\x1b[K", self.what, bytes(done));
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
