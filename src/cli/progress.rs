//! How far something has come, on a terminal; elsewhere nothing is shown.

use indicatif::{ProgressBar, ProgressStyle};

use super::output;

/// A bar on standard error, if that is a terminal. It goes away with the value.
#[derive(Default)]
pub(super) struct Bar(Option<ProgressBar>);

impl Bar {
    /// Shows that so many bytes are done, of so many if that is known.
    pub(super) fn show(&mut self, done: u64, total: Option<u64>) {
        let bar = self.0.get_or_insert_with(|| match total {
            Some(total) => ProgressBar::new(total)
                .with_style(style("{wide_bar} {binary_bytes} of {binary_total_bytes}, {eta} left")),
            None => ProgressBar::no_length().with_style(style("{spinner} {binary_bytes}, {binary_bytes_per_sec}")),
        });
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(done);
    }

    /// Says something on standard error, past the bar.
    pub(super) fn say(&self, text: impl std::fmt::Display) {
        match &self.0 {
            Some(bar) => bar.suspend(|| output::say(text)),
            None => output::say(text),
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
