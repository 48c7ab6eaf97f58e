//! Models of others: LLaVA's folders as folders that `model.from` in a recipe reads.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use fourfold_data::{ImageTransform, SpecialTokens, TextFormat, Tokenizer};
use fourfold_model::{Model, WeightFormat};

use crate::assemble::{self, Reading};
use crate::files;

/// A model that was read from elsewhere.
pub struct Imported {
    /// Its weights.
    pub model: Model,
    /// How it reads.
    pub reading: Reading,
    /// Whether the folder itself said how a document is laid out; the answer's marker is a guess otherwise.
    pub has_format: bool,
}

/// Reads the LLaVA of `folder`.
///
/// # Errors
/// When a file is missing, or says something that is not supported; file, key and tensor are named.
pub fn read(folder: &Path) -> Result<Imported> {
    let file = folder.join("tokenizer.json");
    ensure!(
        file.is_file(),
        "{} is missing: without it nothing says which tokens the weights know; \
         `AutoTokenizer.from_pretrained(folder).save_pretrained(folder)` of transformers writes it",
        file.display()
    );
    let tokenizer = Tokenizer::from_file(&file)?;
    let (model, image) = Model::from_llava(folder, tokenizer.hash().to_owned())?;
    let known = model.config().vocabulary();
    ensure!(
        tokenizer.vocabulary() <= known,
        "{} has {} tokens but the model knows {known}: it is not the tokenizer of these weights",
        file.display(),
        tokenizer.vocabulary()
    );
    let own = assemble::read_format(folder)?;
    let has_format = own.is_some();
    let format = match own {
        Some(format) => format,
        None => guess(folder, &tokenizer, image)?,
    };
    let markers = format
        .markers(&tokenizer)
        .with_context(|| format!("the special tokens of {}", file.display()))?;
    ensure!(
        markers.image == image,
        "{}: `image` is '{}', token {}, but config.json says that the image token is {image}",
        folder.join("format.json").display(),
        format.image,
        markers.image
    );
    let transform = transform(folder)?;
    let size = assemble::input_size(model.config());
    ensure!(
        transform.size == size,
        "{}: images become {} pixels, but the vision encoder takes {size}",
        folder.display(),
        transform.size
    );
    Ok(Imported {
        model,
        reading: Reading {
            tokenizer: Arc::new(tokenizer),
            format,
            transform,
        },
        has_format,
    })
}

impl Imported {
    /// Writes the model to `target`, which is replaced.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, target: &Path, numbers: WeightFormat) -> Result<()> {
        files::replace_folder(target, |folder| {
            self.model.save(folder, numbers)?;
            self.reading.save(None, folder)
        })
    }
}

/// The layout of documents where the folder does not say it. LLaVA has no token between prompt and answer; the one that
/// ends an answer is taken, which it knows as the end of a turn.
fn guess(folder: &Path, tokenizer: &Tokenizer, image: u32) -> Result<TextFormat> {
    let format = SpecialTokens::read(folder)?.format(tokenizer);
    let format = format.with_context(|| {
        format!(
            "{}: nothing says which token ends a text (`eos_token` in tokenizer_config.json or \
             special_tokens_map.json, `eos_token_id` in generation_config.json or config.json); write format.json \
             (begin, image, answer, end) instead",
            folder.display()
        )
    })?;
    let image = tokenizer.token(image).with_context(|| {
        let file = folder.join("tokenizer.json");
        format!(
            "{} has no token {image}, the image token of config.json",
            file.display()
        )
    })?;
    Ok(TextFormat { image, ..format })
}

/// How images are prepared.
fn transform(folder: &Path) -> Result<ImageTransform> {
    ImageTransform::from_folder(folder)?.with_context(|| {
        format!(
            "{} holds no preprocessor_config.json: nothing says how images are prepared for the encoder",
            folder.display()
        )
    })
}
