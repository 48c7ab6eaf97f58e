//! A row: images still encoded, columns as JSON values.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::blob::Blob;
use super::{location, remote};
use crate::{DataError, EncodedImage, hash};

/// What a record of a file holds.
#[derive(Clone, Debug)]
pub struct Row {
    /// Where it is, as `train.parquet:row 12` or `train.jsonl:line 13`.
    pub origin: String,
    /// The row's images.
    pub images: Vec<RowImage>,
    /// The other columns.
    pub columns: Map<String, Value>,
}

/// An image as a row holds it; its bytes are read when they are asked for.
#[derive(Clone)]
pub enum RowImage {
    /// The file's bytes are in the row.
    Bytes(EncodedImage),
    /// The row names a file.
    File(PathBuf),
    /// The row names a file of an object store or web server.
    Url {
        /// Where it is.
        url: String,
        /// Where it is if it is not there.
        others: Vec<String>,
    },
    /// The image is a stretch of a larger file.
    Part {
        /// The larger file.
        blob: Arc<dyn Blob>,
        /// The first byte.
        start: u64,
        /// How many bytes.
        length: u64,
        /// The image's name within the file.
        name: String,
    },
    /// The row should have an image and has none.
    Missing,
}

/// More bytes are no image file that anybody trains on: they are refused before they are read.
const MOST_BYTES: u64 = 512 << 20;

impl RowImage {
    /// The image that a row calls `name`, whose source has its images in `folder`; either may be a URL.
    pub fn named(folder: &Path, name: &str) -> Self {
        Self::at(location::within(folder, name))
    }

    /// The image at a path or URL.
    pub fn at(path: PathBuf) -> Self {
        match path.to_str().filter(|_| location::is_url(&path)) {
            Some(url) => Self::Url {
                url: url.to_owned(),
                others: Vec::new(),
            },
            None => Self::File(path),
        }
    }

    /// What the image is called in messages: its name or path, or its number `index` in the row.
    pub fn name(&self, index: usize) -> String {
        match self {
            Self::Bytes(image) => image.path.clone().unwrap_or_else(|| index.to_string()),
            Self::File(path) => path.display().to_string(),
            Self::Url { url, .. } => url.clone(),
            Self::Part { name, .. } => name.clone(),
            Self::Missing => index.to_string(),
        }
    }

    /// Equal for images that are the same without doubt: at one place, or of the same bytes where these are in the row.
    pub fn key(&self) -> String {
        match self {
            Self::Bytes(image) => hash::sha256(&image.bytes),
            Self::File(path) => path.display().to_string(),
            Self::Url { url, .. } => url.clone(),
            Self::Part {
                blob, start, name, ..
            } => format!("{}:{start}:{name}", blob.name()),
            Self::Missing => String::new(),
        }
    }

    /// Equal for images of the same bytes, wherever they are; what is not on this machine is known by its address, and what
    /// cannot be read by its name. The bytes are read for it.
    pub fn contents_key(&self) -> String {
        match self {
            Self::Url { .. } => self.key(),
            _ => match self.bytes() {
                Ok(image) => hash::sha256(&image.bytes),
                Err(_) => self.name(0),
            },
        }
    }

    /// The image's bytes.
    ///
    /// # Errors
    /// [`DataError::Image`] when there are none, or they cannot be read; `origin` is the row and `index` the image's
    /// number in it.
    pub fn load(&self, origin: &str, index: usize) -> Result<EncodedImage, DataError> {
        self.bytes().map_err(|message| DataError::Image {
            origin: origin.into(),
            image: self.name(index),
            message,
        })
    }

    fn bytes(&self) -> Result<EncodedImage, String> {
        let demand_size = |length: u64| {
            let large = format!("has {length} bytes; expected at most {MOST_BYTES}");
            (length <= MOST_BYTES).then_some(()).ok_or(large)
        };
        match self {
            Self::Bytes(image) => Ok(image.clone()),
            Self::File(path) => {
                let about = std::fs::metadata(path).map_err(|error| error.to_string())?;
                if !about.is_file() {
                    return Err("is not a regular file".into());
                }
                demand_size(about.len())?;
                // What the system makes up while it is read (/proc) has a length of 0 and may never end.
                let mut bytes = Vec::with_capacity(about.len() as usize);
                std::fs::File::open(path)
                    .and_then(|file| file.take(about.len()).read_to_end(&mut bytes))
                    .map_err(|error| error.to_string())?;
                Ok(EncodedImage {
                    bytes: bytes.into(),
                    path: Some(path.to_string_lossy().into_owned()),
                })
            }
            Self::Url { url, others } => {
                let urls: Vec<String> = [url].into_iter().chain(others).cloned().collect();
                remote::image(&urls, MOST_BYTES)
            }
            Self::Part {
                blob,
                start,
                length,
                name,
            } => {
                demand_size(*length)?;
                let mut bytes = vec![0; *length as usize];
                blob.read_at(*start, &mut bytes)
                    .map_err(|error| format!("cannot be read from {}: {error}", blob.name()))?;
                Ok(EncodedImage {
                    bytes: Bytes::from(bytes),
                    path: Some(name.clone()),
                })
            }
            Self::Missing => Err(
                "the row has none; fill it, or set images = false to read the text alone".into(),
            ),
        }
    }
}

impl From<EncodedImage> for RowImage {
    fn from(image: EncodedImage) -> Self {
        Self::Bytes(image)
    }
}

impl std::fmt::Debug for RowImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(image) => image.fmt(f),
            Self::File(path) => write!(f, "File({path:?})"),
            Self::Url { url, .. } => write!(f, "Url({url:?})"),
            Self::Part { name, length, .. } => write!(f, "Part({length} bytes, {name:?})"),
            Self::Missing => f.write_str("Missing"),
        }
    }
}
