//! Vision encoders, projectors, language models, visibility, generation, weights in and out.
//!
//! The way through the model: images → [`VisionConfig`]'s encoder → projector → visual tokens placed among the
//! embedded text → language model → loss over the targets, or a next token.

mod config;
mod error;
mod export;
mod generate;
mod import;
mod language;
mod layers;
mod lora;
mod model;
mod part;
mod pretrained;
mod projector;
pub mod selfcheck;
mod spec;
mod visibility;
mod vision;
mod weights;

pub use config::{
    Gpt2Config, ImageSize, LanguageConfig, ModelConfig, ProjectorConfig, ProjectorKind, RopeConfig,
    RopeScaling, RotaryConfig, RotaryFamily, VisionConfig, VisionFamily, WindowConfig,
    type_in_words,
};
pub use error::ModelError;
pub use export::{ExportFormat, IMAGE_PROCESSOR_FILE, SpecialTokens, check_part};
pub use generate::{GenerateOptions, Generated, Prompt, PromptImage, Repetition, Sampling, Stop};
pub use import::LlavaFolder;
pub use lora::LoraConfig;
pub use model::{Images, Input, LossOptions, Model};
pub use part::Part;
pub use pretrained::Pretrained;
pub use visibility::{DocumentSpan, VisibilityKind, VisualSpan};
pub use weights::{WeightFormat, gguf, gguf_of, write_safetensors};

/// What every fallible function of this crate returns.
pub type Result<T, E = ModelError> = std::result::Result<T, E>;
