//! Writing checkpoints.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::{STATE, State, TENSORS, list};
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
    let name = format!("step-{:08}", state.step);
    let target = folder.join(&name);
    let partial = folder.join(format!(".{name}.partial"));
    let old = folder.join(format!(".{name}.old"));
    for leftover in [&partial, &old] {
        remove(leftover)?;
    }
    files::create_folder(&partial)?;
    state.tensors = tensors
        .iter()
        .map(|tensor| (tensor.name.clone(), checksum(tensor.values)))
        .collect();
    write_tensors(&partial.join(TENSORS), tensors)?;
    files::write_json(&partial.join(STATE), &state)?;
    files::sync_folder(Some(&partial));
    let rename = |from: &Path, to: &Path| {
        fs::rename(from, to)
            .with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))
    };
    if target.exists() {
        rename(&target, &old)?;
    }
    rename(&partial, &target)?;
    files::sync_folder(Some(folder));
    remove(&old)?;
    let all = list(folder)?;
    for (_, oldest) in &all[..all.len().saturating_sub(keep.max(1))] {
        remove(oldest)?;
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
    safetensors::serialize_to_file(views, None, path).with_context(fail)?;
    File::open(path)
        .and_then(|file| file.sync_all())
        .with_context(fail)
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}
