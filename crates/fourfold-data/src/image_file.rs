//! Image files looked at without decoding them, and written anew.

use std::io::Cursor;

use fast_image_resize as resize;
use image::codecs::jpeg::JpegEncoder;
use image::{ImageReader, RgbImage};

/// The width and height that an image file says it has, in pixels, before EXIF turns it.
///
/// # Errors
/// When the bytes are no image of a known format.
pub fn dimensions(bytes: &[u8]) -> Result<(u32, u32), String> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let reader = reader.map_err(|error| error.to_string())?;
    reader.into_dimensions().map_err(|error| error.to_string())
}

/// The ending that an image file's name should have, by its first bytes; `bin` for what is none.
pub fn ending(bytes: &[u8]) -> &'static str {
    match image::guess_format(bytes) {
        Ok(image::ImageFormat::Jpeg) => "jpg",
        Ok(image::ImageFormat::Png) => "png",
        Ok(image::ImageFormat::WebP) => "webp",
        Ok(image::ImageFormat::Gif) => "gif",
        Ok(image::ImageFormat::Bmp) => "bmp",
        _ => "bin",
    }
}

/// `image` shrunk so that no side is longer than `side` pixels, which is not 0; as it is where none is longer.
pub fn shrunk(image: RgbImage, side: u32) -> Result<RgbImage, String> {
    let (width, height) = image.dimensions();
    let longest = width.max(height);
    if longest <= side {
        return Ok(image);
    }
    let scaled = |length: u32| {
        let scaled = f64::from(length) * f64::from(side) / f64::from(longest);
        (scaled.round() as u32).max(1)
    };
    let (across, down) = (scaled(width), scaled(height));
    let kind = resize::PixelType::U8x3;
    let from = resize::images::ImageRef::new(width, height, image.as_raw(), kind);
    let from = from.map_err(|error| error.to_string())?;
    let mut to = resize::images::Image::new(across, down, kind);
    let lanczos = resize::ResizeAlg::Convolution(resize::FilterType::Lanczos3);
    let options = resize::ResizeOptions::new().resize_alg(lanczos);
    let resized = resize::Resizer::new().resize(&from, &mut to, &options);
    resized.map_err(|error| error.to_string())?;
    RgbImage::from_raw(across, down, to.into_vec()).ok_or_else(|| "has no pixels".to_owned())
}

/// `image` as the bytes of a JPEG of `quality`, 1 to 100.
///
/// # Errors
/// When it is larger than a JPEG can be.
pub fn jpeg(image: &RgbImage, quality: u8) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
    let written = image.write_with_encoder(encoder);
    written.map_err(|error| error.to_string())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode_rgb;

    #[test]
    fn an_image_is_shrunk_in_proportion_and_written() {
        let picture = |width, height| RgbImage::from_pixel(width, height, image::Rgb([200, 40, 9]));
        let size = |image: RgbImage, side| shrunk(image, side).unwrap().dimensions();
        assert_eq!(size(picture(300, 100), 60), (60, 20));
        assert_eq!(size(picture(5, 1000), 10), (1, 10));
        assert_eq!(size(picture(30, 10), 60), (30, 10));
        let bytes = jpeg(&picture(40, 20), 90).unwrap();
        assert_eq!((ending(&bytes), dimensions(&bytes)), ("jpg", Ok((40, 20))));
        let [red, ..] = decode_rgb(&bytes).unwrap().get_pixel(3, 3).0;
        assert!(red.abs_diff(200) < 4);
        assert_eq!(ending(b"<svg/>"), "bin");
        assert!(dimensions(b"<svg/>").is_err());
    }
}
