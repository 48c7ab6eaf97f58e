//! What can be wrong with data, said so that a person can find it and mend it.

use std::path::PathBuf;

/// An error of this crate. Every message names the file, the row, column or key, and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried: `read`, `write`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A file is not of the format its name says, or of a form that is not supported.
    #[error("{path}: {message}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong and what was expected.
        message: String,
    },
    /// A configuration value that cannot work.
    #[error("{key}: {message}")]
    Config {
        /// The key as written in the recipe.
        key: String,
        /// What is wrong and what was expected.
        message: String,
    },
    /// A template or a filter uses a column that the file does not have.
    #[error(
        "{path}: {used_in} uses the column `{column}`, which does not exist; the columns are {}",
        list(columns),
        path = path.display()
    )]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The text that uses the column, as ``prompt template `What is {{ nme }}?` ``.
        used_in: String,
        /// The missing column.
        column: String,
        /// The columns and variables that exist.
        columns: Vec<String>,
    },
    /// A template does not parse, or fails on a row.
    #[error("{origin}: the template `{template}` fails: {message}")]
    Template {
        /// The file, or the row it failed on.
        origin: String,
        /// The template's text.
        template: String,
        /// The template engine's reason.
        message: String,
    },
    /// A chat template does not compile, refuses a conversation, or cannot be trained with.
    #[error("chat template {name}: {message}")]
    Chat {
        /// The template's file, and the line where it is known.
        name: String,
        /// The template's or the engine's words, or what was expected of it.
        message: String,
    },
    /// A row whose columns do not have the form that the source's configuration needs.
    #[error("{origin}: {message}")]
    Row {
        /// File and row.
        origin: String,
        /// What is wrong and what was expected.
        message: String,
    },
    /// An image that is missing, truncated, too large or no image at all.
    #[error("{origin}: image {image}: {message}")]
    Image {
        /// File and row.
        origin: String,
        /// The image's number within the sample, or its path.
        image: String,
        /// What is wrong.
        message: String,
    },
    /// A sample whose answer is empty: there would be nothing to learn.
    #[error("{origin}: the answer is empty; fill the column it comes from or filter the row out")]
    EmptyAnswer {
        /// File and row.
        origin: String,
    },
    /// A document without a single target: it would train nothing, silently.
    #[error(
        "{origin}: all targets are masked: images and prompt take {prompt_tokens} tokens and the \
         limit is {max_tokens}; shorten the prompt, leave the row out with `where`, or raise max_tokens where the \
         model takes longer documents"
    )]
    AllMasked {
        /// File and row.
        origin: String,
        /// Tokens up to and including the answer marker.
        prompt_tokens: usize,
        /// The limit a document was cut to.
        max_tokens: usize,
    },
    /// A document that fits into no pack.
    #[error(
        "{origin}: the document has {tokens} tokens and {images} images, a pack holds \
         {max_tokens} tokens and {max_images} images; raise the pack's budget or lower max_tokens"
    )]
    TooLarge {
        /// File and row.
        origin: String,
        /// The document's tokens.
        tokens: usize,
        /// The document's images.
        images: usize,
        /// The pack's token budget.
        max_tokens: usize,
        /// The pack's image budget.
        max_images: usize,
    },
    /// The tokenizer refuses, or does not fit the text format.
    #[error("tokenizer {name}: {message}")]
    Tokenizer {
        /// The tokenizer's file, or what it was made from.
        name: String,
        /// What is wrong and what was expected.
        message: String,
    },
    /// A position that belongs to another mixture or seed.
    #[error("cannot resume the data: {0}; resume with the recipe and data the run began with")]
    Resume(String),
    /// Twice as many draws as there are samples, and nothing to train on among them.
    #[error(
        "of {drawn} samples drawn not one is left to train on; {}",
        nothing_left(*dropped, first)
    )]
    NothingLeft {
        /// How many were drawn.
        drawn: u64,
        /// How many of them were too long.
        dropped: usize,
        /// The message of the first that is broken.
        first: Option<String>,
    },
    /// A broken sample under `strict`.
    #[error("{0} (strict: broken samples are errors; without strict they are skipped and listed)")]
    Strict(Box<DataError>),
    /// What keeps several samples from being read.
    #[error("{0}")]
    Shared(std::sync::Arc<DataError>),
    /// The loader's thread ended unexpectedly.
    #[error("the data loader stopped: {0}")]
    Loader(String),
}

impl DataError {
    /// Whether the error concerns one sample, which a loader may skip, rather than a whole source.
    ///
    /// A document whose targets are all masked is not among them: the sample is whole, and the recipe's
    /// `max_tokens` is what takes its answer away.
    pub fn concerns_sample(&self) -> bool {
        matches!(
            self,
            Self::Template { .. }
                | Self::Row { .. }
                | Self::Image { .. }
                | Self::EmptyAnswer { .. }
                | Self::TooLarge { .. }
                | Self::Shared(_)
        )
    }

    /// The row that it concerns, as `train.jsonl:line 13`, if it is one.
    pub fn origin(&self) -> Option<&str> {
        match self {
            Self::Template { origin, .. }
            | Self::Row { origin, .. }
            | Self::Image { origin, .. }
            | Self::EmptyAnswer { origin }
            | Self::AllMasked { origin, .. }
            | Self::TooLarge { origin, .. } => Some(origin),
            Self::Strict(inner) => inner.origin(),
            Self::Shared(inner) => inner.origin(),
            _ => None,
        }
    }

    pub(crate) fn file(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self::File {
            path: path.into(),
            message: message.into(),
        }
    }

    pub(crate) fn config(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Config {
            key: key.into(),
            message: message.into(),
        }
    }
}

fn list(columns: &[String]) -> String {
    if columns.is_empty() {
        "none".into()
    } else {
        columns.join(", ")
    }
}

fn nothing_left(dropped: usize, first: &Option<String>) -> String {
    match first {
        Some(first) => format!("{dropped} are too long, the others broken; the first: {first}"),
        None => "all are longer than max_tokens: raise it, or write `too_long = \"cut\"`".into(),
    }
}
