//! Writing files and folders so that a crash leaves either the old or the new, never half of it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Writes `bytes` to `path` through a neighbour that is renamed when it is safely on disk.
///
/// # Errors
/// Names the file.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let write = || -> std::io::Result<()> {
        let mut file = File::create(partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(partial, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    sync_folder(path.parent());
    Ok(())
}

/// Writes `value` as indented JSON, atomically.
///
/// # Errors
/// Names the file.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)
        .with_context(|| format!("cannot write {} as JSON", path.display()))?;
    text.push('\n');
    write_atomic(path, text.as_bytes())
}

/// `value` as one line of a file of JSON lines.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn json_line(value: &impl Serialize) -> Result<String> {
    let mut line = serde_json::to_string(value).context("cannot write JSON")?;
    line.push('\n');
    Ok(line)
}

/// Whether a value is its type's default, which files leave out.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The lines of a file of JSON lines; a last one that a crash cut short is left out. `expected` says what a line is, and
/// what to do with one that is not.
///
/// # Errors
/// Names the file and the line.
pub fn read_json_lines<T: DeserializeOwned>(path: &Path, expected: &str) -> Result<Vec<T>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut lines = Vec::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        match serde_json::from_str(line) {
            Ok(line) => lines.push(line),
            Err(_) if !line.ends_with('\n') => {}
            Err(error) => {
                let place = format!("{}, line {}", path.display(), index + 1);
                return Err(error).with_context(|| format!("{place}: expected {expected}"));
            }
        }
    }
    Ok(lines)
}

/// Creates a folder and its parents.
///
/// # Errors
/// Names the folder.
pub fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot create the folder {}", path.display()))
}

/// Fills a new folder with `write` and puts it in the place of `target`. The old one goes last, when the new one
/// is in its place and on disk.
///
/// # Errors
/// Names the folder. What was there before is then still there; or beside it, as `.NAME.old`, if it was the
/// renaming that failed.
pub fn replace_folder(target: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let fail = || format!("cannot write {}", target.display());
    let (partial, old) = (beside(target, "partial"), beside(target, "old"));
    remove_folder(&partial)?;
    create_folder(&partial)?;
    write(&partial).with_context(fail)?;
    sync_files(&partial).with_context(fail)?;
    if target.exists() {
        remove_folder(&old)?;
        fs::rename(target, &old).with_context(fail)?;
    }
    fs::rename(&partial, target).with_context(fail)?;
    sync_folder(target.parent());
    remove_folder(&old)
}

/// Removes a folder and all in it, if it is there.
///
/// # Errors
/// Names the folder.
pub fn remove_folder(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

/// `.NAME.kind` in the folder that `target` is in.
fn beside(target: &Path, kind: &str) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.{kind}"))
}

/// Waits until the files of `folder`, and their names, are on disk.
fn sync_files(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            // Opened for writing: Windows flushes nothing that was opened for reading alone.
            OpenOptions::new().write(true).open(path)?.sync_all()?;
        }
    }
    sync_folder(Some(folder));
    Ok(())
}

/// Makes a rename in `folder` durable where the system offers that; elsewhere it has no such call to fail.
pub fn sync_folder(folder: Option<&Path>) {
    if let Some(folder) = folder
        && let Ok(folder) = File::open(folder)
    {
        let _ = folder.sync_all();
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A folder of its own for one test, gone when dropped.
    pub struct Scratch(PathBuf);

    impl Scratch {
        pub fn new(name: &str) -> Self {
            static COUNT: AtomicUsize = AtomicUsize::new(0);
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("fourfold-{name}-{}-{count}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).expect("a folder for the test");
            Self(path)
        }

        pub fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Scratch;
    use super::*;

    #[test]
    fn a_folder_is_replaced_whole_or_not_at_all() {
        let scratch = Scratch::new("replace");
        let target = scratch.path().join("parts").join("vision");
        let text = || fs::read_to_string(target.join("weights")).unwrap();
        let put = |folder: &Path, text: &str| -> Result<()> {
            Ok(fs::write(folder.join("weights"), text)?)
        };
        replace_folder(&target, |folder| put(folder, "old")).unwrap();
        assert_eq!(text(), "old");
        let error = replace_folder(&target, |folder| {
            put(folder, "half")?;
            anyhow::bail!("no room")
        })
        .unwrap_err();
        assert!(format!("{error:#}").contains("no room"), "{error:#}");
        assert_eq!(text(), "old");
        replace_folder(&target, |folder| put(folder, "new")).unwrap();
        assert_eq!(text(), "new");
        let parts = fs::read_dir(scratch.path().join("parts")).unwrap();
        assert_eq!(
            parts.count(),
            1,
            "nothing half-written and nothing old is left"
        );
    }
}
