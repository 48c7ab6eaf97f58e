//! The pieces of work and the models that they run on.

use std::fmt;
use std::str::FromStr;

use fourfold_model::{
    Gpt2Config, ImageSize, LanguageConfig, ModelConfig, Part, ProjectorConfig, ProjectorKind,
    RopeConfig, RotaryConfig, RotaryFamily, VisibilityKind, VisionConfig, VisionFamily,
};

/// A piece of work whose size is fixed, so that its time can be compared between machines and programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// One training step of a GPT of 6 layers, width 384, vocabulary 8192, on 8 texts of 256 tokens.
    Gpt,
    /// The features of 8 images from a ViT-B/16 at 224 pixels.
    Vit,
    /// One training step of a vision-language model on images with texts; all of it trains.
    VlmAll,
    /// The same, the language model frozen.
    VlmFrozenLanguage,
    /// The same, only the projector training.
    VlmProjector,
    /// 24 tokens of caption for each of so many images, by such a model.
    Caption(usize),
}

/// The vision-language model that a work runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Geometry {
    /// SigLIP-B/16 at 224 pixels and SmolLM2-135M: 222 M parameters.
    M222,
    /// SigLIP so400m at 384 pixels and Qwen2.5-0.5B, as in `recipes/fourfold-0.9b.toml`: 917 M parameters.
    B0_9,
}

/// Samples of a step where nothing else is said.
pub const BATCH: u16 = 16;
/// Tokens of text that the samples of a step have, each after its image, over and over; the second half of each are
/// targets.
pub(super) const TEXTS: [usize; 16] = [
    12, 18, 25, 9, 31, 22, 14, 40, 17, 11, 28, 20, 35, 16, 13, 24,
];
/// Tokens of the prompt after the image, and of the answer.
pub(super) const CAPTION_PROMPT: usize = 8;
pub(super) const CAPTION_TOKENS: usize = 24;
/// Texts of a GPT step and the tokens of each.
pub(super) const GPT_TEXTS: usize = 8;
pub(super) const GPT_TOKENS: usize = 256;
/// Images of a forward pass of the encoder.
pub(super) const VIT_IMAGES: usize = 8;

impl Work {
    /// All of them, in the order of their size.
    pub const ALL: [Self; 7] = [
        Self::Gpt,
        Self::Vit,
        Self::VlmAll,
        Self::VlmFrozenLanguage,
        Self::VlmProjector,
        Self::Caption(1),
        Self::Caption(16),
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gpt => "gpt",
            Self::Vit => "vit-b-16",
            Self::VlmAll => "vlm-all",
            Self::VlmFrozenLanguage => "vlm-frozen-language",
            Self::VlmProjector => "vlm-projector",
            Self::Caption(1) => "caption-1",
            Self::Caption(_) => "caption-16",
        }
    }

    /// Whether `part` trains in it.
    pub(super) fn trains(self, part: Part) -> bool {
        match self {
            Self::Gpt => part == Part::Language,
            Self::VlmAll => true,
            Self::VlmFrozenLanguage => part != Part::Language,
            Self::VlmProjector => part == Part::Projector,
            Self::Vit | Self::Caption(_) => false,
        }
    }

    /// Whether it runs on a vision-language model, whose geometry and batch can be chosen.
    pub fn sees(self) -> bool {
        !matches!(self, Self::Gpt | Self::Vit)
    }

    /// Whether it is a training step on images with texts, whose number can be chosen.
    pub fn has_batch(self) -> bool {
        matches!(
            self,
            Self::VlmAll | Self::VlmFrozenLanguage | Self::VlmProjector
        )
    }

    /// The model that it runs on: `geometry` where it is a vision-language model.
    pub fn model(self, geometry: Geometry) -> ModelConfig {
        match self {
            // Fourfold's models have an encoder; this one sees no image, and its encoder is as small as they come.
            Self::Gpt => model(tiny_vision(), linear(1), gpt()),
            Self::Vit => model(vit_b_16(), linear(2), gpt()),
            _ => geometry.model(),
        }
    }
}

impl Geometry {
    /// Both.
    pub const ALL: [Self; 2] = [Self::M222, Self::B0_9];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::M222 => "222m",
            Self::B0_9 => "0.9b",
        }
    }

    fn model(self) -> ModelConfig {
        match self {
            Self::M222 => model(vit_b_16(), linear(2), smol()),
            Self::B0_9 => model(so400m(), mlp(3), qwen()),
        }
    }
}

impl FromStr for Geometry {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL
            .into_iter()
            .find(|geometry| geometry.name() == name);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("unknown model; expected one of {names}")
        })
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Work {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|work| work.name() == name);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("unknown work; expected one of {names}")
        })
    }
}

fn model(
    vision: VisionConfig,
    projector: ProjectorConfig,
    language: LanguageConfig,
) -> ModelConfig {
    ModelConfig {
        vision,
        projector,
        language,
        visibility: VisibilityKind::Causal,
        tokenizer_sha256: String::new(),
        lora: None,
    }
}

fn linear(pixel_shuffle: usize) -> ProjectorConfig {
    ProjectorConfig {
        kind: ProjectorKind::Linear,
        pixel_shuffle,
        hidden_size: None,
    }
}

fn mlp(pixel_shuffle: usize) -> ProjectorConfig {
    ProjectorConfig {
        kind: ProjectorKind::Mlp,
        ..linear(pixel_shuffle)
    }
}

/// SigLIP-B/16 at 224 pixels.
fn vit_b_16() -> VisionConfig {
    VisionConfig {
        family: VisionFamily::Siglip,
        hidden_size: 768,
        intermediate_size: 3072,
        num_hidden_layers: 12,
        num_attention_heads: 12,
        image_size: ImageSize::square(224),
        patch_size: 16,
        num_channels: 3,
        layer_norm_eps: 1e-6,
        hidden_act: "gelu_pytorch_tanh".into(),
        qkv_bias: true,
        gated: false,
        registers: 0,
        final_norm: true,
        keep_class_token: false,
    }
}

/// SigLIP so400m at 384 pixels.
fn so400m() -> VisionConfig {
    VisionConfig {
        hidden_size: 1152,
        intermediate_size: 4304,
        num_hidden_layers: 27,
        num_attention_heads: 16,
        image_size: ImageSize::square(384),
        patch_size: 14,
        ..vit_b_16()
    }
}

fn tiny_vision() -> VisionConfig {
    VisionConfig {
        hidden_size: 16,
        intermediate_size: 16,
        num_hidden_layers: 1,
        num_attention_heads: 1,
        image_size: ImageSize::square(16),
        ..vit_b_16()
    }
}

fn gpt() -> LanguageConfig {
    LanguageConfig::Gpt2(Gpt2Config {
        vocab_size: 8192,
        n_embd: 384,
        n_inner: None,
        n_layer: 6,
        n_head: 6,
        n_positions: GPT_TOKENS,
        layer_norm_epsilon: 1e-5,
        activation_function: "gelu_new".into(),
        tie_word_embeddings: true,
    })
}

/// SmolLM2-135M.
fn smol() -> LanguageConfig {
    LanguageConfig::Rotary(llama())
}

/// Qwen2.5-0.5B.
fn qwen() -> LanguageConfig {
    LanguageConfig::Rotary(RotaryConfig {
        family: RotaryFamily::Qwen2,
        vocab_size: 151_936,
        hidden_size: 896,
        intermediate_size: 4864,
        num_hidden_layers: 24,
        num_attention_heads: 14,
        num_key_value_heads: 2,
        max_position_embeddings: 32_768,
        rms_norm_eps: 1e-6,
        rope: RopeConfig {
            theta: 1_000_000.0,
            scaling: None,
        },
        qkv_bias: true,
        ..llama()
    })
}

fn llama() -> RotaryConfig {
    RotaryConfig {
        family: RotaryFamily::Llama,
        vocab_size: 49_152,
        hidden_size: 576,
        intermediate_size: 1536,
        num_hidden_layers: 30,
        num_attention_heads: 9,
        num_key_value_heads: 3,
        head_dim: 64,
        max_position_embeddings: 8192,
        rms_norm_eps: 1e-5,
        rope: RopeConfig {
            theta: 100_000.0,
            scaling: None,
        },
        window: None,
        query_pre_attn_scalar: 64,
        tie_word_embeddings: true,
        qkv_bias: false,
        output_bias: false,
        mlp_bias: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_of_the_sizes_that_they_are_named_for() {
        let sizes = |geometry: Geometry| {
            let model = Work::VlmAll.model(geometry);
            let counts = model.parameter_counts().expect("a model");
            let parameters: usize = counts.iter().map(|(_, count)| count).sum();
            (parameters, model.visual_tokens())
        };
        // As `transformers` counts them: bench/step/check.py.
        assert_eq!(sizes(Geometry::M222), (222_082_176, 49));
        assert_eq!(sizes(Geometry::B0_9), (917_114_352, 81));
    }

    #[test]
    fn names_are_read_back() {
        for work in Work::ALL {
            assert_eq!(work.name().parse(), Ok(work));
        }
        for geometry in Geometry::ALL {
            assert_eq!(geometry.name().parse(), Ok(geometry));
        }
        let message = "vlm".parse::<Work>().expect_err("no such work");
        assert!(message.contains("vlm-all"), "{message}");
    }
}
