//! Batches of packs, made ahead of the training step in the background.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use rayon::ThreadPool;
use rayon::prelude::*;

use crate::{
    DataError, Document, Draw, Encoder, Mixture, Pack, PackBudget, Sampler, SamplerState,
    SkipReport, pack, sample_rng, training_document,
};

/// How batches are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoaderConfig {
    /// Documents in a batch, that is, in one update.
    pub batch: usize,
    /// What a pack holds; a batch is split into as many packs as it takes.
    pub budget: PackBudget,
    /// Decides the order of draws and every random choice. Ignored when resuming, where the
    /// position's own seed holds.
    pub seed: u64,
    /// Batches made ahead.
    pub prefetch: usize,
    /// Threads of the loader's own pool. The result does not depend on them.
    pub threads: usize,
    /// Whether a broken sample is an error rather than skipped.
    pub strict: bool,
}

/// The documents of one update.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The documents, packed.
    pub packs: Vec<Pack>,
    /// How many documents.
    pub documents: usize,
    /// How many rows.
    pub tokens: usize,
    /// How many rows with a target: what the loss is averaged over.
    pub targets: usize,
    /// How many images.
    pub images: usize,
    /// How many documents were cut at the token limit.
    pub truncated: usize,
    /// Broken samples that were passed over while this batch was made.
    pub skipped: SkipReport,
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
    pub fn start(
        mixture: Mixture,
        encoder: Arc<Encoder>,
        config: LoaderConfig,
        resume: Option<SamplerState>,
    ) -> Result<Self, DataError> {
        let counts = [
            ("batch", config.batch),
            ("budget.tokens", config.budget.tokens),
            ("prefetch", config.prefetch),
            ("threads", config.threads),
        ];
        if let Some((key, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(DataError::config(key, "expected at least 1, got 0"));
        }
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
        let broken = vec![Broken::default(); mixture.sources().len()];
        let worker = Worker {
            mixture,
            encoder,
            config,
            sampler,
            broken,
            pool,
            stop: stop.clone(),
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

    /// The next batch; waits for it if need be. There is no end. After an error, only errors follow.
    pub fn next_batch(&mut self) -> Result<Batch, DataError> {
        let stopped = || DataError::Loader("its thread ended after an earlier error".into());
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

struct Worker {
    mixture: Mixture,
    encoder: Arc<Encoder>,
    config: LoaderConfig,
    sampler: Sampler,
    /// For each source the broken samples since its last good one.
    broken: Vec<Broken>,
    pool: ThreadPool,
    stop: Arc<AtomicBool>,
}

/// The broken samples of a source since its last good one.
#[derive(Clone, Default)]
struct Broken {
    /// Which they are. Counting draws would not do: the last of an epoch may be the first of the next.
    rows: HashSet<usize>,
    /// What the first one's message was.
    first: String,
}

impl Worker {
    fn run(mut self, sender: &SyncSender<Result<Batch, DataError>>) {
        while !self.stopped() {
            let batch = self.batch();
            let last = batch.is_err();
            if sender.send(batch).is_err() || last {
                return;
            }
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Draws until the batch has its count: broken samples are replaced by the draws that follow.
    fn batch(&mut self) -> Result<Batch, DataError> {
        let mut documents = Vec::with_capacity(self.config.batch);
        let mut skipped = SkipReport::default();
        while documents.len() < self.config.batch {
            let missing = self.config.batch - documents.len();
            let draws: Vec<Draw> = (0..missing).map(|_| self.sampler.draw()).collect();
            let results: Vec<_> = self
                .pool
                .install(|| draws.par_iter().map(|draw| self.document(draw)).collect());
            for (draw, result) in draws.iter().zip(results) {
                match result {
                    Ok(document) => {
                        self.broken[draw.source].rows.clear();
                        documents.push(document);
                    }
                    Err(error) => self.skip(draw, error, &mut skipped)?,
                }
            }
        }
        let truncated = documents
            .iter()
            .filter(|document| document.truncated)
            .count();
        let packs = pack(documents, self.config.budget)?;
        Ok(Batch {
            documents: self.config.batch,
            tokens: packs.iter().map(|pack| pack.tokens.len()).sum(),
            targets: packs.iter().map(Pack::target_count).sum(),
            images: packs.iter().map(|pack| pack.images.len()).sum(),
            truncated,
            packs,
            skipped,
            state_after: self.sampler.state().clone(),
        })
    }

    fn document(&self, draw: &Draw) -> Result<Document, DataError> {
        if self.stopped() {
            return Err(DataError::Loader("it was told to".into()));
        }
        let mut rng = sample_rng(self.sampler.state().seed, draw.ordinal);
        let (source, _) = &self.mixture.sources()[draw.source];
        let budget = self.config.budget;
        training_document(&**source, draw.row, &self.encoder, budget, &mut rng)
    }

    fn skip(
        &mut self,
        draw: &Draw,
        error: DataError,
        skipped: &mut SkipReport,
    ) -> Result<(), DataError> {
        if !error.concerns_sample() {
            return Err(error);
        }
        if self.config.strict {
            return Err(DataError::Strict(Box::new(error)));
        }
        let source = &self.mixture.sources()[draw.source].0;
        skipped.add(source.name(), &error);
        let broken = &mut self.broken[draw.source];
        if broken.rows.is_empty() {
            broken.first = error.to_string();
        }
        broken.rows.insert(draw.row);
        if broken.rows.len() >= source.len() {
            return Err(DataError::SourceBroken {
                name: source.name().into(),
                count: broken.rows.len(),
                first: broken.first.clone(),
            });
        }
        Ok(())
    }
}
