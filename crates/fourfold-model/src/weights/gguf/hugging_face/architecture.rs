//! The architectures that are read.

use super::super::metadata::Reader;
use crate::Result;

/// What `general.architecture` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Architecture {
    Llama,
    Qwen2,
    Qwen3,
    Gemma3,
    Gpt2,
}

impl Architecture {
    pub const ALL: [Self; 5] = [
        Self::Llama,
        Self::Qwen2,
        Self::Qwen3,
        Self::Gemma3,
        Self::Gpt2,
    ];

    /// The architecture of a file.
    pub fn of(metadata: &Reader) -> Result<Self> {
        const KEY: &str = "general.architecture";
        let given = metadata.demand(KEY, Reader::text)?;
        let found = Self::ALL.into_iter().find(|each| each.name() == given);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            metadata.fault(
                KEY,
                format!("is '{given}'; read are {names}: take a model of one of these"),
            )
        })
    }

    /// llama.cpp's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Gemma3 => "gemma3",
            Self::Gpt2 => "gpt2",
        }
    }

    /// Hugging Face's `model_type` and class.
    pub fn hugging_face(self) -> (&'static str, &'static str) {
        match self {
            Self::Llama => ("llama", "LlamaForCausalLM"),
            Self::Qwen2 => ("qwen2", "Qwen2ForCausalLM"),
            Self::Qwen3 => ("qwen3", "Qwen3ForCausalLM"),
            Self::Gemma3 => ("gemma3_text", "Gemma3ForCausalLM"),
            Self::Gpt2 => ("gpt2", "GPT2LMHeadModel"),
        }
    }
}
