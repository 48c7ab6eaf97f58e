//! The vision encoder: a transformer over the patches of an image (Dosovitskiy et al., arXiv 2010.11929).
//!
//! The families differ in the tokens before the patches, in norms, activations and names; the forward pass is one.

mod layout;
mod prefix;
mod unread;

use fourfold_tensor::ops::{self, Gate, Gelu, Heads, Visibility};
use fourfold_tensor::{ParameterId, Precision, Tape, Tensor};

use self::layout::{Names, PRE_NORM, SCALES};
use self::prefix::Prefix;
use crate::layers::{Found, Linear, Norm, find, through};
use crate::{ImageSize, ModelError, Result, VisionConfig, VisionFamily};

pub(crate) use layout::specs;
pub(crate) use unread::unread;

/// The encoder.
#[derive(Debug)]
pub(crate) struct VisionEncoder {
    size: ImageSize,
    patch: usize,
    /// Rows of an image inside the encoder.
    rows: usize,
    embed: Linear,
    positions: ParameterId,
    prefix: Option<Prefix>,
    pre_norm: Option<Norm>,
    blocks: Vec<Block>,
    final_norm: Option<Norm>,
}

#[derive(Debug)]
struct Block {
    heads: Heads,
    inner: Inner,
    norm1: Norm,
    qkv: Linear,
    out: Linear,
    scale1: Option<ParameterId>,
    norm2: Norm,
    fc1: Linear,
    fc2: Linear,
    scale2: Option<ParameterId>,
}

/// What happens between the feed-forward layers.
#[derive(Clone, Copy, Debug)]
enum Inner {
    Gelu(Gelu),
    Gated(Gate),
}

impl VisionEncoder {
    pub fn new(config: &VisionConfig, found: &Found<'_>) -> Result<Self> {
        let names = Names::of(config);
        let norm = |name: String| Norm::find(found, &name, config.layer_norm_eps);
        let clip = config.family == VisionFamily::Clip;
        Ok(Self {
            size: config.image_size,
            patch: config.patch_size,
            rows: config.prefix() + config.patches(),
            embed: Linear::find(found, &names.patches())?,
            positions: find(found, &names.positions())?,
            prefix: Prefix::find(config, found, names)?,
            pre_norm: clip.then(|| norm(names.at(PRE_NORM))).transpose()?,
            blocks: (0..config.num_hidden_layers)
                .map(|layer| Block::find(config, found, names, layer))
                .collect::<Result<_>>()?,
            final_norm: config
                .final_norm
                .then(|| norm(names.at(names.final_norm)))
                .transpose()?,
        })
    }

    /// `images: [images, channels, height, width]` → features `[images · features, vision_width]`. With `recompute`
    /// each block keeps only its input for the way back.
    ///
    /// # Errors
    /// When the images are of another size than the encoder takes, though as many patches may fit in them.
    pub fn forward<'p>(
        &'p self,
        tape: &Tape<'p>,
        images: &Tensor,
        recompute: bool,
    ) -> Result<Tensor> {
        self.demand_size(images)?;
        let images = images.to_device(tape.device())?;
        let patches = ops::patchify(&images, self.patch, tape.precision())?;
        let patches = self.embed.forward(tape, &patches)?;
        let positions = tape.parameter(self.positions);
        let mut x = match &self.prefix {
            None => {
                let ids: Vec<u32> = (0..patches.rows())
                    .map(|row| (row % self.rows) as u32)
                    .collect();
                ops::add_rows(tape, &patches, &positions, &ids)?
            }
            Some(prefix) => prefix.put_before(tape, &patches, &positions)?,
        };
        if let Some(norm) = &self.pre_norm {
            // What follows is a residual stream, which is f32.
            x = ops::cast(tape, &norm.forward(tape, &x)?, Precision::F32)?;
        }
        let visibility = Visibility::blocks(x.rows(), self.rows);
        for block in &self.blocks {
            let visibility = visibility.clone();
            let block = move |tape: &Tape<'p>, x: &Tensor| block.forward(tape, x, &visibility);
            x = through(tape, &x, recompute, block)?;
        }
        let x = match &self.final_norm {
            Some(norm) => norm.forward(tape, &x)?,
            None => ops::cast(tape, &x, tape.precision())?,
        };
        match &self.prefix {
            Some(prefix) => prefix.take_away(tape, &x),
            None => Ok(x),
        }
    }

    fn demand_size(&self, images: &Tensor) -> Result<()> {
        match *images.shape() {
            [_, _, height, width] if ImageSize { height, width } == self.size => Ok(()),
            [_, _, height, width] => Err(ModelError::Input(format!(
                "images of {} pixels; the vision encoder takes {}",
                ImageSize { height, width },
                self.size
            ))),
            // Other shapes are refused by what cuts the patches.
            _ => Ok(()),
        }
    }
}

impl Block {
    fn find(config: &VisionConfig, found: &Found<'_>, names: &Names, layer: usize) -> Result<Self> {
        let at = |name: &str| names.in_block(layer, name);
        let norm = |name: &str| Norm::find(found, &at(name), config.layer_norm_eps);
        let heads = config.num_attention_heads;
        let scale = |name: &str| match config.family.is_dino() {
            true => find(found, &at(name)).map(Some),
            false => Ok(None),
        };
        Ok(Self {
            heads: Heads {
                query: heads,
                key_value: heads,
                width: config.hidden_size / heads,
            },
            inner: match config.gated {
                true => Inner::Gated(Gate::Silu),
                false => Inner::Gelu(config.gelu()?),
            },
            norm1: norm(names.norm1)?,
            qkv: Linear::find(found, &names.qkv(layer))?,
            out: Linear::find(found, &at(names.out))?,
            scale1: scale(SCALES[0])?,
            norm2: norm(names.norm2)?,
            fc1: Linear::find(found, &at(names.fc1))?,
            fc2: Linear::find(found, &at(names.fc2))?,
            scale2: scale(SCALES[1])?,
        })
    }

    fn forward(&self, tape: &Tape<'_>, x: &Tensor, visibility: &Visibility) -> Result<Tensor> {
        let qkv = self.qkv.forward(tape, &self.norm1.forward(tape, x)?)?;
        let seen = ops::attention(tape, &qkv, self.heads, visibility)?;
        let x = join(tape, x, &self.out, self.scale1, &seen)?;
        let normed = self.norm2.forward(tape, &x)?;
        let inner = match self.inner {
            Inner::Gelu(kind) => self.fc1.gelu(tape, &normed, kind)?,
            Inner::Gated(gate) => ops::gated(tape, &self.fc1.forward(tape, &normed)?, gate)?,
        };
        join(tape, &x, &self.fc2, self.scale2, &inner)
    }
}

/// The residual stream and what a branch's last layer makes of `inner`, scaled where the family scales it.
fn join(
    tape: &Tape<'_>,
    stream: &Tensor,
    last: &Linear,
    scale: Option<ParameterId>,
    inner: &Tensor,
) -> Result<Tensor> {
    match scale {
        None => last.add_to(tape, stream, inner),
        Some(scale) => {
            let branch = last.forward(tape, inner)?;
            let scale = tape.parameter(scale);
            Ok(ops::residual(tape, stream, &branch, Some(&scale))?)
        }
    }
}
