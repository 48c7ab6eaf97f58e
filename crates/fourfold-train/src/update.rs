//! One update: gradients over the packs of a batch, then one step of the optimizer.

use std::time::Instant;

use anyhow::{Context, Result};
use fourfold_data::Pack;
use fourfold_model::{LossOptions, Model};
use fourfold_tensor::{Device, Gradients, Precision, Tape, Tensor, awake};

use crate::checkpoint::Checkpoint;
use crate::checks::{GradientWatch, demand_finite};
use crate::feature_cache::{FeatureCache, Features, Origins};
use crate::feed::{Feed, Ready};
use crate::input::{PackInput, pack_pixels};
use crate::loss_scale::{LossScaler, Scaled, Verdict};
use crate::optimizer::{Moments, Optimizer};
use crate::parallel::{Reducer, Shards, Team};
use crate::recipe::Stage;
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
    /// Seconds that this rank waited for the gradients of others when its own were done, where there are others.
    pub waited: Option<f64>,
    /// How its loss was scaled, in fp16. Where it was skipped, loss or norm are no numbers.
    pub scaled: Option<Scaled>,
}

impl Updated {
    /// What is to be told of it, as update `update` of `stage`: that it was skipped.
    pub fn note(&self, stage: &Stage, update: usize) -> Option<String> {
        let scaled = self.scaled.filter(|s| s.verdict == Verdict::Skipped)?;
        let what = match self.loss.is_finite() {
            true => "gradients overflowed",
            false => "the loss overflowed on its way forward",
        };
        Some(format!(
            "update {} of stage '{}' is skipped: {what} in fp16 at a loss scale of {}; skipped so far: {}",
            update + 1,
            stage.name,
            scaled.scale,
            scaled.skipped
        ))
    }
}

/// Makes the updates of one stage.
pub struct Updater<'p> {
    plan: &'p StagePlan,
    /// The optimizer.
    pub optimizer: Optimizer,
    gradients: Gradients,
    watch: GradientWatch,
    /// In fp16.
    scaler: Option<LossScaler>,
    team: Team,
    /// Where there are other ranks.
    reducer: Option<Reducer>,
    /// Where the optimizer is cut into shards.
    shards: Option<Shards>,
}

impl<'p> Updater<'p> {
    /// For the trainable parameters of `model`. Over the first `watched` updates, or the first
    /// [`GradientWatch::UPDATES`] of them, a gradient has to reach every one.
    ///
    /// # Errors
    /// When a parameter belongs to no part.
    pub fn new(plan: &'p StagePlan, model: &Model, watched: usize) -> Result<Self> {
        Self::with_team(plan, model, watched, Team::default(), false)
    }

    /// The same on one rank of `team`, all of which have to make the same updates. With `sharded`, each holds and steps a
    /// part of the optimizer.
    ///
    /// # Errors
    /// As [`Updater::new`].
    pub fn with_team(
        plan: &'p StagePlan,
        model: &Model,
        watched: usize,
        team: Team,
        sharded: bool,
    ) -> Result<Self> {
        let shards =
            (sharded && !team.is_alone()).then(|| Shards::new(team.clone(), &model.parameters));
        let reducer = match team.is_alone() {
            true => None,
            false => Some(Reducer::new(
                team.clone(),
                &model.parameters,
                shards.is_some(),
            )?),
        };
        let own = shards.as_ref().map(Shards::own);
        let (betas, decay) = (plan.stage.betas, plan.stage.weight_decay);
        Ok(Self {
            plan,
            optimizer: Optimizer::new(betas, decay, model, own.as_ref())?,
            team,
            reducer,
            shards,
            gradients: Gradients::new(&model.parameters),
            watch: GradientWatch::new(&model.parameters, watched),
            scaler: (plan.precision == Precision::F16)
                .then(|| LossScaler::new(plan.stage.loss_scale.unwrap_or_default())),
        })
    }

    /// Takes from a checkpoint what went on from update to update.
    ///
    /// # Errors
    /// When it lacks something.
    pub fn restore(&mut self, model: &Model, checkpoint: &Checkpoint) -> Result<()> {
        self.optimizer.restore(model, checkpoint)?;
        if let Some(scaler) = &mut self.scaler {
            let state = checkpoint.state.loss_scale;
            scaler.restore(state.context(
                "the checkpoint has no loss scale, which a stage in fp16 goes on with: it is altered; delete it to go on \
                 from an older one, or start the run again with --force",
            )?);
        }
        Ok(())
    }

    /// Both moments of all that trains, on rank 0; every rank has to ask.
    ///
    /// # Errors
    /// When a rank is gone or a device fails.
    pub fn moments(&self) -> Result<Moments> {
        self.optimizer.moments(self.shards.as_ref())
    }

    /// What scales the loss, in fp16.
    pub fn scaler(&self) -> Option<&LossScaler> {
        self.scaler.as_ref()
    }

    /// Update `update` of the stage, counted from 0, on a batch that `feed` gave; with `cache`, the encoder is asked only
    /// for images that are not in it. When all gradients have been asked of a device, `feed` looks ahead.
    ///
    /// The loss is the mean over all targets of the batch: how it is split into packs, and these among ranks, changes
    /// nothing. `targets` are those of all ranks.
    ///
    /// # Errors
    /// When loss or gradients are no numbers, or in fp16 have been none for too long, or a parameter received no gradient
    /// for too long.
    pub fn update(
        &mut self,
        model: &mut Model,
        cache: Option<&mut FeatureCache>,
        ready: &mut Ready,
        targets: usize,
        update: usize,
        feed: &mut Feed,
    ) -> Result<Updated> {
        awake(|| {
            let plan = self.plan;
            let within = || format!("in update {} of stage '{}'", update + 1, plan.stage.name);
            let Accumulated {
                loss,
                features,
                waited,
            } = self
                .accumulate(model, cache, ready, targets, update, feed)
                .with_context(within)?;
            if loss.is_finite() {
                self.watch
                    .note(&self.gradients, &model.parameters)
                    .with_context(within)?;
            }
            let loss_scale = self.loss_scale();
            let grad_norm = match loss.is_finite() {
                true => self.norm()? / loss_scale,
                false => f64::NAN,
            };
            let scaled = match &mut self.scaler {
                Some(scaler) => Some(scaler.judge(grad_norm.is_finite()).with_context(within)?),
                None => None,
            };
            if scaled.is_some_and(|scaled| scaled.verdict == Verdict::Skipped) {
                return Ok(Updated {
                    loss,
                    grad_norm,
                    features,
                    waited,
                    scaled,
                });
            }
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
                    &plan.rates(plan.place(update, ready.batch.progress)),
                    (scale / loss_scale) as f32,
                )
                .with_context(within)?;
            if let Some(shards) = &self.shards {
                let numbers = self.reducer.as_ref().and_then(Reducer::numbers);
                shards.gather_weights(model, numbers)?;
            }
            Ok(Updated {
                loss,
                grad_norm,
                features,
                waited,
                scaled,
            })
        })
    }

    /// Norm of all gradients, those of other ranks' shards included.
    fn norm(&self) -> Result<f64> {
        Ok(match self.shards {
            None => self.gradients.norm(),
            Some(_) => {
                let own = self.optimizer.squares(&self.gradients)?;
                self.team.sum(own)?.sqrt()
            }
        })
    }

    /// What the loss is multiplied by before the way back.
    fn loss_scale(&self) -> f64 {
        self.scaler.as_ref().map_or(1.0, LossScaler::scale)
    }

    fn accumulate(
        &mut self,
        model: &Model,
        cache: Option<&mut FeatureCache>,
        ready: &mut Ready,
        targets: usize,
        update: usize,
        feed: &mut Feed,
    ) -> Result<Accumulated> {
        self.gradients.clear();
        if let Some(reducer) = &mut self.reducer {
            reducer.begin();
        }
        let (plan, loss_scale) = (self.plan, self.loss_scale());
        // The gradients of logits are the first numbers of 16 bits on the way back, and none of them is larger than this
        // scale: it is the loss scale over the targets that has to stay below 65504. So a large batch needs, and takes, a
        // larger loss scale than a small one.
        let options = LossOptions {
            visibility: plan.visibility,
            scale: loss_scale as f32 / targets.max(1) as f32,
            recompute: plan.stage.recompute,
        };
        let packs = &ready.batch.packs;
        let (fresh, features) = match &cache {
            Some(cache) => {
                let images = packs.iter().flat_map(|pack| &pack.images);
                let (fresh, origins) = cache.missing(model, images)?;
                (fresh, Some(origins))
            }
            None => (Features::new(), None),
        };
        let device = model.parameters.device();
        let send = |pack: &Pack| -> Result<Tensor> {
            let images = match &cache {
                Some(cache) if !pack.images.is_empty() => cache.stack(&fresh, &pack.images)?,
                _ => pack_pixels(pack)?,
            };
            Ok(images.send_ahead(device)?)
        };
        let mut ahead = ready.pixels.take();
        let mut losses = Vec::new();
        for (number, pack) in packs.iter().enumerate() {
            let images = ahead.take().map_or_else(|| send(pack), Ok)?;
            let input = match cache.is_some() && !pack.images.is_empty() {
                true => PackInput::encoded(pack, images),
                false => PackInput::seen(pack, images),
            };
            let tape = Tape::recording(&model.parameters);
            tape.set_seed(plan.dropout_seed(update));
            let loss = model
                .loss(&tape, &input.as_input(), options)
                .with_context(|| describe(pack))?;
            // A pack of text alone teaches a projector nothing; the watch tells if that is all there is.
            let teaches = tape.recorded() > 0;
            match &mut self.reducer {
                _ if !teaches => {}
                // Gradients go to the other ranks once an update, as soon as its last pack has completed them.
                Some(reducer) if number + 1 == packs.len() => {
                    tape.backward_telling(&loss, &mut self.gradients, &mut |id, gradients| {
                        reducer.complete(id, gradients)
                    })?;
                }
                _ => tape.backward(&loss, &mut self.gradients)?,
            }
            losses.push(loss);
            // While a device still computes this one.
            if let Some(next) = packs.get(number + 1).filter(|_| *device != Device::Cpu) {
                ahead = Some(send(next)?);
            }
        }
        feed.look_ahead();
        // From here on a device is waited for.
        let mut total = 0.0;
        for loss in losses {
            let value = loss.to_host()?.f32()?.first().copied();
            total += value.map_or(f64::NAN, f64::from) / loss_scale;
        }
        if self.scaler.is_none() {
            demand_finite("loss", total, &plan.stage, update)?;
        }
        if let Some(cache) = cache {
            cache.keep(fresh)?;
        }
        let mut waited = None;
        if let Some(reducer) = &mut self.reducer {
            let begin = Instant::now();
            reducer.finish(&mut self.gradients)?;
            total = self.team.sum(total)?;
            waited = Some(begin.elapsed().as_secs_f64());
        }
        Ok(Accumulated {
            loss: total,
            features,
            waited,
        })
    }
}

/// What the packs of a batch gave beside their gradients; see [`Updated`].
struct Accumulated {
    loss: f64,
    features: Option<Origins>,
    waited: Option<f64>,
}

fn describe(pack: &Pack) -> String {
    let first = pack
        .documents
        .first()
        .map_or("", |document| document.origin.as_str());
    format!(
        "in a pack of {} documents, the first from {first}",
        pack.documents.len()
    )
}
