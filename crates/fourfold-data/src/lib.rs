//! From files to packs: rows become samples, samples become documents of tokens and pixels, and
//! documents are laid end to end in packs. This crate knows no model.
//!
//! ```text
//! files ─► Source ─► Sample ─► Encoder ─► Document ─► pack ─► Pack
//!            ▲                                                  │
//!         Sampler (mixture, seed, position)        Loader ─► Batch
//! ```
//!
//! Everything is deterministic: what a sample becomes depends on the seed and on its place in the
//! order of draws, never on threads or timing, so training resumes exactly.

mod added_tokens;
pub mod augment;
pub mod chat;
pub mod check;
pub mod convert;
pub mod document;
pub mod error;
pub mod format;
pub mod hash;
pub mod image;
pub mod image_file;
pub mod image_key;
pub mod in_order;
pub mod loader;
pub mod mixture;
pub mod overlap;
pub mod pack;
pub mod perceptual_hash;
mod pieces;
pub mod preprocessor;
mod regular;
pub mod sample;
pub mod show;
pub mod skip;
pub mod source;
pub mod special_tokens;
pub mod stats;
mod template;
pub mod tokenizer;

pub use augment::Augment;
pub use chat::{ChatTemplate, Content, ContentPart, Message};
pub use check::{CheckReport, Examination, RowCounts, check, examine, training_document};
pub use document::{Document, DocumentImage, Encoder, EncoderConfig, VisualSpan};
pub use error::DataError;
pub use format::{Chat, TextFormat};
pub use image::{
    Background, Filter, Fit, ImageFiles, ImageTransform, PixelArray, Resize, Size, decode_rgb,
    decode_rgb_for, decode_rgb_within,
};
pub use image_key::{ImageKey, KnownImages};
pub use in_order::in_order;
pub use loader::{Batch, BatchSize, End, Loader, LoaderConfig, Shard, TooLong};
pub use mixture::{Draw, Mixture, Sampler, SamplerState, sample_rng};
pub use overlap::HeldOut;
pub use pack::{Extent, Pack, PackBudget, PackedDocument, best_fit, fullest, longest_first, pack};
pub use perceptual_hash::PerceptualHash;
pub use sample::{EncodedImage, IMAGE_MARK, Sample, SampleRng, Turn};
pub use skip::{Skip, SkipReport};
pub use source::{Paths, Prompts, RowImage, Source, SourceConfig, Tables, TurnOrder};
pub use special_tokens::SpecialTokens;
pub use tokenizer::{Tokenizer, train_bpe};
