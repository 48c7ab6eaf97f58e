//! JSON lines: `{"image": "cat.png", …}` or `{"images": […], …}`, paths relative to the file.

use std::path::Path;

use serde_json::{Map, Value};

use super::table::{Row, RowImage, Table};
use crate::DataError;

/// Reads a JSON lines file. Empty lines are passed over; a column some lines lack is null there.
pub fn read(path: &Path) -> Result<Table, DataError> {
    let bytes = std::fs::read(path).map_err(|source| DataError::Io {
        action: "read",
        path: path.into(),
        source,
    })?;
    let text = text(&bytes).map_err(|message| DataError::file(path, message))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut rows = Vec::new();
    let mut names = Map::new();
    for (number, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let fail =
            |message: String| DataError::file(path, format!("line {}: {message}", number + 1));
        let value = serde_json::from_str(line).map_err(|error| {
            // The library counts lines within this one.
            let column = error.column();
            let text = error.to_string();
            let reason = text.split(" at line ").next().unwrap_or(&text);
            fail(format!(
                "expected one JSON object a line: {reason} at column {column}"
            ))
        })?;
        let Value::Object(mut columns) = value else {
            return Err(fail(format!("expected an object, got {line:.40}")));
        };
        let mut images = Vec::new();
        for key in ["image", "images"] {
            match columns.shift_remove(key) {
                None => {}
                Some(Value::Array(list)) => {
                    for value in list {
                        images.push(image(folder, value).ok_or_else(|| fail(expected(key)))?);
                    }
                }
                Some(value) => {
                    images.push(image(folder, value).ok_or_else(|| fail(expected(key)))?)
                }
            }
        }
        for key in columns
            .keys()
            .filter(|key| !names.contains_key(*key))
            .cloned()
            .collect::<Vec<_>>()
        {
            names.insert(key, Value::Null);
        }
        rows.push(Row {
            number,
            images,
            columns,
        });
    }
    for row in &mut rows {
        for key in names.keys() {
            if !row.columns.contains_key(key) {
                row.columns.insert(key.clone(), Value::Null);
            }
        }
    }
    let columns = names.keys().cloned().collect();
    Ok(Table {
        path: path.into(),
        place: ("line", 1),
        columns,
        rows,
    })
}

/// The text of a file, without the mark that some editors begin it with.
fn text(bytes: &[u8]) -> Result<&str, String> {
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("line {line}: is no UTF-8; write the file in UTF-8")
    })
}

fn image(folder: &Path, value: Value) -> Option<RowImage> {
    match value {
        Value::String(path) => Some(RowImage::File(folder.join(path))),
        Value::Null => Some(RowImage::Missing),
        _ => None,
    }
}

fn expected(key: &str) -> String {
    format!("`{key}`: expected a path or a list of paths, relative to this file")
}
