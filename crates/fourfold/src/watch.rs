//! Evaluation as it goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use fourfold_data::SkipReport;
use fourfold_train::evaluation::Watch;
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Interrupted;
use crate::output::{note, watched};

/// Shows an evaluation on the standard error.
pub struct Bar {
    watched: bool,
    bar: Option<ProgressBar>,
    stop: Option<Arc<AtomicBool>>,
}

impl Bar {
    /// Ends the evaluation when `stop` is raised.
    pub fn new(stop: Option<Arc<AtomicBool>>) -> Self {
        Self {
            watched: watched(),
            bar: None,
            stop,
        }
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
            bar.set_prefix(name);
            bar.set_position(0);
            self.bar = Some(bar);
        } else {
            note(format_args!("{name}: {cases} cases"));
        }
    }

    fn advanced(&mut self, cases: usize) -> Result<()> {
        if let Some(bar) = &self.bar {
            bar.inc(cases as u64);
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
