//! Writing a weight file.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use fourfold_tensor::Parameters;
use half::bf16;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::read::transpose;
use super::{WEIGHTS, WeightFormat};
use crate::spec::Spec;
use crate::{ModelError, Result};

/// Writes the parameters of `specs` to `folder/model.safetensors`; `prefix` is left out of their names.
///
/// The file appears whole or not at all.
pub(crate) fn write<'a>(
    folder: &Path,
    parameters: &Parameters,
    specs: impl Iterator<Item = &'a Spec>,
    prefix: &str,
    format: WeightFormat,
) -> Result<()> {
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for spec in specs {
        let id = crate::layers::find(parameters, &spec.name)?;
        let mut rest = parameters.get(id).master().f32()?;
        for stored in &spec.stored {
            let (piece, next) = rest.split_at(stored.shape.iter().product());
            rest = next;
            let bytes = match (stored.transposed, &stored.shape[..]) {
                (true, [rows, columns]) => to_bytes(&transpose(piece, *columns, *rows), format),
                _ => to_bytes(piece, format),
            };
            let name = stored.name.strip_prefix(prefix).unwrap_or(&stored.name);
            tensors.push((name.to_owned(), stored.shape.clone(), bytes));
        }
    }
    let path = folder.join(WEIGHTS);
    let fault = |error: safetensors::SafeTensorError| ModelError::weights(&path, error.to_string());
    let dtype = match format {
        WeightFormat::F32 => Dtype::F32,
        WeightFormat::Bf16 => Dtype::BF16,
    };
    let mut views = Vec::with_capacity(tensors.len());
    for (name, shape, bytes) in &tensors {
        views.push((
            name.as_str(),
            TensorView::new(dtype, shape.clone(), bytes).map_err(fault)?,
        ));
    }
    // Hugging Face's loaders want to be told which framework's layout it is.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(fault)?;
    let unfinished = folder.join(format!("{WEIGHTS}.unfinished"));
    fs::create_dir_all(folder).map_err(ModelError::io(folder))?;
    fs::write(&unfinished, bytes).map_err(ModelError::io(&unfinished))?;
    fs::rename(&unfinished, &path).map_err(ModelError::io(&path))
}

fn to_bytes(values: &[f32], format: WeightFormat) -> Vec<u8> {
    match format {
        WeightFormat::F32 => values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect(),
        WeightFormat::Bf16 => values
            .iter()
            .flat_map(|value| bf16::from_f32(*value).to_le_bytes())
            .collect(),
    }
}
