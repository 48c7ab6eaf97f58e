//! A Parquet file in the layout of Hugging Face's image data sets.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;
use serde_json::{Value, json};

use super::item::{Item, Texts};
use super::shard::failed;
use crate::DataError;

/// A row group is closed when it has so many rows, or bytes of images: it is what a reader has in memory.
const ROWS: usize = 1024;
const BYTES: usize = 32 << 20;

/// Levels of definition: of `images`, an empty list is at 1, an image without one of its parts at 3, a part at 4; of a list
/// of texts, an empty list is at 1 and a text at 3.
const EMPTY: i16 = 1;
const IMAGE: i16 = 3;
const PART: i16 = 4;
const TEXT: i16 = 3;

const IMAGES: &str = "optional group images (LIST) { repeated group list { optional group element { \
                      optional binary bytes; optional binary path (STRING); } } }";

/// A file that rows are added to.
pub(super) struct ParquetWriter {
    path: PathBuf,
    file: SerializedFileWriter<BufWriter<File>>,
    /// Names of the columns of texts.
    lists: &'static [&'static str],
    group: Group,
}

/// The rows of a row group, by column.
#[derive(Default)]
struct Group {
    rows: usize,
    bytes: usize,
    contents: Column,
    paths: Column,
    lists: [Column; 2],
    origins: Column,
}

/// Values with their levels.
#[derive(Default)]
struct Column {
    values: Vec<ByteArray>,
    definition: Vec<i16>,
    repetition: Vec<i16>,
}

impl Column {
    /// One element of a row's list, or that it has none; `first` says whether it begins the row.
    fn push(&mut self, value: Option<ByteArray>, definition: i16, first: bool) {
        self.values.extend(value);
        self.definition.push(definition);
        self.repetition.push(i16::from(!first));
    }

    fn texts<'t>(&mut self, texts: impl Iterator<Item = &'t str>) {
        let mut first = true;
        for text in texts {
            self.push(Some(text.into()), TEXT, first);
            first = false;
        }
        if first {
            self.push(None, EMPTY, true);
        }
    }
}

impl ParquetWriter {
    /// A file of rows with `captions`, or with `prompts` and `answers`.
    pub fn create(path: &Path, captions: bool) -> Result<Self, DataError> {
        let file = File::create(path).map_err(|source| failed(path, source))?;
        let lists: &[&str] = match captions {
            true => &["captions"],
            false => &["prompts", "answers"],
        };
        let list = |name: &&str| {
            format!(
                "optional group {name} (LIST) {{ repeated group list {{ optional binary element (STRING); }} }}"
            )
        };
        let columns: String = lists.iter().map(list).collect();
        let schema =
            format!("message schema {{ {IMAGES} {columns} required binary origin (STRING); }}");
        let about = json!({ "info": { "features": features(lists) } });
        let contents = ColumnPath::from(
            ["images", "list", "element", "bytes"]
                .map(str::to_owned)
                .to_vec(),
        );
        let properties = WriterProperties::builder()
            .set_created_by("fourfold".into())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            // Images are packed already, and their smallest and largest bytes tell nothing.
            .set_column_compression(contents.clone(), Compression::UNCOMPRESSED)
            .set_column_dictionary_enabled(contents.clone(), false)
            .set_column_statistics_enabled(contents, EnabledStatistics::None)
            .set_write_batch_size(16)
            .set_key_value_metadata(Some(vec![KeyValue::new(
                "huggingface".to_owned(),
                about.to_string(),
            )]))
            .build();
        let schema = parse_message_type(&schema).map_err(|error| refused(path, error))?;
        let file =
            SerializedFileWriter::new(BufWriter::new(file), Arc::new(schema), Arc::new(properties));
        Ok(Self {
            path: path.into(),
            file: file.map_err(|error| refused(path, error))?,
            lists,
            group: Group::default(),
        })
    }

    /// Adds a row.
    pub fn write(&mut self, item: &Item) -> Result<(), DataError> {
        let group = &mut self.group;
        for (index, image) in item.images.iter().enumerate() {
            let first = index == 0;
            let content = ByteArray::from(Bytes::clone(&image.bytes));
            group.contents.push(Some(content), PART, first);
            match &image.path {
                Some(path) => group.paths.push(Some(path.as_str().into()), PART, first),
                None => group.paths.push(None, IMAGE, first),
            }
            group.bytes += image.bytes.len();
        }
        if item.images.is_empty() {
            group.contents.push(None, EMPTY, true);
            group.paths.push(None, EMPTY, true);
        }
        match &item.texts {
            Texts::Turns(turns) => {
                group.lists[0].texts(turns.iter().map(|turn| turn.prompt.as_str()));
                group.lists[1].texts(turns.iter().map(|turn| turn.answer.as_str()));
            }
            Texts::Captions(captions) => group.lists[0].texts(captions.iter().map(String::as_str)),
        }
        group.origins.values.push(item.origin.as_str().into());
        group.rows += 1;
        match group.rows >= ROWS || group.bytes >= BYTES {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), DataError> {
        let group = std::mem::take(&mut self.group);
        if group.rows == 0 {
            return Ok(());
        }
        let [first, second] = &group.lists;
        let mut columns = vec![&group.contents, &group.paths, first];
        if self.lists.len() == 2 {
            columns.push(second);
        }
        columns.push(&group.origins);
        let write = || -> Result<(), ParquetError> {
            let mut row_group = self.file.next_row_group()?;
            for column in columns {
                write_column(&mut row_group, column)?;
            }
            row_group.close().map(drop)
        };
        write().map_err(|error| refused(&self.path, error))
    }

    /// Writes what is left, and the footer.
    pub fn finish(mut self) -> Result<(), DataError> {
        self.flush()?;
        let file = self.file.into_inner();
        let file = file.map_err(|error| refused(&self.path, error))?;
        let file = file
            .into_inner()
            .map_err(|error| failed(&self.path, error.into_error()))?;
        file.sync_all().map_err(|source| failed(&self.path, source))
    }
}

fn write_column<W: std::io::Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    column: &Column,
) -> Result<(), ParquetError> {
    let Some(mut writer) = group.next_column()? else {
        return Err(ParquetError::General("a column too many".into()));
    };
    let levels = |levels: &'_ Vec<i16>| (!levels.is_empty()).then(|| levels.clone());
    let (definition, repetition) = (levels(&column.definition), levels(&column.repetition));
    writer.typed::<ByteArrayType>().write_batch(
        &column.values,
        definition.as_deref(),
        repetition.as_deref(),
    )?;
    writer.close()
}

/// What Hugging Face's `datasets` reads the columns as.
fn features(lists: &[&str]) -> Value {
    let text = || json!({ "dtype": "string", "_type": "Value" });
    let mut features = json!({ "images": [{ "_type": "Image" }], "origin": text() });
    for name in lists {
        features[*name] = json!([text()]);
    }
    features
}

fn refused(path: &Path, error: ParquetError) -> DataError {
    DataError::file(path, format!("cannot write it as Parquet: {error}"))
}
