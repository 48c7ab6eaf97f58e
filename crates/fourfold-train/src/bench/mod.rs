//! Timing pieces of work of a fixed size, on random weights and made-up data: what `fourfold bench` shows.

mod batch;
mod work;

use std::time::Instant;

use anyhow::Result;
use fourfold_model::{
    GenerateOptions, LossOptions, Model, Part, Prompt, PromptImage, VisibilityKind,
};
use fourfold_tensor::{Device, Gradients, Precision, Tape, Tensor, awake};

use crate::optimizer::Optimizer;
use crate::plan::shapes::Shapes;
use batch::Batch;
pub use work::{BATCH, Geometry, Work};
use work::{CAPTION_PROMPT, CAPTION_TOKENS, VIT_IMAGES};

/// Seed of the random weights; times do not depend on it.
const SEED: u64 = 1;
const LEARNING_RATE: f64 = 1e-4;
const BETAS: [f64; 2] = [0.9, 0.95];
const WEIGHT_DECAY: f64 = 0.1;

/// A piece of work, ready to be done again and again.
pub struct Bench {
    model: Model,
    task: Task,
    recompute: bool,
    operations: f64,
}

enum Task {
    /// An update of the weights on one batch.
    Step {
        batch: Batch,
        gradients: Gradients,
        optimizer: Optimizer,
    },
    /// Features of images.
    Encode(Tensor),
    /// An answer to each prompt.
    Generate(Vec<Prompt>),
}

impl Bench {
    /// Makes the model and the data of `work`, the model on `device`: a vision-language model is that of `geometry`, and
    /// `batch` images with texts are a step of it. With `recompute` blocks are computed again on the way back.
    ///
    /// # Errors
    /// When the device has no room for the model.
    pub fn new(
        work: Work,
        geometry: Geometry,
        batch: usize,
        precision: Precision,
        recompute: bool,
        device: &Device,
    ) -> Result<Self> {
        let config = work.model(geometry);
        let mut model = Model::new(config.clone(), precision, SEED)?;
        model
            .parameters
            .set_trainable(|name| Part::of(name).is_some_and(|part| work.trains(part)));
        model.parameters.to_device(device)?;
        let shapes = Shapes::of(&config);
        let (task, operations) = match work {
            Work::Vit => {
                let operations = shapes.encoding() * VIT_IMAGES as f64;
                (
                    Task::Encode(batch::images(VIT_IMAGES, &config)?),
                    operations,
                )
            }
            Work::Caption(count) => {
                let prompts: Result<Vec<Prompt>> = (0..count)
                    .map(|number| batch::prompt(number, CAPTION_PROMPT, &config))
                    .collect();
                let tokens = config.visual_tokens() + CAPTION_PROMPT;
                let answer = shapes.answer(tokens, CAPTION_TOKENS);
                (Task::Generate(prompts?), answer * count as f64)
            }
            _ => {
                let batch = match work {
                    Work::Gpt => Batch::texts(&config)?,
                    _ => Batch::images_with_texts(&config, batch)?,
                };
                let operations = shapes.operations(batch.average(), 1.0, |part| work.trains(part));
                let operations = operations * batch.documents() as f64;
                let task = Task::Step {
                    gradients: Gradients::new(&model.parameters),
                    optimizer: Optimizer::new(BETAS, WEIGHT_DECAY, &model, None)?,
                    batch,
                };
                (task, operations)
            }
        };
        Ok(Self {
            model,
            task,
            recompute,
            operations,
        })
    }

    /// Floating-point operations of the products of one round, counted as in [`crate::plan::plan_with`].
    pub fn operations(&self) -> f64 {
        self.operations
    }

    /// Does the work once; seconds.
    ///
    /// # Errors
    /// When the model refuses its input.
    pub fn round(&mut self) -> Result<f64> {
        let begin = Instant::now();
        awake(|| self.work())?;
        // A device computes while this processor goes on.
        if let Some(gpu) = self.model.parameters.device().gpu() {
            gpu.synchronize()?;
        }
        Ok(begin.elapsed().as_secs_f64())
    }

    fn work(&mut self) -> Result<()> {
        let model = &mut self.model;
        match &mut self.task {
            Task::Step {
                batch,
                gradients,
                optimizer,
            } => {
                gradients.clear();
                let tape = Tape::recording(&model.parameters);
                let options = LossOptions {
                    visibility: VisibilityKind::Causal,
                    scale: 1.0 / batch.targets() as f32,
                    recompute: self.recompute,
                };
                let loss = model.loss(&tape, &batch.as_input(), options)?;
                tape.backward(&loss, gradients)?;
                let rates = Part::ALL.map(|part| (part, LEARNING_RATE)).into();
                optimizer.step(model, gradients, &rates, 1.0)?;
            }
            Task::Encode(images) => {
                model.encode(images)?;
            }
            Task::Generate(prompts) => {
                // No token has this number: every answer is as long as it may be.
                let options =
                    GenerateOptions::greedy(CAPTION_TOKENS, u32::MAX, VisibilityKind::Causal);
                // A round encodes its images, which keep their features.
                for image in prompts.iter_mut().flat_map(|prompt| &mut prompt.images) {
                    *image = PromptImage::new(image.pixels().clone());
                }
                model.generate(prompts, &options)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figure that the race's page divides by: 6 operations a number and row, attention on top.
    #[test]
    fn operations_of_a_step_are_those_of_its_products() {
        let bench = Bench::new(
            Work::Gpt,
            Geometry::M222,
            BATCH.into(),
            Precision::F32,
            false,
            &Device::Cpu,
        )
        .expect("a small model");
        let rows = 8.0 * 256.0;
        let numbers = 6.0 * 12.0 * 384.0 * 384.0 + 8192.0 * 384.0;
        let attention = 6.0 * 4.0 * 128.0 * 384.0;
        let expected = rows * (6.0 * numbers + 3.0 * attention);
        let share = bench.operations() / expected;
        assert!((share - 1.0).abs() < 0.01, "{share}");
    }
}
