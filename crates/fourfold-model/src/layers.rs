//! The layers that every part is made of.

use fourfold_tensor::ops::{self, Gelu};
use fourfold_tensor::{ParameterId, Parameters, Tape, Tensor};

use crate::{ModelError, Result};

/// The parameter `name`, which the specs promise.
pub(crate) fn find(parameters: &Parameters, name: &str) -> Result<ParameterId> {
    parameters
        .find(name)
        .ok_or_else(|| ModelError::Input(format!("the model has no parameter '{name}'")))
}

/// What `block` makes of `x`; with `recompute` nothing but `x` is kept for the way back, and it is computed again there.
pub(crate) fn through<'p>(
    tape: &Tape<'p>,
    x: &Tensor,
    recompute: bool,
    block: impl Fn(&Tape<'p>, &Tensor) -> Result<Tensor> + 'p,
) -> Result<Tensor> {
    if recompute {
        tape.recompute(x, block)
    } else {
        block(tape, x)
    }
}

/// A linear layer.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: ParameterId,
    bias: Option<ParameterId>,
}

impl Linear {
    /// The layer `prefix.weight`, with `prefix.bias` if there is one.
    pub fn find(parameters: &Parameters, prefix: &str) -> Result<Self> {
        let bias = parameters.find(&format!("{prefix}.bias"));
        Ok(Self {
            weight: find(parameters, &format!("{prefix}.weight"))?,
            bias,
        })
    }

    /// `[rows, in]` → `[rows, out]`.
    pub fn forward(&self, tape: &Tape<'_>, x: &Tensor) -> Result<Tensor> {
        let bias = self.bias.map(|bias| tape.parameter(bias));
        Ok(ops::linear(
            tape,
            x,
            &tape.parameter(self.weight),
            bias.as_ref(),
        )?)
    }

    /// The same, activated.
    pub fn gelu(&self, tape: &Tape<'_>, x: &Tensor, kind: Gelu) -> Result<Tensor> {
        let bias = self.bias.map(|bias| tape.parameter(bias));
        let weight = tape.parameter(self.weight);
        Ok(ops::linear_gelu(tape, x, &weight, bias.as_ref(), kind)?)
    }

    /// The same, added to a residual stream.
    pub fn add_to(&self, tape: &Tape<'_>, residual: &Tensor, x: &Tensor) -> Result<Tensor> {
        let bias = self.bias.map(|bias| tape.parameter(bias));
        let weight = tape.parameter(self.weight);
        Ok(ops::linear_residual(
            tape,
            x,
            &weight,
            bias.as_ref(),
            residual,
        )?)
    }
}

/// A norm over the width.
#[derive(Debug)]
pub(crate) enum Norm {
    Layer {
        weight: ParameterId,
        bias: ParameterId,
        epsilon: f32,
    },
    Rms {
        weight: ParameterId,
        epsilon: f32,
    },
}

impl Norm {
    /// A layer norm if `prefix.bias` exists, an RMS norm otherwise.
    pub fn find(parameters: &Parameters, prefix: &str, epsilon: f32) -> Result<Self> {
        let weight = find(parameters, &format!("{prefix}.weight"))?;
        Ok(match parameters.find(&format!("{prefix}.bias")) {
            Some(bias) => Self::Layer {
                weight,
                bias,
                epsilon,
            },
            None => Self::Rms { weight, epsilon },
        })
    }

    /// `[rows, width]` → the same shape.
    pub fn forward(&self, tape: &Tape<'_>, x: &Tensor) -> Result<Tensor> {
        Ok(match *self {
            Self::Layer {
                weight,
                bias,
                epsilon,
            } => ops::layer_norm(
                tape,
                x,
                &tape.parameter(weight),
                &tape.parameter(bias),
                epsilon,
            )?,
            Self::Rms { weight, epsilon } => {
                ops::rms_norm(tape, x, &tape.parameter(weight), epsilon)?
            }
        })
    }
}
