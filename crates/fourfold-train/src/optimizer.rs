//! AdamW over the parameters of a stage, with a learning rate a part.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context, Result};
use fourfold_model::{Model, Part};
use fourfold_tensor::{AdamW, Gradients, ParameterId, Tensor, Update};

use crate::checkpoint::{Checkpoint, TensorRef};
use crate::parallel::Shards;

/// First and second moments of whole parameters.
pub type Moments = [BTreeMap<ParameterId, Tensor>; 2];

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
    /// The numbers that are stepped here: all of the parameter, or this rank's.
    own: Range<usize>,
    /// Updates that this parameter took part in.
    steps: u64,
    first: Tensor,
    second: Tensor,
}

impl Optimizer {
    /// Moments of zero for every trainable parameter of `model`; with `own`, for the numbers of each that it gives.
    ///
    /// # Errors
    /// When a parameter belongs to no part.
    pub fn new(
        betas: [f64; 2],
        weight_decay: f64,
        model: &Model,
        own: Option<&BTreeMap<ParameterId, Range<usize>>>,
    ) -> Result<Self> {
        let device = model.parameters.device();
        let mut slots = Vec::new();
        for (id, parameter) in model.parameters.iter().filter(|(_, p)| p.trainable()) {
            let part = Part::of(parameter.name());
            let own = match own {
                Some(own) => own.get(&id).cloned().unwrap_or(0..0),
                None => 0..parameter.master().len(),
            };
            slots.push(Slot {
                id,
                part: part.with_context(|| format!("'{}' is of no part", parameter.name()))?,
                steps: 0,
                first: Tensor::zeros(&[own.len()]).to_device(device)?,
                second: Tensor::zeros(&[own.len()]).to_device(device)?,
                own,
            });
        }
        Ok(Self {
            betas,
            weight_decay,
            steps: 0,
            slots,
        })
    }

    /// Steps made.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// One step of AdamW with gradients multiplied by `scale`.
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
        let mut updates = Vec::with_capacity(self.slots.len());
        for slot in &mut self.slots {
            let Some(gradient) = gradients.get(slot.id) else {
                continue;
            };
            slot.steps += 1;
            let rate = rates.get(&slot.part).copied();
            let rate = rate.with_context(|| format!("no learning rate for {}", slot.part))?;
            let matrix = model.parameters.get(slot.id).is_matrix();
            let decay = if matrix { self.weight_decay } else { 0.0 };
            updates.push(Update {
                id: slot.id,
                place: slot.own.clone(),
                step: AdamW::new(self.betas, slot.steps, rate, decay),
                gradient,
                first: &mut slot.first,
                second: &mut slot.second,
            });
        }
        Ok(model.parameters.step(&mut updates, scale)?)
    }

    /// Sum of squares of the gradients of all numbers that are stepped here, in f64.
    ///
    /// # Errors
    /// When a device fails.
    pub fn squares(&self, gradients: &Gradients) -> Result<f64> {
        let own = self.slots.iter().map(|slot| (slot.id, slot.own.clone()));
        Ok(gradients.squares(&own.collect::<Vec<_>>())?)
    }

    /// Both moments of all that trains, whole and in the host's memory. Where they are shared out among ranks, every rank
    /// has to ask, and rank 0 gets them.
    ///
    /// # Errors
    /// When a rank is gone or a device fails.
    pub fn moments(&self, shards: Option<&Shards>) -> Result<Moments> {
        let of = |pick: fn(&Slot) -> &Tensor| -> Result<BTreeMap<ParameterId, Tensor>> {
            let on_host = |slot: &Slot| Ok((slot.id, pick(slot).to_host()?));
            let own = self.slots.iter().map(on_host).collect::<Result<_>>()?;
            match shards {
                None => Ok(own),
                Some(shards) => shards.gather_all(&own),
            }
        };
        Ok([of(|slot| &slot.first)?, of(|slot| &slot.second)?])
    }

    /// `moments` as a checkpoint stores them.
    ///
    /// # Errors
    /// When one is missing.
    pub fn tensors<'a>(
        &self,
        model: &'a Model,
        moments: &'a Moments,
    ) -> Result<Vec<TensorRef<'a>>> {
        let mut all = Vec::new();
        for slot in &self.slots {
            let parameter = model.parameters.get(slot.id);
            for (kind, moments) in ["first", "second"].into_iter().zip(moments) {
                let values = moments.get(&slot.id);
                let values =
                    values.with_context(|| format!("no moments of '{}'", parameter.name()));
                all.push(TensorRef {
                    name: format!("{kind}.{}", parameter.name()),
                    shape: parameter.master().shape(),
                    values: values?.f32()?,
                });
            }
        }
        Ok(all)
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
        let device = model.parameters.device();
        for slot in &mut self.slots {
            let parameter = model.parameters.get(slot.id);
            let (name, len) = (parameter.name(), parameter.master().len());
            let steps = checkpoint.state.parameter_steps.get(name);
            slot.steps = *steps
                .with_context(|| format!("the checkpoint has no count of steps of '{name}'"))?;
            for (kind, values) in [("first", &mut slot.first), ("second", &mut slot.second)] {
                let stored = checkpoint.tensor(&format!("{kind}.{name}"), len)?;
                let own = &stored[slot.own.clone()];
                *values = Tensor::from_f32(&[own.len()], own)?.to_device(device)?;
            }
        }
        Ok(())
    }
}
