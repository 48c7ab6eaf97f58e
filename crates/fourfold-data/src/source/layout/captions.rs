//! Captions that stand several to an image: Karpathy's splits and Flickr30k's tables.
//!
//! Sources of the fields are in `tests/fixtures/layouts/README.md` of this crate.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::blob::Blob;
use super::super::csv::{Csv, CsvBlock};
use super::super::reader::{Block, Reader};
use super::spool::Joined;
use crate::DataError;

/// Karpathy's splits: `sentences[].raw` becomes `captions`; the image is `filename`, in the folder `filepath` where there
/// is one. `image` says both.
pub(super) fn karpathy(columns: &mut Map<String, Value>) -> Result<(), String> {
    let sentences = match columns.shift_remove("sentences") {
        Some(Value::Array(list)) => list,
        _ => return Err("expected `sentences` with a list".into()),
    };
    let raw = |(index, sentence): (usize, &Value)| match sentence.get("raw") {
        Some(Value::String(text)) => Ok(Value::from(text.as_str())),
        _ => Err(format!("`sentences` {index}: expected `raw` with a text")),
    };
    let captions = sentences
        .iter()
        .enumerate()
        .map(raw)
        .collect::<Result<Vec<_>, _>>()?;
    columns.insert("captions".into(), captions.into());
    let text = |name: &str| columns.get(name).and_then(Value::as_str);
    let file = text("filename").ok_or("expected `filename` with a text")?;
    let image = match text("filepath") {
        Some(folder) if !folder.is_empty() => format!("{folder}/{file}"),
        _ => file.to_owned(),
    };
    columns.insert("image".into(), image.into());
    Ok(())
}

/// A table whose cell `raw` is a list of captions in JSON.
pub(super) fn raw(columns: &mut Map<String, Value>) -> Result<(), String> {
    let text = columns.shift_remove("raw");
    let text = text
        .as_ref()
        .and_then(Value::as_str)
        .ok_or("expected `raw` with a text")?;
    let captions: Vec<String> = serde_json::from_str(text)
        .map_err(|error| format!("`raw`: expected a JSON list of texts: {error}"))?;
    columns.insert("captions".into(), captions.into());
    Ok(())
}

/// Members of a sample that may hold its caption, the likeliest first.
pub(super) const MEMBERS: [&str; 5] = ["txt", "caption", "text", "cap", "json"];

/// A sample of WebDataset: `caption` is the first of its texts that says something, or what its `json` calls so, as
/// img2dataset and LAION do.
pub(super) fn members(columns: &mut Map<String, Value>) {
    let said = |value: Option<&Value>| {
        let text = value.and_then(Value::as_str)?;
        (!text.trim().is_empty()).then(|| text.to_owned())
    };
    let json = |key: &str| said(columns.get("json").and_then(|json| json.get(key)));
    let texts = MEMBERS.iter().find_map(|name| said(columns.get(*name)));
    let found = texts.or_else(|| ["caption", "TEXT", "text"].into_iter().find_map(json));
    columns.insert("caption".into(), found.map_or(Value::Null, Value::from));
}

/// The rows of a table of one caption a row, gathered by image: Flickr30k's token file and its `results.csv`, Flickr8k's
/// `captions.txt`. None where the table is another. Captions of one image stand together in these files.
pub(in crate::source) fn group(
    path: &Path,
    table: &Csv,
) -> Result<Option<Arc<dyn Blob>>, DataError> {
    let columns: Vec<&str> = table.columns().iter().map(String::as_str).collect();
    let (image, caption) = match columns.as_slice() {
        ["image", "caption"] | ["caption", "image"] => ("image", "caption"),
        ["image_name", "comment_number", "comment"] => ("image_name", "comment"),
        _ => return Ok(None),
    };
    let mut joined = Joined::new(path)?;
    let mut current: Option<(String, String, Vec<Value>)> = None;
    let close = |joined: &mut Joined, current: Option<(String, String, Vec<Value>)>| match current {
        None => Ok(()),
        Some((place, name, captions)) => {
            let row = [
                ("image".to_owned(), name.into()),
                ("captions".into(), captions.into()),
            ];
            joined.row(&place, row.into_iter().collect())
        }
    };
    for block in 0..table.blocks().len() {
        let rows = table.load_block(block)?;
        for index in 0..table.blocks()[block].rows {
            let origin = rows.origin(index);
            let place = origin
                .rsplit_once(':')
                .map_or(&*origin, |(_, place)| place)
                .to_owned();
            let cells = match cells(&rows, index) {
                Ok(cells) => cells,
                Err(message) => {
                    joined.broken(&place, message)?;
                    continue;
                }
            };
            let text = |name: &str| {
                cells
                    .get(name)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .trim()
            };
            // `1000092795.jpg#0` is the first caption of 1000092795.jpg.
            let name = text(image).split('#').next().unwrap_or_default();
            let said = Value::from(text(caption));
            match &mut current {
                Some((_, known, captions)) if known == name => captions.push(said),
                _ => {
                    close(&mut joined, current.take())?;
                    current = Some((place, name.to_owned(), vec![said]));
                }
            }
        }
    }
    close(&mut joined, current)?;
    joined.finish().map(Some)
}

/// The cells of a row. In Flickr30k's `results.csv` one row lacks its second bar, `2199200615.jpg| 4   A dog runs …`, and a
/// bar after the second is a letter of the caption.
fn cells(rows: &CsvBlock, index: usize) -> Result<Map<String, Value>, String> {
    let whole = rows.record(index).map(|record| record.columns);
    let texts = rows.texts(index);
    if whole.is_ok() || rows.columns() != 3 || !rows.is_utf8(index) {
        return whole;
    }
    let (name, number, caption) = match texts.as_slice() {
        [name, rest] => {
            let rest = rest.trim_start();
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            if digits == 0 {
                return whole;
            }
            (name, &rest[..digits], rest[digits..].to_owned())
        }
        [name, number, caption @ ..] => (name, &**number, caption.join("|")),
        _ => return whole,
    };
    let cells = [
        ("image_name", &**name),
        ("comment_number", number),
        ("comment", &caption),
    ];
    Ok(cells
        .into_iter()
        .map(|(name, cell)| (name.to_owned(), cell.into()))
        .collect())
}
