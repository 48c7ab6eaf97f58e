//! GGUF files, llama.cpp's format: one file holds the weights, mostly quantised, what the model looks like, and its
//! tokenizer.
//!
//! [`GgufFile`] reads the container and turns any tensor into f32. [`GgufFile::hugging_face`] shows the same model as
//! Hugging Face's files would have it: a `config.json`, tensors under Hugging Face's names and in its layout. And
//! [`GgufFile::tokenizer`] builds the `tokenizer.json`.
//!
//! The format is described in ggml's `docs/gguf.md`.

mod cursor;
mod dequantise;
mod hugging_face;
mod kind;
mod metadata;
mod table;
mod tokenizer;
mod value;

use std::collections::HashMap;
use std::path::Path;

use fourfold_tensor::MappedFile;
use metadata::Metadata;

pub use hugging_face::HuggingFace;
pub use kind::Kind;
pub use metadata::Reader;
pub use tokenizer::GgufTokenizer;

use crate::{ModelError, Result};
use cursor::Cursor;

/// The first four bytes of a file.
const MAGIC: &[u8] = b"GGUF";

/// An open GGUF file, version 2 or 3, little endian.
///
/// Opening it checks everything but the weights themselves: each length and count against the size of the file, each
/// tensor's place within it. The file is mapped, not read, and must not change while it is open (see [`MappedFile`]).
#[derive(Debug)]
pub struct GgufFile {
    bytes: MappedFile,
    metadata: Metadata,
    tensors: HashMap<String, GgufTensor>,
}

/// What a file says of one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GgufTensor {
    /// Its shape in row-major order, `[out, in]` for a matrix: the reverse of how the file writes it.
    pub shape: Vec<usize>,
    /// How its numbers are stored.
    pub kind: Kind,
    /// Where it begins in the file, in bytes.
    start: usize,
    /// How many bytes it has there.
    length: usize,
}

impl GgufTensor {
    /// How many numbers it holds.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

impl GgufFile {
    /// Opens a file and reads all but its weights.
    ///
    /// # Errors
    /// Names the file and, within it, the key or tensor at fault: one that is no GGUF file, is cut short, is damaged,
    /// or holds a format of numbers that is not read here.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = MappedFile::open(path).map_err(ModelError::io(path))?;
        let fault = |message: String| ModelError::weights(path, message);
        let mut cursor = Cursor::new(&bytes);
        let (tensors, pairs) = header(&mut cursor).map_err(fault)?;
        let entries = metadata::read(&mut cursor, pairs).map_err(fault)?;
        let metadata = Metadata::new(path.to_path_buf(), entries);
        let alignment = metadata.alignment(&bytes)?;
        let tensors = table::read(&mut cursor, tensors, alignment).map_err(fault)?;
        Ok(Self {
            bytes,
            metadata,
            tensors,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.metadata.path()
    }

    /// What the file says of its model, by key.
    pub fn metadata(&self) -> Reader<'_> {
        self.metadata.reader(&self.bytes)
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.tensors.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// Shape and format of a tensor, `None` where the file has none of that name.
    pub fn tensor(&self, name: &str) -> Option<&GgufTensor> {
        self.tensors.get(name)
    }

    /// The numbers of a tensor as f32, row after row.
    ///
    /// # Errors
    /// Names a tensor that the file does not have.
    pub fn read(&self, name: &str) -> Result<Vec<f32>> {
        let tensor = self.demand(name)?;
        Ok(dequantise::to_f32(tensor.kind, self.stored(tensor)))
    }

    /// The bytes of a tensor as they are stored.
    fn stored(&self, tensor: &GgufTensor) -> &[u8] {
        &self.bytes[tensor.start..tensor.start + tensor.length]
    }

    /// A tensor that has to be there.
    fn demand(&self, name: &str) -> Result<&GgufTensor> {
        self.tensor(name)
            .ok_or_else(|| self.fault(format!("has no tensor '{name}'; convert the model again")))
    }

    fn fault(&self, message: impl Into<String>) -> ModelError {
        ModelError::weights(self.path(), message)
    }
}

/// Reads what a file begins with: `"GGUF"`, u32 version, u64 number of tensors, u64 number of metadata pairs.
fn header(cursor: &mut Cursor) -> Result<(u64, u64), String> {
    if cursor.take(MAGIC.len(), "the magic").ok() != Some(MAGIC) {
        return Err("is no GGUF file: it does not begin with \"GGUF\"; give a file made by llama.cpp's converters".into());
    }
    let version = cursor.u32("the version")?;
    match version {
        2 | 3 => {}
        // Bytes of a number in the other order.
        _ if matches!(version.swap_bytes(), 1..=3) => {
            return Err("is a big endian GGUF file; only little endian ones are read: convert the model again without --bigendian".into());
        }
        _ => {
            return Err(format!(
                "is GGUF version {version}; versions 2 and 3 are read: convert the model again with a current llama.cpp"
            ));
        }
    }
    let tensors = cursor.u64("the number of tensors")?;
    let pairs = cursor.u64("the number of metadata pairs")?;
    Ok((tensors, pairs))
}
