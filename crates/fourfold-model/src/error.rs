//! What can go wrong with a model.

use std::path::{Path, PathBuf};

use fourfold_tensor::TensorError;

/// An error of a model: it names the file, key, tensor or row and what was expected.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// An operation refused its operands.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A configuration that makes no model.
    #[error("{origin}: {message}")]
    Config {
        /// The file or key it came from.
        origin: String,
        /// What is wrong and what was expected.
        message: String,
    },
    /// Weights that do not fit their configuration.
    #[error("{path}: {message}")]
    Weights {
        /// The weight file.
        path: PathBuf,
        /// The tensor and what was expected of it.
        message: String,
    },
    /// Input that the model cannot be run on.
    #[error("{0}")]
    Input(String),
    /// A target that its own row sees: a loss there would measure copying.
    #[error(
        "row {row} of the pack is asked to predict a token that it sees (it sees rows {start}..{end}): \
         targets may only lie where the visibility '{visibility}' hides them"
    )]
    VisibleTarget {
        /// The row.
        row: usize,
        /// First row it sees.
        start: u32,
        /// One past the last row it sees.
        end: u32,
        /// The visibility's name.
        visibility: String,
    },
}

impl ModelError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn config(origin: impl std::fmt::Display, message: impl Into<String>) -> Self {
        Self::Config {
            origin: origin.to_string(),
            message: message.into(),
        }
    }

    pub(crate) fn weights(path: &Path, message: impl Into<String>) -> Self {
        Self::Weights {
            path: path.to_path_buf(),
            message: message.into(),
        }
    }
}
