//! AdamW over the parameters of a stage, with a learning rate a part.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use fourfold_model::{Model, Part};
use fourfold_tensor::{Gradients, ParameterId};
use rayon::prelude::*;

use crate::checkpoint::{Checkpoint, TensorRef};
use crate::recipe::Stage;

/// Keeps the denominator away from 0, as in the paper and every implementation since.
const EPSILON: f32 = 1e-8;
/// Numbers that one task updates.
const CHUNK: usize = 16 * 1024;

/// The optimizer of one stage.
pub struct Optimizer {
    betas: [f64; 2],
    weight_decay: f64,
    steps: u64,
    /// One a trainable parameter, in the order of the parameters.
    slots: Vec<Slot>,
}

struct Slot {
    id: ParameterId,
    part: Part,
    /// Updates that this parameter took part in.
    steps: u64,
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Optimizer {
    /// Moments of zero for every trainable parameter of `model`.
    ///
    /// # Errors
    /// When a parameter belongs to no part.
    pub fn new(stage: &Stage, model: &Model) -> Result<Self> {
        let mut slots = Vec::new();
        for (id, parameter) in model.parameters.iter().filter(|(_, p)| p.trainable()) {
            let part = Part::of(parameter.name());
            let len = parameter.master().len();
            slots.push(Slot {
                id,
                part: part.with_context(|| format!("'{}' is of no part", parameter.name()))?,
                steps: 0,
                first: vec![0.0; len],
                second: vec![0.0; len],
            });
        }
        Ok(Self {
            betas: stage.betas,
            weight_decay: stage.weight_decay,
            steps: 0,
            slots,
        })
    }

    /// Steps made.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// One step of AdamW (Loshchilov and Hutter, 2019) with gradients multiplied by `scale`.
    ///
    /// Matrices decay, vectors do not. A parameter that no gradient reached (the vision encoder in an update of
    /// text alone) is left as it is, and so are its moments.
    ///
    /// # Errors
    /// When a tape still holds a parameter.
    pub fn step(
        &mut self,
        model: &mut Model,
        gradients: &Gradients,
        rates: &BTreeMap<Part, f64>,
        scale: f32,
    ) -> Result<()> {
        self.steps += 1;
        for slot in &mut self.slots {
            let Some(gradient) = gradients.get(slot.id) else {
                continue;
            };
            slot.steps += 1;
            let rate = rates.get(&slot.part).copied();
            let rate = rate.with_context(|| format!("no learning rate for {}", slot.part))?;
            let matrix = model.parameters.get(slot.id).is_matrix();
            let rule = Rule::new(
                self.betas,
                slot.steps,
                rate,
                if matrix { self.weight_decay } else { 0.0 },
            );
            let gradient = gradient.f32()?;
            let Slot { first, second, .. } = slot;
            model.parameters.update(slot.id, |master| {
                let tasks = master
                    .par_chunks_mut(CHUNK)
                    .zip(gradient.par_chunks(CHUNK))
                    .zip(
                        first
                            .par_chunks_mut(CHUNK)
                            .zip(second.par_chunks_mut(CHUNK)),
                    );
                tasks.for_each(|((weights, gradient), (first, second))| {
                    rule.apply(weights, gradient, scale, first, second);
                });
            })?;
        }
        Ok(())
    }

    /// The moments, for a checkpoint.
    pub fn tensors<'a>(&'a self, model: &'a Model) -> Vec<TensorRef<'a>> {
        let mut all = Vec::new();
        for slot in &self.slots {
            let parameter = model.parameters.get(slot.id);
            for (kind, values) in [("first", &slot.first), ("second", &slot.second)] {
                let shape = parameter.master().shape();
                all.push(TensorRef {
                    name: format!("{kind}.{}", parameter.name()),
                    shape,
                    values,
                });
            }
        }
        all
    }

    /// How many steps each parameter took part in, for a checkpoint.
    pub fn parameter_steps(&self, model: &Model) -> BTreeMap<String, u64> {
        let name = |slot: &Slot| model.parameters.get(slot.id).name().to_owned();
        self.slots
            .iter()
            .map(|slot| (name(slot), slot.steps))
            .collect()
    }

    /// Takes moments and counts from a checkpoint.
    ///
    /// # Errors
    /// When it lacks one.
    pub fn restore(&mut self, model: &Model, checkpoint: &Checkpoint) -> Result<()> {
        self.steps = checkpoint.state.optimizer_steps;
        for slot in &mut self.slots {
            let name = model.parameters.get(slot.id).name();
            let steps = checkpoint.state.parameter_steps.get(name);
            slot.steps = *steps
                .with_context(|| format!("the checkpoint has no count of steps of '{name}'"))?;
            for (kind, values) in [("first", &mut slot.first), ("second", &mut slot.second)] {
                let stored = checkpoint.tensor(&format!("{kind}.{name}"), values.len())?;
                values.copy_from_slice(stored);
            }
        }
        Ok(())
    }
}

/// The numbers of one step for one parameter.
struct Rule {
    /// `1 - beta1` and `1 - beta2`, taken in f64: in f32 the second would lose four digits.
    rest: [f32; 2],
    /// `rate / (1 - beta1^t)`.
    rate: f32,
    /// `1 / sqrt(1 - beta2^t)`.
    unbias: f32,
    /// `1 - rate · decay`.
    keep: f32,
}

impl Rule {
    fn new(betas: [f64; 2], step: u64, rate: f64, decay: f64) -> Self {
        let [beta1, beta2] = betas;
        let unseen = |beta: f64| 1.0 - beta.powf(step as f64);
        Self {
            rest: betas.map(|beta| (1.0 - beta) as f32),
            rate: (rate / unseen(beta1)) as f32,
            unbias: (1.0 / unseen(beta2).sqrt()) as f32,
            keep: (1.0 - rate * decay) as f32,
        }
    }

    fn apply(
        &self,
        weights: &mut [f32],
        gradient: &[f32],
        scale: f32,
        first: &mut [f32],
        second: &mut [f32],
    ) {
        let moments = first.iter_mut().zip(second);
        for ((weight, gradient), (first, second)) in weights.iter_mut().zip(gradient).zip(moments) {
            let gradient = gradient * scale;
            *first += self.rest[0] * (gradient - *first);
            *second += self.rest[1] * (gradient * gradient - *second);
            let size = second.sqrt() * self.unbias + EPSILON;
            *weight = *weight * self.keep - self.rate * *first / size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three steps against the formulas of the paper, in f64.
    #[test]
    fn steps_follow_the_paper() {
        let gradients = [[0.5, -2.0, 0.0], [-0.1, 1.0, 0.3], [0.7, 0.2, -4.0]];
        let (rate, decay, betas) = (0.01, 0.1, [0.9, 0.98]);
        let mut weights = [1.0f32, -0.5, 2.0];
        let (mut first, mut second) = ([0.0f32; 3], [0.0f32; 3]);
        let mut exact = weights.map(f64::from);
        let (mut m, mut v) = ([0.0f64; 3], [0.0f64; 3]);
        for (step, gradient) in gradients.iter().enumerate() {
            let t = step as u64 + 1;
            let scaled = gradient.map(|g: f64| (2.0 * g) as f32);
            let rule = Rule::new(betas, t, rate, decay);
            rule.apply(&mut weights, &scaled, 0.5, &mut first, &mut second);
            for i in 0..3 {
                m[i] = betas[0] * m[i] + (1.0 - betas[0]) * gradient[i];
                v[i] = betas[1] * v[i] + (1.0 - betas[1]) * gradient[i].powi(2);
                let m_hat = m[i] / (1.0 - betas[0].powi(t as i32));
                let v_hat = v[i] / (1.0 - betas[1].powi(t as i32));
                exact[i] -= rate * (m_hat / (v_hat.sqrt() + 1e-8) + decay * exact[i]);
            }
        }
        for i in 0..3 {
            assert!(
                (f64::from(weights[i]) - exact[i]).abs() < 1e-6,
                "{} {}",
                weights[i],
                exact[i]
            );
        }
    }
}
