//! The projector: image features into the language model's width.

use fourfold_tensor::ops::{self, Gelu};
use fourfold_tensor::{Tape, Tensor};

use crate::layers::{Found, Linear, Norm};
use crate::spec::Spec;
use crate::{ImageSize, ModelConfig, ProjectorKind, Result};

/// The projector's parameters.
pub(crate) fn specs(config: &ModelConfig) -> Vec<Spec> {
    let projector = &config.projector;
    let features = config.vision.hidden_size * projector.pixel_shuffle * projector.pixel_shuffle;
    let width = config.language.width();
    let layer = |name: &str, out: usize, inner: usize| {
        [
            Spec::matrix(format!("projector.{name}.weight"), [out, inner], 1),
            Spec::bias(format!("projector.{name}.bias"), out),
        ]
    };
    match projector.kind {
        ProjectorKind::Linear => layer("linear", width, features).to_vec(),
        ProjectorKind::Mlp => {
            let hidden = projector.hidden_size.unwrap_or(width);
            [
                layer("linear_1", hidden, features),
                layer("linear_2", width, hidden),
            ]
            .concat()
        }
        ProjectorKind::Gemma3 => gemma3(config.vision.hidden_size, width),
    }
}

/// Gemma's norm, whose file holds the distance from 1, and its matrix, which is no linear layer in files: it has a name
/// of its own, lies there as `[in, out]` and takes no adapter.
fn gemma3(features: usize, width: usize) -> Vec<Spec> {
    let shape = [width, features];
    vec![
        Spec::norm(format!("{GEMMA3_NORM}.weight"), features).stored_less(1.0),
        Spec {
            linear: false,
            ..Spec::matrix(format!("{GEMMA3_LINEAR}.weight"), shape, 1)
                .stored_in(format!("{GEMMA3_LINEAR}_weight"), &shape)
                .transposed()
        },
    ]
}

const GEMMA3_NORM: &str = "projector.mm_soft_emb_norm";
const GEMMA3_LINEAR: &str = "projector.mm_input_projection";

/// The projector.
#[derive(Debug)]
pub(crate) struct Projector {
    grid: ImageSize,
    block: usize,
    /// Of Gemma's kind, what follows the mean of a block.
    norm: Option<Norm>,
    layers: Vec<Linear>,
}

impl Projector {
    pub fn new(config: &ModelConfig, found: &Found<'_>) -> Result<Self> {
        let names: &[&str] = match config.projector.kind {
            ProjectorKind::Linear => &["projector.linear"],
            ProjectorKind::Mlp => &["projector.linear_1", "projector.linear_2"],
            ProjectorKind::Gemma3 => &[GEMMA3_LINEAR],
        };
        let gemma3 = config.projector.kind == ProjectorKind::Gemma3;
        let epsilon = config.vision.layer_norm_eps;
        let layers = names
            .iter()
            .map(|name| Linear::find(found, name))
            .collect::<Result<_>>()?;
        Ok(Self {
            grid: config.vision.grid(),
            block: config.projector.pixel_shuffle,
            norm: gemma3
                .then(|| Norm::find(found, GEMMA3_NORM, epsilon))
                .transpose()?,
            layers,
        })
    }

    /// Features `[images · features, vision_width]` → visual tokens `[images · visual tokens, width]`.
    pub fn forward(&self, tape: &Tape<'_>, features: &Tensor) -> Result<Tensor> {
        let mut x = features.clone();
        if self.block > 1 {
            let grid = (self.grid.height, self.grid.width);
            x = ops::pixel_shuffle(tape, &x, grid, self.block)?;
        }
        if let Some(norm) = &self.norm {
            x = ops::average(tape, &x, self.block * self.block)?;
            x = norm.forward(tape, &x)?;
        }
        for (index, layer) in self.layers.iter().enumerate() {
            if index > 0 {
                x = ops::gelu(tape, &x, Gelu::Erf)?;
            }
            x = layer.forward(tape, &x)?;
        }
        Ok(x)
    }
}
