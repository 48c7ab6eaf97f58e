//! The layers that every part is made of.

use std::collections::HashMap;
use std::ops::Deref;

use fourfold_tensor::ops::{self, Gelu};
use fourfold_tensor::{ParameterId, Parameters, Tape, Tensor};

use crate::lora::Adapters;
use crate::spec::Spec;
use crate::{LoraConfig, ModelError, Result};

/// What layers are found in: parameters, and the adapters of linear layers.
pub(crate) struct Found<'p> {
    parameters: &'p Parameters,
    /// By the name of the weight.
    adapters: HashMap<String, Adapters>,
}

impl<'p> Found<'p> {
    pub fn new(parameters: &'p Parameters, specs: &[Spec], lora: Option<&LoraConfig>) -> Self {
        let mut adapters = HashMap::new();
        for spec in specs.iter().filter(|spec| spec.linear) {
            if let Some(of_layer) = lora.and_then(|lora| Adapters::find(lora, parameters, spec)) {
                adapters.insert(spec.name.clone(), of_layer);
            }
        }
        Self {
            parameters,
            adapters,
        }
    }
}

impl Deref for Found<'_> {
    type Target = Parameters;

    fn deref(&self) -> &Parameters {
        self.parameters
    }
}

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
    adapters: Option<Adapters>,
}

impl Linear {
    /// The layer `prefix.weight`, with `prefix.bias` if there is one.
    pub fn find(found: &Found<'_>, prefix: &str) -> Result<Self> {
        let weight = format!("{prefix}.weight");
        Ok(Self {
            weight: find(found, &weight)?,
            bias: found.find(&format!("{prefix}.bias")),
            adapters: found.adapters.get(&weight).cloned(),
        })
    }

    /// `[rows, in]` → `[rows, out]`.
    pub fn forward(&self, tape: &Tape<'_>, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = self.operands(tape);
        let y = ops::linear(tape, x, &weight, bias.as_ref())?;
        self.adapted(tape, x, y)
    }

    /// The same, activated.
    pub fn gelu(&self, tape: &Tape<'_>, x: &Tensor, kind: Gelu) -> Result<Tensor> {
        if self.adapters.is_some() {
            return Ok(ops::gelu(tape, &self.forward(tape, x)?, kind)?);
        }
        let (weight, bias) = self.operands(tape);
        Ok(ops::linear_gelu(tape, x, &weight, bias.as_ref(), kind)?)
    }

    /// The same, added to a residual stream.
    pub fn add_to(&self, tape: &Tape<'_>, residual: &Tensor, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = self.operands(tape);
        let y = ops::linear_residual(tape, x, &weight, bias.as_ref(), residual)?;
        self.adapted(tape, x, y)
    }

    fn operands(&self, tape: &Tape<'_>) -> (Tensor, Option<Tensor>) {
        let bias = self.bias.map(|bias| tape.parameter(bias));
        (tape.parameter(self.weight), bias)
    }

    fn adapted(&self, tape: &Tape<'_>, x: &Tensor, y: Tensor) -> Result<Tensor> {
        match &self.adapters {
            Some(adapters) => adapters.add_to(tape, x, y),
            None => Ok(y),
        }
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
