//! WebDataset: a tar archive in which the members of one name but for what follows its first dot are a sample,
//! `000000012.jpg`, `000000012.txt`, `000000012.json`.
//!
//! Source of the layout: the WebDataset format, <https://github.com/webdataset/webdataset>.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use ::tar::Archive;
use serde_json::{Map, Value};

use super::RowImage;
use super::blob::{Blob, BlobReader};
use super::json::lenient;
use super::reader::{Block, BlockSize, Reader, Record};
use crate::DataError;

const BLOCK_ROWS: usize = 1024;
/// A longer text is no caption.
const LONGEST_TEXT: u64 = 64 << 20;
/// What a member is taken for by the last part of its name.
const IMAGES: [&str; 13] = [
    "jpg", "jpeg", "png", "webp", "gif", "bmp", "ppm", "pgm", "pbm", "pnm", "tif", "tiff", "avif",
];
const TEXTS: [&str; 7] = ["txt", "text", "caption", "cap", "cls", "html", "transcript"];

/// The samples of an archive. Only its headers are read before a sample is asked for.
pub(super) struct Tar {
    blob: Arc<dyn Blob>,
    sizes: Vec<BlockSize>,
    /// Where each block begins, and the number of its first sample.
    starts: Vec<(u64, usize)>,
    columns: Vec<String>,
    /// The kinds of image that samples have.
    images: Vec<String>,
    /// Keys that stand at more than one place, hashed.
    repeated: Arc<HashSet<u64>>,
}

/// One file within the archive.
#[derive(Clone, Debug)]
struct Member {
    extension: String,
    start: u64,
    length: u64,
}

/// The members of one sample.
#[derive(Clone, Debug)]
struct Sample {
    key: String,
    members: Vec<Member>,
}

impl Tar {
    /// Goes through the headers of an archive once.
    pub fn read(path: &Path, blob: Arc<dyn Blob>) -> Result<Self, DataError> {
        let mut tar = Self {
            blob,
            sizes: Vec::new(),
            starts: Vec::new(),
            columns: Vec::new(),
            images: Vec::new(),
            repeated: Arc::default(),
        };
        let (mut seen, mut repeated) = (HashSet::new(), HashSet::new());
        let mut rows = 0;
        let mut total = 0;
        let (mut bytes, mut begin) = (0, 0);
        let blob = Arc::clone(&tar.blob);
        samples(&blob, 0, |place, sample| {
            if rows == BLOCK_ROWS {
                tar.sizes.push(BlockSize { rows, bytes });
                tar.starts.push((begin, total));
                total += rows;
                (rows, bytes) = (0, 0);
            }
            if rows == 0 {
                begin = place;
            }
            rows += 1;
            if !seen.insert(hash(&sample.key)) {
                repeated.insert(hash(&sample.key));
            }
            bytes += 64 + sample.key.len() + 80 * sample.members.len();
            for member in &sample.members {
                let known = match member.kind() {
                    Content::Image => &mut tar.images,
                    Content::Text | Content::Json => &mut tar.columns,
                    Content::Other => continue,
                };
                let column = column(&member.extension);
                if !known.iter().any(|known| known == column) {
                    known.push(column.to_owned());
                }
            }
            true
        })
        .map_err(|error| {
            let whole = total + rows;
            damaged(
                path,
                &format!("{error}; {whole} samples before that are whole"),
            )
        })?;
        if rows > 0 {
            tar.sizes.push(BlockSize { rows, bytes });
            tar.starts.push((begin, total));
        }
        tar.columns.insert(0, KEY.into());
        tar.repeated = Arc::new(repeated);
        Ok(tar)
    }
}

/// The column that holds what a sample's members share.
pub(super) const KEY: &str = "__key__";

fn hash(key: &str) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

fn damaged(path: &Path, error: &dyn std::fmt::Display) -> DataError {
    DataError::file(
        path,
        format!("cannot be read as a tar archive: {error}; fetch or write it anew"),
    )
}

/// The column that a member is: its extension, but of the lists that `data convert` writes, `prompts.json`, what stands
/// before `.json`.
fn column(extension: &str) -> &str {
    match extension.strip_suffix(".json") {
        Some(list @ ("prompts" | "answers" | "captions")) => list,
        _ => extension,
    }
}

fn is(known: &[&str], extension: &str) -> bool {
    let last = extension.rsplit('.').next().unwrap_or(extension);
    known.iter().any(|known| last.eq_ignore_ascii_case(known))
}

/// What a member holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    Image,
    Text,
    Json,
    Other,
}

impl Member {
    fn kind(&self) -> Content {
        // `0001.seg.png` is no picture of the sample but something about it; `0001.0.png` is one of several, and
        // `0001.image.png` says what it is.
        if is(&IMAGES, &self.extension) {
            let before = self
                .extension
                .rsplit_once('.')
                .map_or("", |(before, _)| before);
            let plain = before.bytes().all(|byte| byte.is_ascii_digit());
            match plain || ["image", "img"].contains(&before) {
                true => Content::Image,
                false => Content::Other,
            }
        } else if is(&["json"], &self.extension) {
            Content::Json
        } else if is(&TEXTS, &self.extension) {
            Content::Text
        } else {
            Content::Other
        }
    }
}

/// The key and the extension of a member, unless it belongs to no sample: it has no extension, is hidden (`._0001.jpg` of
/// a Macintosh), or tells of the archive (`__meta__/info.json`).
fn parts(name: &str) -> Option<(&str, &str)> {
    let about = |part: &str| part.len() > 4 && part.starts_with("__") && part.ends_with("__");
    let base = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = name[base..].find('.').filter(|dot| *dot > 0)?;
    let key = &name[..base + dot];
    (!key.split('/').any(about)).then_some((key, &name[base + dot + 1..]))
}

/// Goes through the samples of an archive from `start` on, as long as `each` says so; it gets the place of the sample's
/// first header.
fn samples(
    blob: &Arc<dyn Blob>,
    start: u64,
    mut each: impl FnMut(u64, Sample) -> bool,
) -> std::io::Result<()> {
    let mut archive = Archive::new(Shifted(BlobReader::new(Arc::clone(blob), start), start));
    let mut current: Option<(u64, Sample)> = None;
    // Long names stand in headers of their own before a member's: a block has to begin with those.
    let mut end = start;
    for entry in archive.entries_with_seek()? {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                if let Some((place, sample)) = current {
                    each(place, sample);
                }
                return Err(error);
            }
        };
        let place = end;
        let (from, length) = (start + entry.raw_file_position(), entry.size());
        end = (from + length).next_multiple_of(512);
        if !entry.header().entry_type().is_file() {
            continue;
        }
        if from.checked_add(length).is_none_or(|end| end > blob.len()) {
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let message = format!("it ends within {name}: it was cut short");
            if let Some((place, sample)) = current
                && parts(&name).is_none_or(|(key, _)| key != sample.key)
            {
                each(place, sample);
            }
            return Err(std::io::Error::new(
                std::io::ErrorKind::UnexpectedEof,
                message,
            ));
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let Some((key, extension)) = parts(&name) else {
            continue;
        };
        let member = Member {
            extension: extension.to_ascii_lowercase(),
            start: from,
            length,
        };
        match &mut current {
            Some((_, sample)) if sample.key == key => sample.members.push(member),
            _ => {
                let next = Sample {
                    key: key.into(),
                    members: vec![member],
                };
                if let Some((place, sample)) = current.replace((place, next))
                    && !each(place, sample)
                {
                    return Ok(());
                }
            }
        }
    }
    if let Some((place, sample)) = current {
        each(place, sample);
    }
    Ok(())
}

/// A stream that begins within a blob and counts from there, as an archive of its own would.
struct Shifted(BlobReader, u64);

impl std::io::Read for Shifted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl std::io::Seek for Shifted {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        let to = match to {
            std::io::SeekFrom::Start(place) => std::io::SeekFrom::Start(place + self.1),
            other => other,
        };
        Ok(self.0.seek(to)?.saturating_sub(self.1))
    }
}

impl Reader for Tar {
    fn blocks(&self) -> &[BlockSize] {
        &self.sizes
    }

    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn image_columns(&self) -> &[String] {
        &self.images
    }

    fn load(&self, block: usize) -> Result<Box<dyn Block>, DataError> {
        let ((start, first), wanted) = (self.starts[block], self.sizes[block].rows);
        let mut rows = Vec::with_capacity(wanted);
        samples(&self.blob, start, |_, sample| {
            rows.push(sample);
            rows.len() < wanted
        })
        .map_err(|error| damaged(Path::new(self.blob.name()), &error))?;
        if rows.len() != wanted {
            let message = "changed while it was read";
            return Err(DataError::file(self.blob.name(), message));
        }
        Ok(Box::new(TarBlock {
            blob: Arc::clone(&self.blob),
            columns: self.columns.clone(),
            illustrated: !self.images.is_empty(),
            repeated: Arc::clone(&self.repeated),
            first,
            rows,
        }))
    }
}

struct TarBlock {
    blob: Arc<dyn Blob>,
    columns: Vec<String>,
    /// Whether samples have images: one without lacks its own.
    illustrated: bool,
    repeated: Arc<HashSet<u64>>,
    first: usize,
    rows: Vec<Sample>,
}

impl Block for TarBlock {
    fn origin(&self, index: usize) -> String {
        let (name, number) = (self.blob.name(), self.first + index);
        format!(
            "{name}:sample {number} ({})",
            self.rows[index].key.escape_debug()
        )
    }

    fn record(&self, index: usize) -> Result<Record, String> {
        let sample = &self.rows[index];
        let key = &sample.key;
        if key.starts_with('/') || key.split('/').any(|part| part == "..") {
            return Err(
                "its name leads out of the archive; such names serve to overwrite files".into(),
            );
        }
        if self.repeated.contains(&hash(key)) {
            let message = "its name stands at several places of the archive; members of a sample follow one another";
            return Err(message.into());
        }
        let mut record = Record {
            images: Vec::new(),
            empty: 0,
            columns: Map::new(),
        };
        for column in &self.columns {
            record.columns.insert(column.clone(), Value::Null);
        }
        record.columns.insert(KEY.into(), key.as_str().into());
        for (index, member) in sample.members.iter().enumerate() {
            let name = format!("{key}.{}", member.extension);
            let same = |other: &Member| other.extension == member.extension;
            if sample.members[..index].iter().any(same) {
                return Err(format!("two of its members are called {name}"));
            }
            let text = || {
                self.text(member)
                    .map_err(|message| format!("{name}: {message}"))
            };
            let value = match member.kind() {
                Content::Other => continue,
                Content::Image => {
                    record.images.push(RowImage::Part {
                        blob: Arc::clone(&self.blob),
                        start: member.start,
                        length: member.length,
                        name,
                    });
                    continue;
                }
                Content::Text => Value::from(text()?),
                Content::Json => lenient(text()?.as_bytes())
                    .map_err(|error| format!("{name}: expected JSON: {error}"))?,
            };
            let column = column(&member.extension).to_owned();
            record.columns.insert(column, value);
        }
        // Where `data convert` wrote lists, samples of text alone stand among the others.
        let lists = ["prompts", "answers", "captions"];
        let converted = lists
            .iter()
            .any(|list| record.columns.get(*list).is_some_and(Value::is_array));
        record.empty = usize::from(self.illustrated && record.images.is_empty() && !converted);
        Ok(record)
    }
}

impl TarBlock {
    fn text(&self, member: &Member) -> Result<String, String> {
        if member.length > LONGEST_TEXT {
            let length = member.length;
            return Err(format!(
                "has {length} bytes; expected at most {LONGEST_TEXT}"
            ));
        }
        let mut bytes = vec![0; member.length as usize];
        self.blob
            .read_at(member.start, &mut bytes)
            .map_err(|error| format!("cannot be read: {error}"))?;
        String::from_utf8(bytes).map_err(|_| "is no UTF-8".to_owned())
    }
}
