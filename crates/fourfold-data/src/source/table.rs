//! The rows of one or several files of one kind, by number, read in blocks as they are asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use serde_json::{Map, Value};

use super::blob::{self, Blob};
use super::cache::Cache;
use super::csv::Csv;
use super::json::{self, Json, Shape, Walk};
use super::layout::{self, ImageFolder, Kind, Layout};
use super::parquet::Parquet;
use super::reader::{Block, BlockSize, Reader, Record};
use super::tar::Tar;
use super::{Row, SourceConfig, location};
use crate::DataError;

/// The rows of a source's files, before templates.
pub struct Table {
    /// The files, as they were written.
    name: String,
    /// The first file: what messages about the whole table name.
    path: PathBuf,
    readers: Vec<Box<dyn Reader>>,
    /// Of each block its reader, its number there, and the first of its rows here.
    places: Vec<(usize, usize, usize)>,
    sizes: Vec<BlockSize>,
    rows: usize,
    columns: Vec<String>,
    layout: Layout,
    cache: Cache<Loaded>,
}

/// So many rows are looked at to see what the others are.
const SPECIMENS: usize = 64;

/// Fills cells of `whole` that are empty or absent with those of `more`.
fn merge(whole: &mut Map<String, Value>, more: Map<String, Value>) {
    let says = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    };
    for (name, value) in more {
        if !whole.get(&name).is_some_and(says) {
            whole.insert(name, value);
        }
    }
}

/// A block in memory.
struct Loaded(Box<dyn Block>);

impl Table {
    /// Opens a file without a recipe.
    ///
    /// # Errors
    /// As [`Table::read`].
    pub fn open(path: &Path) -> Result<Self, DataError> {
        Self::read(&SourceConfig {
            path: path.into(),
            images: true,
            ..SourceConfig::default()
        })
    }

    /// Opens the files of `config` and learns where their rows are; what they are is found by looking at them.
    ///
    /// # Errors
    /// Names the file that cannot be read, or is of no known kind, or has no row that can be read.
    pub fn read(config: &SourceConfig) -> Result<Self, DataError> {
        let files = config.path.files()?;
        let path = files[0].clone();
        let own = || location::folder(&path);
        let folder = config.image_folder.clone().unwrap_or_else(own);
        let opened: Vec<Opened> = files
            .par_iter()
            .map(|file| Opened::read(file, &folder, config))
            .collect::<Vec<_>>()
            .into_iter()
            .collect::<Result<_, _>>()?;
        let joined = opened.iter().all(|opened| opened.joined);
        let within: Vec<PathBuf> = opened
            .iter()
            .flat_map(|opened| opened.within.clone())
            .collect();
        let readers: Vec<Box<dyn Reader>> =
            opened.into_iter().map(|opened| opened.reader).collect();
        let (mut places, mut sizes, mut rows) = (Vec::new(), Vec::new(), 0);
        for (number, reader) in readers.iter().enumerate() {
            for (block, size) in reader.blocks().iter().enumerate() {
                places.push((number, block, rows));
                sizes.push(*size);
                rows += size.rows;
            }
        }
        let mut records: Vec<String> = Vec::new();
        for column in readers.iter().flat_map(|reader| reader.columns()) {
            if !records.contains(column) {
                records.push(column.clone());
            }
        }
        let mut table = Self {
            name: config.path.to_string(),
            readers,
            places,
            sizes,
            rows,
            columns: Vec::new(),
            layout: Layout {
                kind: Kind::Plain,
                images: ImageFolder::default(),
            },
            cache: Cache::new(2 * config.shuffle_bytes()),
            path,
        };
        if rows == 0 {
            return Err(DataError::file(&table.path, "the file has no rows"));
        }
        let first = table.first_records()?;
        let embedded = table
            .readers
            .iter()
            .any(|reader| !reader.image_columns().is_empty())
            || !first.images.is_empty();
        let mut layout = Layout::of(&first, ImageFolder::default());
        if joined {
            layout.kind = Kind::Joined;
        }
        let mut named = records.clone();
        match layout.kind {
            Kind::Karpathy => named.push("image".into()),
            // Parts of messages name images of their own.
            Kind::Conversation(spelling)
                if spelling.has_parts(&first.columns)
                    && !named.iter().any(|name| name == "images") =>
            {
                named.push("images".into());
            }
            _ => {}
        }
        let wanted = config.image_column.as_deref().filter(|_| config.images);
        layout.images = match config.images {
            true => ImageFolder::find(&table.path, folder, wanted, &named, &first, embedded)?,
            false => ImageFolder::unread(folder),
        };
        layout.images.within = within;
        table.columns = layout.columns(&named);
        table.layout = layout;
        Ok(table)
    }

    /// The first records that can be read as one, which shows what the others are: of each column the first cell that
    /// is not empty.
    fn first_records(&self) -> Result<Record, DataError> {
        let mut first = None;
        let mut whole: Option<Record> = None;
        for row in 0..self.rows {
            let (block, index) = self.place(row)?;
            match (block.0.record(index), &mut whole) {
                (Ok(record), None) => whole = Some(record),
                (Ok(record), Some(whole)) => {
                    merge(&mut whole.columns, record.columns);
                    if whole.images.is_empty() {
                        whole.images = record.images;
                    }
                }
                (Err(message), _) => {
                    first.get_or_insert((block.0.origin(index), message));
                }
            }
            if row + 1 >= SPECIMENS && whole.is_some() {
                break;
            }
        }
        if let Some(whole) = whole {
            return Ok(whole);
        }
        let rows = self.rows;
        let (origin, message) = first.unwrap_or_default();
        let message =
            format!("not one of its {rows} rows can be read; the first, {origin}: {message}");
        Err(DataError::file(&self.path, message))
    }

    /// The columns of the first rows as one row, of each the first cell that is not empty; none where no row can be read.
    pub(super) fn specimen(&self) -> Map<String, Value> {
        let mut specimen = Map::new();
        for number in 0..self.rows {
            if let Ok(row) = self.row(number) {
                merge(&mut specimen, row.columns);
            }
            if number + 1 >= SPECIMENS && !specimen.is_empty() {
                break;
            }
        }
        specimen
    }

    /// The files, as they were written.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The columns of any row, those of images alone excepted, in the file's order.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The blocks that rows are read in, in the order of their rows.
    pub fn blocks(&self) -> &[BlockSize] {
        &self.sizes
    }

    /// Whether rows may have images.
    pub fn has_images(&self) -> bool {
        self.readers
            .iter()
            .any(|reader| !reader.image_columns().is_empty())
            || !self.layout.images.columns.is_empty()
    }

    /// Row `row`, `0 ≤ row < len`; columns that it lacks are null.
    ///
    /// # Errors
    /// When the row is broken, or its block cannot be read any more.
    pub fn row(&self, row: usize) -> Result<Row, DataError> {
        let (block, index) = self.place(row)?;
        let origin = block.0.origin(index);
        match block.0.record(index) {
            Err(message) => Err(DataError::Row { origin, message }),
            Ok(record) => {
                let mut row = self.layout.row(origin, record)?;
                for column in &self.columns {
                    if !row.columns.contains_key(column) {
                        row.columns.insert(column.clone(), Value::Null);
                    }
                }
                Ok(row)
            }
        }
    }

    /// Where row `row` is, as `train.parquet:row 12`.
    pub fn origin(&self, row: usize) -> String {
        match self.row(row) {
            Ok(row) => row.origin,
            Err(DataError::Row { origin, .. }) => origin,
            Err(_) => format!("{}:row {row}", self.name),
        }
    }

    fn place(&self, row: usize) -> Result<(Arc<Loaded>, usize), DataError> {
        let number = self.places.partition_point(|(_, _, first)| *first <= row) - 1;
        let (reader, block, first) = self.places[number];
        let load = || self.readers[reader].load(block).map(Loaded);
        let loaded = self.cache.get(number, self.sizes[number].bytes, load)?;
        Ok((loaded, row - first))
    }
}

/// A file opened as what it is.
struct Opened {
    reader: Box<dyn Reader>,
    /// Whether its rows were joined from several places.
    joined: bool,
    /// Folders that published names of images leave out.
    within: Vec<PathBuf>,
}

impl Opened {
    fn read(path: &Path, folder: &Path, config: &SourceConfig) -> Result<Self, DataError> {
        let plain = |reader: Box<dyn Reader>| Self {
            reader,
            joined: false,
            within: Vec::new(),
        };
        let blob = blob::open(path)?;
        match Format::of(path, &blob)? {
            Format::Parquet => Ok(plain(Box::new(Parquet::read(path, blob, folder)?))),
            Format::Tar => Ok(plain(Box::new(Tar::read(path, blob)?))),
            Format::Json => match json::shape(path, &blob)? {
                Shape::Lines => Ok(plain(Box::new(Json::read(path, blob, Shape::Lines, None)?))),
                Shape::Document => Self::document(path, blob, config),
            },
            Format::Csv => {
                let table = Csv::read(path, blob)?;
                match layout::group_captions(path, &table)? {
                    Some(rows) => Self::joined(path, rows, Vec::new()),
                    None => Ok(plain(Box::new(table))),
                }
            }
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
            return Self::joined(
                path,
                rows,
                ["train2014", "val2014", "test2015"]
                    .map(PathBuf::from)
                    .to_vec(),
            );
        } else if has("annotations") && has("images") {
            return Self::joined(path, layout::join_coco(path, blob)?, Vec::new());
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
        Ok(Self {
            reader: Box::new(reader),
            joined: false,
            within: Vec::new(),
        })
    }

    fn joined(path: &Path, rows: Arc<dyn Blob>, within: Vec<PathBuf>) -> Result<Self, DataError> {
        Ok(Self {
            reader: Box::new(Json::read(path, rows, Shape::Lines, None)?),
            joined: true,
            within,
        })
    }
}

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
