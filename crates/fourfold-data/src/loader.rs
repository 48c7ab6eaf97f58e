//! Batches of packs, made ahead of the training step in the background.

mod shard;
mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

use crate::{DataError, Encoder, Mixture, Pack, PackBudget, Sampler, SamplerState, Skip};
pub use shard::Shard;
use window::{Maker, Window};

/// How much an update reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchSize {
    /// So many draws, in as many packs as they take.
    Documents(usize),
    /// So many packs, filled from a window of draws that is many times larger.
    Packs(usize),
}

/// What becomes of a document that is longer than `max_tokens`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TooLong {
    /// It is cut at the end of its last answer.
    #[default]
    Cut,
    /// It is left out.
    Drop,
}

/// Where batches end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nowhere.
    Never,
    /// After so many draws, counted from the mixture's beginning.
    Draws(u64),
    /// With the batch or pack in which the documents come to so many tokens.
    Tokens(u64),
}

impl End {
    /// How many of `wanted` draws may be made at `state`.
    fn allows(self, state: &SamplerState, wanted: usize) -> usize {
        match self {
            Self::Never => wanted,
            Self::Draws(limit) => limit.saturating_sub(state.total()).min(wanted as u64) as usize,
            Self::Tokens(limit) if state.tokens >= limit => 0,
            Self::Tokens(_) => wanted,
        }
    }

    /// Whether so many tokens are enough.
    fn is_reached(self, tokens: u64) -> bool {
        matches!(self, Self::Tokens(limit) if tokens >= limit)
    }

    /// How much of the way is gone after so many draws and tokens, from 0 to 1; 0 where there is no end.
    fn progress(self, draws: f64, tokens: u64) -> f64 {
        let part = |done: f64, all: u64| (done / all.max(1) as f64).min(1.0);
        match self {
            Self::Never => 0.0,
            Self::Draws(limit) => part(draws, limit),
            Self::Tokens(limit) => part(tokens as f64, limit),
        }
    }
}

/// How batches are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoaderConfig {
    /// What one update reads, over all processes.
    pub batch: BatchSize,
    /// Where batches end; the last may be smaller.
    pub end: End,
    /// What a pack holds.
    pub budget: PackBudget,
    /// What becomes of documents that are too long.
    pub too_long: TooLong,
    /// Decides the order of draws and every random choice. Ignored when resuming, where the
    /// position's own seed holds.
    pub seed: u64,
    /// Which part of the batches is read here. Positions do not depend on it: a run goes on with another number of
    /// processes where it was stopped.
    pub shard: Shard,
    /// Batches made ahead.
    pub prefetch: usize,
    /// Threads of the loader's own pool. The result does not depend on them.
    pub threads: usize,
    /// Whether a broken sample is an error rather than skipped.
    pub strict: bool,
}

/// The documents of one update.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The documents, packed.
    pub packs: Vec<Pack>,
    /// How many documents.
    pub documents: usize,
    /// How many documents all processes together have for this batch, before their images are read.
    pub planned: usize,
    /// How many rows.
    pub tokens: usize,
    /// How many rows with a target: what the loss is averaged over.
    pub targets: usize,
    /// How many images.
    pub images: usize,
    /// How many documents were cut at the token limit.
    pub truncated: usize,
    /// How many were left out since they were too long.
    pub dropped: usize,
    /// Broken samples that were passed over while this batch was made.
    pub skipped: Vec<Skip>,
    /// How much of the way to the end was gone before this batch, from 0 to 1.
    pub progress: f64,
    /// Whether no other follows.
    pub last: bool,
    /// The position after this batch: what a checkpoint taken after using it stores.
    pub state_after: SamplerState,
}

/// Makes batches in the background. Dropping it ends its thread.
pub struct Loader {
    batches: Option<Receiver<Result<Batch, DataError>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Loader {
    /// Starts at the beginning, or at `resume`.
    ///
    /// # Errors
    /// When a number is 0 that must not be, or the position is of another mixture.
    pub fn start(
        mixture: Mixture,
        encoder: Arc<Encoder>,
        config: LoaderConfig,
        resume: Option<SamplerState>,
    ) -> Result<Self, DataError> {
        config.check()?;
        let sampler = match resume {
            Some(state) => Sampler::resume(&mixture, state)?,
            None => Sampler::new(&mixture, config.seed),
        };
        let fail = |error: &dyn std::fmt::Display| DataError::Loader(error.to_string());
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(config.threads)
            .thread_name(|index| format!("data-{index}"))
            .build()
            .map_err(|error| fail(&error))?;
        let (sender, batches) = sync_channel(config.prefetch.saturating_sub(1));
        let stop = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            maker: Maker {
                mixture,
                encoder,
                budget: config.budget,
                too_long: config.too_long,
                shard: config.shard,
                strict: config.strict,
                pool,
                stop: Arc::clone(&stop),
            },
            config,
            sampler,
            open: None,
            ahead: None,
        };
        let thread = std::thread::Builder::new()
            .name("data".into())
            .spawn(move || worker.run(&sender))
            .map_err(|error| fail(&error))?;
        Ok(Self {
            batches: Some(batches),
            stop,
            thread: Some(thread),
        })
    }

    /// The next batch; waits for it if need be. After the last one, and after an error, only errors follow.
    ///
    /// # Errors
    /// What the loader met.
    pub fn next_batch(&mut self) -> Result<Batch, DataError> {
        let stopped =
            || DataError::Loader("its thread ended after the last batch or an error".into());
        self.batches
            .as_ref()
            .and_then(|batches| batches.recv().ok())
            .ok_or_else(stopped)?
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Without a receiver the thread cannot wait for room.
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the thread itself.
            let _ = thread.join();
        }
    }
}

impl LoaderConfig {
    fn check(&self) -> Result<(), DataError> {
        let batch = match self.batch {
            BatchSize::Documents(count) | BatchSize::Packs(count) => count,
        };
        let counts = [
            ("batch", batch),
            ("budget.tokens", self.budget.tokens),
            ("prefetch", self.prefetch),
            ("threads", self.threads),
            ("ranks", self.shard.ranks),
        ];
        if let Some((key, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(DataError::config(key, "expected at least 1, got 0"));
        }
        let Shard { rank, ranks } = self.shard;
        if rank >= ranks {
            return Err(DataError::config(
                "rank",
                format!("expected less than {ranks}, got {rank}"),
            ));
        }
        Ok(())
    }
}

fn nothing_left(drawn: u64, batch: &Batch) -> DataError {
    DataError::NothingLeft {
        drawn,
        dropped: batch.dropped,
        first: batch.skipped.first().map(|skip| skip.reason.clone()),
    }
}

struct Worker {
    maker: Maker,
    config: LoaderConfig,
    sampler: Sampler,
    /// The window whose packs are not all used yet.
    open: Option<Window>,
    /// A batch that was made to see whether the one before it is the last.
    ahead: Option<Batch>,
}

impl Worker {
    fn run(mut self, sender: &SyncSender<Result<Batch, DataError>>) {
        while !self.maker.stopped() {
            let batch = self.batch();
            let last = batch.as_ref().map_or(true, |batch| batch.last);
            if sender.send(batch).is_err() || last {
                return;
            }
        }
    }

    /// The next batch. It is known to be the last only when none is found after it.
    fn batch(&mut self) -> Result<Batch, DataError> {
        let mut batch = match self.ahead.take() {
            Some(batch) => batch,
            None => self.make()?,
        };
        if self.config.end == End::Never {
            return Ok(batch);
        }
        let next = match batch.last {
            true => None,
            false => Some(self.make()?),
        };
        match next {
            Some(next) if self.is_empty(&next) && next.last => {
                batch.dropped += next.dropped;
                batch.skipped.extend(next.skipped);
                batch.last = true;
            }
            next => self.ahead = next,
        }
        Ok(batch)
    }

    /// The next batch with a document in it, or the last. Where others read parts of it, none may be of this process.
    fn make(&mut self) -> Result<Batch, DataError> {
        let mut batch = Batch::default();
        if self.open.is_none() && self.sampler.state().packs > 0 {
            // Resumed amid a window: what is left of it says where this is.
            let window = self
                .maker
                .window(&mut self.sampler, self.config.end, &mut batch)?;
            self.open = (!window.is_empty()).then_some(window);
        }
        let begin = self.position();
        batch.progress = self.config.end.progress(self.draws(), self.tokens());
        batch.state_after = begin.clone();
        loop {
            match self.config.batch {
                BatchSize::Documents(count) => self.documents(count, &mut batch)?,
                BatchSize::Packs(count) => self.packs(count, &mut batch)?,
            }
            batch.last =
                self.open.is_none() && self.config.end.allows(self.sampler.state(), 1) == 0;
            if !self.is_empty(&batch) || batch.last {
                break;
            }
            // Twice as many as there are samples hold a whole epoch wherever they begin.
            let drawn = self.sampler.state().total() - begin.total();
            if drawn >= 2 * self.maker.mixture.len() as u64 {
                return Err(nothing_left(drawn, &batch));
            }
        }
        if batch.last && self.is_empty(&batch) && begin.total() == 0 {
            return Err(nothing_left(self.sampler.state().total(), &batch));
        }
        batch.tokens = batch.packs.iter().map(|pack| pack.tokens.len()).sum();
        batch.targets = batch.packs.iter().map(Pack::target_count).sum();
        batch.images = batch.packs.iter().map(|pack| pack.images.len()).sum();
        batch.documents = batch.packs.iter().map(|pack| pack.documents.len()).sum();
        Ok(batch)
    }

    /// Whether there is nothing in `batch`, for any of the processes that share it: all have to see it alike. Alone, one
    /// knows of broken images as well.
    fn is_empty(&self, batch: &Batch) -> bool {
        match self.config.shard.ranks {
            1 => batch.packs.is_empty(),
            _ => batch.planned == 0,
        }
    }

    /// Tokens of the documents in all batches so far.
    fn tokens(&self) -> u64 {
        self.open
            .as_ref()
            .map_or(self.sampler.state().tokens, Window::tokens)
    }

    /// Draws up to here, those of an open window by the part of its packs that is used.
    fn draws(&self) -> f64 {
        let total = self.sampler.state().total();
        self.open
            .as_ref()
            .map_or(total as f64, |window| window.draws(total))
    }

    /// Where the next pack is.
    fn position(&self) -> SamplerState {
        let state = self.sampler.state();
        self.open
            .as_ref()
            .map_or_else(|| state.clone(), |window| window.state(state))
    }

    /// The documents of `count` draws, packed in their order.
    fn documents(&mut self, count: usize, batch: &mut Batch) -> Result<(), DataError> {
        let count = self.config.end.allows(self.sampler.state(), count);
        let draws: Vec<_> = (0..count).map(|_| self.sampler.draw()).collect();
        let (packs, tokens) = self
            .maker
            .packed(&draws, self.sampler.state().seed, batch)?;
        self.sampler.add_tokens(tokens);
        batch.packs.extend(packs);
        batch.state_after = self.sampler.state().clone();
        Ok(())
    }

    /// The next `count` packs of one window, or of several if it has not so many left.
    fn packs(&mut self, count: usize, batch: &mut Batch) -> Result<(), DataError> {
        let mut planned = Vec::new();
        for _ in 0..count {
            if self.config.end.is_reached(self.tokens()) {
                self.open = None;
                break;
            }
            let mut window = match self.open.take() {
                Some(window) => window,
                None if self.config.end.allows(self.sampler.state(), 1) == 0 => break,
                None => self
                    .maker
                    .window(&mut self.sampler, self.config.end, batch)?,
            };
            planned.push(window.take());
            batch.state_after = window.state(self.sampler.state());
            let reached = self.config.end.is_reached(window.tokens());
            self.open = (!window.is_empty() && !reached).then_some(window);
        }
        let packs = self.maker.finished(planned, batch)?;
        batch.packs.extend(packs);
        Ok(())
    }
}
