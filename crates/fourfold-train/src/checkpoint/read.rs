//! Reading checkpoints, and refusing those that are damaged or of another run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::{STATE, State, TENSORS, VERSION, list};
use crate::checksum::checksum;
use crate::recipe::{Fingerprint, differing_keys};

/// A checkpoint in memory.
#[derive(Debug)]
pub struct Checkpoint {
    /// Where the run was.
    pub state: State,
    path: PathBuf,
    tensors: BTreeMap<String, Vec<f32>>,
}

/// A checkpoint without its numbers, as rank 0 tells the others of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outline {
    state: State,
    path: PathBuf,
    lens: BTreeMap<String, usize>,
}

impl Checkpoint {
    /// All but the numbers.
    pub fn outline(&self) -> Outline {
        let lens = self.tensors.iter();
        Outline {
            state: self.state.clone(),
            path: self.path.clone(),
            lens: lens
                .map(|(name, values)| (name.clone(), values.len()))
                .collect(),
        }
    }

    /// A checkpoint of zeros, to be filled with the numbers of another.
    pub fn blank(outline: Outline) -> Self {
        let lens = outline.lens.into_iter();
        Self {
            state: outline.state,
            path: outline.path,
            tensors: lens.map(|(name, len)| (name, vec![0.0; len])).collect(),
        }
    }

    /// The numbers, tensor by tensor in the order of their names.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Vec<f32>> {
        self.tensors.values_mut()
    }

    /// The newest checkpoint in `folder`, or none where there is none.
    ///
    /// # Errors
    /// When the newest is damaged or of another version of Fourfold: an older one is never taken in silence.
    pub fn newest(folder: &Path) -> Result<Option<Self>> {
        let found = list(folder)?;
        let Some((_, newest)) = found.last() else {
            return Ok(None);
        };
        demand_layout(newest)?;
        let older = found.iter().rev().nth(1).map(|(step, _)| *step);
        let advice = match older {
            Some(step) => format!(
                "to go on from step {step} instead, delete {}",
                newest.display()
            ),
            None => "there is no older one; start the run again with --force".to_owned(),
        };
        Self::read(newest)
            .with_context(|| format!("the checkpoint {} is damaged; {advice}", newest.display()))
            .map(Some)
    }

    /// Reads one checkpoint whole.
    ///
    /// # Errors
    /// When a file is missing, cut short or altered; the file or tensor is named.
    fn read(path: &Path) -> Result<Self> {
        let read = |file: &Path| fs::read(file).with_context(|| format!("{}", file.display()));
        let file = path.join(STATE);
        let state: State =
            serde_json::from_slice(&read(&file)?).with_context(|| format!("{}", file.display()))?;
        let file = path.join(TENSORS);
        let bytes = read(&file)?;
        let stored = SafeTensors::deserialize(&bytes).with_context(|| {
            format!(
                "{} is cut short or altered ({} bytes)",
                file.display(),
                bytes.len()
            )
        })?;
        let mut tensors = BTreeMap::new();
        for (name, sum) in &state.tensors {
            let view = stored
                .tensor(name)
                .map_err(|_| anyhow!("{} lacks the tensor '{name}'", file.display()))?;
            ensure!(view.dtype() == Dtype::F32, "'{name}' is not f32");
            let values: Vec<f32> = bytemuck::pod_collect_to_vec(view.data());
            ensure!(
                checksum(&values) == *sum,
                "the numbers of '{name}' in {} are not those that were written",
                file.display()
            );
            tensors.insert(name.clone(), values);
        }
        Ok(Self {
            state,
            path: path.to_owned(),
            tensors,
        })
    }

    /// The numbers of a stored tensor.
    ///
    /// # Errors
    /// When it is not there or has another length.
    pub fn tensor(&self, name: &str, len: usize) -> Result<&[f32]> {
        let values = self
            .tensors
            .get(name)
            .with_context(|| format!("{} lacks the tensor '{name}'", self.path.display()))?;
        ensure!(
            values.len() == len,
            "{}: '{name}' has {} numbers, the model has {len}",
            self.path.display(),
            values.len()
        );
        Ok(values)
    }

    /// Demands that the checkpoint is at a place that the run has: `updates` gives the length of a stage.
    ///
    /// # Errors
    /// Says where it claims to be.
    pub fn demand_position(&self, updates: impl Fn(usize) -> Option<usize>) -> Result<()> {
        let State { stage, update, .. } = self.state;
        let inside = match updates(stage) {
            Some(updates) => update < updates,
            // One after the last stage: all are done.
            None => update == 0 && (stage == 0 || updates(stage - 1).is_some()),
        };
        ensure!(
            inside,
            "the checkpoint {} is altered: it is at update {update} of stage {} of the run, which has no such place; \
             delete it to go on from an older one, or start the run again with --force",
            self.path.display(),
            stage + 1
        );
        Ok(())
    }

    /// Demands that the checkpoint is of the run that `recipe` and `data` make.
    ///
    /// # Errors
    /// Gives both hashes and every key that differs.
    pub fn demand_same_run(
        &self,
        recipe: &Fingerprint,
        data: &BTreeMap<String, String>,
    ) -> Result<()> {
        if self.state.recipe.hash != recipe.hash {
            let differences = differing_keys(recipe, &self.state.recipe);
            bail!(
                "the checkpoint {} is of another recipe (hash {} here, {} there):\n  {}\ngo on with the \
                 run's own recipe.toml, or start anew with another name or --force",
                self.path.display(),
                recipe.hash,
                self.state.recipe.hash,
                differences.join("\n  ")
            );
        }
        for (file, here) in data {
            match self.state.data.get(file) {
                Some(there) if there == here => {}
                there => bail!(
                    "the data file {file} is not what the run began with (SHA-256 {here} here, {} \
                     there); restore the file, or start anew with another name or --force",
                    there.map_or("absent", String::as_str)
                ),
            }
        }
        Ok(())
    }
}

/// Refuses a checkpoint whose layout is another version's. It is looked at before anything else: what follows
/// would call it damaged. A state that cannot be read at all is left to what follows.
fn demand_layout(path: &Path) -> Result<()> {
    #[derive(Deserialize)]
    struct Layout {
        version: u32,
    }
    let state = fs::read(path.join(STATE)).unwrap_or_default();
    if let Ok(Layout { version }) = serde_json::from_slice(&state) {
        ensure!(
            version == VERSION,
            "the checkpoint {} was written by another version of Fourfold: it has layout {version}, this one reads \
             {VERSION}; go on with the version that environment.json in the run folder names, or start the run \
             again with --force",
            path.display()
        );
    }
    Ok(())
}
