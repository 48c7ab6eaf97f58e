//! What published sets call an image: COCO by a number, Flickr30k by its file.

use serde_json::{Map, Value};

use crate::RowImage;

/// Columns whose numbers are COCO's.
const NUMBERS: [&str; 3] = ["cocoid", "coco_id", "image_id"];
/// Columns with names of files; `id` and `__key__` where they are such a name, or a number as COCO writes it in one. A
/// short number there is one of the row, and says nothing.
const NAMES: [&str; 7] = [
    "filename",
    "file_name",
    "image_name",
    "image",
    "img_path",
    "id",
    "__key__",
];
/// Digits of a number in the names of COCO's files.
const DIGITS: usize = 12;
/// What the name of an image ends with.
const ENDINGS: [&str; 6] = ["jpg", "jpeg", "png", "webp", "gif", "bmp"];

/// What the columns and images of a row may be listed as: `391895` for COCO's, `1000092795.jpg` for others.
pub(crate) fn identifiers(columns: &Map<String, Value>, images: &[RowImage]) -> Vec<String> {
    let mut found = Vec::new();
    let mut add = |identifier: Option<String>| {
        if let Some(identifier) = identifier.filter(|identifier| !found.contains(identifier)) {
            found.push(identifier);
        }
    };
    // WebDataset has its columns in a member of JSON.
    let nested = columns.get("json").and_then(Value::as_object);
    for columns in [Some(columns), nested].into_iter().flatten() {
        for name in NUMBERS {
            match columns.get(name) {
                Some(Value::Number(number)) => add(number.as_u64().map(|n| n.to_string())),
                Some(Value::String(text)) => add(number(text).or_else(|| of_file(text))),
                _ => {}
            }
        }
        for name in NAMES {
            if let Some(Value::String(text)) = columns.get(name) {
                add(of_file(text));
            }
        }
    }
    for (index, image) in images.iter().enumerate() {
        add(of_file(&image.name(index)));
    }
    found
}

/// What an image's file is listed as, by its path: `COCO_val2014_000000391895.jpg` and `000000391895.jpg` as `391895`,
/// `flickr30k-images/1000092795.jpg` as `1000092795.jpg`; nothing if it is no name of an image.
pub(super) fn of_file(path: &str) -> Option<String> {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
    let digits = stem.rsplit('_').next().unwrap_or(stem);
    let plain = digits == stem || stem.starts_with("COCO_");
    if plain
        && digits.len() == DIGITS
        && let Some(number) = number(digits)
    {
        return Some(number);
    }
    let lower = ending.to_ascii_lowercase();
    (!stem.is_empty() && ENDINGS.contains(&&*lower)).then(|| format!("{stem}.{lower}"))
}

/// A number without the zeros before it.
pub(super) fn number(text: &str) -> Option<String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits
        .then(|| text.parse::<u64>().ok())
        .flatten()
        .map(|number| number.to_string())
}
