//! Evaluation as it goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use fourfold_data::SkipReport;
use fourfold_train::evaluation::Watch;
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Interrupted;
use crate::output::{note, watched};

/// Where nobody watches a bar, progress is told that often.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// Shows an evaluation on the standard error.
pub struct Bar {
    watched: bool,
    bar: Option<ProgressBar>,
    name: String,
    cases: usize,
    done: usize,
    told: Instant,
    stop: Option<Arc<AtomicBool>>,
}

impl Bar {
    /// Ends the evaluation when `stop` is raised.
    pub fn new(stop: Option<Arc<AtomicBool>>) -> Self {
        Self {
            watched: watched(),
            bar: None,
            name: String::new(),
            cases: 0,
            done: 0,
            told: Instant::now(),
            stop,
        }
    }

    /// How many cases of the last evaluation are done.
    pub fn done(&self) -> usize {
        self.done
    }
}

impl Watch for Bar {
    fn begins(&mut self, evaluation: &str, system: &str, cases: usize) {
        let name = format!("evaluating {evaluation}, {}", system.replace('_', " "));
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if self.watched {
            let bar = ProgressBar::new(cases as u64);
            let style = ProgressStyle::with_template("{prefix} {bar:20} {pos}/{len}  {eta} left");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(name.clone());
            bar.set_position(0);
            self.bar = Some(bar);
        } else {
            note(format_args!("{name}: {cases} cases"));
        }
        (self.name, self.cases, self.done) = (name, cases, 0);
        self.told = Instant::now();
    }

    fn advanced(&mut self, cases: usize) -> Result<()> {
        self.done += cases;
        if let Some(bar) = &self.bar {
            bar.inc(cases as u64);
        } else if self.told.elapsed() >= TOLD_EVERY {
            self.told = Instant::now();
            note(format_args!(
                "{}: {} of {} cases",
                self.name, self.done, self.cases
            ));
        }
        if self
            .stop
            .as_ref()
            .is_some_and(|stop| stop.load(Ordering::Relaxed))
        {
            return Err(Interrupted.into());
        }
        Ok(())
    }

    fn skipped(&mut self, evaluation: &str, report: &SkipReport) {
        let text = format!("{evaluation}: {report}");
        match &self.bar {
            Some(bar) => bar.println(text),
            None => note(format_args!("{text}")),
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
