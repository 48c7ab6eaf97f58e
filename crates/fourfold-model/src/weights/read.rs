//! Reading a weight file.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use super::WEIGHTS;
use crate::spec::Spec;
use crate::{ModelError, Result};

/// The weights of a folder.
pub(crate) struct WeightFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl WeightFile {
    /// Opens `folder/model.safetensors`.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(WEIGHTS);
        let bytes = fs::read(&path).map_err(ModelError::io(&path))?;
        SafeTensors::deserialize(&bytes).map_err(|error| {
            ModelError::weights(
                &path,
                format!("is no whole safetensors file ({error}); copy it again"),
            )
        })?;
        Ok(Self { path, bytes })
    }

    /// Refuses weights that no parameter of a whole model takes: its config.json is of another model.
    pub fn demand_no_other(&self, specs: &[Spec]) -> Result<()> {
        let file = SafeTensors::deserialize(&self.bytes)
            .map_err(|error| ModelError::weights(&self.path, error.to_string()))?;
        let stored = specs.iter().flat_map(|spec| &spec.stored);
        let known: HashSet<&str> = stored.map(|stored| stored.name.as_str()).collect();
        match file.names().into_iter().find(|name| !known.contains(*name)) {
            None => Ok(()),
            Some(name) => Err(ModelError::weights(
                &self.path,
                format!(
                    "holds '{name}', which the model of its config.json does not have; restore that file"
                ),
            )),
        }
    }

    /// The numbers of `spec`, put together from its stored tensors; `prefix` is left out of their names.
    pub fn read(&self, spec: &Spec, prefix: &str) -> Result<Vec<f32>> {
        let file = SafeTensors::deserialize(&self.bytes)
            .map_err(|error| ModelError::weights(&self.path, error.to_string()))?;
        let mut values = Vec::with_capacity(spec.shape.iter().product());
        for stored in &spec.stored {
            let name = stored.name.strip_prefix(prefix).unwrap_or(&stored.name);
            let fault = |message: String| ModelError::weights(&self.path, message);
            let tensor = file.tensor(name).map_err(|_| {
                fault(format!(
                    "has no tensor '{name}', which its config.json says the model has"
                ))
            })?;
            if tensor.shape() != stored.shape {
                let (found, wanted) = (tensor.shape(), &stored.shape);
                return Err(fault(format!(
                    "'{name}' is {found:?}; config.json makes it {wanted:?}"
                )));
            }
            let numbers = to_f32(tensor.dtype(), tensor.data()).ok_or_else(|| {
                fault(format!(
                    "'{name}' is {:?}; expected F32, F16 or BF16",
                    tensor.dtype()
                ))
            })?;
            if let Some(bad) = numbers.iter().position(|number| !number.is_finite()) {
                return Err(fault(format!(
                    "'{name}' holds {} at {bad}: the file is damaged",
                    numbers[bad]
                )));
            }
            match (stored.transposed, &stored.shape[..]) {
                (true, [rows, columns]) => values.extend(transpose(&numbers, *rows, *columns)),
                _ => values.extend(numbers),
            }
        }
        Ok(values)
    }
}

fn to_f32(format: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let pairs = || {
        bytes
            .chunks_exact(2)
            .map(|b| u16::from_le_bytes([b[0], b[1]]))
    };
    match format {
        Dtype::F32 => Some(
            bytes
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
        ),
        Dtype::BF16 => Some(pairs().map(|bits| bf16::from_bits(bits).to_f32()).collect()),
        Dtype::F16 => Some(pairs().map(|bits| f16::from_bits(bits).to_f32()).collect()),
        _ => None,
    }
}

/// `[rows, columns]` → `[columns, rows]`.
pub(super) fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let by_column = |column: usize| (0..rows).map(move |row| values[row * columns + column]);
    (0..columns).flat_map(by_column).collect()
}
