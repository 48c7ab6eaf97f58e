//! Which columns of text name images, and where those lie.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::reader::Record;
use super::super::{Row, RowImage, location};
use crate::DataError;

/// The names of columns that hold paths of images, the likeliest first.
const KNOWN: [&str; 12] = [
    "image",
    "images",
    "image_path",
    "img_path",
    "path",
    "filepath",
    "file_path",
    "filename",
    "file_name",
    "image_name",
    "image_file",
    "img",
];

/// What the name of an image ends with.
const ENDINGS: [&str; 6] = [".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"];

/// No system has longer ones.
const LONGEST_PATH: usize = 1 << 15;

/// The folder of a source's images and the columns that name them.
#[derive(Clone, Debug, Default)]
pub(in crate::source) struct ImageFolder {
    pub folder: PathBuf,
    /// Folders within it, of which a file may be in one: COCO's images lie in one a split.
    pub within: Vec<PathBuf>,
    pub columns: Vec<String>,
    /// Whether a row that names its image in another column than these is broken, rather than one of text.
    pub guards: bool,
}

/// Whether columns called `name` hold paths of images in published sets.
pub(in crate::source) fn is_known_name(name: &str) -> bool {
    KNOWN.contains(&name)
}

/// The columns that name images; `wanted` is what the recipe says. Rows that hold their images, `embedded`, need none.
///
/// # Errors
/// When there is no such column, or cells look like images but nothing says which column is meant.
pub(in crate::source) fn image_columns(
    path: &Path,
    wanted: Option<&str>,
    columns: &[String],
    record: &Record,
    embedded: bool,
) -> Result<Vec<String>, DataError> {
    let has = |name: &&str| columns.iter().any(|column| column == name);
    if let Some(wanted) = wanted {
        if has(&wanted) {
            return Ok(vec![wanted.to_owned()]);
        }
        return Err(DataError::NoColumn {
            path: path.into(),
            used_in: "`image_column`".into(),
            column: wanted.into(),
            columns: columns.to_vec(),
        });
    }
    let own: Vec<String> = KNOWN[..2]
        .iter()
        .filter(|name| has(name))
        .map(|name| (*name).to_owned())
        .collect();
    // A column that rows get from their layout is in no record.
    let filled = |name: &String| record.columns.get(name).is_none_or(|cell| !is_empty(cell));
    if embedded || own.iter().any(filled) {
        return Ok(own);
    }
    let looks = |name: &&str| record.columns.get(*name).is_some_and(names_images);
    if let Some(known) = KNOWN.into_iter().filter(has).find(looks) {
        return Ok(vec![known.to_owned()]);
    }
    if !own.is_empty() {
        return Ok(own);
    }
    let all: Vec<&str> = columns.iter().map(String::as_str).filter(looks).collect();
    match all.as_slice() {
        [] => Ok(Vec::new()),
        [one] => Ok(vec![(*one).to_owned()]),
        several => {
            let message = format!(
                "the columns {} all name images; say which are meant with `image_column = \"{}\"`, or leave them out \
                 with `images = false`",
                several.join(", "),
                several[0]
            );
            Err(DataError::file(path, message))
        }
    }
}

impl ImageFolder {
    /// Whether the column is one of images alone, and nothing for templates.
    pub fn hides(&self, column: &str) -> bool {
        KNOWN[..2].contains(&column) && self.columns.iter().any(|name| name == column)
    }

    /// Takes the images that the columns of `row` name. An empty cell is an image that is missing, but where rows
    /// `may_lack` theirs, as conversations do. A row that has no `image` at all is one of text alone; one without the
    /// `path` that others have lacks its image.
    pub fn take(&self, row: &mut Row, may_lack: bool) -> Result<(), String> {
        for name in &self.columns {
            let own = self.hides(name);
            let cell = match own {
                true => row.columns.shift_remove(name),
                false => row.columns.get(name).cloned(),
            };
            let list = match cell {
                None if own => continue,
                cell if may_lack && cell.as_ref().is_none_or(is_empty) => continue,
                Some(Value::Array(list)) => list,
                cell => vec![cell.unwrap_or_default()],
            };
            for image in list {
                row.images.push(self.image(name, image)?);
            }
        }
        if !self.guards || !row.images.is_empty() {
            return Ok(());
        }
        let elsewhere = |name: &&str| row.columns.get(*name).is_some_and(names_images);
        match KNOWN.into_iter().find(elsewhere) {
            None => Ok(()),
            Some(name) => Err(format!(
                "`{name}` names an image, where the first rows have none: say that images are named there with \
                 `image_column = \"{name}\"`, or leave them out with `images = false`"
            )),
        }
    }

    fn image(&self, column: &str, value: Value) -> Result<RowImage, String> {
        match value {
            Value::String(address)
                if address.contains("://") && !location::is_url(&self.folder) =>
            {
                Err(format!(
                    "`{column}`: {address} is an address; download the image, and name its file"
                ))
            }
            // As messages for a server hold them, in base64.
            Value::String(text) if text.starts_with("data:") || text.len() > LONGEST_PATH => {
                Err(format!(
                    "`{column}`: expected a path, got a text of {} bytes; write images to files of their own",
                    text.len()
                ))
            }
            Value::String(path) if !path.is_empty() => Ok(self.named(&path)),
            value if is_empty(&value) => Ok(RowImage::Missing),
            _ => Err(format!(
                "`{column}`: expected a path or a list of paths, relative to {}",
                self.folder.display()
            )),
        }
    }

    /// The file called `name`: in the folder, or in one of those within it.
    fn named(&self, name: &str) -> RowImage {
        let place = location::within(&self.folder, name);
        let others = self
            .within
            .iter()
            .map(|within| location::within(&self.folder, &format!("{}/{name}", within.display())));
        match RowImage::at(place) {
            // Whether a store has it is known when it is read.
            RowImage::Url { url, .. } => RowImage::Url {
                url,
                others: others.map(|other| other.display().to_string()).collect(),
            },
            RowImage::File(place) if !self.within.is_empty() && !place.exists() => {
                let mut others = others;
                RowImage::File(others.find(|other| other.exists()).unwrap_or(place))
            }
            image => image,
        }
    }
}

fn is_empty(cell: &Value) -> bool {
    cell.is_null() || cell == ""
}

fn names_images(value: &Value) -> bool {
    match value {
        Value::String(text) => {
            let text = text.to_ascii_lowercase();
            !text.contains("://") && ENDINGS.iter().any(|ending| text.ends_with(ending))
        }
        Value::Array(list) => list.first().is_some_and(names_images),
        _ => false,
    }
}
