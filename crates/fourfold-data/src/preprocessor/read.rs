//! From a configuration to a transform.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::fields::Fields;
use super::kind::{KINDS, Kind, OURSELVES};
use super::model::ModelHint;
use super::shape::{our_shape, shape};
use super::{OUR_KIND, OURS};
use crate::{DataError, Filter, Fit, ImageTransform, Resize};

/// Keys that change pixels in a way that is not supported, unless they are absent, null or false, and what to do.
const REFUSED: [(&str, &str); 14] = [
    (
        "do_pan_and_scan",
        "set it to false: only whole images are read",
    ),
    (
        "do_image_splitting",
        "set it to false: only whole images are read",
    ),
    (
        "crop_to_patches",
        "set it to false: only whole images are read",
    ),
    (
        "image_grid_pinpoints",
        "remove it: only whole images are read",
    ),
    (
        "do_flip_channel_order",
        "set it to false: channels are red, green, blue",
    ),
    ("do_grayscale", "set it to false: images are read in colour"),
    ("do_thumbnail", "set it to false"),
    ("do_align_long_axis", "set it to false"),
    ("do_color_quantize", "set it to false"),
    ("size_divisor", "remove it: all images become one size"),
    ("crop_pct", "remove it and state `size` and `crop_size`"),
    ("max_num_patches", "remove it: all images become one size"),
    (
        "use_square_size",
        "remove it and state `size` with height and width",
    ),
    (
        "pad_size",
        "remove it: only padding to a square before resizing is supported",
    ),
];

pub(super) fn read(
    path: &Path,
    text: &str,
    model: &ModelHint,
) -> Result<ImageTransform, DataError> {
    let fields = Fields::read(path, text)?;
    let (kind, ours) = kind(&fields, model)?;
    for (key, advice) in REFUSED {
        let set = fields
            .get(key)
            .filter(|value| **value != Value::Bool(false));
        if let Some(value) = set {
            return Err(fields.fail(key, format_args!("{value} is not supported; {advice}")));
        }
    }
    let filter = fields.of(
        "resample",
        "a number of Pillow's filters, 0 to 5",
        |value| {
            Filter::ALL
                .get(usize::try_from(value.as_u64()?).ok()?)
                .copied()
        },
    )?;
    let (mean, std) = normalization(&fields, &kind)?;
    let rescale = fields.of("rescale_factor", "a positive number", |value| {
        value
            .as_f64()
            .filter(|factor| factor.is_normal() && *factor > 0.0)
    })?;
    let rescale = match fields.flag("do_rescale")? {
        Some(false) => Some(1.0),
        _ => fields.or_default("rescale_factor", rescale, Some(1.0 / 255.0)),
    };
    let rescale = rescale.ok_or_else(|| fields.lacking("rescale_factor", "do_rescale"))?;
    let shape = match ours {
        Some(fit) => our_shape(&fields, fit)?,
        None => shape(&fields, &kind)?,
    };
    let filter = match shape.resize {
        Some(Resize::Never) => Some(filter.unwrap_or(kind.filter)),
        _ => fields.or_default("resample", filter, Some(kind.filter)),
    };
    let transform = ImageTransform {
        mean,
        std,
        rescale,
        filter: filter.ok_or_else(|| fields.lacking("resample", "do_resize"))?,
        ..shape
    };
    let check = transform.check();
    check.map_err(|error| DataError::file(path, error.to_string()))?;
    Ok(transform)
}

/// Whose configuration it is, and what it fits with where that is ours.
fn kind(fields: &Fields, model: &ModelHint) -> Result<(Kind, Option<Fit>), DataError> {
    let words = "\"pad\", \"stretch\", \"crop\", \"center\" or \"square\"";
    let ours = fields.of(OURS, words, |value| Fit::deserialize(value).ok())?;
    let mut key = "image_processor_type";
    let mut name = fields.text(key)?;
    if name.is_none() {
        key = "feature_extractor_type";
        name = fields.text(key)?;
    }
    if name.is_none()
        && let Some(fit) = ours
    {
        return Ok((OURSELVES, Some(fit)));
    }
    let name = name.or_else(|| model.processor().map(str::to_owned));
    let name = name.ok_or_else(|| {
        let message = format!(
            "is missing, and {}: nothing says what the keys mean that are missing here; add the name of the image \
             processor that the model was trained with ({}), or describe the images in the recipe's [image]",
            model.lack(),
            known()
        );
        fields.fail("image_processor_type", message)
    })?;
    if name == OUR_KIND {
        let ours =
            ours.ok_or_else(|| fields.fail(OURS, format_args!("expected {words}, got nothing")))?;
        return Ok((OURSELVES, Some(ours)));
    }
    let kind = Kind::of(&name).ok_or_else(|| {
        let message = format!(
            "{name} is not supported, but {}; if one of them makes the same pixels, name that one, \
             or describe the images in the recipe's [image]",
            known()
        );
        fields.fail(key, message)
    })?;
    Ok((kind, ours))
}

fn known() -> String {
    KINDS.map(|kind| kind.name.unwrap_or_default()).join(", ")
}

/// Mean and standard deviation.
fn normalization(fields: &Fields, kind: &Kind) -> Result<([f32; 3], [f32; 3]), DataError> {
    let mean = fields.channels("image_mean", "three numbers, or one", f32::is_finite)?;
    let positive = |std: f32| std.is_normal() && std > 0.0;
    let std = fields.channels("image_std", "three positive numbers, or one", positive)?;
    if fields.flag("do_normalize")? == Some(false) {
        return Ok(([0.0; 3], [1.0; 3]));
    }
    let of = |key: &str, value, default| {
        let value = fields.or_default(key, value, default);
        value.ok_or_else(|| fields.lacking(key, "do_normalize"))
    };
    Ok((
        of("image_mean", mean, kind.mean)?,
        of("image_std", std, kind.std)?,
    ))
}
