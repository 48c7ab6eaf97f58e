//! Which images' features are on disk, and getting them from there.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use fourfold_data::{ImageKey, KnownImages};
use fourfold_tensor::Tensor;

use super::about::{About, Shape};
use super::shard;

/// The images whose features are on disk. The loader asks it, in the background, which images need no decoding.
pub struct StoredImages {
    shape: Shape,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    places: HashMap<ImageKey, Place>,
    /// Shards that were told to be damaged.
    damaged: HashSet<Arc<Path>>,
    notes: Vec<String>,
}

#[derive(Clone)]
struct Place {
    shard: Arc<Path>,
    begin: u64,
    /// Whether the record was read or written by this process.
    sound: bool,
}

impl StoredImages {
    /// What the shards in `folder` hold.
    ///
    /// # Errors
    /// Names the file that cannot be read, or is none of them.
    pub fn open(folder: &Path, about: &About) -> Result<Self> {
        let mut places = HashMap::new();
        let shards =
            shard::list(folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for (_, path) in shards {
            let path: Arc<Path> = path.into();
            // A later shard has it again only where it was found damaged in an earlier one, or was written by two runs
            // at once.
            for (image, begin) in shard::scan(&path, about)? {
                let shard = Arc::clone(&path);
                let sound = false;
                let place = Place {
                    shard,
                    begin,
                    sound,
                };
                places.insert(image, place);
            }
        }
        Ok(Self {
            shape: about.shape,
            inner: Mutex::new(Inner {
                places,
                ..Inner::default()
            }),
        })
    }

    /// The features of `image`, if they are on disk.
    ///
    /// # Errors
    /// When they were there and cannot be read any more.
    pub fn read(&self, image: &ImageKey) -> Result<Option<Tensor>> {
        let Some(place) = self.inner().places.get(image).cloned() else {
            return Ok(None);
        };
        let found = shard::read(&place.shard, place.begin, self.shape, image);
        let lost = || {
            format!(
                "features at byte {} of {} were sound when the run looked for them and are not any more; go on with \
                 --resume: they are then encoded anew",
                place.begin,
                place.shard.display()
            )
        };
        found
            .and_then(|found| found.context("the record is damaged").map(Some))
            .with_context(lost)
    }

    /// Whether `image` is known to be in a shard, sound or not.
    pub(super) fn has(&self, image: &ImageKey) -> bool {
        self.inner().places.contains_key(image)
    }

    /// Notes that this process has written `image` to a shard.
    pub(super) fn insert(&self, image: ImageKey, shard: Arc<Path>, begin: u64) {
        let sound = true;
        let place = Place {
            shard,
            begin,
            sound,
        };
        self.inner().places.insert(image, place);
    }

    /// What is worth telling since the last call.
    pub(super) fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.inner().notes)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KnownImages for StoredImages {
    /// The first time, its record is read to see that it is whole: a damaged one is forgotten while the image's pixels
    /// can still be had, and so it is encoded and stored anew.
    fn contains(&self, image: &ImageKey) -> bool {
        let Some(place) = self.inner().places.get(image).cloned() else {
            return false;
        };
        if place.sound {
            return true;
        }
        let trouble = match shard::read(&place.shard, place.begin, self.shape, image) {
            Ok(Some(_)) => None,
            Ok(None) => Some(format!(
                "{} is damaged at byte {}",
                place.shard.display(),
                place.begin
            )),
            Err(error) => Some(format!("{error:#}")),
        };
        let inner = &mut *self.inner();
        if let Some(now) = inner.places.get_mut(image)
            && (trouble.is_none() || now.sound)
        {
            now.sound = true;
            return true;
        }
        inner.places.remove(image);
        if let Some(trouble) = trouble
            && inner.damaged.insert(place.shard)
        {
            inner.notes.push(format!(
                "{trouble}: what cannot be read of it is encoded and stored anew"
            ));
        }
        false
    }
}
