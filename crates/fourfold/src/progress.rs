//! Training as it goes: a bar a stage where someone watches, a line now and then where not.

use std::path::Path;
use std::time::{Duration, Instant};

use fourfold_data::Skip;
use fourfold_train::metrics::StepRecord;
use fourfold_train::progress::{Arrival, Progress, StageInfo};
use fourfold_train::samples::SampleRecord;
use indicatif::{ProgressBar, ProgressStyle};

use crate::arrival::Arrivals;
use crate::output::{count, duration, note, printable, watched};

/// Time between plain lines.
const EVERY: Duration = Duration::from_secs(10);
/// Broken samples that are told one by one.
const TOLD: usize = 5;
/// Captions that are shown at the end of a stage.
const SHOWN: usize = 3;

/// The longest reason that is told whole, in characters.
const LONGEST: usize = 400;

/// `text`, cut where it is long: a message may hold a path of thousands of characters.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

/// Shows a run on the standard error.
pub struct Bars {
    watched: bool,
    stage: Option<StageBar>,
    /// Whether a stage began.
    trained: bool,
    /// Broken samples that were told.
    skipped: usize,
    /// Those that skipped.jsonl lists.
    listed: usize,
    samples: Vec<SampleRecord>,
    arrivals: Arrivals,
}

struct StageBar {
    info: StageInfo,
    bar: Option<ProgressBar>,
    begin: Instant,
    told: Instant,
    /// Samples seen, those before a resume included.
    seen: usize,
    /// Those before a resume.
    before: usize,
    tokens: usize,
    loss: Option<f64>,
}

impl Bars {
    /// Bars if someone watches, lines if not.
    pub fn new() -> Self {
        Self {
            watched: watched(),
            stage: None,
            trained: false,
            skipped: 0,
            listed: 0,
            samples: Vec::new(),
            arrivals: Arrivals::new(),
        }
    }

    /// Whether there was anything to train.
    pub fn trained(&self) -> bool {
        self.trained
    }

    fn line(&self, text: &str) {
        match self.stage.as_ref().and_then(|stage| stage.bar.as_ref()) {
            Some(bar) => bar.println(text),
            None => note(format_args!("{text}")),
        }
    }
}

impl StageBar {
    fn total(&self) -> usize {
        self.info.updates * self.info.batch
    }

    fn rate(&self) -> f64 {
        self.tokens as f64 / self.begin.elapsed().as_secs_f64().max(1e-9)
    }

    fn left(&self) -> f64 {
        let seen = (self.seen - self.before).max(1) as f64;
        self.begin.elapsed().as_secs_f64() / seen * self.total().saturating_sub(self.seen) as f64
    }

    fn message(&self) -> String {
        let loss = self
            .loss
            .map_or_else(String::new, |loss| format!("loss {loss:.3}  "));
        format!("{loss}{} tokens/s", count(self.rate() as usize))
    }

    /// The mean of about the last twenty updates.
    fn note_loss(&mut self, loss: f64) {
        // In fp16 that of a skipped update may be none.
        if !loss.is_finite() {
            return;
        }
        let before = self.loss.unwrap_or(loss);
        self.loss = Some(before + (loss - before) / 20.0_f64.min((self.info.done + 1) as f64));
    }
}

impl Progress for Bars {
    fn note(&mut self, text: &str) {
        self.line(text);
    }

    fn arriving(&mut self, arrival: &Arrival<'_>) {
        self.arrivals.show(arrival);
    }

    fn stage_begins(&mut self, stage: &StageInfo) {
        let before = stage.done * stage.batch;
        let trainable = count(stage.trainable);
        let place = format!("stage {}/{} {}", stage.index + 1, stage.stages, stage.name);
        let bar = self.watched.then(|| {
            let bar = ProgressBar::new((stage.updates * stage.batch) as u64);
            let style =
                ProgressStyle::with_template("{prefix} {bar:20} {pos}/{len} samples  {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(place.clone());
            bar.set_position(before as u64);
            bar
        });
        let bar = StageBar {
            info: stage.clone(),
            begin: Instant::now(),
            told: Instant::now(),
            seen: before,
            before,
            tokens: 0,
            loss: None,
            bar,
        };
        if bar.bar.is_none() {
            self.line(&format!(
                "{place}: {} samples, {trainable} parameters train",
                bar.total()
            ));
        }
        self.stage = Some(bar);
        self.trained = true;
    }

    fn updated(&mut self, record: &StepRecord) {
        let Some(stage) = &mut self.stage else {
            return;
        };
        stage.info.done = record.update;
        stage.seen = record.update * stage.info.batch;
        stage.tokens += record.tokens;
        stage.note_loss(record.loss);
        let left = duration(stage.left());
        if let Some(bar) = &stage.bar {
            bar.set_position(stage.seen as u64);
            bar.set_message(format!("{}  {left} left", stage.message()));
        } else if stage.told.elapsed() >= EVERY {
            stage.told = Instant::now();
            let text = format!(
                "{}: {}/{} samples  {}  {left} left",
                stage.info.name,
                stage.seen,
                stage.total(),
                stage.message()
            );
            self.line(&text);
        }
    }

    fn skipped(&mut self, skipped: &[Skip], listed: usize) {
        self.listed = listed;
        for skip in skipped {
            if self.skipped < TOLD {
                self.line(&format!("skipped: {}", printable(&shortened(&skip.reason))));
            } else if self.skipped == TOLD {
                self.line(
                    "more broken samples are skipped; skipped.jsonl in the run folder lists them",
                );
            }
            self.skipped += 1;
        }
    }

    fn sampled(&mut self, _step: usize, samples: &[SampleRecord]) {
        self.samples = samples.iter().take(SHOWN).cloned().collect();
    }

    fn checkpointed(&mut self, _folder: &Path) {}

    fn stage_ends(&mut self, _stage: &StageInfo) {
        let Some(stage) = self.stage.take() else {
            return;
        };
        let time = duration(stage.begin.elapsed().as_secs_f64());
        match &stage.bar {
            Some(bar) => {
                bar.set_message(format!("{}  {time}", stage.message()));
                bar.finish();
            }
            None => self.line(&format!(
                "{}: done in {time}, {} samples  {}",
                stage.info.name,
                stage.seen,
                stage.message()
            )),
        }
        for sample in std::mem::take(&mut self.samples) {
            self.line(&printable(&format!(
                "    {} → {}",
                sample.reference, sample.answer
            )));
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        if let Some(bar) = self.stage.as_ref().and_then(|stage| stage.bar.as_ref()) {
            bar.abandon();
        }
        if self.listed > 0 {
            note(format_args!(
                "broken samples that were skipped: {}; skipped.jsonl in the run folder lists them",
                self.listed
            ));
        }
    }
}
