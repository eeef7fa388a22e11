//! Progress bars on standard error, silent when that is not a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// Makes the bars of a training.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Whether no bar is shown at all.
    pub quiet: bool,
}

impl Progress {
    /// A bar over the bytes of a file.
    pub fn bytes(self, name: &str, total: u64) -> ProgressBar {
        self.bar(name, total, "{msg:<24} {bar:40} {bytes}/{total_bytes}")
    }

    /// A bar over the runs of a fit.
    pub fn steps(self, name: &str, total: u64) -> ProgressBar {
        self.bar(name, total, "{msg:<24} {bar:40} {pos}/{len}")
    }

    fn bar(self, name: &str, total: u64, template: &str) -> ProgressBar {
        if self.quiet {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(total).with_style(style).with_message(name.to_owned())
    }
}
