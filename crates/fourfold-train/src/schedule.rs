//! The learning rate over a stage: a rise, then a fall.

use std::f64::consts::PI;

use crate::recipe::{Schedule, Stage};

/// Learning rates of one stage, as a factor of its highest.
#[derive(Clone, Copy, Debug)]
pub struct LearningRate {
    shape: Schedule,
    warmup: usize,
    updates: usize,
    floor: f64,
}

impl LearningRate {
    /// The schedule of `stage` over `updates` updates.
    pub fn new(stage: &Stage, updates: usize) -> Self {
        let warmup = (stage.warmup * updates as f64).round() as usize;
        Self {
            shape: stage.schedule,
            warmup: warmup.min(updates),
            updates,
            floor: stage.min_lr,
        }
    }

    /// The factor of update `update`, counted from 0, or between two.
    ///
    /// It rises in equal steps to 1 at the last update of the warm-up, and falls from 1 so that it would
    /// reach the floor one update after the last: no update is spent at a rate of nothing.
    pub fn factor(&self, update: f64) -> f64 {
        let warmup = self.warmup as f64;
        if update < warmup {
            return ((update + 1.0) / warmup).min(1.0);
        }
        let falling = (self.updates - self.warmup).max(1);
        let way = ((update - warmup) / falling as f64).min(1.0);
        let height = match self.shape {
            Schedule::Constant => return 1.0,
            Schedule::Linear => 1.0 - way,
            Schedule::Cosine => 0.5 * (1.0 + (PI * way).cos()),
        };
        self.floor + (1.0 - self.floor) * height
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(shape: Schedule, warmup: usize, updates: usize, floor: f64) -> LearningRate {
        LearningRate {
            shape,
            warmup,
            updates,
            floor,
        }
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn warm_up_rises_in_equal_steps() {
        for shape in [Schedule::Cosine, Schedule::Linear, Schedule::Constant] {
            let rate = rate(shape, 4, 104, 0.1);
            let start: Vec<f64> = (0..5)
                .map(|update| rate.factor(f64::from(update)))
                .collect();
            assert_eq!(start, [0.25, 0.5, 0.75, 1.0, 1.0], "{shape:?}");
        }
    }

    #[test]
    fn falls_have_their_known_values() {
        let cosine = rate(Schedule::Cosine, 4, 104, 0.1);
        assert!(near(cosine.factor(54.0), 0.55));
        assert!(near(
            cosine.factor(29.0),
            0.1 + 0.9 * (0.5 + 0.5 * 0.5f64.sqrt())
        ));
        assert!(cosine.factor(103.0) > 0.1 && cosine.factor(103.0) < 0.101);
        let linear = rate(Schedule::Linear, 4, 104, 0.1);
        assert!(near(linear.factor(54.0), 0.55) && near(linear.factor(103.0), 0.109));
        assert!(near(
            rate(Schedule::Constant, 4, 104, 0.1).factor(103.0),
            1.0
        ));
    }

    #[test]
    fn no_length_divides_by_nothing() {
        for (warmup, updates) in [(0, 1), (1, 1), (2, 2), (0, 2)] {
            let rate = rate(Schedule::Cosine, warmup, updates, 0.0);
            for update in 0..updates {
                let factor = rate.factor(update as f64);
                assert!(
                    factor > 0.0 && factor <= 1.0,
                    "{warmup} {updates} {update}: {factor}"
                );
            }
        }
    }
}
