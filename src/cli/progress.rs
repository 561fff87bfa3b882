//! How far something has come, on a terminal; elsewhere nothing is shown.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on standard error, if that is a terminal. It goes away with the value.
#[derive(Default)]
pub(super) struct Bar(Option<ProgressBar>);

impl Bar {
    /// Shows that so many bytes of so many are done.
    pub(super) fn show(&mut self, done: u64, total: u64) {
        let bar = self.0.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{wide_bar} {binary_bytes} of {binary_total_bytes}, {eta} left");
            ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        bar.set_length(total);
        bar.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
