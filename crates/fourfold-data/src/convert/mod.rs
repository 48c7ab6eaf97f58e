//! Samples written anew, as Parquet or WebDataset, in shards: a run that was stopped goes on where it was.
//!
//! A shard holds a fixed stretch of the source, less the samples that cannot be read, so its bytes depend on nothing but
//! the source and the settings. It is written under another name and renamed when it is whole.

mod item;
mod manifest;
mod parquet;
mod shard;

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

pub use item::{Content, Item, Texts};
pub use manifest::{Manifest, ShardRecord};
pub use shard::{Format, Shards};

use crate::check::Reason;
use crate::in_order::in_order;
use crate::{DataError, SkipReport};

/// Items whose images are in memory at once.
const AT_ONCE: usize = 32;

/// What became of the samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Converted {
    /// Those that were written, in this run and before.
    pub written: usize,
    /// Samples that they are when they are read again: of several captions, each.
    pub samples: usize,
    /// Those that could not be read, and captions that cannot be learnt, with the first of each kind of reason.
    pub skipped: std::collections::BTreeMap<Reason, SkipReport>,
    /// Shards that were there already.
    pub kept: usize,
}

/// Writes all items of `content` to `shards`, but for shards that `manifest`, if there is one, says are whole. `progress`
/// is told how many samples were gone through since it was told last.
///
/// # Errors
/// When a shard cannot be written, the source as a whole cannot be read, or no sample at all could be.
pub fn convert(
    content: &Content<'_>,
    shards: &Shards,
    mut manifest: Option<&mut Manifest>,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Converted, DataError> {
    let mut converted = Converted::default();
    for (number, path) in shards.paths.iter().enumerate() {
        let rows = shards.rows(number, content.len());
        let kept = manifest
            .as_ref()
            .and_then(|manifest| manifest.whole(number, path));
        let record = match kept {
            Some(record) => {
                converted.kept += 1;
                progress(rows.len());
                record
            }
            None => {
                let record = write(content, shards, path, rows, progress)?;
                if let Some(manifest) = manifest.as_deref_mut() {
                    manifest.note(number, record.clone())?;
                }
                record
            }
        };
        converted.written += record.written;
        converted.samples += record.samples;
        for (reason, skipped) in record.skipped {
            merge(converted.skipped.entry(reason).or_default(), skipped);
        }
    }
    if converted.written == 0 {
        let mut all = converted.skipped.into_values();
        let first = all
            .next()
            .and_then(|skipped| skipped.first.into_iter().next());
        let first = first.map_or_else(|| "there are none".into(), |skip| skip.reason);
        let message = format!("not one of its samples could be converted; the first: {first}");
        return Err(DataError::file(content.name(), message));
    }
    Ok(converted)
}

fn merge(all: &mut SkipReport, more: SkipReport) {
    all.count += more.count;
    let room = SkipReport::LISTED.saturating_sub(all.first.len());
    all.first.extend(more.first.into_iter().take(room));
}

/// Writes one shard under another name and renames it.
fn write(
    content: &Content<'_>,
    shards: &Shards,
    path: &Path,
    rows: Range<usize>,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<ShardRecord, DataError> {
    let unfinished = unfinished(path);
    let written = fill(content, shards, &unfinished, rows, progress).and_then(|record| {
        let finished = fs::metadata(&unfinished).and_then(|about| {
            fs::rename(&unfinished, path)?;
            Ok(about.len())
        });
        let bytes = finished.map_err(|source| DataError::Io {
            action: "write",
            path: path.into(),
            source,
        })?;
        Ok(ShardRecord { bytes, ..record })
    });
    if written.is_err() {
        // Half a shard is of no use, and may be what fills the disk.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

/// Writes the items `rows` into the new file `path`.
fn fill(
    content: &Content<'_>,
    shards: &Shards,
    path: &Path,
    rows: Range<usize>,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<ShardRecord, DataError> {
    let mut record = ShardRecord::default();
    let mut writer = shards.create(path, content.has_captions())?;
    in_order(
        rows,
        AT_ONCE,
        |row| content.item(row),
        |row, item| {
            progress(1);
            match item {
                Ok(item) => {
                    record.written += 1;
                    record.samples += item.texts.samples();
                    for error in &item.left_out {
                        record.skip(content.name(), row, error);
                    }
                    writer.write(row, &item)
                }
                Err(error) if error.concerns_sample() => {
                    record.skip(content.name(), row, &error);
                    Ok(())
                }
                Err(error) => Err(error),
            }
        },
    )?;
    writer.finish()?;
    Ok(record)
}

/// What a file is called until it is whole.
fn unfinished(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.unfinished"))
}
