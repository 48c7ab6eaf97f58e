//! The safetensors files of a folder: one, or shards named by an index.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use fourfold_tensor::MappedFile;
use half::{bf16, f16};
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::WEIGHTS;
use super::regular::read_text;
use crate::{ModelError, Result};

/// The file that names the shards.
const INDEX: &str = "model.safetensors.index.json";
/// Bytes before the header: its length.
const LENGTH: usize = 8;

/// The tensors of a folder by their names; their bytes stay in the files until they are asked for.
pub(super) struct SafetensorsFiles {
    files: Vec<Shard>,
    places: BTreeMap<String, usize>,
}

struct Shard {
    path: PathBuf,
    bytes: MappedFile,
    metadata: Metadata,
    /// Where the numbers begin.
    start: usize,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl SafetensorsFiles {
    /// Opens `folder/model.safetensors`, or the shards that `folder/model.safetensors.index.json` names.
    pub fn open(folder: &Path) -> Result<Self> {
        let index = folder.join(INDEX);
        if !folder.join(WEIGHTS).exists() && index.exists() {
            return Self::open_shards(folder, &index);
        }
        let whole = folder.join(WEIGHTS);
        if !whole.exists() {
            return Err(missing(folder));
        }
        let shard = Shard::open(whole)?;
        let names = shard.metadata.tensors().into_keys();
        Ok(Self {
            places: names.map(|name| (name, 0)).collect(),
            files: vec![shard],
        })
    }

    fn open_shards(folder: &Path, index: &Path) -> Result<Self> {
        let text = read_text(index)?;
        let Index { weight_map } = serde_json::from_str(&text)
            .map_err(|error| ModelError::weights(index, error.to_string()))?;
        if weight_map.is_empty() {
            let message = "its weight_map names no tensor; copy it again";
            return Err(ModelError::weights(index, message));
        }
        let names: BTreeSet<&String> = weight_map.values().collect();
        let mut files = Vec::with_capacity(names.len());
        for name in &names {
            let plain = matches!(
                Path::new(name).components().collect::<Vec<_>>()[..],
                [Component::Normal(_)]
            );
            if !plain {
                let message = format!("names the shard '{name}'; expected a file beside it");
                return Err(ModelError::weights(index, message));
            }
            let path = folder.join(name);
            if !path.exists() {
                let message = format!(
                    "names the shard '{name}', which is missing; copy it there, all {} are needed",
                    names.len()
                );
                return Err(ModelError::weights(index, message));
            }
            files.push(Shard::open(path)?);
        }
        let order: BTreeMap<&String, usize> = names.iter().copied().zip(0..).collect();
        for (tensor, file) in &weight_map {
            let shard = &files[order[file]];
            if shard.metadata.info(tensor).is_none() {
                let message = format!("has no tensor '{tensor}', which {INDEX} says it has");
                return Err(ModelError::weights(&shard.path, message));
            }
        }
        let place = |(tensor, file): (&String, &String)| (tensor.clone(), order[file]);
        Ok(Self {
            places: weight_map.iter().map(place).collect(),
            files,
        })
    }

    /// The file of the first tensor: what errors name that are about no tensor.
    pub fn path(&self) -> &Path {
        self.files
            .first()
            .map_or(Path::new(WEIGHTS), |file| &file.path)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// The shape of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        let (_, info) = self.find(name)?;
        Some(&info.shape)
    }

    fn find(&self, name: &str) -> Option<(&Shard, &TensorInfo)> {
        let shard = &self.files[*self.places.get(name)?];
        Some((shard, shard.metadata.info(name)?))
    }

    /// The numbers of a tensor, `None` if there is none of that name.
    pub fn read(&self, name: &str) -> Option<Result<Vec<f32>>> {
        let (format, bytes) = self.stored(name)?;
        Some(to_f32(format, bytes).ok_or_else(|| {
            let message = format!("'{name}' is {format:?}; expected F32, F16 or BF16");
            ModelError::weights(self.file_of(name), message)
        }))
    }

    /// The bytes of a tensor as they are stored, and how its numbers are.
    pub fn stored(&self, name: &str) -> Option<(Dtype, &[u8])> {
        let (shard, info) = self.find(name)?;
        let (start, end) = info.data_offsets;
        let bytes = &shard.bytes[shard.start + start..shard.start + end];
        Some((info.dtype, bytes))
    }

    /// The file that holds a tensor.
    pub fn file_of(&self, name: &str) -> &Path {
        self.find(name)
            .map_or(self.path(), |(shard, _)| &shard.path)
    }
}

fn missing(folder: &Path) -> ModelError {
    let pickled = folder.join("pytorch_model.bin").exists()
        || folder.join("pytorch_model.bin.index.json").exists();
    let message = match pickled {
        true => {
            "holds its weights as pytorch_model.bin, which is a program to be run and is not read: \
             `AutoModel.from_pretrained(folder).save_pretrained(folder)` of transformers writes safetensors"
        }
        false => {
            "holds no weights: neither model.safetensors nor model.safetensors.index.json with its shards"
        }
    };
    ModelError::weights(folder, message)
}

impl Shard {
    fn open(path: PathBuf) -> Result<Self> {
        let bytes = MappedFile::open(&path).map_err(ModelError::io(&path))?;
        // Refuses headers of absurd length, and tensors that leave gaps, overlap or lie outside the file.
        let (length, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| {
            ModelError::weights(
                &path,
                format!("is no whole safetensors file ({error}); copy it again"),
            )
        })?;
        let start = LENGTH + length;
        Ok(Self {
            path,
            bytes,
            metadata,
            start,
        })
    }
}

fn to_f32(format: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let pairs = || {
        let (pairs, _) = bytes.as_chunks::<2>();
        pairs.iter().map(|pair| u16::from_le_bytes(*pair))
    };
    match format {
        Dtype::F32 => {
            let (numbers, _) = bytes.as_chunks::<4>();
            Some(numbers.iter().map(|b| f32::from_le_bytes(*b)).collect())
        }
        Dtype::BF16 => Some(pairs().map(|bits| bf16::from_bits(bits).to_f32()).collect()),
        Dtype::F16 => Some(pairs().map(|bits| f16::from_bits(bits).to_f32()).collect()),
        _ => None,
    }
}
