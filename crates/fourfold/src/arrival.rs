//! Models on their way from the hub: a bar where someone watches, a line now and then where not.

use std::time::{Duration, Instant};

use fourfold_train::progress::Arrival;
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::{bytes, note, watched};

/// Time between plain lines.
const EVERY: Duration = Duration::from_secs(10);

/// Shows downloads on the standard error.
pub struct Arrivals {
    watched: bool,
    bar: Option<ProgressBar>,
    /// When a line was last written; none before the first.
    told: Option<Instant>,
}

impl Arrivals {
    /// A bar if someone watches, lines if not.
    pub fn new() -> Self {
        Self {
            watched: watched(),
            bar: None,
            told: None,
        }
    }

    /// Shows how far it is.
    pub fn show(&mut self, arrival: &Arrival<'_>) {
        if !self.watched {
            return self.tell(arrival);
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::new(arrival.total);
            let style = ProgressStyle::with_template(
                "fetching {prefix} {bar:20} {bytes}/{total_bytes}  {bytes_per_sec}, {eta} left  {msg}",
            );
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(arrival.id.to_string());
            bar
        });
        bar.set_length(arrival.total);
        bar.set_position(arrival.received);
        if bar.message() != arrival.file {
            bar.set_message(arrival.file.to_owned());
        }
        if arrival.received == arrival.total {
            bar.finish_and_clear();
            self.bar = None;
        }
    }

    fn tell(&mut self, arrival: &Arrival<'_>) {
        if self.told.is_some_and(|told| told.elapsed() < EVERY) {
            return;
        }
        self.told = Some(Instant::now());
        note(format_args!(
            "fetching {}: {} of {} ({})",
            arrival.id,
            bytes(arrival.received),
            bytes(arrival.total),
            arrival.file
        ));
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}
