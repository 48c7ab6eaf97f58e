//! The vision encoder: a transformer over patches without a class token, as SigLIP's.

use fourfold_tensor::ops::{self, Gelu, Heads, Visibility};
use fourfold_tensor::{ParameterId, Parameters, Tape, Tensor};

use crate::layers::{Linear, Norm, find, through};
use crate::spec::{Init, Spec};
use crate::{Result, VisionConfig};

const ROOT: &str = "vision.vision_model";

/// The encoder's parameters.
pub(crate) fn specs(config: &VisionConfig) -> Vec<Spec> {
    let (width, inner) = (config.hidden_size, config.intermediate_size);
    let depth = 2 * config.num_hidden_layers;
    let patch = config.patch_size;
    let patch_name = format!("{ROOT}.embeddings.patch_embedding");
    let mut specs = vec![
        Spec::matrix(
            format!("{patch_name}.weight"),
            [width, config.num_channels * patch * patch],
            1,
        )
        .stored_in(
            format!("{patch_name}.weight"),
            &[width, config.num_channels, patch, patch],
        ),
        Spec::bias(format!("{patch_name}.bias"), width),
        Spec::plain(
            format!("{ROOT}.embeddings.position_embedding.weight"),
            &[config.patches(), width],
            Init::Grid {
                side: config.grid(),
            },
        ),
    ];
    for layer in 0..config.num_hidden_layers {
        let at = |name: &str| format!("{ROOT}.encoder.layers.{layer}.{name}");
        let thirds = |kind: &str| {
            ["q", "k", "v"].map(|p| (at(&format!("self_attn.{p}_proj.{kind}")), width))
        };
        specs.extend([
            Spec::norm(at("layer_norm1.weight"), width),
            Spec::bias(at("layer_norm1.bias"), width),
            Spec::matrix(at("self_attn.qkv_proj.weight"), [3 * width, width], 1)
                .stored_as(&thirds("weight")),
            Spec::bias(at("self_attn.qkv_proj.bias"), 3 * width).stored_as(&thirds("bias")),
            Spec::matrix(at("self_attn.out_proj.weight"), [width, width], depth),
            Spec::bias(at("self_attn.out_proj.bias"), width),
            Spec::norm(at("layer_norm2.weight"), width),
            Spec::bias(at("layer_norm2.bias"), width),
            Spec::matrix(at("mlp.fc1.weight"), [inner, width], 1),
            Spec::bias(at("mlp.fc1.bias"), inner),
            Spec::matrix(at("mlp.fc2.weight"), [width, inner], depth),
            Spec::bias(at("mlp.fc2.bias"), width),
        ]);
    }
    specs.push(Spec::norm(format!("{ROOT}.post_layernorm.weight"), width));
    specs.push(Spec::bias(format!("{ROOT}.post_layernorm.bias"), width));
    specs
}

/// The encoder.
#[derive(Debug)]
pub(crate) struct VisionEncoder {
    patch: usize,
    patches: usize,
    embed: Linear,
    positions: ParameterId,
    blocks: Vec<Block>,
    norm: Norm,
}

#[derive(Debug)]
struct Block {
    heads: Heads,
    gelu: Gelu,
    norm1: Norm,
    qkv: Linear,
    out: Linear,
    norm2: Norm,
    fc1: Linear,
    fc2: Linear,
}

impl VisionEncoder {
    pub fn new(config: &VisionConfig, parameters: &Parameters) -> Result<Self> {
        let epsilon = config.layer_norm_eps;
        let block = |layer: usize| -> Result<Block> {
            let at = |name: &str| format!("{ROOT}.encoder.layers.{layer}.{name}");
            let heads = config.num_attention_heads;
            Ok(Block {
                heads: Heads {
                    query: heads,
                    key_value: heads,
                    width: config.hidden_size / heads,
                },
                gelu: config.gelu()?,
                norm1: Norm::find(parameters, &at("layer_norm1"), epsilon)?,
                qkv: Linear::find(parameters, &at("self_attn.qkv_proj"))?,
                out: Linear::find(parameters, &at("self_attn.out_proj"))?,
                norm2: Norm::find(parameters, &at("layer_norm2"), epsilon)?,
                fc1: Linear::find(parameters, &at("mlp.fc1"))?,
                fc2: Linear::find(parameters, &at("mlp.fc2"))?,
            })
        };
        Ok(Self {
            patch: config.patch_size,
            patches: config.patches(),
            embed: Linear::find(parameters, &format!("{ROOT}.embeddings.patch_embedding"))?,
            positions: find(
                parameters,
                &format!("{ROOT}.embeddings.position_embedding.weight"),
            )?,
            blocks: (0..config.num_hidden_layers)
                .map(block)
                .collect::<Result<_>>()?,
            norm: Norm::find(parameters, &format!("{ROOT}.post_layernorm"), epsilon)?,
        })
    }

    /// `images: [images, channels, height, width]` → features `[images · patches, vision_width]`. With `recompute` each
    /// block keeps only its input for the way back.
    pub fn forward<'p>(
        &'p self,
        tape: &Tape<'p>,
        images: &Tensor,
        recompute: bool,
    ) -> Result<Tensor> {
        let patches = ops::patchify(images, self.patch, tape.precision())?;
        let ids: Vec<u32> = (0..patches.rows())
            .map(|row| (row % self.patches) as u32)
            .collect();
        let embedded = self.embed.forward(tape, &patches)?;
        let mut x = ops::add_rows(tape, &embedded, &tape.parameter(self.positions), &ids)?;
        let visibility = Visibility::blocks(x.rows(), self.patches);
        for block in &self.blocks {
            let visibility = visibility.clone();
            let block = move |tape: &Tape<'p>, x: &Tensor| block.forward(tape, x, &visibility);
            x = through(tape, &x, recompute, block)?;
        }
        self.norm.forward(tape, &x)
    }
}

impl Block {
    fn forward(&self, tape: &Tape<'_>, x: &Tensor, visibility: &Visibility) -> Result<Tensor> {
        let qkv = self.qkv.forward(tape, &self.norm1.forward(tape, x)?)?;
        let seen = ops::attention(tape, &qkv, self.heads, visibility)?;
        let x = self.out.add_to(tape, x, &seen)?;
        let normed = self.norm2.forward(tape, &x)?;
        let inner = self.fc1.gelu(tape, &normed, self.gelu)?;
        self.fc2.add_to(tape, &x, &inner)
    }
}
