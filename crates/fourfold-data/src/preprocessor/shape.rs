//! Size, fit and resizing of a configuration.

use serde::Deserialize;
use serde_json::Value;

use super::decimal;
use super::fields::Fields;
use super::kind::{Kind, OURSELVES};
use crate::image::MAX_SIDE;
use crate::{Background, DataError, Fit, ImageTransform, Resize, Size};

/// The largest side of a result.
const MAX_RESULT: usize = 4096;
const MAX_RESIZED: usize = MAX_SIDE as usize;

/// Size, fit, resizing and background as transformers has them.
pub(super) fn shape(fields: &Fields, kind: &Kind) -> Result<ImageTransform, DataError> {
    let crops = fields.flag("do_center_crop")?;
    if crops == Some(true) && !kind.crops {
        let name = kind.name.unwrap_or_default();
        return Err(fields.fail(
            "do_center_crop",
            format_args!("{name} has no centre crop; set it to false"),
        ));
    }
    let crop = match crops.unwrap_or(kind.crop.is_some()) {
        false => None,
        true => {
            let crop = exact(fields, "crop_size", MAX_RESULT)?;
            let crop = fields.or_default("crop_size", crop, kind.crop);
            Some(crop.ok_or_else(|| fields.lacking("crop_size", "do_center_crop"))?)
        }
    };
    let square = fields.flag("do_pad")? == Some(true);
    if square && !kind.pads {
        return Err(fields.fail(
            "do_pad",
            "is supported with LlavaImageProcessor alone; set it to false",
        ));
    }
    let resize = resize(fields, kind)?;
    let size = match (crop, resize) {
        (Some(size), _) | (None, Resize::Exact(size)) => size,
        (None, Resize::Shortest(side)) if square => Size::from(side),
        (None, Resize::Never) => {
            let message = "is false, and so is `do_center_crop`: images of any size are not supported; \
                           set it to true with a `size` of height and width";
            return Err(fields.fail("do_resize", message));
        }
        (None, _) => {
            let message = "leaves images of any shape without a centre crop; state height and width, \
                           or set `do_center_crop` to true";
            return Err(fields.fail("size", message));
        }
    };
    if size.height > MAX_RESULT || size.width > MAX_RESULT {
        return Err(fields.fail(
            "size",
            format_args!("expected 1 to {MAX_RESULT} pixels, got {size}"),
        ));
    }
    // LLaVA pads with the mean even where it does not normalize.
    let mut background = Background::White;
    if square {
        let unit = |mean: f32| (0.0..=1.0).contains(&mean);
        let expected = "numbers of 0 to 1, since LLaVA pads with this colour";
        let mean = fields.channels("image_mean", expected, unit)?;
        let mean = fields.or_default("image_mean", mean, kind.mean);
        background = match (fields.flag("do_normalize")?, mean) {
            (Some(false), Some(mean)) => {
                Background::Color(mean.map(|mean| (decimal(mean) * 255.0) as u8))
            }
            _ => Background::Mean,
        };
    }
    Ok(ImageTransform {
        size,
        fit: if square { Fit::Square } else { Fit::Center },
        resize: Some(resize),
        background,
        ..ImageTransform::default()
    })
}

/// The same where `fourfold_fit` says how.
pub(super) fn our_shape(fields: &Fields, fit: Fit) -> Result<ImageTransform, DataError> {
    let background = "\"white\", \"mean\" or [red, green, blue]";
    let background = fields.of("fourfold_background", background, |value| {
        Background::deserialize(value).ok()
    })?;
    let key = match fit {
        Fit::Pad | Fit::Stretch => "size",
        Fit::Crop | Fit::Center | Fit::Square => "crop_size",
    };
    let size = exact(fields, key, MAX_RESULT)?;
    let size = size.ok_or_else(|| fields.fail(key, "is missing"))?;
    let resize = match fit {
        Fit::Center | Fit::Square => Some(resize(fields, &OURSELVES)?),
        Fit::Pad | Fit::Stretch | Fit::Crop => None,
    };
    Ok(ImageTransform {
        size,
        fit,
        resize,
        background: background.unwrap_or_default(),
        ..ImageTransform::default()
    })
}

/// `size` and `do_resize`.
fn resize(fields: &Fields, kind: &Kind) -> Result<Resize, DataError> {
    if fields.flag("do_resize")? == Some(false) {
        return Ok(Resize::Never);
    }
    let Some(value) = fields.get("size") else {
        let resize = fields.or_default("size", None, kind.resize);
        return resize.ok_or_else(|| fields.lacking("size", "do_resize"));
    };
    let square = fields.flag("default_to_square")?.unwrap_or(kind.square);
    let edge = |name| {
        let value = value.get(name).filter(|value| !value.is_null());
        value
            .map(|value| fields.edge("size", name, value, MAX_RESIZED))
            .transpose()
    };
    match (edge("shortest_edge")?, edge("longest_edge")?) {
        (Some(shortest), None) => return Ok(Resize::Shortest(shortest)),
        (Some(shortest), Some(longest)) if longest > shortest => {
            return Ok(Resize::Within { shortest, longest });
        }
        (Some(_), Some(_)) => {
            return Err(fields.fail(
                "size",
                format_args!("expected \"longest_edge\" above \"shortest_edge\", got {value}"),
            ));
        }
        (None, _) => {}
    }
    if value.is_number() && !square {
        return Ok(Resize::Shortest(fields.edge(
            "size",
            "",
            value,
            MAX_RESIZED,
        )?));
    }
    let size = exact(fields, "size", MAX_RESIZED)?;
    size.map(Resize::Exact)
        .ok_or_else(|| fields.fail("size", "is missing"))
}

/// Height and width under `key`: a number, two of them, or an object.
fn exact(fields: &Fields, key: &str, most: usize) -> Result<Option<Size>, DataError> {
    let Some(value) = fields.get(key) else {
        return Ok(None);
    };
    let edge = |name: &str, value: &Value| fields.edge(key, name, value, most);
    let sides = match value {
        Value::Number(_) => {
            let side = edge("", value)?;
            Some((side, side))
        }
        Value::Array(sides) => match sides.as_slice() {
            [height, width] => Some((edge("", height)?, edge("", width)?)),
            _ => None,
        },
        _ => match (value.get("height"), value.get("width")) {
            (Some(height), Some(width)) => Some((edge("height", height)?, edge("width", width)?)),
            _ => None,
        },
    };
    let sides = sides.map(|(height, width)| Some(Size { height, width }));
    sides.ok_or_else(|| {
        let shortest = if key == "size" {
            " or {\"shortest_edge\"}"
        } else {
            ""
        };
        let message =
            format!("expected a number, {{\"height\", \"width\"}}{shortest}, got {value}");
        fields.fail(key, message)
    })
}
