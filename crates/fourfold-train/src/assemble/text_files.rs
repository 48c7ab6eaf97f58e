//! The files of a pretrained model that say how it reads text.

use std::path::{Path, PathBuf};

use anyhow::Result;
use fourfold_data::{ChatTemplate, SpecialTokens, Tokenizer};
use fourfold_model::gguf::{GgufFile, GgufTokenizer};
use fourfold_model::gguf_of;

use super::reading::TOKENIZER;

/// Where a tokenizer lies, and beside it the special tokens and the chat template that go with it.
pub(super) enum TextFiles {
    /// A `tokenizer.json` in a folder of Hugging Face's files.
    Folder { folder: PathBuf, tokenizer: PathBuf },
    /// All in one file; built once, since a vocabulary is large.
    Gguf {
        file: PathBuf,
        tokenizer: GgufTokenizer,
    },
}

impl TextFiles {
    /// Those of a model's folder, of a tokenizer's file, or of the GGUF file that either is.
    pub fn open(from: &Path) -> Result<Self> {
        if let Some(file) = gguf_of(from)? {
            let tokenizer = GgufFile::open(&file)?.tokenizer()?;
            return Ok(Self::Gguf { file, tokenizer });
        }
        let (folder, tokenizer) = match from.is_dir() {
            true => (from, from.join(TOKENIZER)),
            false => (from.parent().unwrap_or(Path::new("")), from.to_owned()),
        };
        let folder = folder.to_owned();
        Ok(Self::Folder { folder, tokenizer })
    }

    /// Whether there is a tokenizer.
    pub fn has_tokenizer(&self) -> bool {
        match self {
            Self::Folder { tokenizer, .. } => tokenizer.exists(),
            Self::Gguf { .. } => true,
        }
    }

    pub fn tokenizer(&self) -> Result<Tokenizer> {
        Ok(match self {
            Self::Folder { tokenizer, .. } => Tokenizer::from_file(tokenizer)?,
            Self::Gguf { file, tokenizer } => {
                Tokenizer::from_json(tokenizer.json.clone(), file.display().to_string())?
            }
        })
    }

    /// What texts begin and end with; `known` has the texts of the ids that a GGUF file gives.
    pub fn special_tokens(&self, known: &Tokenizer) -> Result<SpecialTokens> {
        Ok(match self {
            Self::Folder { folder, .. } => SpecialTokens::read(folder)?,
            Self::Gguf { tokenizer, .. } => {
                let text = |id: Option<u32>| id.and_then(|id| known.token(id));
                SpecialTokens::new(text(tokenizer.begin), text(tokenizer.end))
            }
        })
    }

    /// The model's own chat template, if it has one, which may name `tokens`.
    pub fn chat_template(&self, tokens: &SpecialTokens) -> Result<Option<ChatTemplate>> {
        Ok(match self {
            Self::Folder { folder, .. } => ChatTemplate::from_folder(folder)?,
            Self::Gguf { file, tokenizer } => {
                let name = format!("tokenizer.chat_template of {}", file.display());
                let source = tokenizer.chat_template.as_deref();
                source
                    .map(|source| ChatTemplate::new(source, tokens.clone().into_variables(), name))
                    .transpose()?
            }
        })
    }
}
