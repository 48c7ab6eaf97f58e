//! The first rows of a table's files, which show what the others are.

use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;
use serde_json::{Map, Value};

use super::{Opened, Table};
use crate::DataError;
use crate::source::reader::Record;

/// So many rows of a file are looked at,
const SPECIMENS: usize = 64;
/// or so many while a column that makes a layout is empty.
const MOST_SPECIMENS: usize = 4096;
/// Columns that make a layout, or decide what is learnt.
const TELLING: [&str; 9] = [
    "conversations",
    "conversation",
    "messages",
    "texts",
    "sentences",
    "captions",
    "caption",
    "prompts",
    "answers",
];

/// Whether rows `seen` of those of a file, put together, show what its rows are.
fn shows(seen: usize, whole: &Map<String, Value>) -> bool {
    let empty = |name: &&str| whole.get(*name).is_some_and(|cell| !says(cell));
    seen >= MOST_SPECIMENS || (seen >= SPECIMENS && !TELLING.iter().any(empty))
}

/// Files of the same columns; the first of them stands for all.
pub(in crate::source) struct Group {
    file: usize,
    rows: Range<usize>,
}

/// What the first rows of a file show.
pub(in crate::source) struct FileKind<'t> {
    pub path: &'t Path,
    /// The columns of its rows.
    pub columns: Vec<String>,
    /// The first rows as one: of each column the first cell that is not empty. None where no row can be read.
    pub specimen: Map<String, Value>,
}

/// The first rows of all files as one.
pub(in crate::source) fn merged(kinds: &[FileKind<'_>]) -> Map<String, Value> {
    let mut all = Map::new();
    for kind in kinds {
        merge(&mut all, kind.specimen.clone());
    }
    all
}

impl Table {
    /// The groups of files that have rows, each with the first records of its first file as one.
    pub(super) fn first_of_groups(&self) -> Result<Vec<(Group, Record)>, DataError> {
        let mut groups: Vec<(Group, Record)> = Vec::new();
        let mut begin = 0;
        for (file, opened) in self.files.iter().enumerate() {
            let rows = begin..begin + opened.rows();
            begin = rows.end;
            let known = |(group, _): &(Group, _)| self.files[group.file].has_columns_of(opened);
            if !rows.is_empty() && !groups.iter().any(known) {
                let first = self.first_records(rows.clone())?;
                groups.push((Group { file, rows }, first));
            }
        }
        // A column that begins empty in one file is what it is in another.
        let mut all = Map::new();
        for (_, first) in &groups {
            merge(&mut all, first.columns.clone());
        }
        for (group, first) in &mut groups {
            let columns = self.files[group.file].reader.columns();
            fill(&mut first.columns, &all, columns);
        }
        Ok(groups)
    }

    /// All files.
    pub(in crate::source) fn files(&self) -> &[Opened] {
        &self.files
    }

    /// The file that stands for `group`.
    pub(in crate::source) fn file_of(&self, group: &Group) -> &Opened {
        &self.files[group.file]
    }

    /// Whether `is` holds for a record of any file; goes through all where it does not.
    pub(in crate::source) fn any_record(
        &self,
        is: impl Fn(&Map<String, Value>) -> bool + Sync,
    ) -> bool {
        (0..self.sizes.len()).into_par_iter().any(|number| {
            let (file, block, _) = self.places[number];
            let Ok(block) = self.files[file].reader.load_texts(block) else {
                return false;
            };
            let mut records = (0..self.sizes[number].rows).map(|index| block.record(index));
            records.any(|record| record.is_ok_and(|record| is(&record.columns)))
        })
    }

    /// The first records that can be read as one: of each column the first cell that is not empty.
    fn first_records(&self, rows: Range<usize>) -> Result<Record, DataError> {
        let mut first = None;
        let mut whole: Option<Record> = None;
        for row in rows.clone() {
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
            let seen = row + 1 - rows.start;
            if whole
                .as_ref()
                .is_some_and(|whole| shows(seen, &whole.columns))
            {
                break;
            }
        }
        if let Some(whole) = whole {
            return Ok(whole);
        }
        let (origin, message) = first.unwrap_or_default();
        let message = format!(
            "not one of its {} rows can be read; the first, {origin}: {message}",
            rows.len()
        );
        let (file, ..) = self.places[self.block_of(rows.start)];
        Err(DataError::file(&self.files[file].path, message))
    }

    /// What each group of files shows; a cell that is empty in all of its first rows is as in other files.
    pub(in crate::source) fn kinds(&self) -> Vec<FileKind<'_>> {
        let kind = |group: &Group| {
            let file = &self.files[group.file];
            FileKind {
                path: &file.path,
                columns: self.layout.columns(file.reader.columns()),
                specimen: self.specimen_of(group.rows.clone()),
            }
        };
        let mut kinds: Vec<FileKind<'_>> = self.groups.iter().map(kind).collect();
        let all = merged(&kinds);
        for kind in &mut kinds {
            fill(&mut kind.specimen, &all, &kind.columns);
        }
        kinds
    }

    fn specimen_of(&self, rows: Range<usize>) -> Map<String, Value> {
        let mut specimen = Map::new();
        for number in rows.clone() {
            if let Ok(row) = self.row(number) {
                merge(&mut specimen, row.columns);
            }
            if !specimen.is_empty() && shows(number + 1 - rows.start, &specimen) {
                break;
            }
        }
        specimen
    }
}

/// Fills cells of `whole` that are empty or absent with those of `more`.
fn merge(whole: &mut Map<String, Value>, more: Map<String, Value>) {
    for (name, value) in more {
        if !whole.get(&name).is_some_and(says) {
            whole.insert(name, value);
        }
    }
}

/// The same for those of `columns` alone.
fn fill(whole: &mut Map<String, Value>, more: &Map<String, Value>, columns: &[String]) {
    let more = more.iter().filter(|(name, _)| columns.contains(name));
    let more = more.map(|(name, value)| (name.clone(), value.clone()));
    merge(whole, more.collect());
}

/// Whether a cell has something in it.
fn says(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    }
}
