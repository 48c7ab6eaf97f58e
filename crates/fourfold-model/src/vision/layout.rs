//! The parameters of each family and their names, which are Hugging Face's but for what is one matrix here.

use crate::spec::{Fit, Init, Spec};
use crate::{VisionConfig, VisionFamily};

/// What a family calls its parameters.
pub(super) struct Names {
    /// What all of them begin with.
    root: &'static str,
    patches: &'static str,
    positions: &'static str,
    /// Class, distillation: those with a position.
    class_tokens: &'static [&'static str],
    blocks: &'static str,
    pub norm1: &'static str,
    /// Queries, keys, values.
    qkv: [&'static str; 3],
    pub out: &'static str,
    pub norm2: &'static str,
    pub fc1: &'static str,
    pub fc2: &'static str,
    pub final_norm: &'static str,
}

/// CLIP's and SigLIP's.
const CLIP: Names = Names {
    root: "vision.vision_model",
    patches: "embeddings.patch_embedding",
    positions: "embeddings.position_embedding.weight",
    class_tokens: &["embeddings.class_embedding"],
    blocks: "encoder.layers",
    norm1: "layer_norm1",
    qkv: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    out: "self_attn.out_proj",
    norm2: "layer_norm2",
    fc1: "mlp.fc1",
    fc2: "mlp.fc2",
    final_norm: "post_layernorm",
};

/// ViT's and DeiT's.
const VIT: Names = Names {
    root: "vision",
    patches: "embeddings.patch_embeddings.projection",
    positions: "embeddings.position_embeddings",
    class_tokens: &["embeddings.cls_token", "embeddings.distillation_token"],
    blocks: "encoder.layer",
    norm1: "layernorm_before",
    qkv: [
        "attention.attention.query",
        "attention.attention.key",
        "attention.attention.value",
    ],
    out: "attention.output.dense",
    norm2: "layernorm_after",
    fc1: "intermediate.dense",
    fc2: "output.dense",
    final_norm: "layernorm",
};

const DINO: Names = Names {
    norm1: "norm1",
    norm2: "norm2",
    fc1: "mlp.fc1",
    fc2: "mlp.fc2",
    ..VIT
};

/// DINOv2's gated feed-forward part.
const GATED_DINO: Names = Names {
    fc1: "mlp.weights_in",
    fc2: "mlp.weights_out",
    ..DINO
};

impl Names {
    pub fn of(config: &VisionConfig) -> &'static Self {
        match config.family {
            VisionFamily::Siglip | VisionFamily::Clip => &CLIP,
            VisionFamily::Vit | VisionFamily::Deit => &VIT,
            VisionFamily::Dinov2 | VisionFamily::Dinov2Registers if config.gated => &GATED_DINO,
            VisionFamily::Dinov2 | VisionFamily::Dinov2Registers => &DINO,
        }
    }

    /// A name outside the blocks.
    pub fn at(&self, name: &str) -> String {
        format!("{}.{name}", self.root)
    }

    /// A name within a block.
    pub fn in_block(&self, layer: usize, name: &str) -> String {
        format!("{}.{}.{layer}.{name}", self.root, self.blocks)
    }

    pub fn patches(&self) -> String {
        self.at(self.patches)
    }

    pub fn positions(&self) -> String {
        self.at(self.positions)
    }

    /// Class and distillation token, `[tokens, width]`.
    pub fn class_tokens(&self) -> String {
        self.at("embeddings.class_tokens")
    }

    /// `[registers, width]`.
    pub fn registers(&self) -> String {
        self.at("embeddings.register_tokens")
    }

    /// Queries, keys and values as one linear layer of a block.
    pub fn qkv(&self, layer: usize) -> String {
        self.in_block(layer, "self_attn.qkv_proj")
    }
}

/// The norm before CLIP's blocks; the spelling is its own.
pub(super) const PRE_NORM: &str = "pre_layrnorm";

/// The encoder's parameters.
pub(crate) fn specs(config: &VisionConfig) -> Vec<Spec> {
    let names = Names::of(config);
    let width = config.hidden_size;
    let mut specs = embeddings(config, names);
    if config.family == VisionFamily::Clip {
        specs.extend(norm(names.at(PRE_NORM), width));
    }
    for layer in 0..config.num_hidden_layers {
        specs.extend(block(config, names, layer));
    }
    if config.final_norm {
        specs.extend(norm(names.at(names.final_norm), width));
    }
    specs
}

fn norm(name: String, width: usize) -> [Spec; 2] {
    [
        Spec::norm(format!("{name}.weight"), width),
        Spec::bias(format!("{name}.bias"), width),
    ]
}

fn embeddings(config: &VisionConfig, names: &Names) -> Vec<Spec> {
    let (width, patch) = (config.hidden_size, config.patch_size);
    let family = config.family;
    let patches = names.patches();
    let weight = format!("{patches}.weight");
    let shape = [width, config.num_channels * patch * patch];
    let mut specs = vec![Spec {
        // A convolution elsewhere, which adapters of linear layers leave alone.
        linear: false,
        ..Spec::matrix(weight.clone(), shape, 1)
            .stored_in(weight, &[width, config.num_channels, patch, patch])
    }];
    if family.has_patch_bias() {
        specs.push(Spec::bias(format!("{patches}.bias"), width));
    }
    let tokens = family.class_tokens();
    // CLIP and SigLIP keep a plain table, the others one with a dimension for the batch.
    let flat = matches!(family, VisionFamily::Siglip | VisionFamily::Clip);
    let init = Init::Grid {
        height: config.grid().height,
        width: config.grid().width,
        before: tokens,
    };
    let rows = tokens + config.patches();
    let positions = Spec::plain(names.positions(), &[rows, width], init);
    let positions = match flat {
        true => positions,
        false => positions.stored_in(names.positions(), &[1, rows, width]),
    };
    specs.push(positions.fitting(Fit::Interpolate {
        before: tokens,
        to: config.grid(),
        // Of these encoders, transformers shrinks only this one's grid with antialiasing.
        antialias: family == VisionFamily::Dinov2Registers,
    }));
    if tokens > 0 {
        let shape: &[usize] = if flat { &[width] } else { &[1, 1, width] };
        let stored = names.class_tokens[..tokens].iter();
        let stored = stored.map(|name| (names.at(name), shape.to_vec()));
        specs.push(
            Spec::plain(names.class_tokens(), &[tokens, width], Init::Normal(0.02))
                .stored_each(stored.collect()),
        );
    }
    if config.registers > 0 {
        let shape = [config.registers, width];
        specs.push(
            Spec::plain(names.registers(), &shape, Init::Normal(0.02))
                .stored_in(names.registers(), &[1, config.registers, width]),
        );
    }
    specs
}

fn block(config: &VisionConfig, names: &Names, layer: usize) -> Vec<Spec> {
    let (width, inner) = (config.hidden_size, config.intermediate_size);
    let depth = 2 * config.num_hidden_layers;
    let at = |name: &str| names.in_block(layer, name);
    let linear = |name: String, [out, from]: [usize; 2], depth: usize| {
        [
            Spec::matrix(format!("{name}.weight"), [out, from], depth),
            Spec::bias(format!("{name}.bias"), out),
        ]
    };
    let thirds = |kind: &str| {
        let third = |name: &&str| (at(&format!("{name}.{kind}")), width);
        names.qkv.iter().map(third).collect::<Vec<_>>()
    };
    let [weight, bias] = linear(names.qkv(layer), [3 * width, width], 1);
    let mut specs = Vec::new();
    specs.extend(norm(at(names.norm1), width));
    specs.push(weight.stored_as(&thirds("weight")));
    if config.qkv_bias {
        specs.push(bias.stored_as(&thirds("bias")));
    }
    specs.extend(linear(at(names.out), [width, width], depth));
    if config.family.is_dino() {
        specs.push(Spec::norm(at(SCALES[0]), width));
    }
    specs.extend(norm(at(names.norm2), width));
    let opened = if config.gated { 2 * inner } else { inner };
    specs.extend(linear(at(names.fc1), [opened, width], 1));
    specs.extend(linear(at(names.fc2), [width, inner], depth));
    if config.family.is_dino() {
        specs.push(Spec::norm(at(SCALES[1]), width));
    }
    specs
}

/// What DINOv2 multiplies the two branches of a block by.
pub(super) const SCALES: [&str; 2] = ["layer_scale1.lambda1", "layer_scale2.lambda1"];
