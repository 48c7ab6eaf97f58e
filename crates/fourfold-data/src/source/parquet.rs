//! Parquet in the layout of Hugging Face's image data sets: `image: struct{bytes, path}` or
//! `images: list<struct{bytes, path}>`, beside columns of text, numbers and lists of them.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row as Record};
use serde_json::{Map, Value};

use super::table::{Row, RowImage, Table};
use crate::{DataError, EncodedImage};

/// Reads a whole Parquet file. Image bytes are kept as they are; nothing is decoded.
pub fn read(path: &Path) -> Result<Table, DataError> {
    // The Parquet library panics on some damaged files: for the caller that is a bad file too.
    catch_unwind(AssertUnwindSafe(|| read_rows(path))).unwrap_or_else(|_| {
        let message = "cannot read it as Parquet: the file is damaged; fetch or write it anew";
        Err(DataError::file(path, message))
    })
}

fn read_rows(path: &Path) -> Result<Table, DataError> {
    let file = File::open(path).map_err(|source| DataError::Io {
        action: "read",
        path: path.into(),
        source,
    })?;
    let fail = |error: parquet::errors::ParquetError| {
        let hint = match &error {
            parquet::errors::ParquetError::General(text) if text.contains("Disabled feature") => {
                "; write the file with compression \"snappy\" or none"
            }
            _ => "",
        };
        DataError::file(path, format!("cannot read it as Parquet: {error}{hint}"))
    };
    let reader = SerializedFileReader::new(file).map_err(fail)?;
    let is_image = |name: &str| name == "image" || name == "images";
    let schema = reader
        .metadata()
        .file_metadata()
        .schema_descr()
        .root_schema_ptr();
    let columns = schema
        .get_fields()
        .iter()
        .map(|field| field.name().to_string())
        .filter(|name| !is_image(name))
        .collect();
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut rows = Vec::new();
    for (number, record) in reader.get_row_iter(None).map_err(fail)?.enumerate() {
        let mut row = Row {
            number,
            images: Vec::new(),
            columns: Map::new(),
        };
        for (name, field) in record.map_err(fail)?.into_columns() {
            match field {
                Field::ListInternal(list) if name == "images" => {
                    let images = list.elements().iter().cloned();
                    row.images.extend(images.map(|field| image(folder, field)));
                }
                field if is_image(&name) => row.images.push(image(folder, field)),
                field => {
                    row.columns.insert(name, json(field));
                }
            }
        }
        rows.push(row);
    }
    Ok(Table {
        path: path.into(),
        place: ("row", 0),
        columns,
        rows,
    })
}

/// An image column's cell: `{bytes, path}`, bytes or a path; a path alone names a file beside this one.
fn image(folder: &Path, field: Field) -> RowImage {
    let (mut bytes, mut name) = (None, None);
    match field {
        Field::Bytes(content) => bytes = Some(content),
        Field::Str(path) => name = Some(path),
        Field::Group(group) => {
            for (key, field) in group.into_columns() {
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
            bytes: Arc::from(content.data()),
            path,
        }),
        (None, Some(path)) => RowImage::File(folder.join(path)),
        (None, None) => RowImage::Missing,
    }
}

/// A cell as a JSON value. Records become objects; bytes that are not text are left out (null).
fn json(field: Field) -> Value {
    match field {
        Field::Str(text) => Value::String(text),
        Field::Bytes(bytes) => {
            std::str::from_utf8(bytes.data()).map_or(Value::Null, |text| text.into())
        }
        Field::Group(record) => object(record),
        Field::ListInternal(list) => list.elements().iter().cloned().map(json).collect(),
        Field::Null => Value::Null,
        Field::Bool(value) => value.into(),
        Field::Byte(value) => value.into(),
        Field::Short(value) => value.into(),
        Field::Int(value) => value.into(),
        Field::Long(value) => value.into(),
        Field::UByte(value) => value.into(),
        Field::UShort(value) => value.into(),
        Field::UInt(value) => value.into(),
        Field::ULong(value) => value.into(),
        Field::Float(value) => value.into(),
        Field::Double(value) => value.into(),
        // Dates, decimals and maps: as text.
        other => other.to_string().into(),
    }
}

fn object(record: Record) -> Value {
    Value::Object(
        record
            .into_columns()
            .into_iter()
            .map(|(key, f)| (key, json(f)))
            .collect(),
    )
}
