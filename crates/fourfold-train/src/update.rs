//! One update: gradients over the packs of a batch, then one step of the optimizer.

use anyhow::{Context, Result};
use fourfold_data::Batch;
use fourfold_model::{LossOptions, Model};
use fourfold_tensor::{Gradients, Tape, awake};

use crate::checks::{GradientWatch, demand_finite};
use crate::feature_cache::{FeatureCache, Features, Origins};
use crate::input::PackInput;
use crate::optimizer::Optimizer;
use crate::stage::StagePlan;

/// What an update found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Updated {
    /// Mean cross-entropy over the targets of the batch, before the step, in nats.
    pub loss: f64,
    /// Norm of all gradients, before clipping.
    pub grad_norm: f64,
    /// Where the features of its images came from, if they are kept.
    pub features: Option<Origins>,
}

/// Makes the updates of one stage.
pub struct Updater {
    /// The optimizer.
    pub optimizer: Optimizer,
    gradients: Gradients,
    watch: GradientWatch,
}

impl Updater {
    /// For the trainable parameters of `model`. Over the first `watched` updates, or the first
    /// [`GradientWatch::UPDATES`] of them, a gradient has to reach every one.
    ///
    /// # Errors
    /// When a parameter belongs to no part.
    pub fn new(plan: &StagePlan, model: &Model, watched: usize) -> Result<Self> {
        Ok(Self {
            optimizer: Optimizer::new(plan.stage.betas, plan.stage.weight_decay, model)?,
            gradients: Gradients::new(&model.parameters),
            watch: GradientWatch::new(&model.parameters, watched),
        })
    }

    /// Update `update` of the stage, counted from 0, on `batch`; with `cache`, the encoder is asked only for images
    /// that are not in it.
    ///
    /// The loss is the mean over all targets of the batch: how it is split into packs changes nothing.
    ///
    /// # Errors
    /// When loss or gradients are no numbers, or a parameter received no gradient for too long.
    pub fn update(
        &mut self,
        plan: &StagePlan,
        model: &mut Model,
        cache: Option<&mut FeatureCache>,
        batch: &Batch,
        update: usize,
    ) -> Result<Updated> {
        awake(|| {
            let within = || format!("in update {} of stage '{}'", update + 1, plan.stage.name);
            let (loss, features) = self
                .accumulate(plan, model, cache, batch, update)
                .with_context(within)?;
            self.watch
                .note(&self.gradients, &model.parameters)
                .with_context(within)?;
            let grad_norm = self.gradients.norm();
            demand_finite("gradient norm", grad_norm, &plan.stage, update)?;
            let clip = plan.stage.clip;
            let scale = if clip > 0.0 && grad_norm > clip {
                clip / grad_norm
            } else {
                1.0
            };
            self.optimizer
                .step(
                    model,
                    &self.gradients,
                    &plan.rates(plan.place(update, batch.progress)),
                    scale as f32,
                )
                .with_context(within)?;
            Ok(Updated {
                loss,
                grad_norm,
                features,
            })
        })
    }

    fn accumulate(
        &mut self,
        plan: &StagePlan,
        model: &Model,
        cache: Option<&mut FeatureCache>,
        batch: &Batch,
        update: usize,
    ) -> Result<(f64, Option<Origins>)> {
        self.gradients.clear();
        let options = LossOptions {
            visibility: plan.visibility,
            scale: 1.0 / batch.targets.max(1) as f32,
            recompute: plan.stage.recompute,
        };
        let mut total = 0.0;
        let (fresh, origins) = match &cache {
            Some(cache) => {
                let images = batch.packs.iter().flat_map(|pack| &pack.images);
                let (fresh, origins) = cache.missing(model, images)?;
                (fresh, Some(origins))
            }
            None => (Features::new(), None),
        };
        for (number, pack) in batch.packs.iter().enumerate() {
            let input = match &cache {
                Some(cache) if !pack.images.is_empty() => {
                    PackInput::encoded(pack, cache.stack(&fresh, &pack.images)?)
                }
                _ => PackInput::new(pack)?,
            };
            let tape = Tape::recording(&model.parameters);
            tape.set_seed(plan.dropout_seed(update, number));
            let loss = model
                .loss(&tape, &input.as_input(), options)
                .with_context(|| describe(pack))?;
            let value = loss.f32()?.first().copied().map_or(f64::NAN, f64::from);
            demand_finite("loss", value, &plan.stage, update)?;
            total += value;
            // A pack of text alone teaches a projector nothing; the watch tells if that is all there is.
            if tape.recorded() > 0 {
                tape.backward(&loss, &mut self.gradients)?;
            }
        }
        if let Some(cache) = cache {
            cache.keep(fresh)?;
        }
        Ok((total, origins))
    }
}

fn describe(pack: &fourfold_data::Pack) -> String {
    let first = pack
        .documents
        .first()
        .map_or("", |document| document.origin.as_str());
    format!(
        "in a pack of {} documents, the first from {first}",
        pack.documents.len()
    )
}
