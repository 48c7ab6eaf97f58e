//! Models of others: LLaVA's folders as folders that `model.from` in a recipe reads.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use fourfold_data::{ImageTransform, TextFormat, Tokenizer};
use fourfold_model::{Model, WeightFormat};
use serde_json::Value;

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
    let path = folder.join("tokenizer_config.json");
    let config = json(&path)?.with_context(|| {
        format!(
            "{} is missing: it says which tokens begin and end a text; write format.json (begin, image, answer, end) \
             instead",
            path.display()
        )
    })?;
    let token = |key: &str| match &config[key] {
        Value::String(token) => Some(token.clone()),
        Value::Object(token) => token.get("content")?.as_str().map(str::to_owned),
        _ => None,
    };
    let Some(end) = token("eos_token") else {
        bail!(
            "{}: eos_token is missing; expected the token that ends a text",
            path.display()
        );
    };
    Ok(TextFormat {
        begin: token("bos_token").unwrap_or_else(|| end.clone()),
        image: tokenizer.token(image).with_context(|| {
            let file = folder.join("tokenizer.json");
            format!(
                "{} has no token {image}, the image token of config.json",
                file.display()
            )
        })?,
        answer: end.clone(),
        end,
        ..TextFormat::default()
    })
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

fn json(path: &Path) -> Result<Option<Value>> {
    if !path.exists() {
        return Ok(None);
    }
    let within = || format!("cannot read {}", path.display());
    let text = fs::read_to_string(path).with_context(within)?;
    Ok(Some(serde_json::from_str(&text).with_context(within)?))
}
