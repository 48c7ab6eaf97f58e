//! Files opened as what they are, found by looking at their first bytes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::blob::{self, Blob};
use super::csv::Csv;
use super::json::{self, Json, Shape, Walk};
use super::parquet::Parquet;
use super::reader::Reader;
use super::tar::Tar;
use super::{SourceConfig, layout, location};
use crate::DataError;

/// A file opened as what it is.
pub(super) struct Opened {
    pub path: PathBuf,
    pub reader: Box<dyn Reader>,
    /// What rows that were joined from several places of the file are.
    pub joined: Option<&'static str>,
    /// Folders that published names of images leave out.
    pub within: Vec<PathBuf>,
}

impl Opened {
    /// Opens the file at `path`, whose images lie in `folder`.
    ///
    /// # Errors
    /// When it cannot be read, is of no known kind, or not of the one that `config` takes it for.
    pub fn read(path: &Path, folder: &Path, config: &SourceConfig) -> Result<Self, DataError> {
        let blob = blob::open(path)?;
        let opened = match Format::of(path, &blob)? {
            Format::Parquet => Self::plain(path, Parquet::read(path, blob, folder)?),
            Format::Tar => Self::plain(path, Tar::read(path, blob)?),
            Format::Json => match json::shape(path, &blob)? {
                Shape::Lines => Self::plain(path, Json::read(path, blob, Shape::Lines, None)?),
                Shape::Document => Self::document(path, blob, config)?,
            },
            Format::Csv => {
                let table = Csv::read(path, blob)?;
                match layout::group_captions(path, &table)? {
                    Some(rows) => Self::joined(path, rows, "captions in a table", &[])?,
                    None => Self::plain(path, table),
                }
            }
        };
        match &config.annotations {
            Some(annotations) if opened.joined != Some(QUESTIONS) => {
                let message = format!(
                    "{} is given, but {} is no file of VQA questions; only those have annotations in another file",
                    annotations.display(),
                    path.display()
                );
                Err(DataError::config("annotations", message))
            }
            _ => Ok(opened),
        }
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.reader.blocks().iter().map(|block| block.rows).sum()
    }

    /// Whether its columns, those of images included, are those of `other`.
    pub fn has_columns_of(&self, other: &Self) -> bool {
        self.joined == other.joined
            && self.reader.columns() == other.reader.columns()
            && self.reader.image_columns() == other.reader.image_columns()
    }

    fn plain(path: &Path, reader: impl Reader + 'static) -> Self {
        Self {
            path: path.into(),
            reader: Box::new(reader),
            joined: None,
            within: Vec::new(),
        }
    }

    /// An array of records, or an object with arrays among its members: which of them holds the rows is told by their
    /// names.
    fn document(
        path: &Path,
        blob: Arc<dyn Blob>,
        config: &SourceConfig,
    ) -> Result<Self, DataError> {
        let members = members(path, &blob)?;
        let has = |name: &str| members.iter().any(|member| member.as_deref() == Some(name));
        let key = if members.contains(&None) {
            None
        } else if has("questions") {
            let annotations = config
                .annotations
                .clone()
                .or_else(|| layout::annotations_beside(path));
            let rows = layout::join_vqa(path, blob, annotations.as_deref())?;
            return Self::joined(path, rows, QUESTIONS, &["train2014", "val2014", "test2015"]);
        } else if has("annotations") && has("images") {
            let rows = layout::join_coco(path, blob)?;
            return Self::joined(path, rows, "annotations of COCO", &[]);
        } else if has("annotations") {
            let message = "these are the annotations of VQA questions; give the file of the questions as `path`, and this \
                           one as `annotations`";
            return Err(DataError::file(path, message));
        } else {
            let known = ["images", "data", "rows", "samples"];
            let key = known.into_iter().find(|name| has(name));
            let only = || match members.as_slice() {
                [Some(only)] => Some(only.as_str()),
                _ => None,
            };
            let key = key.or_else(only).ok_or_else(|| {
                let names: Vec<&str> = members.iter().flatten().map(String::as_str).collect();
                let message = format!(
                    "expected its rows in an array, or in a member called {}; its arrays are {}",
                    known.join(", "),
                    match names.is_empty() {
                        true => "none".to_owned(),
                        false => names.join(", "),
                    }
                );
                DataError::file(path, message)
            })?;
            Some(key.to_owned())
        };
        let reader = Json::read(path, blob, Shape::Document, key.as_deref())?;
        if key.as_deref() == Some("images")
            && !reader.columns().iter().any(|column| column == "sentences")
        {
            let message = "has images but no captions: it is a list of a test's images, which are not published with captions";
            return Err(DataError::file(path, message));
        }
        Ok(Self::plain(path, reader))
    }

    fn joined(
        path: &Path,
        rows: Arc<dyn Blob>,
        what: &'static str,
        within: &[&str],
    ) -> Result<Self, DataError> {
        Ok(Self {
            joined: Some(what),
            within: within.iter().map(PathBuf::from).collect(),
            ..Self::plain(path, Json::read(path, rows, Shape::Lines, None)?)
        })
    }
}

/// What rows of VQA's questions, joined with their annotations, are.
const QUESTIONS: &str = "questions of VQA";

/// The arrays of a document, by name; none where an array is all there is.
fn members(path: &Path, blob: &Arc<dyn Blob>) -> Result<Vec<Option<String>>, DataError> {
    let mut walk = Walk::new(blob::BlobReader::new(Arc::clone(blob), 0), Shape::Document);
    let mut members: Vec<Option<String>> = Vec::new();
    while let Some(text) = walk.next().map_err(|fault| fault.of(path))? {
        if text.key.is_none() {
            return Ok(vec![None]);
        }
        if members.last() != Some(&text.key) {
            members.push(text.key);
        }
    }
    match members.is_empty() {
        true => Err(DataError::file(path, "the file has no rows")),
        false => Ok(members),
    }
}

/// The kinds of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Parquet,
    Tar,
    Json,
    Csv,
}

impl Format {
    /// What a file is, by its content, and for tables of text by its name.
    fn of(path: &Path, blob: &Arc<dyn Blob>) -> Result<Self, DataError> {
        let mut start = [0; 512];
        let known = blob.len().min(512) as usize;
        blob.read_at(0, &mut start[..known])
            .map_err(|source| DataError::Io {
                action: "read",
                path: path.into(),
                source,
            })?;
        let start = &start[..known];
        if start.is_empty() {
            return Err(DataError::file(path, "the file is empty"));
        }
        let name = location::name(path).to_ascii_lowercase();
        let name = name.trim_end_matches(".gz").trim_end_matches(".zst");
        let named = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        let text = start
            .strip_prefix(b"\xef\xbb\xbf")
            .unwrap_or(start)
            .trim_ascii_start();
        if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") {
            let message = "is written in UTF-16; write it in UTF-8";
            Err(DataError::file(path, message))
        } else if start.starts_with(b"PAR1") {
            Ok(Self::Parquet)
        } else if start.get(257..262) == Some(b"ustar") || named(&[".tar", ".tgz"]) {
            Ok(Self::Tar)
        } else if text.starts_with(b"{")
            || text.starts_with(b"[")
            || named(&[".jsonl", ".ndjson", ".json"])
        {
            Ok(Self::Json)
        } else if named(&[".csv", ".tsv", ".txt", ".token"]) {
            Ok(Self::Csv)
        } else {
            let message = format!(
                "expected Parquet, JSON, JSON lines, CSV or a tar archive of WebDataset (also packed with gzip or zstd), got \
                 a file that begins `{}`",
                start[..start.len().min(16)].escape_ascii()
            );
            Err(DataError::file(path, message))
        }
    }
}
