//! A sample: what one row of a source says, before any of it is decoded or tokenized.

use std::sync::Arc;

/// The generator that a sample's random choices (template, augmentation) are drawn from.
pub type SampleRng = rand_chacha::ChaCha8Rng;

/// Images and the text about them. Without images it is a text-only document.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Where it comes from, as `file.parquet:row 12` or `file.jsonl:line 13`.
    pub origin: String,
    /// The images, still encoded.
    pub images: Vec<EncodedImage>,
    /// At least one turn; only answers are learnt.
    pub turns: Vec<Turn>,
}

/// A question or instruction and what is to be said to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// May be empty.
    pub prompt: String,
    /// The text to learn.
    pub answer: String,
}

/// The bytes of an image file.
#[derive(Clone)]
pub struct EncodedImage {
    /// PNG, JPEG, WebP, GIF or BMP.
    pub bytes: Arc<[u8]>,
    /// The file's name, where the source knows it.
    pub path: Option<String>,
}

impl EncodedImage {
    /// An image from a file's bytes.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self {
            bytes: bytes.into(),
            path: None,
        }
    }
}

impl std::fmt::Debug for EncodedImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "EncodedImage({} bytes, {:?})",
            self.bytes.len(),
            self.path
        )
    }
}
