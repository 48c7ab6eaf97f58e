//! From the bytes of an image file to RGB.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ::image::{
    DynamicImage, ImageDecoder, ImageFormat, ImageReader, ImageResult, Limits, RgbImage,
};

use super::{MAX_BYTES, MAX_SIDE};

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
/// # Errors
/// What is wrong with the bytes.
pub fn decode_rgb(bytes: &[u8]) -> Result<RgbImage, String> {
    if bytes.is_empty() {
        return Err("is empty (0 bytes)".into());
    }
    // Decoders are other people's code fed with other people's files: a panic there is a broken
    // image, not the end of the run.
    catch_unwind(AssertUnwindSafe(|| decode(bytes)))
        .unwrap_or_else(|_| Err("makes the decoder fail; the file is damaged".into()))
}

/// Whether a JPEG ends before its last scan does. The decoder fills up with grey what is missing.
fn is_cut(jpeg: &[u8]) -> bool {
    const START_OF_SCAN: [u8; 2] = [0xff, 0xda];
    const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
    let last = |marker: [u8; 2]| jpeg.windows(2).rposition(|pair| pair == marker);
    last(END_OF_IMAGE) < last(START_OF_SCAN)
}

fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| error.to_string())?;
    let format = reader.format().ok_or_else(|| {
        let start: Vec<String> = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect();
        format!(
            "is no PNG, JPEG, WebP, GIF or BMP ({} bytes beginning {})",
            bytes.len(),
            start.join(" ")
        )
    })?;
    if format == ImageFormat::Jpeg && is_cut(bytes) {
        return Err(format!(
            "is a JPEG that is cut short after {} bytes",
            bytes.len()
        ));
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let upright = || -> ImageResult<DynamicImage> {
        let mut decoder = reader.into_decoder()?;
        let orientation = decoder.orientation()?;
        let mut image = DynamicImage::from_decoder(decoder)?;
        image.apply_orientation(orientation);
        Ok(image)
    };
    let image = upright().map_err(|error| {
        format!(
            "{format:?} of {} bytes cannot be decoded: {error}",
            bytes.len()
        )
    })?;
    if image.width() == 0 || image.height() == 0 {
        return Err(format!(
            "has no pixels ({} × {})",
            image.width(),
            image.height()
        ));
    }
    Ok(on_white(image))
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
