//! JSON: one object a line, an array of objects, or an object whose members are arrays of them.

mod lenient;
mod walk;

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use serde_json::{Map, Value};

pub(super) use lenient::parse as lenient;
pub(super) use walk::{Fault, Shape, Text, Walk};

use super::blob::{Blob, BlobReader};
use super::reader::{Block, BlockSize, Reader, Record};
use crate::DataError;

/// A block is closed when it has that many bytes, or
const BLOCK_BYTES: u64 = 1 << 20;
/// so many rows.
const BLOCK_ROWS: usize = 4096;

/// The records of a file.
pub(super) struct Json {
    blob: Arc<dyn Blob>,
    shape: Shape,
    key: Option<String>,
    stretches: Vec<Stretch>,
    sizes: Vec<BlockSize>,
    columns: Vec<String>,
}

/// Where a block is.
struct Stretch {
    start: u64,
    length: u64,
    /// The number of its first record.
    first: usize,
    rows: usize,
}

/// How a file that holds JSON holds its records. A document on one line looks like a line: it is one if its object has
/// an array of objects among its members and nothing follows it.
pub(super) fn shape(path: &Path, blob: &Arc<dyn Blob>) -> Result<Shape, DataError> {
    let mut start = [0; 64];
    let known = blob.len().min(64) as usize;
    blob.read_at(0, &mut start[..known])
        .map_err(|source| read_error(path, source))?;
    let text = start[..known]
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(&start[..known]);
    if text.trim_ascii_start().starts_with(b"[") {
        return Ok(Shape::Document);
    }
    let lines = |extension: &str| path.to_string_lossy().contains(extension);
    if lines(".jsonl") || lines(".ndjson") {
        return Ok(Shape::Lines);
    }
    // Only the first object is walked: a file of lines goes on after it.
    let mut walk = Walk::new(BlobReader::new(Arc::clone(blob), 0), Shape::Document);
    loop {
        match walk.next() {
            Ok(Some(text)) => {
                let object = text.bytes.is_ok_and(|bytes| bytes.starts_with(b"{"));
                if object {
                    return Ok(Shape::Document);
                }
            }
            _ => return Ok(Shape::Lines),
        }
    }
}

impl Json {
    /// Goes through a file once, to learn where its records are and which columns they have. `key` is the member whose
    /// elements are the rows, in a document that is an object.
    pub fn read(
        path: &Path,
        blob: Arc<dyn Blob>,
        shape: Shape,
        key: Option<&str>,
    ) -> Result<Self, DataError> {
        let mut walk = Walk::new(BlobReader::new(Arc::clone(&blob), 0), shape);
        let mut json = Self {
            blob,
            shape,
            key: key.map(str::to_owned),
            stretches: Vec::new(),
            sizes: Vec::new(),
            columns: Vec::new(),
        };
        let mut known = HashSet::new();
        let mut block: Vec<Text> = Vec::new();
        let mut end = 0;
        loop {
            let text = walk.next().map_err(|fault| fault.of(path))?;
            let first = block.first().map_or(end, |first| first.start);
            let full = end - first >= BLOCK_BYTES || block.len() >= BLOCK_ROWS;
            if full || text.is_none() {
                json.close(&mut block, end, &mut known);
            }
            let Some(text) = text else {
                return Ok(json);
            };
            // A row's end is where the next begins; what is between them is a comma or a line's end.
            end = walk.place();
            if text.key.as_deref() == key {
                block.push(text);
            } else if !block.is_empty() {
                json.close(&mut block, text.start, &mut known);
            }
        }
    }

    fn close(&mut self, block: &mut Vec<Text>, end: u64, known: &mut HashSet<String>) {
        let Some(first) = block.first() else {
            return;
        };
        let stretch = Stretch {
            start: first.start,
            length: end - first.start,
            first: first.number,
            rows: block.len(),
        };
        let names = |text: &Text| match object(&text.bytes) {
            Ok(object) => {
                let new = object.into_iter().map(|(name, _)| name);
                new.filter(|name| !known.contains(name)).collect()
            }
            Err(_) => Vec::new(),
        };
        let found: Vec<Vec<String>> = block.par_iter().map(names).collect();
        for name in found.into_iter().flatten() {
            if known.insert(name.clone()) {
                self.columns.push(name);
            }
        }
        self.sizes.push(BlockSize {
            rows: stretch.rows,
            bytes: stretch.length as usize + 24 * stretch.rows,
        });
        self.stretches.push(stretch);
        block.clear();
    }

    fn load_block(&self, stretch: &Stretch) -> Result<JsonBlock, Fault> {
        let stream = BlobReader::new(Arc::clone(&self.blob), stretch.start).take(stretch.length);
        let (first, start) = (stretch.first, stretch.start);
        let mut walk = Walk::resume(stream, self.shape, self.key.clone(), first, start);
        let mut rows = Vec::with_capacity(stretch.rows);
        while rows.len() < stretch.rows {
            match walk.next()? {
                Some(text) => rows.push((text.number, text.bytes)),
                None => return Err(Fault::Syntax("it changed while it was read".into())),
            }
        }
        Ok(JsonBlock {
            name: self.blob.name().to_owned(),
            place: match self.shape {
                Shape::Lines => ("line", 1),
                Shape::Document => ("row", 0),
            },
            rows,
        })
    }
}

impl Reader for Json {
    fn blocks(&self) -> &[BlockSize] {
        &self.sizes
    }

    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn image_columns(&self) -> &[String] {
        &[]
    }

    fn load(&self, block: usize) -> Result<Box<dyn Block>, DataError> {
        let loaded = self.load_block(&self.stretches[block]);
        let block = loaded.map_err(|fault| fault.of(Path::new(self.blob.name())))?;
        Ok(Box::new(block))
    }
}

struct JsonBlock {
    name: String,
    /// What a row is called, and the number of the first.
    place: (&'static str, usize),
    rows: Vec<(usize, Result<Vec<u8>, String>)>,
}

impl Block for JsonBlock {
    fn origin(&self, index: usize) -> String {
        let (word, first) = self.place;
        format!("{}:{word} {}", self.name, self.rows[index].0 + first)
    }

    fn record(&self, index: usize) -> Result<Record, String> {
        Ok(Record {
            images: Vec::new(),
            empty: 0,
            columns: object(&self.rows[index].1)?,
        })
    }
}

/// A record's text as an object.
pub(super) fn object(text: &Result<Vec<u8>, String>) -> Result<Map<String, Value>, String> {
    let bytes = text.as_ref().map_err(Clone::clone)?;
    if let Err(error) = std::str::from_utf8(bytes) {
        let place = error.valid_up_to();
        return Err(format!(
            "is no UTF-8 at byte {place} of the row; write the file in UTF-8"
        ));
    }
    match lenient(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => {
            let text = other.to_string();
            Err(format!("expected an object, got {text:.40}"))
        }
        Err(error) => {
            // The library counts lines within this row.
            let text = error.to_string();
            let reason = text.split(" at line ").next().unwrap_or(&text);
            Err(format!(
                "expected a JSON object: {reason} at column {}",
                error.column()
            ))
        }
    }
}

impl Fault {
    /// As an error of the file at `path`.
    pub fn of(self, path: &Path) -> DataError {
        match self {
            Self::Io(source) => read_error(path, source),
            Self::Syntax(message) => DataError::file(path, message),
        }
    }
}

fn read_error(path: &Path, source: std::io::Error) -> DataError {
    DataError::Io {
        action: "read",
        path: path.into(),
        source,
    }
}
