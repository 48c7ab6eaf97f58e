//! The cache on disk, in the layout of the Python package `huggingface_hub`, which reads and writes it as well:
//!
//! ```text
//! models--OWNER--NAME/
//!   refs/REVISION              the commit that a branch or tag stood for when it was last fetched
//!   blobs/ETAG                 contents: a file of one content is there once, whatever the number of commits
//!   snapshots/COMMIT/FILE      links to blobs
//! .locks/models--OWNER--NAME/ETAG.lock
//! ```

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::id::{HubId, is_commit};
use crate::files;

/// The cache of one repository.
pub(super) struct RepositoryCache {
    root: PathBuf,
    name: String,
}

impl RepositoryCache {
    pub fn new(root: &Path, id: &HubId) -> Self {
        Self {
            root: root.to_owned(),
            name: format!("models--{}", id.repository().replace('/', "--")),
        }
    }

    fn folder(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    /// The commit that `revision` stood for when it was last fetched.
    pub fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let text = fs::read_to_string(self.folder().join("refs").join(revision)).ok()?;
        Some(text.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// The folder of a commit's files.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder().join("snapshots").join(commit)
    }

    pub fn blob(&self, etag: &str) -> PathBuf {
        self.folder().join("blobs").join(etag)
    }

    /// What has arrived of a blob so far. Python's own unfinished files are named otherwise: it does not go on with
    /// them.
    pub fn partial(&self, etag: &str) -> PathBuf {
        let name = format!("{etag}.fourfold.incomplete");
        self.folder().join("blobs").join(name)
    }

    /// Notes that `revision` stands for `commit`.
    pub fn note_commit(&self, revision: &str, commit: &str) -> Result<()> {
        if revision == commit || self.commit(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.folder().join("refs").join(revision);
        let write = || {
            if let Some(folder) = path.parent() {
                files::create_folder(folder)?;
            }
            files::write_atomic(&path, commit.as_bytes())
        };
        write().with_context(|| self.unwritten())
    }

    /// Creates the folder of all contents.
    pub fn create_blobs(&self) -> Result<()> {
        files::create_folder(&self.folder().join("blobs")).with_context(|| self.unwritten())
    }

    /// What goes before the system's reason, which names a path that nobody chose.
    fn unwritten(&self) -> String {
        format!(
            "cannot write to {}, the cache of the Hugging Face hub; set HF_HOME, or HF_HUB_CACHE for the cache alone, to a \
             folder that can be written",
            self.root.display()
        )
    }

    /// Puts a blob into a commit's folder, by a link where the system lets make one, else by moving it there.
    pub fn link(&self, etag: &str, commit: &str, file: &str) -> Result<()> {
        let linked = self.try_link(etag, commit, file);
        linked.with_context(|| self.unwritten())
    }

    fn try_link(&self, etag: &str, commit: &str, file: &str) -> Result<()> {
        let folder = self.snapshot(commit);
        files::create_folder(&folder)?;
        let place = folder.join(file);
        let within = || format!("cannot link {} to its content", place.display());
        // A link to a blob that is gone is in the way of a new one.
        match fs::symlink_metadata(&place) {
            Ok(_) => fs::remove_file(&place).with_context(within)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(within),
        }
        let target = Path::new("../../blobs").join(etag);
        match symlink(&target, &place) {
            Ok(()) => Ok(()),
            // Another process was quicker.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(_) => fs::rename(self.blob(etag), &place).with_context(within),
        }
    }

    /// The only process that fetches a blob, as Python's package locks it; none while another one does.
    pub fn lock(&self, etag: &str) -> Result<Option<File>> {
        self.try_lock(etag).with_context(|| self.unwritten())
    }

    fn try_lock(&self, etag: &str) -> Result<Option<File>> {
        let folder = self.root.join(".locks").join(&self.name);
        files::create_folder(&folder)?;
        let path = folder.join(format!("{etag}.lock"));
        let within = || format!("cannot lock {}", path.display());
        let file = File::options().create(true).append(true).open(&path);
        let file = file.with_context(within)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            // A file system without locks: the blob still appears whole or not at all.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                Ok(Some(file))
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(within),
        }
    }
}

#[cfg(unix)]
fn symlink(target: &Path, place: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, place)
}

#[cfg(windows)]
fn symlink(target: &Path, place: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, place)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
