//! A GGUF model as Hugging Face's files would have it.

mod architecture;
mod config;
mod keys;
mod layout;
mod names;
mod rope;

use serde_json::Value;

use super::GgufFile;
use crate::Result;
use architecture::Architecture;
use layout::Layout;

/// Weights that hold no parameter: rotary factors, which the configuration has instead.
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// The matrix of the head, missing where the embedding table is the head.
const HEAD: &str = "output.weight";

/// The embedding table.
const EMBEDDING: &str = "token_embd.weight";

/// The model of a file under Hugging Face's names and in its layout.
#[derive(Debug)]
pub struct HuggingFace {
    file: GgufFile,
    architecture: Architecture,
    /// Attention heads of queries and of keys.
    heads: (usize, usize),
    tied: bool,
    config: Value,
}

impl GgufFile {
    /// The model as Hugging Face's files would have it.
    ///
    /// # Errors
    /// Names the architecture, key or tensor that is not read here.
    pub fn hugging_face(self) -> Result<HuggingFace> {
        let metadata = self.metadata();
        let parts = metadata.integer("split.count")?.unwrap_or(1);
        if parts > 1 {
            return Err(metadata.fault(
                "split.count",
                format!("is {parts}: the model lies in as many files; join them with llama-gguf-split --merge"),
            ));
        }
        let architecture = Architecture::of(&metadata)?;
        for name in self.names() {
            if name != ROPE_FACTORS && names::to_hugging_face(architecture, name).is_none() {
                return Err(self.fault(format!(
                    "holds the tensor '{name}', which is not known of the architecture '{}'; take another model",
                    architecture.name()
                )));
            }
        }
        let tied = self.is_tied();
        let (config, heads) = config::build(&self, architecture, tied)?;
        Ok(HuggingFace {
            file: self,
            architecture,
            heads,
            tied,
            config,
        })
    }

    /// Whether the embedding table is the head: none is stored, or the same bytes are, as older converters did.
    fn is_tied(&self) -> bool {
        match (self.tensor(HEAD), self.tensor(EMBEDDING)) {
            (Some(head), Some(table)) => {
                head.kind == table.kind && self.stored(head) == self.stored(table)
            }
            (head, _) => head.is_none(),
        }
    }
}

impl HuggingFace {
    /// The file.
    pub fn file(&self) -> &GgufFile {
        &self.file
    }

    /// The `config.json`: flat keys, as `transformers` 4 wrote and 5 reads.
    ///
    /// `rope_theta`, and `rope_scaling` where positions are scaled, rather than `rope_parameters`; of Gemma 3 also
    /// `rope_local_base_freq`, `sliding_window_pattern` and what it means, `layer_types`.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// The names of all tensors, sorted. A head that is the embedding table is not among them.
    pub fn names(&self) -> Vec<String> {
        let stored = self
            .file
            .names()
            .into_iter()
            .filter(|name| !self.is_left_out(name));
        let mut names: Vec<String> = stored
            .filter_map(|name| names::to_hugging_face(self.architecture, name))
            .collect();
        names.sort_unstable();
        names
    }

    /// The shape of a tensor by Hugging Face's name, `None` where there is none.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let stored = self.stored_name(name)?;
        let shape = self.file.tensor(&stored)?.shape.clone();
        Some(self.layout(&stored).shape(shape))
    }

    /// Shape and numbers of a tensor by Hugging Face's name, exactly as its file would have them but for what
    /// quantisation lost; `None` where there is none.
    ///
    /// What llama.cpp's converters did is undone: the order of rotary rows in a Llama's queries and keys, the one that
    /// is added to Gemma's norms, the transposed matrices of GPT-2.
    ///
    /// # Errors
    /// Names a tensor that does not fit its layout or holds a number that is not finite.
    pub fn tensor(&self, name: &str) -> Result<Option<(Vec<usize>, Vec<f32>)>> {
        let Some(stored) = self.stored_name(name) else {
            return Ok(None);
        };
        let Some(tensor) = self.file.tensor(&stored) else {
            return Ok(None);
        };
        let values = self.file.read(&stored)?;
        if let Some(bad) = values.iter().position(|value| !value.is_finite()) {
            let message = format!(
                "'{stored}' holds {} at {bad}: the file is damaged, copy it again",
                values[bad]
            );
            return Err(self.file.fault(message));
        }
        let layout = self.layout(&stored);
        let values = layout
            .undo(&tensor.shape, values)
            .map_err(|message| self.file.fault(format!("'{stored}' {message}")))?;
        Ok(Some((layout.shape(tensor.shape.clone()), values)))
    }

    fn stored_name(&self, name: &str) -> Option<String> {
        names::to_gguf(self.architecture, name).filter(|stored| !self.is_left_out(stored))
    }

    fn is_left_out(&self, stored: &str) -> bool {
        stored == ROPE_FACTORS || (self.tied && stored == HEAD)
    }

    fn layout(&self, stored: &str) -> Layout {
        Layout::of(self.architecture, stored, self.heads)
    }
}
