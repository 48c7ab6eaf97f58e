//! The largest numbers that a recipe may hold. What is beyond them is a slip of the pen, and would end in an
//! overflow or in more memory than there is; here it is refused by its key.

use fourfold_data::ImageFiles;

use super::Recipe;
use super::key::{KeyError, KeyPath};

/// More would spend their time on waking one another.
const THREADS: u64 = 1024;
const BATCH: u64 = 1_000_000;
/// Of a pack, and so of a document.
const TOKENS: u64 = 1 << 24;
const SAMPLES: u64 = 1_000_000_000_000;
const EPOCHS: f64 = 1e6;
const VOCABULARY: u64 = 1 << 20;
/// Of an answer.
const NEW_TOKENS: u64 = 1 << 16;

/// Of memory, and of disk for features: 16 TiB.
const MEBIBYTES: u64 = 1 << 24;
/// Of an image.
const VIEWS: u64 = 10_000;

impl Recipe {
    /// Refuses numbers beyond the limits; the error knows the key.
    pub(super) fn validate_limits(&self) -> Result<(), KeyError> {
        at_most(THREADS, self.threads.unwrap_or(0), "threads".into())?;
        if let Some(train) = self.tokenizer.as_ref().and_then(|t| t.train.as_ref()) {
            let path = KeyPath::from("tokenizer.train.vocabulary");
            at_most(VOCABULARY, train.vocabulary, path)?;
        }
        if let Some(samples) = &self.training.samples {
            let path = KeyPath::from("training.samples.max_new_tokens");
            at_most(NEW_TOKENS, samples.max_new_tokens, path)?;
        }
        let path = KeyPath::from("training");
        let training = &self.training;
        let sizes = [
            ("feature_cache_mib", training.feature_cache_mib),
            ("feature_cache_disk_mib", training.feature_cache_disk_mib),
        ];
        for (key, size) in sizes {
            at_most(MEBIBYTES, size, path.key(key))?;
        }
        for (index, stage) in self.stage.iter().enumerate() {
            let path = KeyPath::from("stage").index(index);
            at_most(BATCH, stage.batch, path.key("batch"))?;
            at_most(BATCH, stage.packs.unwrap_or(0), path.key("packs"))?;
            at_most(TOKENS, stage.pack_tokens, path.key("pack_tokens"))?;
            let max_tokens = stage.max_tokens.unwrap_or(0);
            at_most(TOKENS, max_tokens, path.key("max_tokens"))?;
            at_most(SAMPLES, stage.samples.unwrap_or(0), path.key("samples"))?;
            let views = stage.augment.as_ref().and_then(|augment| augment.views);
            let path_of_views = path.key("augment").key("views");
            at_most(VIEWS, views.unwrap_or(0) as usize, path_of_views)?;
            if stage.epochs.is_some_and(|epochs| epochs > EPOCHS) {
                return Err(too_large(path.key("epochs"), EPOCHS));
            }
        }
        let ImageFiles {
            max_side, max_mib, ..
        } = self.image_files;
        let path = KeyPath::from("image_files");
        for (key, value) in [("max_side", u64::from(max_side)), ("max_mib", max_mib)] {
            if !(1..=MEBIBYTES).contains(&value) {
                let message = format!("expected 1 to {MEBIBYTES}, got {value}");
                return Err(KeyError::at(path.key(key), message));
            }
        }
        Ok(())
    }
}

fn at_most(limit: u64, value: usize, path: KeyPath) -> Result<(), KeyError> {
    if value as u64 <= limit {
        Ok(())
    } else {
        Err(too_large(path, limit))
    }
}

fn too_large(path: KeyPath, limit: impl std::fmt::Display) -> KeyError {
    KeyError::at(path, format!("expected at most {limit}"))
}
