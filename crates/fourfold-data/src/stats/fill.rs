//! How full the packs of a mixture are.

use rayon::prelude::*;
use serde::Serialize;

use crate::pack::{Extent, WINDOW_PACKS, fits_alone, fullest};
use crate::{DataError, Encoder, Mixture, PackBudget, Sampler, SkipReport, TooLong, sample_rng};

/// Draws whose texts are made at once.
const DRAWS: usize = 256;

/// The packs of some draws.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Fill {
    /// Samples drawn.
    pub drawn: usize,
    /// Documents that were packed.
    pub documents: usize,
    /// Documents that were left out because they are too long.
    pub dropped: usize,
    /// Documents that were cut.
    pub truncated: usize,
    /// Samples that cannot be read.
    pub broken: SkipReport,
    /// Packs.
    pub packs: usize,
    /// Tokens of a pack at most.
    pub pack_tokens: usize,
    /// Images of a pack at most.
    pub pack_images: usize,
    /// Tokens of all documents by what the packs could hold, 0 to 1.
    pub fill: f64,
    /// Images of all documents by what the packs could hold, 0 to 1.
    pub image_fill: f64,
}

/// Draws `draws` samples in the order of `seed` and lays them in packs as training does: windows of as many documents as
/// would fill 64 packs, by [`fullest`]. `progress` is told how many were drawn since it was told last.
///
/// # Errors
/// What concerns a source as a whole.
pub fn pack_fill(
    mixture: &Mixture,
    seed: u64,
    draws: usize,
    encoder: &Encoder,
    budget: PackBudget,
    too_long: TooLong,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Fill, DataError> {
    let mut sampler = Sampler::new(mixture, seed);
    let mut fill = Fill {
        pack_tokens: budget.tokens,
        pack_images: budget.images,
        ..Fill::default()
    };
    let mut packing = Packing::default();
    while fill.drawn < draws {
        let drawn: Vec<_> = (0..DRAWS.min(draws - fill.drawn))
            .map(|_| sampler.draw())
            .collect();
        let made: Vec<_> = drawn
            .par_iter()
            .map(|draw| {
                let source = &mixture.sources()[draw.source].0;
                let sample = source.sample(draw.row, &mut sample_rng(seed, draw.ordinal))?;
                let document = encoder.text(&sample)?;
                fits_alone(&document, budget)?;
                Ok((Extent::of(&document), document.truncated))
            })
            .collect();
        progress(drawn.len());
        fill.drawn += drawn.len();
        for (draw, made) in drawn.iter().zip(made) {
            match made {
                Ok((_, true)) if too_long == TooLong::Drop => fill.dropped += 1,
                Ok((extent, truncated)) => {
                    fill.truncated += usize::from(truncated);
                    packing.push(extent);
                }
                Err(DataError::AllMasked { .. }) if too_long == TooLong::Drop => fill.dropped += 1,
                Err(error)
                    if error.concerns_sample() || matches!(error, DataError::AllMasked { .. }) =>
                {
                    let source = mixture.sources()[draw.source].0.name();
                    fill.broken.add(source, draw.row, &error);
                }
                Err(error) => return Err(error),
            }
            if packing.is_full(budget) {
                fill.packs += packing.close(budget);
            }
        }
    }
    fill.packs += packing.close(budget);
    fill.documents = packing.documents;
    let held = packing.held;
    let part =
        |held: usize, budget: usize| held as f64 / (fill.packs as f64 * budget as f64).max(1.0);
    (fill.fill, fill.image_fill) = (
        part(held.tokens, budget.tokens),
        part(held.images, budget.images),
    );
    Ok(fill)
}

/// Documents that wait for their packs, and what was packed.
struct Packing {
    window: Vec<Extent>,
    /// Of the documents in the window.
    waiting: Extent,
    /// Of all documents.
    held: Extent,
    documents: usize,
}

impl Default for Packing {
    fn default() -> Self {
        let nothing = Extent {
            tokens: 0,
            images: 0,
        };
        Self {
            window: Vec::new(),
            waiting: nothing,
            held: nothing,
            documents: 0,
        }
    }
}

impl Packing {
    fn push(&mut self, document: Extent) {
        for held in [&mut self.waiting, &mut self.held] {
            held.tokens += document.tokens;
            held.images += document.images;
        }
        self.window.push(document);
        self.documents += 1;
    }

    fn is_full(&self, budget: PackBudget) -> bool {
        self.waiting.tokens >= WINDOW_PACKS.saturating_mul(budget.tokens)
            || self.waiting.images >= WINDOW_PACKS.saturating_mul(budget.images)
    }

    /// How many packs the window's documents fill.
    fn close(&mut self, budget: PackBudget) -> usize {
        let window = std::mem::take(&mut self.window);
        self.waiting = Self::default().waiting;
        fullest(&window, budget).len()
    }
}
