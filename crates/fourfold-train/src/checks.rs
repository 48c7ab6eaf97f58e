//! What must never happen in silence.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use fourfold_model::Model;
use fourfold_tensor::{Gradients, ParameterId, Parameters, TensorError};

use crate::checksum::checksum;
use crate::recipe::Stage;

/// Demands that a gradient reaches every trainable parameter in the first updates of a stage.
pub struct GradientWatch {
    missing: Vec<ParameterId>,
    left: usize,
}

impl GradientWatch {
    /// How many updates a parameter may wait for its first gradient.
    pub const UPDATES: usize = 20;

    /// Watches the trainable parameters for the coming `updates`, at most [`Self::UPDATES`] of them; for none, it
    /// demands nothing.
    pub fn new(parameters: &Parameters, updates: usize) -> Self {
        let trainable = parameters
            .iter()
            .filter(|(_, parameter)| parameter.trainable());
        Self {
            missing: trainable.map(|(id, _)| id).collect(),
            left: updates.min(Self::UPDATES),
        }
    }

    /// Notes the gradients of an update; at the last watched one, none may be missing.
    ///
    /// # Errors
    /// [`TensorError::MissingGradient`] naming the first parameter that none reached.
    pub fn note(&mut self, gradients: &Gradients, parameters: &Parameters) -> Result<()> {
        self.missing.retain(|id| gradients.get(*id).is_none());
        if self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        match self.missing.first() {
            Some(id) if self.left == 0 => {
                let name = parameters.get(*id).name().to_owned();
                Err(TensorError::MissingGradient { name }.into())
            }
            _ => Ok(()),
        }
    }
}

/// Demands that frozen parameters keep their numbers through a stage.
pub struct FrozenGuard(BTreeMap<String, u64>);

impl FrozenGuard {
    /// Notes the frozen parameters as they are.
    ///
    /// # Errors
    /// When a master is not f32, which is a defect of the engine.
    pub fn new(parameters: &Parameters) -> Result<Self> {
        checksums(parameters, |_, trainable| !trainable).map(Self)
    }

    /// Compares them with what they are now.
    ///
    /// # Errors
    /// Names the first that moved.
    pub fn check(&self, parameters: &Parameters) -> Result<()> {
        let now = checksums(parameters, |name, _| self.0.contains_key(name))?;
        for (name, sum) in &self.0 {
            if now.get(name) != Some(sum) {
                bail!(
                    "the parameter '{name}' is frozen in this stage but its numbers changed: the weights of \
                     this run are not to be trusted; this is a defect of Fourfold, please report it"
                );
            }
        }
        Ok(())
    }
}

/// Checksums of the parameters that `which(name, trainable)` picks.
///
/// # Errors
/// When a master is not f32, which is a defect of the engine.
pub fn checksums(
    parameters: &Parameters,
    which: impl Fn(&str, bool) -> bool,
) -> Result<BTreeMap<String, u64>> {
    let picked = parameters
        .iter()
        .filter(|(_, p)| which(p.name(), p.trainable()));
    picked
        .map(|(_, parameter)| {
            Ok((
                parameter.name().to_owned(),
                checksum(parameter.master().f32()?),
            ))
        })
        .collect()
}

/// Refuses a loss or gradient norm that is no number.
///
/// # Errors
/// Names stage and update, and says what usually helps.
pub fn demand_finite(what: &str, value: f64, stage: &Stage, update: usize) -> Result<()> {
    if value.is_finite() {
        return Ok(());
    }
    bail!(
        "the {what} of stage '{}' became {value} at its update {}: lower `lr` ({:?} now), lengthen `warmup` ({}) or \
         lower `clip` ({}, where 0 is no limit); with precision = \"f32\" it shows whether 16-bit numbers are the cause. `train --resume` \
         goes on from the last checkpoint, but with the recipe unchanged",
        stage.name,
        update + 1,
        stage.lr.values(),
        stage.warmup,
        stage.clip
    )
}

/// Refuses trained weights that are no numbers: loss and gradients were, but the last step may have gone too far.
///
/// # Errors
/// Names the first, and says what usually helps.
pub fn demand_finite_weights(parameters: &Parameters) -> Result<()> {
    for (_, parameter) in parameters.iter().filter(|(_, p)| p.trainable()) {
        let values = parameter.master().f32()?;
        if let Some(bad) = values.iter().find(|value| !value.is_finite()) {
            bail!(
                "the weights of '{}' hold {bad}: the last steps were too large; lower `lr` or `weight_decay`, or \
                 lengthen `warmup`. Nothing of this is saved; `train --resume` goes on from the last checkpoint, but \
                 with the recipe unchanged",
                parameter.name()
            );
        }
    }
    Ok(())
}

/// The trainable numbers of a model.
pub fn trainable(model: &Model) -> usize {
    let trainable = model
        .parameters
        .iter()
        .filter(|(_, parameter)| parameter.trainable());
    trainable
        .map(|(_, parameter)| parameter.master().len())
        .sum()
}

#[cfg(test)]
mod tests {
    use fourfold_tensor::{Precision, Tensor};

    use super::*;

    fn two_parameters() -> (Parameters, ParameterId, ParameterId) {
        let mut parameters = Parameters::new(Precision::F32);
        let mut add = |name: &str| {
            let values = Tensor::from_f32(&[2], &[1.0, 2.0]).unwrap();
            parameters.add(name, values).unwrap()
        };
        let (a, b) = (add("vision.a"), add("language.b"));
        parameters.set_trainable(|name| name == "vision.a");
        (parameters, a, b)
    }

    #[test]
    fn a_frozen_parameter_that_moves_is_named() {
        let (mut parameters, a, b) = two_parameters();
        let guard = FrozenGuard::new(&parameters).unwrap();
        parameters.update(a, |values| values[0] += 1.0).unwrap();
        guard.check(&parameters).unwrap();
        // The least that a number can move.
        parameters
            .update(b, |values| values[1] = values[1].next_up())
            .unwrap();
        let error = guard.check(&parameters).unwrap_err().to_string();
        assert!(error.contains("'language.b' is frozen"), "{error}");
    }

    #[test]
    fn a_trained_weight_that_is_no_number_is_named() {
        let (mut parameters, a, b) = two_parameters();
        demand_finite_weights(&parameters).unwrap();
        // A frozen one is the guard's matter.
        parameters.update(b, |values| values[0] = f32::NAN).unwrap();
        demand_finite_weights(&parameters).unwrap();
        parameters.update(a, |v| v[1] = f32::NEG_INFINITY).unwrap();
        let error = demand_finite_weights(&parameters).unwrap_err().to_string();
        assert!(error.contains("'vision.a' hold -inf"), "{error}");
    }

    #[test]
    fn a_parameter_that_no_gradient_reaches_is_named_at_the_last_watched_update() {
        let (parameters, ..) = two_parameters();
        let none = Gradients::new(&parameters);
        let mut watch = GradientWatch::new(&parameters, 3);
        watch.note(&none, &parameters).unwrap();
        watch.note(&none, &parameters).unwrap();
        let error = watch.note(&none, &parameters).unwrap_err().to_string();
        assert!(error.contains("vision.a"), "{error}");
        let mut watch = GradientWatch::new(&parameters, 0);
        watch.note(&none, &parameters).unwrap();
    }
}
