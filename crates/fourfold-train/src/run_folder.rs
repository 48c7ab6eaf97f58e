//! The folder that a run writes.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::files;

/// What a run writes into its folder: what `--force` removes, and nothing else.
const FILES: [&str; 7] = [
    "recipe.toml",
    "environment.json",
    "metrics.jsonl",
    "skipped.jsonl",
    "tokenizer.json",
    "scores.json",
    "report.html",
];
/// Its folders.
const FOLDERS: [&str; 6] = [
    "samples",
    "checkpoints",
    "predictions",
    "evaluations",
    "model",
    "parts",
];
/// The file that a process holds locked while it writes to the folder.
const LOCK: &str = ".lock";

/// A run's folder and the places in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder(PathBuf);

/// The right to write to a run folder, held by one process at a time, until it is dropped.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

impl RunFolder {
    /// Makes a new run folder that holds `recipe`, the text of the resolved recipe. With `force` an earlier run
    /// there is removed first.
    ///
    /// # Errors
    /// When something is there already, or another process is writing to it; says what to do.
    pub fn create(path: &Path, force: bool, recipe: &str) -> Result<(Self, RunLock)> {
        Self::demand_free(path, force)?;
        let run = Self(path.to_owned());
        files::create_folder(path)?;
        let lock = run.lock()?;
        run.clear()?;
        // Before anything else: --resume and --force know a run's folder by the two.
        files::write_atomic(&run.recipe(), recipe.as_bytes())?;
        files::create_folder(&run.checkpoints())?;
        files::create_folder(&run.samples())?;
        Ok((run, lock))
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
        let run = Self(path.to_owned());
        ensure!(
            run.recipe().exists() && run.checkpoints().is_dir(),
            "{} is no run folder (it holds no recipe.toml with checkpoints/ beside it), so --force does not replace \
             it; remove it yourself or give the run another folder (--run DIR)",
            path.display()
        );
        if let Some(foreign) = run.entries()?.iter().find(|name| !is_own(name)) {
            bail!(
                "{} holds '{foreign}', which no run writes, so --force does not replace it; move that away or give \
                 the run another folder (--run DIR)",
                path.display()
            );
        }
        Ok(())
    }

    /// The only process that writes to the folder from now on.
    ///
    /// # Errors
    /// When another one is at it.
    pub fn lock(&self) -> Result<RunLock> {
        let path = self.0.join(LOCK);
        let within = || format!("cannot lock {}", path.display());
        let file = File::options().create(true).append(true).open(&path);
        let file = file.with_context(within)?;
        match file.try_lock() {
            Ok(()) => Ok(RunLock { _file: file }),
            Err(TryLockError::WouldBlock) => bail!(
                "another process is writing to {}; wait for it or stop it, or give this run another folder \
                 (--run DIR)",
                self.0.display()
            ),
            Err(TryLockError::Error(error)) => Err(error).with_context(within),
        }
    }

    /// Removes what an earlier run wrote.
    fn clear(&self) -> Result<()> {
        for name in self.entries()? {
            let path = self.0.join(&name);
            let removed = match path.is_dir() {
                _ if name == LOCK || !is_own(&name) => Ok(()),
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
            removed.with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(())
    }

    /// The names of all that is in the folder.
    fn entries(&self) -> Result<Vec<String>> {
        let within = || format!("cannot list {}", self.0.display());
        let all = fs::read_dir(&self.0).with_context(within)?;
        let name = |entry: std::io::Result<fs::DirEntry>| {
            Ok(entry
                .with_context(within)?
                .file_name()
                .to_string_lossy()
                .into_owned())
        };
        all.map(name).collect()
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

    /// The run folder at `path`, whether or not it is there: another rank's, on another machine.
    pub fn elsewhere(path: &Path) -> Self {
        Self(path.to_owned())
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

    /// The samples that were passed over.
    pub fn skipped(&self) -> PathBuf {
        self.0.join("skipped.jsonl")
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

    /// What was said in the evaluations.
    pub fn predictions(&self) -> PathBuf {
        self.0.join("predictions")
    }

    /// What tasks gave, a folder each.
    pub fn evaluations(&self) -> PathBuf {
        self.0.join("evaluations")
    }

    /// The page about the run.
    pub fn report(&self) -> PathBuf {
        self.0.join("report.html")
    }
}

/// Whether something is at `path`, an empty folder apart, or one whose making did not get beyond its lock.
fn is_occupied(path: &Path) -> bool {
    let is_lock = |entry: std::io::Result<fs::DirEntry>| entry.is_ok_and(|e| e.file_name() == LOCK);
    path.exists() && fs::read_dir(path).map_or(true, |mut all| !all.all(is_lock))
}

/// Whether a run writes an entry of this name, or leaves one where it is killed while writing.
fn is_own(name: &str) -> bool {
    let halved = name.strip_suffix(".partial");
    let beside = |kind| {
        name.strip_prefix('.')
            .and_then(|name| name.strip_suffix(kind))
    };
    name == LOCK
        || [Some(name), halved]
            .into_iter()
            .flatten()
            .any(|name| FILES.contains(&name))
        || [Some(name), beside(".partial"), beside(".old")]
            .into_iter()
            .flatten()
            .any(|name| FOLDERS.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::testing::Scratch;

    #[test]
    fn nothing_is_overwritten_without_force_and_only_runs_with_it() {
        let scratch = Scratch::new("run");
        let path = scratch.path().join("a");
        let create = |path: &Path, force, text| Ok(RunFolder::create(path, force, text)?.0);
        let refusal = |path: &Path, force| -> String {
            let made: Result<RunFolder> = create(path, force, "new");
            made.unwrap_err().to_string()
        };
        let run = create(&path, false, "old").unwrap();
        let again = refusal(&path, false);
        assert!(
            again.contains("--resume") && again.contains("--force"),
            "{again}"
        );
        assert_eq!(fs::read_to_string(run.recipe()).unwrap(), "old");
        fs::write(run.metrics(), "old").unwrap();
        fs::create_dir(path.join(".model.partial")).unwrap();
        let run = create(&path, true, "new").unwrap();
        assert_eq!(fs::read_to_string(run.recipe()).unwrap(), "new");
        assert!(!run.metrics().exists() && run.checkpoints().exists());
        assert!(!path.join(".model.partial").exists());

        // What is not a run's own stays, and so does all beside it.
        fs::write(path.join("letter.txt"), "dear").unwrap();
        let error = refusal(&path, true);
        assert!(
            error.contains("'letter.txt', which no run writes"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(run.recipe()).unwrap(), "new");
        let foreign = scratch.path().join("b");
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join("recipe.toml"), "mine").unwrap();
        let error = refusal(&foreign, true);
        assert!(error.contains("no run folder"), "{error}");
        assert_eq!(
            fs::read_to_string(foreign.join("recipe.toml")).unwrap(),
            "mine"
        );
    }

    #[test]
    fn one_process_at_a_time() {
        let scratch = Scratch::new("run");
        let path = scratch.path().join("a");
        let (run, lock) = RunFolder::create(&path, false, "old").unwrap();
        for error in [
            run.lock().unwrap_err(),
            RunFolder::create(&path, true, "new").unwrap_err(),
        ] {
            assert!(error.to_string().contains("another process"), "{error}");
        }
        assert_eq!(fs::read_to_string(run.recipe()).unwrap(), "old");
        drop(lock);
        run.lock().unwrap();
    }

    /// A link to a folder elsewhere stays one.
    #[cfg(unix)]
    #[test]
    fn a_linked_folder_is_emptied_where_it_is() {
        let scratch = Scratch::new("run");
        let (real, link) = (scratch.path().join("real"), scratch.path().join("link"));
        drop(RunFolder::create(&real, false, "old").unwrap());
        std::os::unix::fs::symlink(&real, &link).unwrap();
        RunFolder::create(&link, true, "new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(real.join("recipe.toml")).unwrap(), "new");
    }
}
