//! Parquet in the layout of Hugging Face's image data sets: `image: struct{bytes, path}` or
//! `images: list<struct{bytes, path}>`, beside columns of text, numbers and lists of them.

use std::io::BufReader;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::basic::{ConvertedType, Type as Physical};
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{ChunkReader, FileReader, Length, SerializedFileReader};
use ::parquet::record::{Field, Row as Cells};
use ::parquet::schema::types::Type;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::RowImage;
use super::blob::{Blob, BlobReader};
use super::reader::{Block, BlockSize, Reader, Record};
use crate::{DataError, EncodedImage};

/// The most memory that a row group may take, unpacked; groups of images have some hundred megabytes.
const MOST_BYTES: usize = 1 << 30;

/// A file; its row groups are the blocks.
pub(super) struct Parquet {
    path: PathBuf,
    folder: PathBuf,
    file: SerializedFileReader<Chunks>,
    sizes: Vec<BlockSize>,
    columns: Vec<String>,
    images: Vec<String>,
}

impl Parquet {
    /// Opens a file; images that are paths lie in `folder`.
    pub fn read(path: &Path, blob: Arc<dyn Blob>, folder: &Path) -> Result<Self, DataError> {
        let name = path;
        guarded(name, || SerializedFileReader::new(Chunks(blob))).map(|file| {
            let about = file.metadata();
            let fields = about.file_metadata().schema().get_fields();
            let of = |wanted: bool| -> Vec<String> {
                let fields = fields.iter().filter(|field| is_image(field) == wanted);
                fields.map(|field| field.name().to_owned()).collect()
            };
            let size = |group: &::parquet::file::metadata::RowGroupMetaData| BlockSize {
                rows: group.num_rows().max(0) as usize,
                bytes: group.total_byte_size().max(0) as usize,
            };
            Self {
                path: path.into(),
                folder: folder.into(),
                sizes: about.row_groups().iter().map(size).collect(),
                columns: of(false),
                images: of(true),
                file,
            }
        })
    }
}

impl Reader for Parquet {
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
        self.read_group(block, None)
    }

    /// Columns lie apart in a row group: those of images are not touched.
    fn load_texts(&self, block: usize) -> Result<Box<dyn Block>, DataError> {
        let schema = self.file.metadata().file_metadata().schema();
        let kept = schema.get_fields().iter();
        let kept: Vec<_> = kept.filter(|field| !is_image(field)).cloned().collect();
        if self.images.is_empty() || kept.is_empty() {
            return self.load(block);
        }
        let texts = Type::group_type_builder(schema.name()).with_fields(kept);
        let texts = guarded(&self.path, || texts.build())?;
        self.read_group(block, Some(texts))
    }
}

impl Parquet {
    /// Reads a row group, or those of its columns that `projection` keeps.
    fn read_group(
        &self,
        block: usize,
        projection: Option<Type>,
    ) -> Result<Box<dyn Block>, DataError> {
        let first = self.sizes[..block].iter().map(|size| size.rows).sum();
        let rows = guarded(&self.path, || {
            let group = self.file.get_row_group(block)?;
            let mut held = 0;
            let mut within_memory = |cells: Cells| {
                held += cells
                    .get_column_iter()
                    .map(|(_, field)| bytes(field))
                    .sum::<usize>();
                match held > MOST_BYTES {
                    true => Err(ParquetError::General(format!(
                        "row group {block} unpacks to more than {MOST_BYTES} bytes; write it with fewer rows a group"
                    ))),
                    false => Ok(cells),
                }
            };
            let rows = group.get_row_iter(projection)?;
            rows.map(|cells| cells.and_then(&mut within_memory))
                .collect::<Result<Vec<Cells>, _>>()
        })?;
        if rows.len() != self.sizes[block].rows {
            let (found, expected) = (rows.len(), self.sizes[block].rows);
            let message = format!(
                "row group {block} has {found} rows where its header says {expected}: it is damaged"
            );
            return Err(DataError::file(&self.path, message));
        }
        Ok(Box::new(ParquetBlock {
            name: super::location::name(&self.path),
            folder: self.folder.clone(),
            images: self.images.clone(),
            first,
            rows,
        }))
    }
}

struct ParquetBlock {
    name: String,
    folder: PathBuf,
    images: Vec<String>,
    first: usize,
    rows: Vec<Cells>,
}

impl Block for ParquetBlock {
    fn origin(&self, index: usize) -> String {
        format!("{}:row {}", self.name, self.first + index)
    }

    fn record(&self, index: usize) -> Result<Record, String> {
        let mut record = Record {
            images: Vec::new(),
            empty: 0,
            columns: Map::new(),
        };
        for (name, field) in self.rows[index].get_column_iter() {
            match field {
                // A null among the images of a list is an image that is missing.
                Field::ListInternal(list) if self.images.contains(name) => {
                    let images = list.elements().iter();
                    record
                        .images
                        .extend(images.map(|field| image(&self.folder, field)));
                }
                Field::Null if name == "images" && self.images.contains(name) => {}
                field if self.images.contains(name) => match image(&self.folder, field) {
                    RowImage::Missing => record.empty += 1,
                    image => record.images.push(image),
                },
                field => {
                    record.columns.insert(name.clone(), json(field));
                }
            }
        }
        Ok(record)
    }
}

/// Whether a column holds images: by its name, or since it is made of `bytes` and `path`, or a list of that.
fn is_image(field: &Type) -> bool {
    let is_struct = |field: &Type| {
        field.is_group() && {
            let names: Vec<&str> = field
                .get_fields()
                .iter()
                .map(|field| field.name())
                .collect();
            names.contains(&"bytes") && names.contains(&"path")
        }
    };
    let is_list = field.get_basic_info().converted_type() == ConvertedType::LIST;
    let element = || field.get_fields().first()?.get_fields().first().cloned();
    let binary = |field: &Type| {
        field.is_primitive()
            && field.get_physical_type() == Physical::BYTE_ARRAY
            && field.get_basic_info().converted_type() == ConvertedType::NONE
            && field.get_basic_info().logical_type_ref().is_none()
    };
    match field.name() {
        "image" | "images" => true,
        _ if field.is_primitive() => binary(field),
        _ if is_list => element().is_some_and(|element| is_struct(&element)),
        _ => is_struct(field),
    }
}

/// An image column's cell: `{bytes, path}`, bytes or a path; a path alone names a file in `folder`.
fn image(folder: &Path, field: &Field) -> RowImage {
    let (mut bytes, mut name) = (None, None);
    match field {
        Field::Bytes(content) => bytes = Some(content),
        Field::Str(path) => name = Some(path),
        Field::Group(group) => {
            for (key, field) in group.get_column_iter() {
                match (key.as_str(), field) {
                    ("bytes", Field::Bytes(content)) => bytes = Some(content),
                    ("path", Field::Str(path)) => name = Some(path),
                    _ => {}
                }
            }
        }
        _ => {}
    }
    match (bytes, name) {
        (Some(content), path) => RowImage::Bytes(EncodedImage {
            bytes: Bytes::copy_from_slice(content.data()),
            path: path.cloned(),
        }),
        (None, Some(path)) => RowImage::named(folder, path),
        (None, None) => RowImage::Missing,
    }
}

/// About how much memory a cell takes. What a dictionary holds once is a copy in every row.
fn bytes(field: &Field) -> usize {
    let content = match field {
        Field::Str(text) => text.len(),
        Field::Bytes(bytes) => bytes.len(),
        Field::Group(record) => record
            .get_column_iter()
            .map(|(name, field)| name.len() + bytes(field))
            .sum(),
        Field::ListInternal(list) => list.elements().iter().map(bytes).sum(),
        Field::MapInternal(map) => map
            .entries()
            .iter()
            .map(|(key, value)| bytes(key) + bytes(value))
            .sum(),
        _ => 0,
    };
    size_of::<Field>() + content
}

/// A cell as a JSON value. Records become objects; bytes that are not text are left out (null).
fn json(field: &Field) -> Value {
    match field {
        Field::Str(text) => Value::from(text.as_str()),
        Field::Bytes(bytes) => {
            std::str::from_utf8(bytes.data()).map_or(Value::Null, |text| text.into())
        }
        Field::Group(record) => Value::Object(
            record
                .get_column_iter()
                .map(|(key, field)| (key.clone(), json(field)))
                .collect(),
        ),
        Field::ListInternal(list) => list.elements().iter().map(json).collect(),
        Field::Null => Value::Null,
        Field::Bool(value) => (*value).into(),
        Field::Byte(value) => (*value).into(),
        Field::Short(value) => (*value).into(),
        Field::Int(value) => (*value).into(),
        Field::Long(value) => (*value).into(),
        Field::UByte(value) => (*value).into(),
        Field::UShort(value) => (*value).into(),
        Field::UInt(value) => (*value).into(),
        Field::ULong(value) => (*value).into(),
        Field::Float(value) => (*value).into(),
        Field::Double(value) => (*value).into(),
        // Dates, decimals and maps: as text.
        other => other.to_string().into(),
    }
}

/// The Parquet library panics on some damaged files: for the caller that is a bad file too.
fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, DataError> {
    let read = catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        let message = "the file is damaged; fetch or write it anew";
        Err(ParquetError::General(message.into()))
    });
    read.map_err(|error| {
        let hint = match &error {
            ParquetError::General(text) if text.contains("Disabled feature") => {
                "; write the file with compression \"snappy\", \"zstd\" or none"
            }
            _ => "",
        };
        DataError::file(path, format!("cannot read it as Parquet: {error}{hint}"))
    })
}

/// A blob as the Parquet library reads it.
struct Chunks(Arc<dyn Blob>);

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl ChunkReader for Chunks {
    type T = BufReader<BlobReader>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(BufReader::new(BlobReader::new(Arc::clone(&self.0), start)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        // A length that a damaged file claims is not believed.
        if start
            .checked_add(length as u64)
            .is_none_or(|end| end > self.0.len())
        {
            let message = format!("it should have {length} bytes from {start} on and ends before");
            return Err(ParquetError::EOF(message));
        }
        let mut bytes = vec![0; length];
        self.0.read_at(start, &mut bytes)?;
        Ok(bytes.into())
    }
}
