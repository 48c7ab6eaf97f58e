//! Writing checkpoints.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fourfold_model::write_safetensors;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::{STATE, State, TENSORS, list, place};
use crate::checksum::checksum;
use crate::files;

/// A tensor to store.
#[derive(Clone, Debug)]
pub struct TensorRef<'a> {
    /// Its name in the file.
    pub name: String,
    /// Its shape.
    pub shape: &'a [usize],
    /// Its numbers.
    pub values: &'a [f32],
}

/// Writes a checkpoint into `folder`, then removes the oldest beyond `keep`. The checksums of `state` are
/// filled in. Returns the checkpoint's folder.
///
/// # Errors
/// Names the file that cannot be written; what was there before is then still there.
pub fn write(
    folder: &Path,
    mut state: State,
    tensors: &[TensorRef<'_>],
    keep: usize,
) -> Result<PathBuf> {
    let target = place(folder, state.step);
    state.tensors = tensors
        .iter()
        .map(|tensor| (tensor.name.clone(), checksum(tensor.values)))
        .collect();
    files::replace_folder(&target, |partial| {
        write_tensors(&partial.join(TENSORS), tensors)?;
        files::write_json(&partial.join(STATE), &state)
    })?;
    let all = list(folder)?;
    for (_, oldest) in &all[..all.len().saturating_sub(keep.max(1))] {
        files::remove_folder(oldest)?;
    }
    Ok(target)
}

fn write_tensors(path: &Path, tensors: &[TensorRef<'_>]) -> Result<()> {
    let fail = || format!("cannot write {}", path.display());
    let views = tensors
        .iter()
        .map(|tensor| {
            let bytes = bytemuck::cast_slice(tensor.values);
            let view = TensorView::new(Dtype::F32, tensor.shape.to_vec(), bytes)?;
            Ok((tensor.name.as_str(), view))
        })
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .with_context(fail)?;
    write_safetensors(path, views, None).with_context(fail)
}
