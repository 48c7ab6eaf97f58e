//! How far a command has gone through data: a bar where someone watches, a line now and then where not.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::{duration, note, watched};

/// Time between plain lines.
const EVERY: Duration = Duration::from_secs(10);

/// Shows on the standard error how many of some things are done.
pub struct Bar {
    name: String,
    total: usize,
    begin: Instant,
    bar: Option<ProgressBar>,
    /// How many are done, and when a line was last written.
    done: Mutex<(usize, Instant)>,
}

impl Bar {
    /// Of `total` things, `name` says what is done with them.
    pub fn new(name: &str, total: usize) -> Self {
        let bar = watched().then(|| {
            let bar = ProgressBar::new(total as u64);
            let style = ProgressStyle::with_template(
                "{prefix} {bar:20} {pos}/{len} samples  {per_sec}, {eta} left",
            );
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(name.to_owned());
            bar
        });
        Self {
            name: name.into(),
            total,
            begin: Instant::now(),
            bar,
            done: Mutex::new((0, Instant::now())),
        }
    }

    /// So many more are done.
    pub fn advance(&self, more: usize) {
        if let Some(bar) = &self.bar {
            return bar.inc(more as u64);
        }
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.0 += more;
        let (now, told) = *done;
        if told.elapsed() >= EVERY {
            done.1 = Instant::now();
            let passed = self.begin.elapsed().as_secs_f64();
            let left = passed / now as f64 * self.total.saturating_sub(now) as f64;
            note(format_args!(
                "{}: {now}/{} samples, {} left",
                self.name,
                self.total,
                duration(left)
            ));
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
