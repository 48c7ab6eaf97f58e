//! Tables of text: comma, tab, semicolon or bar between the cells.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use ::csv::{ByteRecord, Position, Reader as Cells, ReaderBuilder};
use serde_json::{Map, Value};

use super::blob::{Blob, BlobReader};
use super::reader::{Block, BlockSize, Reader, Record};
use crate::DataError;

const BLOCK_BYTES: u64 = 1 << 20;
const BLOCK_ROWS: usize = 4096;
/// Longer rows are no text of anybody's: a quote that nothing closes takes the rest of the file for one cell.
const LONGEST_ROW: usize = 64 << 20;

/// How cells are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    pub delimiter: u8,
    /// Whether a cell in `"` may hold delimiters and line ends. In published tables with tabs or bars a quote is a letter.
    pub quoted: bool,
    /// Whether the first row names the columns.
    pub header: bool,
}

/// The rows of a table.
pub(super) struct Csv {
    blob: Arc<dyn Blob>,
    dialect: Dialect,
    columns: Vec<String>,
    starts: Vec<Position>,
    sizes: Vec<BlockSize>,
}

impl Dialect {
    /// What the first line speaks for: the first of tab, bar, semicolon and comma that it has. Lines like
    /// `1000092795.jpg#0⇥Two young guys …` are Flickr30k's token file, which has no header and means quotes as such.
    pub fn of(first_line: &str) -> Self {
        let has = |delimiter: &&u8| first_line.as_bytes().contains(delimiter);
        let delimiter = b"\t|;,".iter().find(has).copied().unwrap_or(b',');
        let first = first_line
            .split(delimiter as char)
            .next()
            .unwrap_or_default();
        let token = delimiter == b'\t'
            && first
                .rsplit_once('#')
                .is_some_and(|(_, n)| n.parse::<u32>().is_ok());
        Self {
            delimiter,
            quoted: matches!(delimiter, b',' | b';'),
            header: !token,
        }
    }

    fn cells<R: Read>(self, stream: R) -> Cells<R> {
        ReaderBuilder::new()
            .delimiter(self.delimiter)
            .quoting(self.quoted)
            .has_headers(false)
            .flexible(true)
            .from_reader(stream)
    }
}

impl Csv {
    /// Goes through a file once, to learn where its rows are.
    pub fn read(path: &Path, blob: Arc<dyn Blob>) -> Result<Self, DataError> {
        let fail =
            |error: ::csv::Error| DataError::file(path, format!("cannot be read as CSV: {error}"));
        let mut start = vec![0; blob.len().min(1 << 16) as usize];
        blob.read_at(0, &mut start)
            .map_err(|error| fail(error.into()))?;
        let mark = usize::from(start.starts_with(b"\xef\xbb\xbf")) * 3;
        let text = String::from_utf8_lossy(&start[mark..]);
        let first_line = text.lines().find(|line| !line.trim().is_empty());
        let dialect = Dialect::of(first_line.unwrap_or_default());
        let mut cells = dialect.cells(BlobReader::new(Arc::clone(&blob), mark as u64));
        let mut row = ByteRecord::new();
        let mut columns = Vec::new();
        let offset = |position: &Position| {
            let mut position = position.clone();
            position.set_byte(position.byte() + mark as u64);
            position
        };
        let mut last = offset(cells.position());
        if dialect.header {
            if !cells.read_byte_record(&mut row).map_err(fail)? {
                return Err(DataError::file(path, "the file is empty"));
            }
            for (index, cell) in row.iter().enumerate() {
                let name = std::str::from_utf8(cell).map_err(|_| {
                    DataError::file(path, "line 1: is no UTF-8; write the file in UTF-8")
                })?;
                let name = name.trim();
                if !name.is_empty() && columns.iter().any(|known| known == name) {
                    let message = format!(
                        "its header has `{name}` twice; give each column a name of its own"
                    );
                    return Err(DataError::file(path, message));
                }
                columns.push(match name {
                    // As pandas writes its index.
                    "" => format!("column_{index}"),
                    name => name.to_owned(),
                });
            }
        } else {
            columns = ["image", "caption"].map(String::from).to_vec();
        }
        let (mut starts, mut sizes): (Vec<Position>, Vec<BlockSize>) = (Vec::new(), Vec::new());
        let mut place = offset(cells.position());
        let mut rows = 0;
        loop {
            let begin = offset(cells.position());
            let more = cells.read_byte_record(&mut row).map_err(fail)?;
            let bytes = begin.byte() - place.byte();
            if !more || bytes >= BLOCK_BYTES || rows >= BLOCK_ROWS {
                if rows > 0 {
                    let bytes = 2 * bytes as usize + 64 * rows;
                    sizes.push(BlockSize { rows, bytes });
                    starts.push(place);
                }
                (place, rows) = (begin.clone(), 0);
            }
            if !more {
                break;
            }
            last = begin;
            if row.as_slice().len() > LONGEST_ROW {
                let line = place.line() + rows as u64;
                let message = format!(
                    "near line {line}: a row of more than {LONGEST_ROW} bytes; is a quote not closed?"
                );
                return Err(DataError::file(path, message));
            }
            rows += 1;
        }
        let table = Self {
            blob,
            dialect,
            columns,
            starts,
            sizes,
        };
        match table.ends_within_quotes(&last).map_err(fail)? {
            true => {
                let message = format!(
                    "line {}: a quote is opened and never closed, so that the rest of the file is one cell; close it, \
                     or write `\"\"` for a quote within a cell",
                    last.line()
                );
                Err(DataError::file(path, message))
            }
            false => Ok(table),
        }
    }

    /// Whether the last row, which begins at `last`, ends only since the file does: then what is written after it is still
    /// of its last cell.
    fn ends_within_quotes(&self, last: &Position) -> Result<bool, ::csv::Error> {
        if !self.dialect.quoted {
            return Ok(false);
        }
        let row = BlobReader::new(Arc::clone(&self.blob), last.byte());
        let mut cells = self.dialect.cells(row.chain(&b"\nx\n"[..]));
        let mut rows = 0;
        let mut row = ByteRecord::new();
        while cells.read_byte_record(&mut row)? {
            rows += 1;
        }
        Ok(rows == 1)
    }

    /// Reads a block.
    pub fn load_block(&self, block: usize) -> Result<CsvBlock, DataError> {
        let (start, count) = (&self.starts[block], self.sizes[block].rows);
        let end = (self.starts.get(block + 1)).map_or(self.blob.len(), Position::byte);
        let changed = || {
            let message = "changed while it was read, or cannot be read any more";
            DataError::file(self.blob.name(), message)
        };
        let mut bytes = Vec::new();
        BlobReader::new(Arc::clone(&self.blob), start.byte())
            .take(end - start.byte())
            .read_to_end(&mut bytes)
            .map_err(|_| changed())?;
        let mut rows = Vec::with_capacity(count);
        let mut cells = self.dialect.cells(&*bytes);
        while rows.len() < count {
            let mut row = ByteRecord::new();
            if !cells.read_byte_record(&mut row).is_ok_and(|more| more) {
                return Err(changed());
            }
            let Some(place) = row.position() else {
                return Err(changed());
            };
            // A row is said to begin where the one before ends: at the second half of `\r\n`, or at an empty line.
            let ends = bytes[place.byte() as usize..].iter();
            let ends = ends.take_while(|byte| matches!(byte, b'\r' | b'\n'));
            let passed = ends.filter(|byte| **byte == b'\n').count() as u64;
            let end = cells.position().byte() as usize;
            rows.push(CsvRow {
                line: place.line() + passed + start.line() - 1,
                misquoted: self.dialect.quoted
                    && misquoted(&bytes[place.byte() as usize..end], self.dialect.delimiter),
                cells: row,
            });
        }
        Ok(CsvBlock {
            name: self.blob.name().to_owned(),
            columns: self.columns.clone(),
            rows,
        })
    }
}

impl Reader for Csv {
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
        Ok(Box::new(self.load_block(block)?))
    }
}

/// The rows of a block, as cells.
pub(super) struct CsvBlock {
    name: String,
    columns: Vec<String>,
    rows: Vec<CsvRow>,
}

struct CsvRow {
    line: u64,
    cells: ByteRecord,
    /// Whether a quoted cell goes on after its closing quote.
    misquoted: bool,
}

/// Whether a cell of `row` that begins with a quote goes on after the quote that closes it, as where one that nothing closed
/// ends at the next that opens: what lies between are lost rows.
fn misquoted(row: &[u8], delimiter: u8) -> bool {
    let mut rest = row;
    loop {
        // Line ends before a row are counted to it.
        while let [b'\r' | b'\n', more @ ..] = rest {
            rest = more;
        }
        let Some(cell) = rest.strip_prefix(b"\"") else {
            match rest.iter().position(|byte| *byte == delimiter) {
                Some(end) => rest = &rest[end + 1..],
                None => return false,
            }
            continue;
        };
        let mut end = 0;
        loop {
            match (cell.get(end), cell.get(end + 1)) {
                (Some(b'"'), Some(b'"')) => end += 2,
                (Some(b'"'), after) => {
                    match after {
                        Some(byte) if *byte == delimiter => rest = &cell[end + 2..],
                        None | Some(b'\r' | b'\n') => return false,
                        Some(_) => return true,
                    }
                    break;
                }
                (Some(_), _) => end += 1,
                (None, _) => return false,
            }
        }
    }
}

impl CsvBlock {
    /// How many cells a row should have.
    pub fn columns(&self) -> usize {
        self.columns.len()
    }

    /// Whether row `index` is text.
    pub fn is_utf8(&self, index: usize) -> bool {
        std::str::from_utf8(self.rows[index].cells.as_slice()).is_ok()
    }

    /// The cells of row `index`, however many there are.
    pub fn texts(&self, index: usize) -> Vec<String> {
        let cells = self.rows[index].cells.iter();
        cells
            .map(|cell| String::from_utf8_lossy(cell).into_owned())
            .collect()
    }
}

impl Block for CsvBlock {
    fn origin(&self, index: usize) -> String {
        format!("{}:line {}", self.name, self.rows[index].line)
    }

    fn record(&self, index: usize) -> Result<Record, String> {
        if self.rows[index].misquoted {
            let message = "a cell in quotes goes on after them: an earlier quote is not closed, or one within the cell is \
                           not doubled (`\"\"`)";
            return Err(message.into());
        }
        let row = &self.rows[index].cells;
        let (found, expected) = (row.len(), self.columns.len());
        if found != expected {
            return Err(format!("has {found} cells where the header has {expected}"));
        }
        let mut columns = Map::new();
        for (name, cell) in self.columns.iter().zip(row.iter()) {
            let text = std::str::from_utf8(cell)
                .map_err(|_| format!("`{name}` is no UTF-8; write the file in UTF-8"))?;
            columns.insert(name.clone(), Value::from(text));
        }
        Ok(Record {
            images: Vec::new(),
            empty: 0,
            columns,
        })
    }
}
