//! The tensors of a pretrained model, in whatever files it comes.

use std::path::{Path, PathBuf};

use super::gguf::{GgufFile, HuggingFace};
use super::safetensors_files::SafetensorsFiles;
use crate::{ModelError, Result};

/// Tensors by Hugging Face's names; their bytes stay in the files until they are asked for.
pub(super) enum Tensors {
    Safetensors(SafetensorsFiles),
    Gguf(HuggingFace),
}

/// The GGUF file that `from` is, or that lies in it alone and without a `config.json`.
///
/// # Errors
/// When there are several.
pub fn gguf_of(from: &Path) -> Result<Option<PathBuf>> {
    let is_gguf = |path: &Path| {
        path.extension()
            .is_some_and(|extension| extension == "gguf")
    };
    if is_gguf(from) && from.is_file() {
        return Ok(Some(from.to_owned()));
    }
    if from.join("config.json").exists() || !from.is_dir() {
        return Ok(None);
    }
    let entries = std::fs::read_dir(from).map_err(ModelError::io(from))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found: Vec<PathBuf> = paths.filter(|path| is_gguf(path)).collect();
    found.sort();
    match &found[..] {
        [] => Ok(None),
        [only] => Ok(Some(only.clone())),
        several => {
            let names = several.iter().filter_map(|path| path.file_name()?.to_str());
            let names: Vec<&str> = names.collect();
            Err(ModelError::weights(
                from,
                format!("holds {}; name one of these files", names.join(", ")),
            ))
        }
    }
}

impl Tensors {
    /// The tensors of a GGUF file or of a folder.
    pub fn open(from: &Path) -> Result<Self> {
        match gguf_of(from)? {
            Some(file) => GgufFile::open(&file)?.hugging_face().map(Self::Gguf),
            None => SafetensorsFiles::open(from).map(Self::Safetensors),
        }
    }

    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Safetensors(files) => files.names().map(str::to_owned).collect(),
            Self::Gguf(model) => model.names(),
        }
    }

    /// The shape of a tensor, if there is one of that name.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match self {
            Self::Safetensors(files) => files.shape(name).map(<[usize]>::to_vec),
            Self::Gguf(model) => model.shape(name),
        }
    }

    /// The numbers of a tensor, if there is one of that name.
    pub fn read(&self, name: &str) -> Result<Option<Vec<f32>>> {
        match self {
            Self::Safetensors(files) => files.read(name).transpose(),
            Self::Gguf(model) => Ok(model.tensor(name)?.map(|(_, numbers)| numbers)),
        }
    }

    /// Whether two tensors hold the same numbers, if both are there. A GGUF file's are never two: its own reader leaves
    /// out a head that is the embedding table.
    pub fn are_same(&self, one: &str, other: &str) -> Option<bool> {
        let Self::Safetensors(files) = self else {
            return None;
        };
        let (a, b) = (files.stored(one)?, files.stored(other)?);
        // Numbers are compared only where they are stored in two ways.
        Some(match a.0 == b.0 {
            true => a == b,
            false => {
                let numbers = |name| files.read(name).and_then(Result::ok);
                numbers(one) == numbers(other)
            }
        })
    }

    /// The file that holds a tensor; that of the first for what is about none.
    pub fn file_of(&self, name: &str) -> &Path {
        match self {
            Self::Safetensors(files) => files.file_of(name),
            Self::Gguf(model) => model.file().path(),
        }
    }
}
