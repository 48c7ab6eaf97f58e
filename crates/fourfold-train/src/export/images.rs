//! How images are prepared, in the words of `transformers`, and what its classes do otherwise.

use std::path::Path;

use anyhow::{Context, Result};
use fourfold_data::{Background, Fit, ImageTransform};
use fourfold_model::{ExportFormat, IMAGE_PROCESSOR_FILE};
use serde_json::json;

use crate::files;

/// The image processor that folders bring with them.
const OURS: &str = "FourfoldImageProcessor";

/// Whose class prepares the images of an exported folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// One of `transformers`.
    Theirs,
    /// LLaVA's, which pads.
    Llava,
    /// The one that the folder brings with it.
    Ours,
}

/// `format` is none for an encoder alone. That is opened without code of its own, and so are its images where a class
/// of `transformers` comes near.
fn class(transform: &ImageTransform, format: Option<ExportFormat>) -> Class {
    let mean = transform.background == Background::Mean;
    let square = transform.size.side().is_some();
    match (format, transform.fit) {
        (_, Fit::Center) => Class::Theirs,
        (_, Fit::Square) if mean => Class::Llava,
        (Some(ExportFormat::Native), _) => Class::Ours,
        (_, Fit::Stretch) => Class::Theirs,
        (_, Fit::Square) => Class::Llava,
        (_, Fit::Pad) if square => Class::Llava,
        (_, Fit::Crop) if square => Class::Theirs,
        (_, Fit::Pad | Fit::Crop) => Class::Ours,
    }
}

/// Writes `preprocessor_config.json`, and the class where the folder brings it.
pub(super) fn write(
    transform: &ImageTransform,
    folder: &Path,
    format: Option<ExportFormat>,
) -> Result<()> {
    let mut config = transform.to_preprocessor_config();
    match class(transform, format) {
        Class::Theirs => {}
        Class::Llava => config["image_processor_type"] = "LlavaImageProcessor".into(),
        Class::Ours => {
            config["image_processor_type"] = OURS.into();
            config["fourfold_fit"] = json!(transform.fit);
            config["fourfold_background"] = json!(transform.background);
            let (file, text) = IMAGE_PROCESSOR_FILE;
            let module = file.strip_suffix(".py").context("a module of Python")?;
            config["auto_map"] = json!({ "AutoImageProcessor": format!("{module}.{OURS}") });
            files::write_atomic(&folder.join(file), text.as_bytes())?;
        }
    }
    files::write_json(&folder.join("preprocessor_config.json"), &config)
}

/// What the image processor of an exported folder does otherwise than here.
pub(super) fn difference(
    transform: &ImageTransform,
    format: Option<ExportFormat>,
) -> Option<String> {
    let color = match transform.background {
        Background::White => "white".to_owned(),
        Background::Color([red, green, blue]) => format!("the colour [{red}, {green}, {blue}]"),
        Background::Mean => "the mean colour".to_owned(),
    };
    let rounding = |advice: &str| {
        format!(
            "pixels differ by the rounding of a filter, a level of 255 as a rule and more at hard edges; {advice} in \
             [image] gives the same pixels in both"
        )
    };
    match (class(transform, format), transform.fit) {
        (Class::Ours, _) if format.is_none() => Some(
            "no class of transformers prepares such images: the folder brings its own image processor \
             (trust_remote_code=True)"
                .into(),
        ),
        (Class::Ours, _) | (_, Fit::Center) => None,
        (_, Fit::Square | Fit::Pad) if transform.background != Background::Mean => Some(format!(
            "images that are not square are padded with {color} here; the image processor of LLaVA pads them with the \
             mean colour: pad them with {color} before they reach it"
        )),
        (_, Fit::Square) => None,
        (_, Fit::Pad) => Some(format!(
            "images are padded after they are resized here, and before in the image processor of LLaVA: {}",
            rounding("`fit = \"square\"`")
        )),
        (_, fit) => {
            let (word, advice) = match fit {
                Fit::Crop => ("crop", "`fit = \"center\"`".to_owned()),
                _ => {
                    let (height, width) = (transform.size.height, transform.size.width);
                    let advice = format!("`fit = \"center\"` with `resize = [{height}, {width}]`");
                    ("stretch", advice)
                }
            };
            Some(format!(
                "images are resized as `fit = \"{word}\"` does here, and by Pillow in transformers: {}",
                rounding(&advice)
            ))
        }
    }
}
