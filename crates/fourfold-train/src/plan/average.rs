//! What a document has on average: counted over some, or given.

use std::str::FromStr;

use anyhow::{Result, ensure};
use fourfold_data::{Sampler, sample_rng};
use fourfold_model::ModelConfig;
use serde::Serialize;

use crate::recipe::Stage;
use crate::stage::StagePlan;

/// Documents of a stage that its averages are taken over.
const DOCUMENTS: usize = 128;

/// What a document has on average.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Average {
    /// Rows of the language model, visual tokens included.
    pub tokens: f64,
    /// Rows with a target.
    pub targets: f64,
    /// Images.
    pub images: f64,
}

impl Average {
    /// Over the stage's first draws; broken samples are left out, as in training.
    pub(super) fn of(plan: &StagePlan, seed: u64) -> Self {
        let mut sampler = Sampler::new(plan.mixture(), seed);
        let (mut tokens, mut targets, mut images, mut count) = (0, 0, 0, 0);
        for _ in 0..DOCUMENTS {
            let draw = sampler.draw();
            let mut rng = sample_rng(seed, draw.ordinal);
            let source = &plan.mixture().sources()[draw.source].0;
            let sample = source.sample(draw.row, &mut rng);
            let document = sample.and_then(|sample| plan.encoder.document(&sample, &mut rng));
            if let Ok(document) = document {
                tokens += document.tokens.len();
                targets += document.target_count();
                images += document.images.len();
                count += 1;
            }
        }
        let mean = |sum: usize| sum as f64 / f64::from(count.max(1));
        Self {
            tokens: mean(tokens),
            targets: mean(targets),
            images: mean(images),
        }
    }

    /// Demands that documents of `stage` can be so.
    ///
    /// # Errors
    /// Says what does not fit the model or the stage.
    pub(super) fn demand_fits(&self, stage: &Stage, config: &ModelConfig) -> Result<()> {
        let visual = self.images * config.visual_tokens() as f64;
        ensure!(
            self.tokens >= visual + self.targets,
            "documents of {} tokens are assumed, {} of them targets and {visual} visual ({} an image); tokens count all of \
             them, so expected at least {}",
            self.tokens,
            self.targets,
            config.visual_tokens(),
            visual + self.targets
        );
        let most = stage.max_tokens.unwrap_or(stage.pack_tokens);
        let most = most.min(config.max_positions());
        ensure!(
            self.tokens <= most as f64,
            "stage '{}': documents of {} tokens are assumed, but they are cut at {most}; assume fewer, or raise max_tokens \
             and pack_tokens as far as the language model goes ({} tokens)",
            stage.name,
            self.tokens,
            config.max_positions()
        );
        Ok(())
    }
}

impl FromStr for Average {
    type Err = String;

    /// Reads `TOKENS,TARGETS,IMAGES`.
    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Vec<f64> = text
            .split(',')
            .map(|number| number.trim().parse().unwrap_or(f64::NAN))
            .collect();
        let &[tokens, targets, images] = numbers.as_slice() else {
            return Err("expected three numbers, TOKENS,TARGETS,IMAGES, such as 172,60,1".into());
        };
        if numbers.iter().all(|number| (0.0..1e9).contains(number)) && tokens > 0.0 {
            return Ok(Self {
                tokens,
                targets,
                images,
            });
        }
        Err("expected numbers from 0 to a thousand million, and more than 0 tokens".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_read_from_three_numbers() {
        let read = "172, 60.5,1".parse::<Average>().expect("numbers");
        assert_eq!((read.tokens, read.targets, read.images), (172.0, 60.5, 1.0));
        for wrong in [
            "", "172,60", "1,2,3,4", "a,b,c", "-1,0,0", "nan,1,1", "inf,1,1", "0,0,0",
        ] {
            assert!(wrong.parse::<Average>().is_err(), "{wrong}");
        }
    }
}
