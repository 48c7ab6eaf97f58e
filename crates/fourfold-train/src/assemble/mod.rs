//! From a recipe to what trains: tokenizer, text format, image transform and model.

mod reading;
mod text;
mod text_files;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use fourfold_data::{ImageTransform, Size, Tokenizer};
use fourfold_model::{
    ImageSize, LanguageConfig, Model, ModelConfig, Pretrained, VisionConfig, VisionFamily,
};
use fourfold_tensor::Precision;

use crate::recipe::{Backbone, ModelSection, Origin, Recipe};
pub use reading::Reading;
pub(crate) use reading::read_format;
pub use text::{Text, text};
use text_files::TextFiles;

/// What a recipe's first stage starts from.
pub struct Assembled {
    /// The model with its first weights.
    pub model: Model,
    /// How it reads.
    pub reading: Reading,
}

/// Everything of `recipe` that its stages start from.
///
/// # Errors
/// Names the file, key or tensor that does not fit.
pub fn assemble(recipe: &Recipe, text: Text, precision: Precision) -> Result<Assembled> {
    let model = match &recipe.model.from {
        Some(from) => whole(recipe, from.path()?, &text.tokenizer, precision)?,
        None => parts(recipe, &text.tokenizer, precision)?,
    };
    let reading = reading(recipe, text, model.config())?;
    Ok(Assembled { model, reading })
}

/// How the model of `config` reads text and images.
///
/// # Errors
/// When the text format does not fit the tokenizer, or the image transform the vision encoder.
pub fn reading(recipe: &Recipe, text: Text, config: &ModelConfig) -> Result<Reading> {
    let Text { tokenizer, format } = text;
    format
        .markers(&tokenizer)
        .context("[format] does not fit the tokenizer")?;
    let size = input_size(&config.vision);
    let transform = match (&recipe.image, image_folder(&recipe.model)?) {
        (Some(transform), _) => transform.clone(),
        // A recipe may have the encoder take images of another size than the folder's.
        (None, Some(folder)) => ImageTransform::from_folder(folder)?
            .with_context(|| no_transform(folder))?
            .for_size(size),
        (None, None) => ImageTransform {
            size,
            ..ImageTransform::default()
        },
    };
    transform.check().context("[image]")?;
    ensure!(
        transform.size == size,
        "[image] size = {} but the vision encoder takes images of {size} pixels; set it to {size}",
        transform.size
    );
    Ok(Reading {
        tokenizer: Arc::new(tokenizer),
        format,
        transform,
        files: recipe.image_files,
    })
}

/// Why images of an encoder of `folder` cannot be prepared.
pub(crate) fn no_transform(folder: &Path) -> String {
    format!(
        "{} holds neither preprocessor_config.json nor processor_config.json, so nothing says how images are prepared for \
         the encoder: copy one there from where the model comes from, or write [image] into the recipe (size, mean, std, \
         fit)",
        folder.display()
    )
}

/// The size of the images that the vision encoder takes.
pub(crate) fn input_size(config: &VisionConfig) -> Size {
    let size = config.image_size;
    Size {
        height: size.height,
        width: size.width,
    }
}

/// The configuration of the model that `recipe` makes, without its weights.
///
/// # Errors
/// Names the file or key.
pub fn model_config(recipe: &Recipe, tokenizer: &Tokenizer) -> Result<ModelConfig> {
    let section = &recipe.model;
    if let Some(from) = &section.from {
        let folder = from.path()?;
        let mut config = Model::read_config(folder)?;
        demand_tokenizer(&config.tokenizer_sha256, tokenizer, folder)?;
        config.visibility = section.visibility.unwrap_or(config.visibility);
        grow(&mut config.language, tokenizer, folder)?;
        tokenizer.hash().clone_into(&mut config.tokenizer_sha256);
        config.lora.clone_from(&section.lora);
        return Ok(config);
    }
    let (Some(vision), Some(projector), Some(language)) =
        (&section.vision, &section.projector, &section.language)
    else {
        bail!("[model] needs `from`, or all of vision, projector and language");
    };
    Ok(ModelConfig {
        vision: vision_config(recipe, vision)?,
        projector: projector.clone(),
        language: language_config(recipe, language, tokenizer)?,
        visibility: section.visibility.unwrap_or_default(),
        tokenizer_sha256: tokenizer.hash().to_owned(),
        lora: section.lora.clone(),
    })
}

/// The configuration of the encoder. What its image processor makes decides the size of its input where the recipe does
/// not, if `transformers` lets that encoder take any size: DINOv2's files speak of the 518 pixels of its last training
/// and are used with 224.
fn vision_config(recipe: &Recipe, vision: &Backbone<VisionConfig>) -> Result<VisionConfig> {
    let (folder, changes) = match vision {
        Backbone::New(config) => return Ok(config.clone()),
        Backbone::Pretrained { from, changes } => (from.path()?, changes),
    };
    let stored = VisionConfig::of_folder(folder)?;
    let mut config = changes.apply(stored).context("[model.vision]")?;
    if changes.image_size.is_some() || recipe.image.is_some() {
        return Ok(config);
    }
    let Some(ImageTransform { size: made, .. }) = ImageTransform::from_folder(folder)? else {
        return Ok(config);
    };
    let taken = input_size(&config);
    if made != taken {
        let any_size = [VisionFamily::Dinov2, VisionFamily::Dinov2Registers];
        ensure!(
            any_size.contains(&config.family),
            "the image processor in {} makes images of {made} pixels, but its encoder takes {taken}; write which it is to \
             be, as `image_size = {made}` in [model.vision]",
            folder.display()
        );
        config.image_size = ImageSize {
            height: made.height,
            width: made.width,
        };
    }
    Ok(config)
}

/// The configuration of the language model, with a row for each token of the tokenizer.
fn language_config(
    recipe: &Recipe,
    language: &Backbone<LanguageConfig>,
    tokenizer: &Tokenizer,
) -> Result<LanguageConfig> {
    let mut config = match language {
        Backbone::New(config) => config.clone(),
        Backbone::Pretrained { from, .. } => {
            let folder = from.path()?;
            let mut config = LanguageConfig::of_folder(folder)?;
            if is_own_tokenizer(recipe, folder, tokenizer)? {
                grow(&mut config, tokenizer, folder)?;
            }
            config
        }
    };
    // A configuration in a recipe may leave the vocabulary to the tokenizer.
    if config.vocabulary() == 0 {
        config.set_vocabulary(tokenizer.vocabulary());
    }
    let size = config.vocabulary();
    ensure!(
        size >= tokenizer.vocabulary(),
        "the tokenizer has {} tokens but the language model knows {size}: this is the wrong tokenizer for \
         these weights; use the one they were trained with (remove [tokenizer] to take it from their folder)",
        tokenizer.vocabulary()
    );
    Ok(config)
}

/// Whether the tokenizer is that of the weights in `folder`; false where they come without one.
///
/// # Errors
/// When they come with another.
fn is_own_tokenizer(recipe: &Recipe, folder: &Path, tokenizer: &Tokenizer) -> Result<bool> {
    let section = recipe.tokenizer.as_ref();
    if !section.is_some_and(|section| section.from.is_some() || section.train.is_some()) {
        return Ok(true);
    }
    let files = TextFiles::open(folder)?;
    if files.has_tokenizer() {
        demand_tokenizer(files.tokenizer()?.hash(), tokenizer, folder)?;
    }
    Ok(files.has_tokenizer())
}

/// Gives the language model of `folder` a row for each token that was added to its tokenizer; a model may have more rows
/// than that.
fn grow(language: &mut LanguageConfig, tokenizer: &Tokenizer, folder: &Path) -> Result<()> {
    let known = language.vocabulary();
    if let Some((token, id)) = tokenizer.beyond(known) {
        bail!(
            "the tokenizer of {} has '{token}' as its token {id}, but the language model knows {known}: it is not the \
             tokenizer of these weights; put the one there that they were trained with",
            folder.display()
        );
    }
    language.set_vocabulary(known.max(tokenizer.vocabulary()));
    Ok(())
}

fn whole(
    recipe: &Recipe,
    folder: &Path,
    tokenizer: &Tokenizer,
    precision: Precision,
) -> Result<Model> {
    let config = model_config(recipe, tokenizer)?;
    Model::resume(config, folder, precision, recipe.seed)
        .with_context(|| format!("cannot load the model {}", folder.display()))
}

fn parts(recipe: &Recipe, tokenizer: &Tokenizer, precision: Precision) -> Result<Model> {
    let config = model_config(recipe, tokenizer)?;
    let section = &recipe.model;
    let vision = section.vision.as_ref().and_then(Backbone::from);
    let language = section.language.as_ref().and_then(Backbone::from);
    let pretrained = Pretrained {
        vision: vision.map(Origin::path).transpose()?,
        language: language.map(Origin::path).transpose()?,
    };
    Model::begin(config, precision, recipe.seed, pretrained)
        .context("cannot make the model of [model]")
}

/// Refuses a tokenizer that the weights in `folder` were not trained with.
///
/// # Errors
/// Gives both hashes.
pub fn demand_tokenizer(expected: &str, tokenizer: &Tokenizer, folder: &Path) -> Result<()> {
    // Added tokens are no part of what the weights were trained with.
    ensure!(
        expected == tokenizer.hash() || expected == tokenizer.original_hash(),
        "wrong tokenizer for the weights in {}: they were trained with the one of SHA-256 {expected}, this one \
         has {}; remove [tokenizer] to take the right one from their folder",
        folder.display(),
        tokenizer.hash()
    );
    Ok(())
}

/// The folder that the image transform lies in by default.
fn image_folder(model: &ModelSection) -> Result<Option<&Path>> {
    match (&model.from, &model.vision) {
        (Some(from), _) | (None, Some(Backbone::Pretrained { from, .. })) => from.path().map(Some),
        _ => Ok(None),
    }
}
