//! From a recipe to what trains: tokenizer, text format, image transform and model.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use fourfold_data::{ImageTransform, Size, SpecialTokens, TextFormat, Tokenizer, train_bpe};
use fourfold_model::gguf::GgufFile;
use fourfold_model::{LanguageConfig, Model, ModelConfig, Part, Pretrained, VisionConfig, gguf_of};
use fourfold_tensor::Precision;
use serde::de::DeserializeOwned;

use crate::files;
use crate::recipe::{Backbone, ModelSection, Origin, Recipe};
use crate::sources::Sources;

const TOKENIZER: &str = "tokenizer.json";
const PREPROCESSOR: &str = "preprocessor_config.json";
const FORMAT: &str = "format.json";

/// How text and images are turned into what the model reads: kept beside the weights, since they mean
/// nothing without it.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Text to tokens.
    pub tokenizer: Arc<Tokenizer>,
    /// How the parts of a document are laid out.
    pub format: TextFormat,
    /// Image files to pixels.
    pub transform: ImageTransform,
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

/// What a recipe's first stage starts from.
pub struct Assembled {
    /// The model with its first weights.
    pub model: Model,
    /// How it reads.
    pub reading: Reading,
}

/// Loads or trains the tokenizer of `recipe`, with the tokens that the recipe adds to it. `trained` is where an earlier
/// start of the same run left the one it trained.
///
/// A pretrained one without a token that keeps an image's place gets `<image>`, unless the recipe says how documents
/// are laid out.
///
/// # Errors
/// Names the file or key.
pub fn tokenizer(recipe: &Recipe, sources: &Sources, trained: Option<&Path>) -> Result<Tokenizer> {
    let tokenizer = plain_tokenizer(recipe, sources, trained)?;
    let added = recipe
        .tokenizer
        .as_ref()
        .map_or(&[][..], |section| &section.add);
    let tokenizer = match added {
        [] => tokenizer,
        added => tokenizer.with_added(added).context("[tokenizer] add")?,
    };
    let image = text_format(recipe, &tokenizer)?.image;
    let asked = recipe
        .format
        .as_ref()
        .is_some_and(|format| format.image == image);
    // Fourfold's own default token is one that it trains with; only pretrained tokenizers lack one.
    if asked || tokenizer.id(&image).is_some() || image == TextFormat::default().image {
        return Ok(tokenizer);
    }
    Ok(tokenizer.with_added(&[image])?)
}

fn plain_tokenizer(
    recipe: &Recipe,
    sources: &Sources,
    trained: Option<&Path>,
) -> Result<Tokenizer> {
    if let Some(section) = &recipe.tokenizer {
        if let Some(from) = &section.from {
            return read_tokenizer(from.path()?);
        }
        if let Some(path) = trained.filter(|path| path.exists()) {
            return Ok(Tokenizer::from_file(path)?);
        }
        if let Some(train) = &section.train {
            let mut texts = Vec::new();
            for name in &train.on {
                texts.extend(sources.texts(name)?);
            }
            let format = recipe.format.clone().unwrap_or_default();
            return train_bpe(texts.iter(), train.vocabulary, &format.tokens())
                .context("cannot train the tokenizer ([tokenizer] train)");
        }
    }
    let folder = text_folder(&recipe.model)?.context("[tokenizer] is missing")?;
    read_tokenizer(folder)
}

/// Everything of `recipe` that its stages start from.
///
/// # Errors
/// Names the file, key or tensor that does not fit.
pub fn assemble(recipe: &Recipe, tokenizer: Tokenizer, precision: Precision) -> Result<Assembled> {
    let model = match &recipe.model.from {
        Some(from) => whole(recipe, from.path()?, &tokenizer, precision)?,
        None => parts(recipe, &tokenizer, precision)?,
    };
    let reading = reading(recipe, tokenizer, model.config())?;
    Ok(Assembled { model, reading })
}

/// How the model of `config` reads text and images.
///
/// # Errors
/// When the text format does not fit the tokenizer, or the image transform the vision encoder.
pub fn reading(recipe: &Recipe, tokenizer: Tokenizer, config: &ModelConfig) -> Result<Reading> {
    let format = text_format(recipe, &tokenizer)?;
    format
        .markers(&tokenizer)
        .context("[format] does not fit the tokenizer")?;
    let size = input_size(config);
    let transform = match (&recipe.image, image_folder(&recipe.model)?) {
        (Some(transform), _) => Some(transform.clone()),
        // A recipe may have the encoder take images of another size than the folder's.
        (None, Some(folder)) => {
            ImageTransform::from_folder(folder)?.map(|transform| transform.for_size(size))
        }
        (None, None) => None,
    }
    .unwrap_or(ImageTransform {
        size,
        ..ImageTransform::default()
    });
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
    })
}

/// The size of the images that the vision encoder takes.
pub(crate) fn input_size(config: &ModelConfig) -> Size {
    let size = config.vision.image_size;
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
        grow(&mut config.language, tokenizer);
        tokenizer.hash().clone_into(&mut config.tokenizer_sha256);
        config.lora.clone_from(&section.lora);
        return Ok(config);
    }
    let (Some(vision), Some(projector), Some(language)) =
        (&section.vision, &section.projector, &section.language)
    else {
        bail!("[model] needs `from`, or all of vision, projector and language");
    };
    let vision = match vision {
        Backbone::Pretrained { from, changes } => changes
            .apply(VisionConfig::of_folder(from.path()?)?)
            .context("[model.vision]")?,
        Backbone::New(config) => config.clone(),
    };
    Ok(ModelConfig {
        vision,
        projector: projector.clone(),
        language: language_config(language, tokenizer)?,
        visibility: section.visibility.unwrap_or_default(),
        tokenizer_sha256: tokenizer.hash().to_owned(),
        lora: section.lora.clone(),
    })
}

/// The configuration of the language model, with a row for each token of the tokenizer.
fn language_config(
    language: &Backbone<LanguageConfig>,
    tokenizer: &Tokenizer,
) -> Result<LanguageConfig> {
    let (mut config, own) = match language {
        Backbone::New(config) => (config.clone(), None),
        Backbone::Pretrained { from, .. } => {
            let folder = from.path()?;
            let own = own_tokenizer(folder)?;
            if let Some(own) = &own {
                demand_tokenizer(own.hash(), tokenizer, folder)?;
            }
            (LanguageConfig::of_folder(folder)?, own)
        }
    };
    // A configuration in a recipe may leave the vocabulary to the tokenizer; the tokenizer of a pretrained model may
    // have had tokens added.
    if config.vocabulary() == 0 || own.is_some() {
        grow(&mut config, tokenizer);
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

/// Gives the language model a row for each token; a model may have more rows than that.
fn grow(language: &mut LanguageConfig, tokenizer: &Tokenizer) {
    language.set_vocabulary(language.vocabulary().max(tokenizer.vocabulary()));
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

/// How documents are laid out: as `[format]` says; else as the language model was saved with; else by the tokens of
/// [`TextFormat::default`] where the tokenizer knows them; else by those that a pretrained tokenizer names itself.
fn text_format(recipe: &Recipe, tokenizer: &Tokenizer) -> Result<TextFormat> {
    let folder = text_folder(&recipe.model)?;
    let section = recipe.tokenizer.as_ref();
    let from = match section.and_then(|section| section.from.as_ref()) {
        Some(from) => Some(from.path()?),
        None => folder,
    };
    // Beside a tokenizer.json lie the files that go with it.
    let beside = from.map(|from| match from.is_dir() {
        true => from,
        false => from.parent().unwrap_or(Path::new("")),
    });
    let saved = folder.map_or(Ok(None), read_format)?;
    let format = match recipe.format.clone().or(saved) {
        Some(format) => format,
        None => {
            let usual = TextFormat::default();
            let knows_usual = usual
                .tokens()
                .iter()
                .all(|token| tokenizer.id(token).is_some());
            let own = match (from, beside) {
                (Some(from), Some(beside)) if !knows_usual => {
                    special_tokens(from, beside, tokenizer)?.format(tokenizer)
                }
                _ => None,
            };
            own.unwrap_or(usual)
        }
    };
    Ok(format.with_template(beside, tokenizer)?)
}

/// The folder that the tokenizer and the text format lie in by default.
fn text_folder(model: &ModelSection) -> Result<Option<&Path>> {
    match (&model.from, &model.language) {
        (Some(from), _) | (None, Some(Backbone::Pretrained { from, .. })) => from.path().map(Some),
        _ => Ok(None),
    }
}

/// The folder that the image transform lies in by default.
fn image_folder(model: &ModelSection) -> Result<Option<&Path>> {
    match (&model.from, &model.vision) {
        (Some(from), _) | (None, Some(Backbone::Pretrained { from, .. })) => from.path().map(Some),
        _ => Ok(None),
    }
}

/// The tokenizer of a file, of a folder, or of the GGUF file that either is.
fn read_tokenizer(from: &Path) -> Result<Tokenizer> {
    if let Some(path) = gguf_of(from)? {
        let json = GgufFile::open(&path)?.tokenizer()?.json;
        return Ok(Tokenizer::from_json(json, path.display().to_string())?);
    }
    match from.is_dir() {
        true => Ok(Tokenizer::from_file(&from.join(TOKENIZER))?),
        false => Ok(Tokenizer::from_file(from)?),
    }
}

/// The tokenizer that the weights in `folder` come with, if they come with one.
fn own_tokenizer(folder: &Path) -> Result<Option<Tokenizer>> {
    let comes_with = gguf_of(folder)?.is_some() || folder.join(TOKENIZER).exists();
    comes_with.then(|| read_tokenizer(folder)).transpose()
}

/// The tokens that a pretrained language model or tokenizer in `from` begins and ends documents with.
fn special_tokens(from: &Path, beside: &Path, tokenizer: &Tokenizer) -> Result<SpecialTokens> {
    let Some(path) = gguf_of(from)? else {
        return Ok(SpecialTokens::read(beside)?);
    };
    let named = GgufFile::open(&path)?.tokenizer()?;
    let text = |id: Option<u32>| id.and_then(|id| tokenizer.token(id));
    Ok(SpecialTokens::new(text(named.begin), text(named.end)))
}

pub(crate) fn read_format(folder: &Path) -> Result<Option<TextFormat>> {
    read_json(&folder.join(FORMAT))
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    if !path.exists() {
        return Ok(None);
    }
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let value = serde_json::from_str(&text).with_context(|| format!("in {}", path.display()))?;
    Ok(Some(value))
}
