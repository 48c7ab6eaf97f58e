//! Which shards are whole, and of what.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::check::Reason;
use crate::{DataError, SkipReport};

/// What a shard was made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShardRecord {
    /// The rows in it.
    pub written: usize,
    /// What they are when they are read again.
    pub samples: usize,
    /// Its size.
    pub bytes: u64,
    /// Those that could not be read, and captions that cannot be learnt.
    pub skipped: BTreeMap<Reason, SkipReport>,
}

impl ShardRecord {
    /// Notes what `error` keeps from being written, of item `row` of `source`.
    pub(super) fn skip(&mut self, source: &str, row: usize, error: &DataError) {
        let skipped = self.skipped.entry(Reason::of(error)).or_default();
        skipped.add(source, row, error);
    }
}

/// The file that says which shards are whole, so that a conversion that was stopped can go on.
#[derive(Clone, Debug)]
pub struct Manifest {
    path: PathBuf,
    content: Stored,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stored {
    /// Source and settings: only what was made of the same is kept.
    made_of: Value,
    /// The names of all shards.
    shards: Vec<PathBuf>,
    /// Those that are whole, by number.
    whole: BTreeMap<usize, ShardRecord>,
}

impl Manifest {
    /// The manifest at `path`, or a new one there. `made_of` is all that decides about the shards' bytes.
    ///
    /// # Errors
    /// When the manifest is of another source or other settings, or there is none and a shard is there; with `force` what
    /// was there is removed instead.
    pub fn open(
        path: &Path,
        made_of: Value,
        shards: &[PathBuf],
        force: bool,
    ) -> Result<Self, DataError> {
        let stored = match fs::read(path) {
            Ok(bytes) => Some(serde_json::from_slice::<Stored>(&bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(source) => return Err(io("read", path, source)),
        };
        if let (Some(Ok(content)), false) = (&stored, force) {
            if content.made_of == made_of && content.shards == shards {
                return Ok(Self {
                    path: path.into(),
                    content: content.clone(),
                });
            }
            let message = "says that what is there was made of another source or with other settings: choose another \
                           place, or replace it with --force";
            return Err(DataError::file(path, message));
        }
        if let (Some(Err(error)), false) = (&stored, force) {
            let message = format!("is no list of shards ({error}); --force begins anew");
            return Err(DataError::file(path, message));
        }
        let before = match stored {
            Some(Ok(content)) => content.shards,
            _ => Vec::new(),
        };
        for shard in shards.iter().chain(&before) {
            if shard.exists() {
                if !force {
                    let message = "exists already; --force replaces it";
                    return Err(DataError::file(shard, message));
                }
                fs::remove_file(shard).map_err(|source| io("remove", shard, source))?;
            }
        }
        let manifest = Self {
            path: path.into(),
            content: Stored {
                made_of,
                shards: shards.to_vec(),
                whole: BTreeMap::new(),
            },
        };
        manifest.save()?;
        Ok(manifest)
    }

    /// What shard `number`, which is the file `path`, was made of, if it is whole.
    pub(super) fn whole(&self, number: usize, path: &Path) -> Option<ShardRecord> {
        let record = self.content.whole.get(&number)?;
        let size = fs::metadata(path).ok()?.len();
        (size == record.bytes).then(|| record.clone())
    }

    /// Notes that a shard is whole.
    pub(super) fn note(&mut self, number: usize, record: ShardRecord) -> Result<(), DataError> {
        self.content.whole.insert(number, record);
        self.save()
    }

    fn save(&self) -> Result<(), DataError> {
        let path = &self.path;
        let text = serde_json::to_vec_pretty(&self.content)
            .map_err(|error| DataError::file(path, error.to_string()))?;
        let unfinished = path.with_extension("unfinished");
        fs::write(&unfinished, text)
            .and_then(|()| fs::rename(&unfinished, path))
            .map_err(|source| io("write", path, source))
    }
}

fn io(action: &'static str, path: &Path, source: std::io::Error) -> DataError {
    DataError::Io {
        action,
        path: path.into(),
        source,
    }
}
