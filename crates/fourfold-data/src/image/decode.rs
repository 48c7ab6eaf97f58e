//! From the bytes of an image file to RGB.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ::image::metadata::Orientation;
use ::image::{
    self as image, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits,
    RgbImage,
};

use super::{ImageFiles, ImageTransform, foreign, jpeg};

/// Decodes PNG, JPEG, WebP, GIF (its first frame) or BMP of any colour type to 8-bit RGB, as Pillow and the image
/// processors of Hugging Face do:
///
/// - What is transparent shows white, by alpha channel, palette entry or colour key. So does transformers 5; version 4
///   dropped the alpha channel, and showed whatever colour a transparent pixel had.
/// - Samples of 16 bits are scaled to 8. Pillow does that with colours, but takes a grey above 255 of 65535 for white,
///   which is of no use to anybody and is not done here.
/// - CMYK and YCCK become RGB, inverted where Adobe's marker says so.
/// - A photograph is turned upright as its EXIF orientation says; colour profiles are passed over.
///
/// JPEGs differ from Pillow's by a few levels, since the format leaves rounding and the enlarging of colours open.
///
/// Images past the default [`ImageFiles`] are refused.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode_rgb(bytes: &[u8]) -> Result<RgbImage, String> {
    decode_rgb_within(bytes, &ImageFiles::default())
}

/// The same with limits of one's own.
///
/// # Errors
/// What is wrong with the bytes; where they are no image, what they are instead.
pub fn decode_rgb_within(bytes: &[u8], files: &ImageFiles) -> Result<RgbImage, String> {
    guarded(bytes, files, None)
}

/// The same for `transform`: where it makes an image far smaller and `files` says so, a JPEG is decoded at a fraction of
/// its size.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode_rgb_for(
    transform: &ImageTransform,
    bytes: &[u8],
    files: &ImageFiles,
) -> Result<RgbImage, String> {
    guarded(bytes, files, files.shrink.then_some(transform))
}

fn guarded(
    bytes: &[u8],
    files: &ImageFiles,
    shrink: Option<&ImageTransform>,
) -> Result<RgbImage, String> {
    if bytes.is_empty() {
        return Err("is empty (0 bytes)".into());
    }
    // Decoders are other people's code fed with other people's files: a panic there is a broken
    // image, not the end of the run.
    catch_unwind(AssertUnwindSafe(|| decode(bytes, files, shrink)))
        .unwrap_or_else(|_| Err("makes the decoder fail; the file is damaged".into()))
        // Decoders' messages may have several lines.
        .map_err(|message| message.trim().replace('\n', " "))
}

fn decode(
    bytes: &[u8],
    files: &ImageFiles,
    shrink: Option<&ImageTransform>,
) -> Result<RgbImage, String> {
    let image = match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => {
            let (image, orientation) = jpeg::decode(bytes, files, shrink)?;
            if orientation == Orientation::NoTransforms {
                return Ok(image);
            }
            let mut image = DynamicImage::ImageRgb8(image);
            image.apply_orientation(orientation);
            image
        }
        Ok(
            format @ (ImageFormat::Png | ImageFormat::WebP | ImageFormat::Gif | ImageFormat::Bmp),
        ) => other(bytes, format, files)?,
        _ => return Err(foreign(bytes)),
    };
    Ok(on_white(image))
}

/// Says that `bytes` are no image, and what they are as far as is known.
fn foreign(bytes: &[u8]) -> String {
    if let Some(name) = foreign::name(bytes) {
        return format!("is {name}, not a PNG, JPEG, WebP, GIF or BMP");
    }
    let start: Vec<String> = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect();
    format!(
        "is no PNG, JPEG, WebP, GIF or BMP ({} bytes beginning {})",
        bytes.len(),
        start.join(" ")
    )
}

/// Decodes what is no JPEG, upright.
fn other(bytes: &[u8], format: ImageFormat, files: &ImageFiles) -> Result<DynamicImage, String> {
    let fail = |error: ImageError| {
        format!(
            "{format:?} of {} bytes cannot be decoded: {error}",
            bytes.len()
        )
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    // Sides are checked once they are known, so that the message can name them.
    let mut memory = Limits::no_limits();
    memory.max_alloc = Some(files.max_bytes());
    reader.limits(memory);
    let mut decoder = reader.into_decoder().map_err(fail)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(format!("has no pixels ({width} × {height})"));
    }
    let rgb = 3 * u64::from(width) * u64::from(height);
    let held = match format {
        // Its decoder holds the image once more, as planes of brightness and colour or as a canvas.
        ImageFormat::WebP => decoder.total_bytes().saturating_mul(2),
        _ => decoder.total_bytes(),
    };
    files.check(width, height, held.saturating_add(rgb))?;
    let orientation = decoder.orientation().map_err(fail)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(fail)?;
    image.apply_orientation(orientation);
    Ok(image)
}

fn on_white(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let rgba = image.into_rgba8();
    let mut rgb = RgbImage::new(rgba.width(), rgba.height());
    for (to, from) in rgb.pixels_mut().zip(rgba.pixels()) {
        let alpha = u32::from(from[3]);
        for channel in 0..3 {
            let value = u32::from(from[channel]) * alpha + 255 * (255 - alpha);
            to[channel] = ((value + 127) / 255) as u8;
        }
    }
    rgb
}

#[cfg(test)]
mod tests;
