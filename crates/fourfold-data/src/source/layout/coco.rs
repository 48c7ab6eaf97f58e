//! COCO's captions: images and annotations in two lists, joined by `image_id`.
//!
//! Sources of the fields are in `tests/fixtures/layouts/README.md` of this crate.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::blob::{Blob, BlobReader};
use super::super::json::{Shape, Walk};
use super::spool::Joined;
use crate::DataError;

#[derive(Deserialize)]
struct Image {
    id: u64,
    file_name: String,
    /// Of nocaps: `in-domain`, `near-domain` or `out-domain`.
    domain: Option<String>,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: u64,
    caption: String,
}

/// One row an image that has captions, in the order of the images: `image`, `image_id`, `captions` in the order of the
/// annotations, and nocaps' `domain`.
pub(in crate::source) fn join(
    path: &Path,
    blob: Arc<dyn Blob>,
) -> Result<Arc<dyn Blob>, DataError> {
    let mut walk = Walk::new(BlobReader::new(blob, 0), Shape::Document);
    let mut images: Vec<Image> = Vec::new();
    let mut captions: HashMap<u64, Vec<Box<str>>> = HashMap::new();
    let mut joined = Joined::new(path)?;
    while let Some(text) = walk.next().map_err(|fault| fault.of(path))? {
        let key = text.key.as_deref().unwrap_or_default();
        let read = match (key, &text.bytes) {
            ("images", Ok(bytes)) => serde_json::from_slice(bytes).map(|image| images.push(image)),
            ("annotations", Ok(bytes)) => {
                serde_json::from_slice(bytes).map(|annotation: Annotation| {
                    captions
                        .entry(annotation.image_id)
                        .or_default()
                        .push(annotation.caption.into());
                })
            }
            ("images" | "annotations", Err(message)) => {
                joined.broken(&format!("{key} {}", text.number), message.clone())?;
                continue;
            }
            _ => continue,
        };
        if let Err(error) = read {
            let expected = match key {
                "images" => "`id` and `file_name`",
                _ => "`image_id` and `caption`",
            };
            joined.broken(
                &format!("{key} {}", text.number),
                format!("expected {expected}: {error}"),
            )?;
        }
    }
    if captions.is_empty() {
        let message = "has images but no captions: it is a list of a test's images, which are not published with captions";
        return Err(DataError::file(path, message));
    }
    for image in images {
        if let Some(captions) = captions.remove(&image.id) {
            let captions: Vec<Value> = captions
                .iter()
                .map(|text| Value::from(text.trim()))
                .collect();
            let row = [
                ("image", Value::from(image.file_name)),
                ("image_id", image.id.into()),
                ("captions", captions.into()),
            ];
            let domain = image.domain.map(|domain| ("domain", Value::from(domain)));
            let row: Map<String, Value> = row
                .into_iter()
                .chain(domain)
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
            joined.row(&format!("image {}", image.id), row)?;
        }
    }
    let mut left: Vec<u64> = captions.into_keys().collect();
    left.sort_unstable();
    for id in left {
        joined.broken(
            &format!("image {id}"),
            "has captions, but is not among `images`".into(),
        )?;
    }
    joined.finish()
}
