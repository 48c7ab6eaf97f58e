//! A sample: what one row of a source says, before any of it is decoded or tokenized.

use bytes::Bytes;

use crate::DataError;
use crate::pieces::{Piece, pieces};
use crate::source::RowImage;

/// The generator that a sample's random choices (template, augmentation) are drawn from.
pub type SampleRng = rand_chacha::ChaCha8Rng;

/// Where an image stands in a prompt, as data sets write it.
pub const IMAGE_MARK: &str = "<image>";

/// Images and the text about them. Without images it is a text-only document.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Where it comes from, as `file.parquet:row 12` or `file.jsonl:line 13`.
    pub origin: String,
    /// The images, not yet read.
    pub images: Vec<RowImage>,
    /// At least one turn; only answers are learnt.
    pub turns: Vec<Turn>,
}

impl Sample {
    /// The bytes of the images.
    ///
    /// # Errors
    /// Names the image that is missing or cannot be read.
    pub fn read_images(&self) -> Result<Vec<EncodedImage>, DataError> {
        let images = self.images.iter().enumerate();
        images
            .map(|(index, image)| image.load(&self.origin, index))
            .collect()
    }
}

/// A question or instruction and what is to be said to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// May be empty. [`IMAGE_MARK`] in it is where an image stands; where no prompt has one, the images stand before the
    /// first.
    pub prompt: String,
    /// The text to learn.
    pub answer: String,
}

impl Turn {
    /// The same without the marks of images.
    pub(crate) fn without_images(self) -> Self {
        if !self.prompt.contains(IMAGE_MARK) {
            return self;
        }
        let texts = pieces(&self.prompt)
            .into_iter()
            .filter_map(|piece| match piece {
                Piece::Text(text) => Some(text),
                Piece::Image => None,
            });
        Self {
            prompt: texts.collect::<Vec<_>>().join(" "),
            ..self
        }
    }
}

/// The bytes of an image file.
#[derive(Clone)]
pub struct EncodedImage {
    /// PNG, JPEG, WebP, GIF or BMP.
    pub bytes: Bytes,
    /// The file's name, where the source knows it.
    pub path: Option<String>,
}

impl EncodedImage {
    /// An image from a file's bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
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
