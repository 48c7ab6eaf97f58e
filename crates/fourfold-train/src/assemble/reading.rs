//! How a model reads, kept beside its weights, which mean nothing without it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use fourfold_data::{ImageFiles, ImageTransform, TextFormat, Tokenizer};
use fourfold_model::Part;

use crate::files;

pub(super) const TOKENIZER: &str = "tokenizer.json";
const PREPROCESSOR: &str = "preprocessor_config.json";
const FORMAT: &str = "format.json";

/// How text and images are turned into what the model reads.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Text to tokens.
    pub tokenizer: Arc<Tokenizer>,
    /// How the parts of a document are laid out.
    pub format: TextFormat,
    /// Image files to pixels.
    pub transform: ImageTransform,
    /// How image files are decoded. The recipe's matter, and not kept beside the model.
    pub files: ImageFiles,
}

impl Reading {
    /// What a model folder was saved with.
    ///
    /// # Errors
    /// Names the file that is missing or malformed.
    pub fn load(folder: &Path) -> Result<Self> {
        Ok(Self {
            tokenizer: Arc::new(Tokenizer::from_file(&folder.join(TOKENIZER))?),
            format: read_format(folder)?
                .with_context(|| format!("{} holds no {FORMAT}", folder.display()))?,
            transform: ImageTransform::from_folder(folder)?
                .with_context(|| format!("{} holds no {PREPROCESSOR}", folder.display()))?,
            files: ImageFiles::default(),
        })
    }

    /// Writes what `part`, or the whole model, is read with into its folder.
    ///
    /// # Errors
    /// Names the file that cannot be written.
    pub fn save(&self, part: Option<Part>, folder: &Path) -> Result<()> {
        if part == Some(Part::Lora) {
            return Ok(());
        }
        if part != Some(Part::Vision) {
            self.tokenizer.save(&folder.join(TOKENIZER))?;
            files::write_json(&folder.join(FORMAT), &self.format)?;
        }
        if part != Some(Part::Language) {
            let config = self.transform.to_preprocessor_config();
            files::write_json(&folder.join(PREPROCESSOR), &config)?;
        }
        Ok(())
    }
}

/// The layout of documents that a folder was saved with, if Fourfold saved it.
pub(crate) fn read_format(folder: &Path) -> Result<Option<TextFormat>> {
    let path = folder.join(FORMAT);
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let format = serde_json::from_str(&text).with_context(|| format!("in {}", path.display()))?;
    Ok(Some(format))
}
