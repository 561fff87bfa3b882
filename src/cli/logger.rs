//! Messages to the operator: a line each on standard error, which of a daemon is its log file.
//!
//! A line is one line, whatever a key is called: control characters are escaped, and what is longer than [`LONGEST`] is cut.
//! `CASKFS_LOG` says which levels are shown. A daemon's messages pass a [rate limit](LogLimit), all but those that were asked
//! for in that way (debug, trace).

use std::fmt::Write as _;
use std::io::Write;
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use log::{Level, Log, Metadata, Record};

use super::log_file::LogFile;
use super::log_limit::{KeptBack, LogLimit};

/// The most bytes of a message.
const LONGEST: usize = 4096;

/// The process's logger.
static LOGGER: OnceLock<Logger> = OnceLock::new();

struct Logger {
    filter: env_logger::Logger,
    daemon: OnceLock<Daemon>,
}

/// What a daemon's messages pass and where they end.
struct Daemon {
    limit: LogLimit,
    log_file: Option<Arc<LogFile>>,
}

/// Begins to show messages.
pub(super) fn start() {
    let level = std::env::var("CASKFS_LOG").unwrap_or_else(|_| "warn".into());
    let filter = env_logger::Builder::new().parse_filters(&level).build();
    let most = filter.filter();
    let logger = LOGGER.get_or_init(|| Logger { filter, daemon: OnceLock::new() });
    if log::set_logger(logger).is_ok() {
        log::set_max_level(most);
    }
}

/// This process is a daemon.
pub(super) fn limit(log_file: Option<Arc<LogFile>>) {
    if let Some(logger) = LOGGER.get() {
        // There is one daemon in a process.
        let _ = logger.daemon.set(Daemon { limit: LogLimit::default(), log_file });
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.filter.matches(record) {
            return;
        }
        let message = one_line(&record.args().to_string());
        let daemon = self.daemon.get();
        let kept_back = match daemon.filter(|_| record.level() <= Level::Info) {
            Some(daemon) => {
                let kind = (record.file_static().unwrap_or_default(), record.line().unwrap_or_default());
                match daemon.limit.pass(kind, &message, Instant::now()) {
                    Some(kept_back) => kept_back,
                    None => return,
                }
            }
            None => KeptBack::default(),
        };
        let line = line(record, &message, kept_back);
        // Nobody can be told that this failed.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
        if let Some(log_file) = daemon.and_then(|daemon| daemon.log_file.as_ref()) {
            log_file.written(line.len() as u64);
        }
    }

    fn flush(&self) {}
}

fn line(record: &Record<'_>, message: &str, KeptBack { same, others }: KeptBack) -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now());
    let mut line = format!("{now} {:<5} {}: {message}", record.level(), record.target());
    // Writing to a string does not fail.
    if same > 0 {
        let _ = write!(line, "; {same} times more since this was last said");
    }
    if others > 0 {
        let _ = write!(line, "; {others} others like this were too many to be said");
    }
    line.push('\n');
    line
}

/// The same without what would end a line, or tell a terminal to do something.
pub(super) fn one_line(message: &str) -> String {
    let mut plain = String::with_capacity(message.len().min(LONGEST));
    for (at, next) in message.char_indices() {
        if plain.len() >= LONGEST {
            let _ = write!(plain, "... ({} bytes more)", message.len() - at);
            break;
        }
        // Separators of lines, and what turns the direction of writing.
        let misleads = matches!(next, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        match next.is_control() || misleads {
            true => plain.extend(next.escape_default()),
            false => plain.push(next),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line() {
        let key = "a\nERROR: all is lost\u{1b}[2J\r\u{202e}\u{85}é";
        assert_eq!(one_line(key), "a\\nERROR: all is lost\\u{1b}[2J\\r\\u{202e}\\u{85}é");
        let long = one_line(&"ä".repeat(100_000));
        assert!(long.len() < LONGEST + 40 && long.ends_with("... (195904 bytes more)"), "{}", long.len());
    }
}
