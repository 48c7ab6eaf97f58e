//! The projector: image features into the language model's width.

use fourfold_tensor::ops::{self, Gelu};
use fourfold_tensor::{Tape, Tensor};

use crate::layers::{Found, Linear};
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
    }
}

/// The projector.
#[derive(Debug)]
pub(crate) struct Projector {
    grid: ImageSize,
    block: usize,
    layers: Vec<Linear>,
}

impl Projector {
    pub fn new(config: &ModelConfig, found: &Found<'_>) -> Result<Self> {
        let names: &[&str] = match config.projector.kind {
            ProjectorKind::Linear => &["projector.linear"],
            ProjectorKind::Mlp => &["projector.linear_1", "projector.linear_2"],
        };
        let layers = names
            .iter()
            .map(|name| Linear::find(found, name))
            .collect::<Result<_>>()?;
        Ok(Self {
            grid: config.vision.grid(),
            block: config.projector.pixel_shuffle,
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
        for (index, layer) in self.layers.iter().enumerate() {
            if index > 0 {
                x = ops::gelu(tape, &x, Gelu::Erf)?;
            }
            x = layer.forward(tape, &x)?;
        }
        Ok(x)
    }
}
