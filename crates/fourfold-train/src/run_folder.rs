//! The folder that a run writes.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::files;

/// A run's folder and the places in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder(PathBuf);

impl RunFolder {
    /// Makes a new run folder that holds `recipe`, the text of the resolved recipe. With `force` an earlier run
    /// there is removed first.
    ///
    /// # Errors
    /// When something is there already; says what to do.
    pub fn create(path: &Path, force: bool, recipe: &str) -> Result<Self> {
        Self::demand_free(path, force)?;
        let run = Self(path.to_owned());
        if is_occupied(path) {
            fs::remove_dir_all(path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
        files::create_folder(path)?;
        // Before anything else: --resume and --force know a run's folder by it.
        files::write_atomic(&run.recipe(), recipe.as_bytes())?;
        files::create_folder(&run.samples())?;
        files::create_folder(&run.checkpoints())?;
        Ok(run)
    }

    /// Whether a new run may be made at `path`; changes nothing.
    ///
    /// # Errors
    /// As [`RunFolder::create`].
    pub fn demand_free(path: &Path, force: bool) -> Result<()> {
        if !is_occupied(path) {
            return Ok(());
        }
        ensure!(
            force,
            "{} exists already; go on with it (--resume), replace it (--force) or give the run another folder \
             (--run DIR)",
            path.display()
        );
        ensure!(
            Self(path.to_owned()).recipe().exists(),
            "{} is no run folder (it holds no recipe.toml), so --force does not remove it; remove it yourself \
             or give the run another folder (--run DIR)",
            path.display()
        );
        Ok(())
    }

    /// An existing run folder.
    ///
    /// # Errors
    /// When it is none.
    pub fn open(path: &Path) -> Result<Self> {
        let run = Self(path.to_owned());
        if !run.recipe().exists() {
            bail!(
                "{} is no run folder: it holds no recipe.toml; start the run without --resume",
                path.display()
            );
        }
        Ok(run)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The recipe as resolved.
    pub fn recipe(&self) -> PathBuf {
        self.0.join("recipe.toml")
    }

    /// Versions, machine and data.
    pub fn environment(&self) -> PathBuf {
        self.0.join("environment.json")
    }

    /// One line an update.
    pub fn metrics(&self) -> PathBuf {
        self.0.join("metrics.jsonl")
    }

    /// The folder of captions of held-out images.
    pub fn samples(&self) -> PathBuf {
        self.0.join("samples")
    }

    /// The folder of checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.0.join("checkpoints")
    }

    /// The tokenizer of the run, when it was trained for it.
    pub fn tokenizer(&self) -> PathBuf {
        self.0.join("tokenizer.json")
    }

    /// The finished model.
    pub fn model(&self) -> PathBuf {
        self.0.join("model")
    }

    /// The folder of exported parts.
    pub fn parts(&self) -> PathBuf {
        self.0.join("parts")
    }

    /// Figures of the evaluations.
    pub fn scores(&self) -> PathBuf {
        self.0.join("scores.json")
    }

    /// The page about the run.
    pub fn report(&self) -> PathBuf {
        self.0.join("report.html")
    }
}

/// Whether something is at `path`, an empty folder apart.
fn is_occupied(path: &Path) -> bool {
    path.exists() && fs::read_dir(path).map_or(true, |mut all| all.next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::testing::Scratch;

    #[test]
    fn nothing_is_overwritten_without_force_and_only_runs_with_it() {
        let scratch = Scratch::new("run");
        let path = scratch.path().join("a");
        let run = RunFolder::create(&path, false, "old").unwrap();
        let again = RunFolder::create(&path, false, "new").unwrap_err();
        let again = again.to_string();
        assert!(
            again.contains("--resume") && again.contains("--force"),
            "{again}"
        );
        assert_eq!(fs::read_to_string(run.recipe()).unwrap(), "old");
        fs::write(run.metrics(), "old").unwrap();
        let run = RunFolder::create(&path, true, "new").unwrap();
        assert_eq!(fs::read_to_string(run.recipe()).unwrap(), "new");
        assert!(!run.metrics().exists() && run.checkpoints().exists());
        let foreign = scratch.path().join("b");
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join("letter.txt"), "dear").unwrap();
        let error = RunFolder::create(&foreign, true, "new").unwrap_err();
        assert!(error.to_string().contains("no run folder"), "{error}");
        assert!(foreign.join("letter.txt").exists() && RunFolder::open(&foreign).is_err());
    }
}
