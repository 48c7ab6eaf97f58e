//! What is written of a sample.

use crate::image_file::{dimensions, jpeg, shrunk};
use crate::pieces::{are_placed, demand_answer, prompts};
use crate::source::Table;
use crate::{DataError, EncodedImage, RowImage, Source, Turn, decode_rgb, sample_rng};
use serde_json::Value;

/// The quality of images that are written anew, as JPEG.
const QUALITY: u8 = 90;

/// A sample as it is written.
#[derive(Debug)]
pub struct Item {
    /// Where it comes from.
    pub origin: String,
    /// Its images, read.
    pub images: Vec<EncodedImage>,
    /// Its texts.
    pub texts: Texts,
    /// Why some of its captions are not among them.
    pub(super) left_out: Vec<DataError>,
}

/// The texts of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Texts {
    /// A conversation.
    Turns(Vec<Turn>),
    /// Captions, each a sample of its own when they are read again.
    Captions(Vec<String>),
}

impl Texts {
    /// How many samples an item of these is when it is read again.
    pub(super) fn samples(&self) -> usize {
        match self {
            Self::Turns(_) => 1,
            Self::Captions(captions) => captions.len(),
        }
    }
}

/// Where items come from.
pub struct Content<'a> {
    kind: Kind<'a>,
    max_side: Option<u32>,
}

enum Kind<'a> {
    /// Samples of a source, templates rendered.
    Samples(&'a dyn Source),
    /// Rows of a table, of which a column has several captions.
    Captions(&'a Table, String),
}

impl<'a> Content<'a> {
    /// The samples of a source, with templates rendered and prompts drawn once.
    pub fn samples(source: &'a dyn Source) -> Self {
        Self {
            kind: Kind::Samples(source),
            max_side: None,
        }
    }

    /// The rows of a table of images with several captions each, so that images are written once; none where the table
    /// is another.
    pub fn captions(table: &'a Table) -> Option<Self> {
        let has = |name: &str| table.columns().iter().any(|column| column == name);
        if has("prompts") || has("question") {
            return None;
        }
        let row = (0..table.len()).find_map(|row| table.row(row).ok())?;
        let list = |name: &&str| row.columns.get(*name).is_some_and(Value::is_array);
        let column = ["captions", "caption"].into_iter().find(list)?;
        Some(Self {
            kind: Kind::Captions(table, column.into()),
            max_side: None,
        })
    }

    /// The same with images of which no side is longer: what is larger is written anew.
    pub fn with_max_side(self, max_side: Option<u32>) -> Self {
        Self { max_side, ..self }
    }

    /// What messages call the source.
    pub fn name(&self) -> &str {
        match &self.kind {
            Kind::Samples(source) => source.name(),
            Kind::Captions(table, _) => table.name(),
        }
    }

    /// How many items there are, broken ones included.
    pub fn len(&self) -> usize {
        match &self.kind {
            Kind::Samples(source) => source.len(),
            Kind::Captions(table, _) => table.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many rows of the source are no item, since their lists are empty.
    pub fn rows_without_items(&self) -> usize {
        match &self.kind {
            Kind::Samples(source) => source.rows_without_samples(),
            Kind::Captions(..) => 0,
        }
    }

    /// Whether items have captions rather than turns.
    pub fn has_captions(&self) -> bool {
        matches!(self.kind, Kind::Captions(..))
    }

    /// Item `row`, its images read.
    ///
    /// # Errors
    /// When the row is broken, or an image is missing or no image.
    pub(super) fn item(&self, row: usize) -> Result<Item, DataError> {
        let mut left_out = Vec::new();
        let (origin, images, texts) = match &self.kind {
            Kind::Samples(source) => {
                let sample = source.sample(row, &mut sample_rng(0, row as u64))?;
                are_placed(&sample.origin, sample.images.len(), prompts(&sample.turns))?;
                (sample.origin, sample.images, Texts::Turns(sample.turns))
            }
            Kind::Captions(table, column) => {
                let mut row = table.row(row)?;
                let captions = match row.columns.remove(column) {
                    Some(Value::Array(list)) => list,
                    Some(Value::Null) | None => Vec::new(),
                    Some(_) => {
                        return Err(DataError::Row {
                            origin: row.origin,
                            message: format!("`{column}`: expected a list of texts"),
                        });
                    }
                };
                let captions = good_captions(&row.origin, captions, &mut left_out)?;
                (row.origin, row.images, Texts::Captions(captions))
            }
        };
        let load = |(index, image): (usize, &RowImage)| {
            let name = image.name(index);
            let loaded = image.load(&origin, index)?;
            self.image(loaded).map_err(|message| DataError::Image {
                origin: origin.clone(),
                image: name,
                message,
            })
        };
        let images: Result<Vec<EncodedImage>, DataError> =
            images.iter().enumerate().map(load).collect();
        Ok(Item {
            images: images?,
            origin,
            texts,
            left_out,
        })
    }

    /// An image as it is written: as it was, unless it is too large. Its path is the file's name alone.
    fn image(&self, image: EncodedImage) -> Result<EncodedImage, String> {
        let path = image.path.as_deref().map(|path| {
            let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
            name.to_owned()
        });
        let (width, height) = dimensions(&image.bytes)?;
        match self.max_side {
            Some(side) if width.max(height) > side => {
                let small = shrunk(decode_rgb(&image.bytes)?, side)?;
                let bytes = jpeg(&small, QUALITY)?.into();
                Ok(EncodedImage { bytes, path })
            }
            _ => Ok(EncodedImage { path, ..image }),
        }
    }
}

/// Those of a row's captions that can be learnt; why others cannot goes to `left_out`.
///
/// # Errors
/// When none of them can.
fn good_captions(
    origin: &str,
    captions: Vec<Value>,
    left_out: &mut Vec<DataError>,
) -> Result<Vec<String>, DataError> {
    let mut good = Vec::with_capacity(captions.len());
    for (number, caption) in captions.into_iter().enumerate() {
        let origin = format!("{origin} element {number}");
        match text(&origin, caption).and_then(|text| demand_answer(&origin, &text).map(|()| text)) {
            Ok(text) => good.push(text),
            Err(error) => left_out.push(error),
        }
    }
    match (good.is_empty(), left_out.is_empty()) {
        (false, _) => Ok(good),
        (true, false) => Err(left_out.swap_remove(0)),
        (true, true) => Err(DataError::EmptyAnswer {
            origin: origin.into(),
        }),
    }
}

/// A caption as a template would write it.
fn text(origin: &str, value: Value) -> Result<String, DataError> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null => Ok(String::new()),
        Value::Bool(_) | Value::Number(_) => {
            Ok(minijinja::Value::from(minijinja::value::Serde(&value)).to_string())
        }
        Value::Array(_) | Value::Object(_) => Err(DataError::Row {
            origin: origin.into(),
            message: "expected a text, got a list or an object".into(),
        }),
    }
}
