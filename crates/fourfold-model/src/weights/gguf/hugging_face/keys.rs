//! The metadata keys of an architecture: sizes and numbers that are checked as they are read.

use super::super::metadata::Reader;
use super::architecture::Architecture;
use crate::Result;

/// Keys behind the architecture's prefix that are read, or that say nothing that matters here.
const KNOWN: [&str; 20] = [
    "vocab_size",
    "context_length",
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "attention.layer_norm_epsilon",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.finetuned",
    // Zero where there are none.
    "expert_count",
    "expert_used_count",
    "tensor_data_layout",
];

/// Those of Gemma 3 alone.
const KNOWN_OF_GEMMA: [&str; 4] = [
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "rope.freq_base_swa",
    "final_logit_softcapping",
];

/// The keys of an architecture.
pub(super) struct Keys<'a> {
    pub metadata: Reader<'a>,
    pub prefix: &'static str,
}

impl Keys<'_> {
    pub fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// A size that has to be there, and is not 0.
    pub fn size(&self, name: &str) -> Result<usize> {
        let key = self.key(name);
        self.positive(&key, self.metadata.demand(&key, Reader::integer)?)
    }

    pub fn find_size(&self, name: &str) -> Result<Option<usize>> {
        let key = self.key(name);
        let found = self.metadata.integer(&key)?;
        found.map(|size| self.positive(&key, size)).transpose()
    }

    /// Above 0, and no more than a table of its size could have: an i32, as the numbers of `transformers` are.
    fn positive(&self, key: &str, size: usize) -> Result<usize> {
        match size {
            1..=0x7fff_ffff => Ok(size),
            _ => Err(self.metadata.fault(
                key,
                format!(
                    "is {size}; expected 1 to {}: convert the model again",
                    i32::MAX
                ),
            )),
        }
    }

    pub fn float(&self, name: &str) -> Result<f32> {
        self.metadata.demand(&self.key(name), Reader::float)
    }

    pub fn find_float(&self, name: &str) -> Result<Option<f32>> {
        self.metadata.float(&self.key(name))
    }

    /// Refuses a size that, where it is given, is not the one that is built.
    pub fn demand_same(&self, name: &str, size: usize, what: &str) -> Result<()> {
        match self.find_size(name)? {
            Some(given) if given != size => Err(self.metadata.fault(
                &self.key(name),
                format!("is {given}; expected {size}, {what}: take another model"),
            )),
            _ => Ok(()),
        }
    }

    /// Refuses keys that are not known: they may change what the model computes.
    pub fn demand_known(&self, architecture: Architecture) -> Result<()> {
        let begin = format!("{}.", self.prefix);
        for key in self.metadata.keys() {
            let Some(name) = key.strip_prefix(&begin) else {
                continue;
            };
            let of_gemma = architecture == Architecture::Gemma3 && KNOWN_OF_GEMMA.contains(&name);
            if !KNOWN.contains(&name) && !of_gemma {
                return Err(self.metadata.fault(
                    key,
                    "is not known here, and may change what the model computes; take another model",
                ));
            }
        }
        match self.metadata.integer(&self.key("expert_count"))? {
            None | Some(0) => Ok(()),
            Some(experts) => Err(self.metadata.fault(
                &self.key("expert_count"),
                format!("is {experts}; models of experts are not read: take another model"),
            )),
        }
    }
}
