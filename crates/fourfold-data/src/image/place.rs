//! Where an image comes to lie in the result.

use ::image::RgbImage;
use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

use super::pillow::{Axis, Canvas};
use super::{Background, Filter, Fit, ImageTransform, Resize, Size};
use crate::preprocessor::decimal;

/// A resized image within the result.
pub(super) struct Placed {
    /// `[height, width, 3]`.
    pub(super) bytes: Vec<u8>,
    pub(super) width: usize,
    /// The first column and row of the result that it takes.
    pub(super) left: usize,
    pub(super) top: usize,
    /// What is around it.
    pub(super) color: [u8; 3],
}

/// Resizes `image` as `transform` says. The result is within `transform.size`.
pub(super) fn place(transform: &ImageTransform, image: &RgbImage) -> Result<Placed, String> {
    let (width, height) = image.dimensions();
    if width == 0 || height == 0 {
        return Err(format!("has no pixels ({width} × {height})"));
    }
    let size = transform.size;
    if size.width == 0 || size.height == 0 {
        return Err(format!("cannot be resized to {size}"));
    }
    let color = color(transform);
    match transform.fit {
        Fit::Pad => {
            let scale =
                (size.height as f64 / f64::from(height)).min(size.width as f64 / f64::from(width));
            let fit = |side: u32, most: usize| {
                ((f64::from(side) * scale).round() as usize).clamp(1, most)
            };
            let inner = Size {
                height: fit(height, size.height),
                width: fit(width, size.width),
            };
            Ok(Placed {
                bytes: resample(image, inner, transform)?,
                width: inner.width,
                left: (size.width - inner.width) / 2,
                top: (size.height - inner.height) / 2,
                color,
            })
        }
        Fit::Stretch | Fit::Crop => Ok(Placed {
            bytes: resample(image, size, transform)?,
            width: size.width,
            left: 0,
            top: 0,
            color,
        }),
        Fit::Center => center(transform, &Canvas::of(image)),
        Fit::Square => center(transform, &Canvas::square(image, color)),
    }
}

fn color(transform: &ImageTransform) -> [u8; 3] {
    match transform.background {
        Background::White => [255; 3],
        // Rounded down from the decimal that a person wrote, not from what 32 bits make of it.
        Background::Mean => transform.mean.map(|mean| (decimal(mean) * 255.0) as u8),
        Background::Color(color) => color,
    }
}

/// Resizes, then cuts out the centre; only what is kept of it is computed.
fn center(transform: &ImageTransform, canvas: &Canvas) -> Result<Placed, String> {
    let (height, width) = (canvas.height, canvas.width);
    let resized = resized(before_cut(transform), Size { height, width });
    if resized.height == 0 || resized.width == 0 {
        return Err(format!(
            "of {width} × {height} pixels is too narrow: it would be resized to {} × {}",
            resized.width, resized.height
        ));
    }
    let (across, left) = cut(width, resized.width, transform.size.width);
    let (down, top) = cut(height, resized.height, transform.size.height);
    Ok(Placed {
        bytes: canvas.resample(across, down, transform.filter),
        width: across.len,
        left,
        top,
        color: [0; 3],
    })
}

/// What the image is resized to before its centre is cut out.
fn before_cut(transform: &ImageTransform) -> Resize {
    let Size { height, width } = transform.size;
    transform
        .resize
        .unwrap_or(Resize::Shortest(height.min(width)))
}

/// How many samples of an image of `width` by `height` pixels become one, along the axis that shrinks less.
pub(super) fn ratio(transform: &ImageTransform, width: u32, height: u32) -> f64 {
    let by = |from: Size, to: Size| {
        let down = from.height as f64 / to.height.max(1) as f64;
        let across = from.width as f64 / to.width.max(1) as f64;
        (down.min(across), down.max(across))
    };
    let image = Size {
        height: height as usize,
        width: width as usize,
    };
    match transform.fit {
        Fit::Pad => by(image, transform.size).1,
        Fit::Stretch | Fit::Crop => by(image, transform.size).0,
        Fit::Center => by(image, resized(before_cut(transform), image)).0,
        Fit::Square => {
            let square = Size::from(image.height.max(image.width));
            by(square, resized(before_cut(transform), square)).0
        }
    }
}

/// What is kept of an axis of `to` samples when its centre of `size` samples is cut out, and where in the result it
/// begins. The rounding is that of `center_crop` in Hugging Face's transformers: what cannot be halved is cut off, or
/// left black, one sample more at the end when cut and at the beginning when left.
fn cut(from: usize, to: usize, size: usize) -> (Axis, usize) {
    let axis = |start, len| Axis {
        from,
        to,
        start,
        len,
    };
    match to.checked_sub(size) {
        Some(surplus) => (axis(surplus / 2, size), 0),
        None => (axis(0, to), (size - to).div_ceil(2)),
    }
}

/// The size that an image of `size` is resized to, with the rounding of transformers' `get_resize_output_image_size`
/// and `get_size_with_aspect_ratio`. A side may come out as 0.
fn resized(resize: Resize, size: Size) -> Size {
    let Size { height, width } = size;
    let (short, long) = (height.min(width), height.max(width));
    let of = |new_short: usize, new_long: usize| match width <= height {
        true => Size {
            height: new_long,
            width: new_short,
        },
        false => Size {
            height: new_short,
            width: new_long,
        },
    };
    match resize {
        Resize::Never => size,
        Resize::Exact(size) => size,
        Resize::Shortest(edge) => of(edge, ((edge * long) as f64 / short as f64) as usize),
        Resize::Within { shortest, longest } => {
            let (short, long) = (short as f64, long as f64);
            let exact = longest as f64 * short / long;
            let (edge, exact) = match long / short * shortest as f64 > longest as f64 {
                true => (exact.round_ties_even() as usize, exact),
                false => (shortest, shortest as f64),
            };
            match short == edge as f64 {
                true => size,
                false => of(edge, (exact * long / short) as usize),
            }
        }
    }
}

/// The whole image at `size`, or its largest centred part of that shape.
fn resample(image: &RgbImage, size: Size, transform: &ImageTransform) -> Result<Vec<u8>, String> {
    let (width, height) = image.dimensions();
    if (width as usize, height as usize) == (size.width, size.height) {
        return Ok(image.as_raw().clone());
    }
    let text = |error: &dyn std::fmt::Display| format!("cannot be resized: {error}");
    let source =
        TypedImageRef::<U8x3>::from_buffer(width, height, image.as_raw()).map_err(|e| text(&e))?;
    let mut resized = vec![0; 3 * size.width * size.height];
    let mut target =
        TypedImage::<U8x3>::from_buffer(size.width as u32, size.height as u32, &mut resized)
            .map_err(|e| text(&e))?;
    let filter = match transform.filter {
        Filter::Nearest => ResizeAlg::Nearest,
        Filter::Lanczos => ResizeAlg::Convolution(FilterType::Lanczos3),
        Filter::Bilinear => ResizeAlg::Convolution(FilterType::Bilinear),
        Filter::Bicubic => ResizeAlg::Convolution(FilterType::CatmullRom),
        Filter::Box => ResizeAlg::Convolution(FilterType::Box),
        Filter::Hamming => ResizeAlg::Convolution(FilterType::Hamming),
    };
    let mut options = ResizeOptions::new().resize_alg(filter);
    if transform.fit == Fit::Crop {
        options = options.fit_into_destination(None);
    }
    // The typed call, because the other compiles kernels for every pixel type there is.
    Resizer::new()
        .resize_typed(&source, &mut target, &options)
        .map_err(|e| text(&e))?;
    Ok(resized)
}

#[cfg(test)]
mod tests;
