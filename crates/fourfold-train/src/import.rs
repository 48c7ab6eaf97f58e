//! Models of others: LLaVA's folders as folders that `model.from` in a recipe reads.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use fourfold_data::{
    Chat, ChatTemplate, ImageFiles, ImageTransform, SpecialTokens, TextFormat, Tokenizer,
};
use fourfold_model::{LlavaFolder, Model, WeightFormat};

use crate::assemble::{self, Reading};
use crate::files;

/// A model that was read from elsewhere.
pub struct Imported {
    /// Its weights.
    pub model: Model,
    /// How it reads.
    pub reading: Reading,
    /// What there is to know of how documents are laid out, where the folder leaves it to a guess.
    pub remark: Option<String>,
}

/// Reads the LLaVA of `folder`.
///
/// # Errors
/// When a file is missing, or says something that is not supported; file, key and tensor are named.
pub fn read(folder: &Path) -> Result<Imported> {
    let config = folder.join("config.json");
    ensure!(
        config.is_file(),
        "there is no {}; expected the folder of a LLaVA of Hugging Face",
        config.display()
    );
    let llava = LlavaFolder::open(folder)?;
    let image = llava.image_token();
    let file = folder.join("tokenizer.json");
    ensure!(
        file.is_file(),
        "{} is missing: without it nothing says which tokens the weights know; \
         `AutoTokenizer.from_pretrained(folder).save_pretrained(folder)` of transformers writes it",
        file.display()
    );
    let tokenizer = Tokenizer::from_file(&file)?;
    let known = llava.config().vocabulary();
    ensure!(
        tokenizer.vocabulary() <= known,
        "{} has {} tokens but the model knows {known}: it is not the tokenizer of these weights",
        file.display(),
        tokenizer.vocabulary()
    );
    let (format, remark) = layout(folder, &tokenizer, image)?;
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
    let transform =
        ImageTransform::from_folder(folder)?.with_context(|| assemble::no_transform(folder))?;
    let size = assemble::input_size(&llava.config().vision);
    ensure!(
        transform.size == size,
        "{}: images become {} pixels, but the vision encoder takes {size}",
        folder.display(),
        transform.size
    );
    Ok(Imported {
        model: llava.load(tokenizer.hash().to_owned())?,
        reading: Reading {
            tokenizer: Arc::new(tokenizer),
            format,
            transform,
            files: ImageFiles::default(),
        },
        remark,
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

/// The layout of documents, and what there is to know of it: Fourfold's own file says it, else the chat template that
/// the model was taught with, else it is a guess. LLaVA has no token between prompt and answer; the one that ends an
/// answer, which it knows as the end of a turn, is taken then.
fn layout(
    folder: &Path,
    tokenizer: &Tokenizer,
    image: u32,
) -> Result<(TextFormat, Option<String>)> {
    if let Some(format) = assemble::read_format(folder)? {
        return Ok((format, None));
    }
    let tokens = SpecialTokens::read(folder)?;
    let image = tokenizer.token(image).with_context(|| {
        let file = folder.join("tokenizer.json");
        format!(
            "{} has no token {image}, the image token of config.json",
            file.display()
        )
    })?;
    let guessed = tokens.format(tokenizer).with_context(|| {
        format!(
            "{}: nothing says which token ends a text (`eos_token` in tokenizer_config.json or \
             special_tokens_map.json, `eos_token_id` in generation_config.json or config.json); write format.json \
             (begin, image, answer, end) instead",
            folder.display()
        )
    })?;
    let guessed = TextFormat { image, ..guessed };
    let template = ChatTemplate::from_folder(folder).and_then(|template| {
        let chat = template.is_some().then_some(Chat::OwnTemplate(true));
        let format = TextFormat {
            chat,
            ..guessed.clone()
        };
        format.with_template(template, &tokens, tokenizer)
    });
    let why = match template {
        Ok(format) if format.is_chat() => return Ok((format, None)),
        Ok(_) => "the folder has no chat template".to_owned(),
        Err(error) => format!("its chat template does not serve ({error})"),
    };
    let remark = format!(
        "{why}, and LLaVA has no token between prompt and answer; format.json says '{}', change it there or in [format] \
         of a recipe",
        guessed.answer
    );
    Ok((guessed, Some(remark)))
}
