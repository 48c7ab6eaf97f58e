//! From a recipe to a tokenizer and the layout of documents.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use fourfold_data::{SpecialTokens, TextFormat, Tokenizer, train_bpe};
use fourfold_model::LanguageConfig;

use super::reading::read_format;
use super::text_files::TextFiles;
use crate::recipe::{Backbone, ModelSection, Recipe};
use crate::sources::Sources;

/// How a recipe's documents become tokens.
pub struct Text {
    /// Text to tokens.
    pub tokenizer: Tokenizer,
    /// How the parts of a document are laid out.
    pub format: TextFormat,
}

/// Loads or trains the tokenizer of `recipe`, with the tokens that the recipe adds to it, and finds the layout that
/// goes with it. `trained` is where an earlier start of the same run left the one it trained.
///
/// A pretrained one without a token that keeps an image's place gets `<image>`, unless the recipe says how documents
/// are laid out.
///
/// # Errors
/// Names the file or key.
pub fn text(recipe: &Recipe, sources: &Sources, trained: Option<&Path>) -> Result<Text> {
    let section = recipe.tokenizer.as_ref();
    let from = match section.and_then(|section| section.from.as_ref()) {
        Some(from) => Some(from.path()?),
        None => text_folder(&recipe.model)?,
    };
    let files = from.map(TextFiles::open).transpose()?;
    let files = files.as_ref();
    let tokenizer = match (trained_tokenizer(recipe, sources, trained)?, files) {
        (Some(tokenizer), _) => tokenizer,
        (None, Some(files)) if files.has_tokenizer() => files.tokenizer()?,
        (None, Some(_)) => return Err(no_tokenizer(recipe, from.unwrap_or(Path::new("")))),
        (None, None) => bail!("[tokenizer] is missing"),
    };
    let tokenizer = match section.map_or(&[][..], |section| &section.add) {
        [] => tokenizer,
        added => tokenizer.with_added(added).context("[tokenizer] add")?,
    };
    let tokens = files.map_or_else(
        || Ok(SpecialTokens::default()),
        |files| files.special_tokens(&tokenizer),
    )?;
    let format = layout(recipe, &tokenizer, &tokens)?;
    let tokenizer = with_image(tokenizer, recipe, &format.image)?;
    let own = match files {
        Some(files) if format.wants_own_template() => files.chat_template(&tokens)?,
        _ => None,
    };
    let format = format.with_template(own, &tokens, &tokenizer)?;
    Ok(Text { tokenizer, format })
}

/// The tokenizer that `[tokenizer] train` asks for: from an earlier start of the run, or trained now.
fn trained_tokenizer(
    recipe: &Recipe,
    sources: &Sources,
    trained: Option<&Path>,
) -> Result<Option<Tokenizer>> {
    let section = recipe.tokenizer.as_ref();
    let Some(train) = section.and_then(|section| section.train.as_ref()) else {
        return Ok(None);
    };
    if let Some(path) = trained.filter(|path| path.exists()) {
        return Ok(Some(Tokenizer::from_file(path)?));
    }
    let mut texts = Vec::new();
    for name in &train.on {
        texts.extend(sources.texts(name)?);
    }
    let format = recipe.format.clone().unwrap_or_default();
    let format = format.over(TextFormat::default());
    train_bpe(texts.iter(), train.vocabulary, &format.tokens())
        .context("cannot train the tokenizer ([tokenizer] train)")
        .map(Some)
}

/// How documents are laid out: as the language model was saved with; else by the tokens of [`TextFormat::default`] where
/// the tokenizer knows them; else by those that a pretrained tokenizer names itself; and what `[format]` says is so.
fn layout(recipe: &Recipe, tokenizer: &Tokenizer, tokens: &SpecialTokens) -> Result<TextFormat> {
    let saved = text_folder(&recipe.model)?.map_or(Ok(None), read_format)?;
    let usual = TextFormat::default();
    let known = |token: &&str| tokenizer.id(token).is_some();
    let brought = match saved {
        Some(format) => format,
        None if usual.tokens().iter().all(known) => usual,
        None => tokens.format(tokenizer).unwrap_or(usual),
    };
    Ok(match &recipe.format {
        Some(section) => section.over(brought),
        None => brought,
    })
}

/// Adds the token that keeps an image's place where a pretrained tokenizer lacks one and the recipe names none itself.
fn with_image(tokenizer: Tokenizer, recipe: &Recipe, image: &str) -> Result<Tokenizer> {
    let section = recipe.format.as_ref();
    let asked = section.is_some_and(|section| section.image.is_some());
    // Fourfold's own default token is one that it trains with; only pretrained tokenizers lack one.
    if asked || tokenizer.id(image).is_some() || image == TextFormat::default().image {
        return Ok(tokenizer);
    }
    Ok(tokenizer.with_added(&[image.to_owned()])?)
}

/// Why nothing in `from` reads text: it is no language model, or comes without this one file.
fn no_tokenizer(recipe: &Recipe, from: &Path) -> anyhow::Error {
    let asked = recipe.tokenizer.as_ref();
    let named = asked.is_some_and(|section| section.from.is_some());
    if let (Some(Backbone::Pretrained { .. }), false) = (&recipe.model.language, named)
        && let Err(error) = LanguageConfig::of_folder(from)
    {
        return anyhow::Error::new(error).context("key 'model.language.from'");
    }
    anyhow!(
        "{} holds no tokenizer.json: `AutoTokenizer.from_pretrained(folder).save_pretrained(folder)` of transformers \
         writes it, or name another with `from` in [tokenizer]",
        from.display()
    )
}

/// The folder that the tokenizer and the text format lie in by default.
fn text_folder(model: &ModelSection) -> Result<Option<&Path>> {
    match (&model.from, &model.language) {
        (Some(from), _) | (None, Some(Backbone::Pretrained { from, .. })) => from.path().map(Some),
        _ => Ok(None),
    }
}
