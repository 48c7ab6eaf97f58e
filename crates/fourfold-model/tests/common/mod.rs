//! What several tests of this crate name.

/// The whole models under `fixtures`: a vision encoder, a projector and a language model of each family.
pub const PAIRS: [&str; 7] = [
    "llama",
    "gpt2",
    "siglip-qwen2",
    "clip-llama",
    "vit-qwen3",
    "dinov2-gemma3",
    "siglip-gemma3",
];
