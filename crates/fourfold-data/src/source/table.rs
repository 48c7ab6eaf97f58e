//! A file's rows in memory: images still encoded, columns as JSON values.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{jsonl, parquet};
use crate::{DataError, EncodedImage};

/// All rows of a file.
#[derive(Clone, Debug)]
pub struct Table {
    /// The file.
    pub path: PathBuf,
    /// What a row is called in messages, and the number of the first: `("row", 0)`, `("line", 1)`.
    pub place: (&'static str, usize),
    /// The columns of any row, images excepted, in the file's order.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
}

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    /// The row's number in the file, from 0.
    pub number: usize,
    /// The row's images.
    pub images: Vec<RowImage>,
    /// The other columns.
    pub columns: Map<String, Value>,
}

/// An image as a row holds it.
#[derive(Clone, Debug)]
pub enum RowImage {
    /// The file's bytes are in the row.
    Bytes(EncodedImage),
    /// The row names a file.
    File(PathBuf),
    /// The row should have an image and has none.
    Missing,
}

impl Table {
    /// Reads a `.parquet`, `.jsonl` or `.ndjson` file.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("parquet") => parquet::read(path),
            Some("jsonl" | "ndjson") => jsonl::read(path),
            _ => Err(DataError::file(
                path,
                "expected a file ending in .parquet or .jsonl",
            )),
        }
    }

    /// Where a row is, as `train.parquet:row 12`.
    pub fn origin(&self, row: &Row) -> String {
        let file = self
            .path
            .file_name()
            .unwrap_or(self.path.as_os_str())
            .to_string_lossy();
        let (word, first) = self.place;
        format!("{file}:{word} {}", row.number + first)
    }
}

impl RowImage {
    /// The image's bytes, read now if the row only names a file.
    pub fn load(&self, origin: &str, index: usize) -> Result<EncodedImage, DataError> {
        let fail = |image: String, message: String| DataError::Image {
            origin: origin.into(),
            image,
            message,
        };
        match self {
            Self::Bytes(image) => Ok(image.clone()),
            Self::File(path) => match std::fs::read(path) {
                Ok(bytes) => Ok(EncodedImage {
                    bytes: Arc::from(bytes),
                    path: Some(path.to_string_lossy().into_owned()),
                }),
                Err(error) => Err(fail(path.display().to_string(), error.to_string())),
            },
            Self::Missing => Err(fail(
                index.to_string(),
                "the row has none; fill it, or set images = false to read the text alone".into(),
            )),
        }
    }
}
