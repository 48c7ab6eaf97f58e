//! Features of a frozen vision encoder on disk, for later runs.
//!
//! The folder of a recipe's `training.feature_cache` holds a folder for each encoder, image transform and variation,
//! called by the hash of them all ([`About`]): `about.json` says what they are, `NNNNN.features` hold the numbers, each
//! written by one process. Nothing is ever changed in place, so that runs may share the folder at the same time, and
//! any of them may be killed.

mod about;
mod index;
mod shard;

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use fourfold_data::{Augment, ImageKey, ImageTransform};
use fourfold_model::Model;
use fourfold_tensor::Tensor;

use crate::files;
pub use about::{About, Shape};
pub use index::StoredImages;
use shard::NewShard;

const ABOUT: &str = "about.json";

/// The stored features of one encoder and way of reading images.
pub struct FeatureStore {
    root: PathBuf,
    folder: PathBuf,
    about: About,
    stored: Arc<StoredImages>,
    writing: Writing,
    limit_mib: usize,
    /// Bytes that may still be taken.
    room: u64,
    notes: Vec<String>,
}

enum Writing {
    /// Nothing was new yet.
    NotYet,
    To(NewShard),
    /// There is no room or a write failed, which was said.
    Ended,
}

/// Makes the folder `root` and demands that files can be written there: a mistake is to show before the training.
///
/// # Errors
/// Names the folder and the key.
pub fn prepare(root: &Path) -> Result<()> {
    fs::create_dir_all(root)
        .and_then(|()| tempfile::tempfile_in(root))
        .map(|_| ())
        .with_context(|| {
            format!(
                "cannot write to the folder {} of training.feature_cache; make it writable, name another, or remove \
                 the key",
                root.display()
            )
        })
}

impl FeatureStore {
    /// Opens what `root` holds of the features that `model`'s encoder makes of images read by `transform` and varied
    /// by `augment`. Files in all of `root` may take `limit_mib`.
    ///
    /// # Errors
    /// Names the file that is in the way, or cannot be read or written.
    pub fn open(
        root: &Path,
        limit_mib: usize,
        model: &Model,
        transform: &ImageTransform,
        augment: Option<&Augment>,
    ) -> Result<Self> {
        let about = About::of(model, transform, augment)?;
        let folder = root.join(&about.key);
        files::create_folder(&folder)?;
        demand_about(&folder, &about)?;
        Ok(Self {
            stored: Arc::new(StoredImages::open(&folder, &about)?),
            root: root.to_owned(),
            folder,
            about,
            writing: Writing::NotYet,
            limit_mib,
            room: ((limit_mib as u64) << 20).saturating_sub(taken(root)?),
            notes: Vec::new(),
        })
    }

    /// The images whose features are there.
    pub fn stored(&self) -> &Arc<StoredImages> {
        &self.stored
    }

    /// Writes those of `features` that are not there. That there is no room, or that a write fails, costs the training
    /// nothing; it is told once, and no more is written.
    ///
    /// # Errors
    /// When features are not of the size that the encoder gives, which is a defect.
    pub fn append<'a>(
        &mut self,
        features: impl Iterator<Item = (&'a ImageKey, &'a Tensor)>,
    ) -> Result<()> {
        if matches!(self.writing, Writing::Ended) {
            return Ok(());
        }
        let shape = self.about.shape;
        let new = features.filter(|(image, _)| !self.stored.has(image));
        let new: Vec<_> = new.collect();
        let fits = (self.room / shape.record()).min(new.len() as u64) as usize;
        let mut records = Vec::with_capacity(fits * shape.record() as usize);
        for (image, features) in &new[..fits] {
            shard::push(image, features, shape, &mut records)?;
        }
        if let Err((path, error)) = self.write(&records, &new[..fits]) {
            self.end(format!(
                "cannot write {}: {error}: features of further images are not stored; make room there, or remove \
                 training.feature_cache",
                path.display()
            ));
        } else if fits < new.len() {
            self.end(format!(
                "{} has reached training.feature_cache_disk_mib = {}: features of further images are not stored; raise \
                 it, or remove folders there whose about.json is of an encoder that is not used any more",
                self.root.display(),
                self.limit_mib
            ));
        }
        Ok(())
    }

    fn write(
        &mut self,
        records: &[u8],
        images: &[(&ImageKey, &Tensor)],
    ) -> Result<(), (PathBuf, std::io::Error)> {
        if records.is_empty() {
            return Ok(());
        }
        if matches!(self.writing, Writing::NotYet) {
            let shard = NewShard::create(&self.folder, &self.about);
            self.writing = Writing::To(shard.map_err(|error| (self.folder.clone(), error))?);
        }
        let Writing::To(shard) = &mut self.writing else {
            return Ok(());
        };
        let begin = shard.append(records);
        let begin = begin.map_err(|error| (shard.path.clone(), error))?;
        let path: Arc<Path> = shard.path.as_path().into();
        self.room -= records.len() as u64;
        let places = (begin..).step_by(self.about.shape.record() as usize);
        for ((image, _), begin) in images.iter().zip(places) {
            self.stored.insert(**image, Arc::clone(&path), begin);
        }
        Ok(())
    }

    fn end(&mut self, note: String) {
        self.writing = Writing::Ended;
        self.notes.push(note);
    }

    /// What is worth telling since the last call.
    pub fn take_notes(&mut self) -> Vec<String> {
        let mut notes = self.stored.take_notes();
        notes.append(&mut self.notes);
        notes
    }
}

/// Writes `about.json` where it is missing, and demands that it says what it should.
fn demand_about(folder: &Path, about: &About) -> Result<()> {
    let path = folder.join(ABOUT);
    if !path.exists() {
        write_about(&path, folder, about).with_context(|| {
            format!(
                "cannot write {}; make room there, or remove training.feature_cache",
                path.display()
            )
        })?;
    }
    let found = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(
        found == about.text.as_bytes(),
        "{} was changed since it was written, so what lies beside it cannot be trusted; remove the folder {}: its images \
         are then encoded anew",
        path.display(),
        folder.display()
    );
    Ok(())
}

/// Through a file of this process's own, for others may be at the same: theirs says the same, and stays.
fn write_about(path: &Path, folder: &Path, about: &About) -> std::io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(about.text.as_bytes())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() != ErrorKind::AlreadyExists => Err(error.error),
        _ => Ok(()),
    }
}

/// Bytes of all shards in the folders of `root`.
fn taken(root: &Path) -> Result<u64> {
    let add = || -> std::io::Result<u64> {
        let mut bytes = 0;
        for entry in fs::read_dir(root)? {
            let folder = entry?.path();
            if folder.join(ABOUT).is_file() {
                for (_, shard) in shard::list(&folder)? {
                    bytes += fs::metadata(shard)?.len();
                }
            }
        }
        Ok(bytes)
    };
    add().with_context(|| format!("cannot list {}", root.display()))
}

#[cfg(test)]
mod tests;
