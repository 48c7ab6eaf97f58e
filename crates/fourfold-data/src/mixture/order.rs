//! The order of one source's samples in one epoch.

use rand::seq::SliceRandom;

use super::keyed;
use crate::Source;

/// Shuffled in a bounded buffer: the source's blocks come in a random order, as many of them as the buffer holds make a
/// window, and the samples of a window are shuffled among each other. What fits the buffer as a whole is shuffled as a
/// whole. Any place in the order is found without going through those before it.
#[derive(Clone)]
pub(super) struct Order {
    seed: u64,
    source: u64,
    epoch: u64,
    /// The samples of each block, as first and number, in the order of the epoch.
    blocks: Vec<(usize, usize)>,
    /// The first block of each window and the samples before it; at the end, all of both.
    windows: Vec<(usize, u64)>,
    /// The window that was asked for last, and its samples.
    current: Option<(usize, Vec<usize>)>,
}

impl Order {
    pub fn new(source: &dyn Source, seed: u64, number: u64, epoch: u64) -> Self {
        let sizes = source.blocks();
        let limit = source.shuffle_bytes();
        let whole = sizes
            .iter()
            .map(|size| size.bytes)
            .fold(0, usize::saturating_add)
            <= limit;
        let mut first = 0;
        let mut blocks: Vec<(usize, usize, usize)> = Vec::with_capacity(sizes.len());
        for size in sizes {
            blocks.push((first, size.rows, size.bytes));
            first += size.rows;
        }
        if !whole {
            blocks.shuffle(&mut keyed(seed, "blocks", number, epoch));
        }
        let (mut windows, mut held, mut before) = (vec![(0, 0)], 0usize, 0);
        for (index, (_, rows, bytes)) in blocks.iter().enumerate() {
            if !whole && held > 0 && held + bytes > limit {
                windows.push((index, before));
                held = 0;
            }
            held += bytes;
            before += *rows as u64;
        }
        windows.push((blocks.len(), before));
        Self {
            seed,
            source: number,
            epoch,
            blocks: blocks
                .into_iter()
                .map(|(first, rows, _)| (first, rows))
                .collect(),
            windows,
            current: None,
        }
    }

    /// The epoch it is the order of.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The sample at `place`, `0 ≤ place < samples`.
    pub fn sample(&mut self, place: u64) -> usize {
        let window = self.windows.partition_point(|(_, before)| *before <= place) - 1;
        let within = (place - self.windows[window].1) as usize;
        match &self.current {
            Some((current, samples)) if *current == window => samples[within],
            _ => {
                let samples = self.window(window);
                let sample = samples[within];
                self.current = Some((window, samples));
                sample
            }
        }
    }

    fn window(&self, window: usize) -> Vec<usize> {
        let blocks = &self.blocks[self.windows[window].0..self.windows[window + 1].0];
        let samples = blocks.iter().flat_map(|(first, rows)| *first..first + rows);
        let mut samples: Vec<usize> = samples.collect();
        // One generator an epoch where there is one window only, one a window elsewhere.
        let mut rng = match self.windows.len() {
            2 => keyed(self.seed, "order", self.source, self.epoch),
            _ => keyed(
                self.seed,
                "window",
                self.source,
                (self.epoch << 32) + window as u64,
            ),
        };
        samples.shuffle(&mut rng);
        samples
    }
}
