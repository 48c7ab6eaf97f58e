//! Dynamic loss scaling (Micikevicius et al., arXiv 1710.03740), with the rules of PyTorch's `GradScaler`.
//!
//! The smallest number of fp16 is 6e-8, and many gradients are smaller. So the loss is multiplied by a scale before the
//! way back, and the gradients divided by it after: in f32, where there is room. The scale is as large as it may be: it
//! is doubled after many good updates, and halved after one whose gradients overflowed, of which nothing is learnt.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::recipe::LossScale;

/// What is told once of a run in fp16.
pub const SIMULATED: &str = "fp16 is simulated on a CPU: its numbers are rounded as on a GPU and multiplied in f32, to \
                             check a recipe; bf16 or f32 are faster here";

/// What the scale is multiplied by after many good updates, and divided by after a bad one.
const FACTOR: f64 = 2.0;

/// The scale grows no further: a loss times more than this might not be finite in f32 either.
pub const HIGHEST: f64 = 4_294_967_296.0;

/// Below this a run is given up. A scale below 1 makes gradients smaller than they are; at 2^-14, the smallest number
/// that fp16 has in full precision, even gradients of a billion would fit, so those that still overflow are no numbers at
/// all, and no scale will help. From 2^16 it takes 31 bad updates, nearly in a row, to get there.
const LOWEST: f64 = 1.0 / 16384.0;

/// Chooses the scale of the loss of a stage, update after update.
#[derive(Clone, Debug)]
pub struct LossScaler {
    growth_interval: u64,
    state: LossScaleState,
}

/// What a checkpoint keeps of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossScaleState {
    /// What the next loss is multiplied by.
    pub scale: f64,
    /// Good updates since the scale last changed.
    pub good: u64,
    /// Updates of the stage that were skipped.
    pub skipped: u64,
}

/// What becomes of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The optimizer makes its step.
    Stepped,
    /// Nothing is learnt from it.
    Skipped,
}

/// How the loss of an update was scaled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaled {
    /// What it was multiplied by.
    pub scale: f64,
    /// What became of the update.
    pub verdict: Verdict,
    /// Updates of the stage that were skipped so far, this one included.
    pub skipped: u64,
}

impl LossScaler {
    /// At its beginning.
    pub fn new(settings: LossScale) -> Self {
        Self {
            growth_interval: settings.growth_interval,
            state: LossScaleState {
                scale: settings.initial.min(HIGHEST),
                good: 0,
                skipped: 0,
            },
        }
    }

    /// What the loss of the coming update is multiplied by.
    pub fn scale(&self) -> f64 {
        self.state.scale
    }

    /// How many updates were skipped so far.
    pub fn skipped(&self) -> u64 {
        self.state.skipped
    }

    /// Where it is, for a checkpoint.
    pub fn state(&self) -> LossScaleState {
        self.state
    }

    /// Goes on from a checkpoint.
    pub fn restore(&mut self, state: LossScaleState) {
        self.state = state;
    }

    /// [`LossScaler::updated`], with what there is to tell of it.
    ///
    /// # Errors
    /// As [`LossScaler::updated`].
    pub fn judge(&mut self, finite: bool) -> Result<Scaled> {
        let scale = self.scale();
        let verdict = self.updated(finite)?;
        Ok(Scaled {
            scale,
            verdict,
            skipped: self.skipped(),
        })
    }

    /// Notes an update whose loss and gradients were `finite` or not, and chooses the scale of the next.
    ///
    /// # Errors
    /// When so many were not that no scale would help; says what usually does.
    pub fn updated(&mut self, finite: bool) -> Result<Verdict> {
        let state = &mut self.state;
        if finite {
            state.good += 1;
            if state.good >= self.growth_interval {
                state.good = 0;
                state.scale = (state.scale * FACTOR).min(HIGHEST);
            }
            return Ok(Verdict::Stepped);
        }
        state.good = 0;
        state.skipped += 1;
        state.scale /= FACTOR;
        ensure!(
            state.scale >= LOWEST,
            "the loss scale fell below 1/{} after {} skipped updates: numbers overflow in fp16 at any scale, so it is the \
             model's own numbers that are too large; compute in bf16 (`precision = \"bf16\"`), whose range is that of f32, \
             or lower `lr`, lengthen `warmup`, or begin with weights whose activations stay below 65504. `train --resume` \
             goes on from the last checkpoint, but with the recipe unchanged",
            1.0 / LOWEST,
            state.skipped
        );
        Ok(Verdict::Skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaler(initial: f64, growth_interval: u64) -> LossScaler {
        LossScaler::new(LossScale {
            initial,
            growth_interval,
        })
    }

    #[test]
    fn the_scale_is_halved_at_once_and_doubled_after_an_interval() {
        let mut scaler = scaler(1024.0, 3);
        let mut after = |finite| {
            let verdict = scaler.updated(finite).unwrap();
            assert_eq!(verdict == Verdict::Stepped, finite);
            (scaler.scale(), scaler.skipped())
        };
        assert_eq!(after(true), (1024.0, 0));
        assert_eq!(after(true), (1024.0, 0));
        // One bad update: what was good before it counts no more.
        assert_eq!(after(false), (512.0, 1));
        assert_eq!(after(true), (512.0, 1));
        assert_eq!(after(true), (512.0, 1));
        assert_eq!(after(true), (1024.0, 1));
        assert_eq!(after(true), (1024.0, 1));
        assert_eq!(after(false), (512.0, 2));
        assert_eq!(after(false), (256.0, 3));
    }

    #[test]
    fn the_usual_settings_are_those_of_pytorch() {
        let mut scaler = LossScaler::new(LossScale::default());
        assert_eq!(scaler.scale(), 65536.0);
        for _ in 0..1999 {
            scaler.updated(true).unwrap();
        }
        assert_eq!(scaler.scale(), 65536.0);
        scaler.updated(true).unwrap();
        assert_eq!(scaler.scale(), 131_072.0);
    }

    #[test]
    fn the_scale_stays_within_what_f32_holds() {
        let mut scaler = scaler(HIGHEST, 1);
        scaler.updated(true).unwrap();
        assert_eq!(scaler.scale(), HIGHEST);
    }

    #[test]
    fn a_scale_that_collapses_is_explained() {
        let mut scaler = LossScaler::new(LossScale::default());
        for skipped in 1..=30 {
            assert_eq!(scaler.updated(false).unwrap(), Verdict::Skipped);
            assert_eq!(scaler.skipped(), skipped);
        }
        assert_eq!(scaler.scale(), LOWEST);
        let error = scaler.updated(false).unwrap_err().to_string();
        for part in ["1/16384", "31 skipped updates", "bf16", "warmup"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn a_checkpoint_keeps_all_of_it() {
        let mut first = scaler(1000.0, 3);
        first.updated(false).unwrap();
        first.updated(true).unwrap();
        let text = serde_json::to_string(&first.state()).unwrap();
        let mut second = scaler(1000.0, 3);
        second.restore(serde_json::from_str(&text).unwrap());
        for finite in [true, true, true, false, true] {
            assert_eq!(
                first.updated(finite).unwrap(),
                second.updated(finite).unwrap()
            );
            assert_eq!(first.state(), second.state());
        }
    }
}
