//! From the bytes of an image file to normalized pixels of a fixed size.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ::image::{
    DynamicImage, ImageDecoder, ImageFormat, ImageReader, ImageResult, Limits, RgbImage,
};
use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use serde::{Deserialize, Serialize};

/// Wider or higher images are refused, and so are those that need more memory than
/// [`MAX_BYTES`] while decoding: a few bytes can claim to be a picture of gigapixels.
pub const MAX_SIDE: u32 = 16_384;

/// See [`MAX_SIDE`].
pub const MAX_BYTES: u64 = 512 << 20;

/// Pixels as the vision encoder takes them.
#[derive(Clone, Debug, PartialEq)]
pub struct PixelArray {
    /// `[3, height, width]`: all of red, then green, then blue.
    pub data: Vec<f32>,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// How an image's shape is brought to the square the vision encoder takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// The whole image, centred on white.
    #[default]
    Pad,
    /// The whole image, its shape not kept.
    Stretch,
    /// The largest centred square.
    Crop,
}

/// The filter an image is resized with; both are antialiased when they shrink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// Triangle filter.
    Bilinear,
    /// Catmull-Rom cubic.
    #[default]
    Bicubic,
}

/// Resizing and normalization: `(rgb / 255 − mean) / std`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageTransform {
    /// Height and width of the result.
    pub size: usize,
    /// Mean of each channel.
    pub mean: [f32; 3],
    /// Standard deviation of each channel.
    pub std: [f32; 3],
    /// How the shape is made square.
    pub fit: Fit,
    /// The resizing filter.
    pub filter: Filter,
}

impl Default for ImageTransform {
    fn default() -> Self {
        Self {
            size: 64,
            mean: [0.5; 3],
            std: [0.5; 3],
            fit: Fit::default(),
            filter: Filter::default(),
        }
    }
}

impl ImageTransform {
    /// An image as RGB in `[0, 1]`, `[3, size, size]`, not yet normalized.
    pub fn resize(&self, image: &RgbImage) -> Result<PixelArray, String> {
        let size = self.size as u32;
        let (width, height) = image.dimensions();
        let (inner_width, inner_height) = match self.fit {
            Fit::Stretch | Fit::Crop => (size, size),
            Fit::Pad => {
                let scale = f64::from(size) / f64::from(width.max(height));
                let fit = |side: u32| ((f64::from(side) * scale).round() as u32).clamp(1, size);
                (fit(width), fit(height))
            }
        };
        let mut resized = Vec::new();
        let bytes: &[u8] = if (width, height) == (inner_width, inner_height) {
            image.as_raw()
        } else {
            let text = |error: &dyn std::fmt::Display| format!("cannot be resized: {error}");
            let source = TypedImageRef::<U8x3>::from_buffer(width, height, image.as_raw())
                .map_err(|e| text(&e))?;
            resized.resize((3 * inner_width * inner_height) as usize, 0);
            let mut target =
                TypedImage::<U8x3>::from_buffer(inner_width, inner_height, &mut resized)
                    .map_err(|e| text(&e))?;
            let filter = match self.filter {
                Filter::Bilinear => FilterType::Bilinear,
                Filter::Bicubic => FilterType::CatmullRom,
            };
            let mut options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
            if self.fit == Fit::Crop {
                options = options.fit_into_destination(None);
            }
            // The typed call, because the other compiles kernels for every pixel type there is.
            Resizer::new()
                .resize_typed(&source, &mut target, &options)
                .map_err(|e| text(&e))?;
            &resized
        };
        let side = self.size;
        let (inner_width, inner_height) = (inner_width as usize, inner_height as usize);
        let (left, top) = ((side - inner_width) / 2, (side - inner_height) / 2);
        let mut data = vec![1.0; 3 * side * side];
        for (channel, plane) in data.chunks_exact_mut(side * side).enumerate() {
            for (y, line) in bytes.chunks_exact(3 * inner_width).enumerate() {
                let start = (top + y) * side + left;
                let row = &mut plane[start..start + inner_width];
                for (pixel, rgb) in row.iter_mut().zip(line.chunks_exact(3)) {
                    *pixel = f32::from(rgb[channel]) / 255.0;
                }
            }
        }
        Ok(PixelArray {
            data,
            height: side,
            width: side,
        })
    }

    /// Turns `[0, 1]` into what the vision encoder was trained on.
    pub fn normalize(&self, pixels: &mut PixelArray) {
        let plane = pixels.height * pixels.width;
        for (channel, values) in pixels.data.chunks_exact_mut(plane).enumerate() {
            let (mean, scale) = (self.mean[channel], 1.0 / self.std[channel]);
            values.iter_mut().for_each(|v| *v = (*v - mean) * scale);
        }
    }

    /// Decodes, resizes and normalizes the bytes of an image file.
    pub fn apply(&self, bytes: &[u8]) -> Result<PixelArray, String> {
        let mut pixels = self.resize(&decode_rgb(bytes)?)?;
        self.normalize(&mut pixels);
        Ok(pixels)
    }

    /// Refuses values that cannot work.
    pub fn check(&self) -> Result<(), crate::DataError> {
        if !(1..=4096).contains(&self.size) {
            let message = format!("expected 1 to 4096 pixels, got {}", self.size);
            return Err(crate::DataError::config("image size", message));
        }
        if self.std.iter().any(|&s| !s.is_normal() || s < 0.0)
            || self.mean.iter().any(|m| !m.is_finite())
        {
            let message = format!("expected positive numbers, got {:?}", self.std);
            return Err(crate::DataError::config("image std", message));
        }
        Ok(())
    }
}

/// Decodes PNG, JPEG, WebP, GIF (its first frame) or BMP of any colour type to 8-bit RGB; what is
/// transparent shows white, and a photograph is turned upright as its EXIF orientation says. The error says what is
/// wrong with the bytes.
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
mod tests {
    use super::*;
    use ::image::{Luma, Rgb, Rgba};

    fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn decodes_every_format_and_color_type() {
        let rgb = DynamicImage::ImageRgb8(RgbImage::from_pixel(9, 7, Rgb([200, 40, 90])));
        for format in [
            ImageFormat::Png,
            ImageFormat::Jpeg,
            ImageFormat::WebP,
            ImageFormat::Gif,
            ImageFormat::Bmp,
        ] {
            let image = decode_rgb(&encode(&rgb, format)).unwrap();
            assert_eq!(image.dimensions(), (9, 7), "{format:?}");
            for (got, wanted) in image.get_pixel(4, 3).0.iter().zip([200u8, 40, 90]) {
                assert!(got.abs_diff(wanted) <= 4, "{format:?}: {got} {wanted}");
            }
        }
        let grays = [
            DynamicImage::ImageLuma8(::image::ImageBuffer::from_pixel(3, 3, Luma([77]))),
            DynamicImage::ImageLuma16(::image::ImageBuffer::from_pixel(3, 3, Luma([77 * 257]))),
        ];
        for gray in grays {
            let image = decode_rgb(&encode(&gray, ImageFormat::Png)).unwrap();
            assert_eq!(image.get_pixel(1, 1).0, [77; 3]);
        }
    }

    #[test]
    fn transparency_shows_white() {
        let mut image = ::image::RgbaImage::from_pixel(2, 1, Rgba([0, 0, 0, 0]));
        image.put_pixel(1, 0, Rgba([100, 0, 255, 51]));
        let rgb = decode_rgb(&encode(&DynamicImage::ImageRgba8(image), ImageFormat::Png)).unwrap();
        assert_eq!(rgb.get_pixel(0, 0).0, [255; 3]);
        assert_eq!(rgb.get_pixel(1, 0).0, [224, 204, 255]);
    }

    #[test]
    fn broken_bytes_are_told_apart() {
        let rgb = DynamicImage::ImageRgb8(RgbImage::from_pixel(40, 40, Rgb([1, 2, 3])));
        let png = encode(&rgb, ImageFormat::Png);
        assert!(decode_rgb(b"").unwrap_err().contains("empty"));
        assert!(
            decode_rgb(b"<html>not found</html>")
                .unwrap_err()
                .contains("is no PNG")
        );
        let message = decode_rgb(&png[..png.len() / 2]).unwrap_err();
        assert!(message.contains("cannot be decoded"), "{message}");
        // A decoder that fills up what is missing must not hide that it is.
        let large = RgbImage::from_fn(90, 90, |x, y| Rgb([(x * y) as u8, x as u8, y as u8]));
        let jpeg = encode(&DynamicImage::ImageRgb8(large), ImageFormat::Jpeg);
        for length in [jpeg.len() - 1, jpeg.len() * 3 / 4] {
            let message = decode_rgb(&jpeg[..length]).unwrap_err();
            assert!(message.contains("cut short"), "{message}");
        }
    }

    #[test]
    fn a_photograph_is_turned_upright() {
        let wide = RgbImage::from_fn(24, 8, |x, _| Rgb(if x < 12 { [0; 3] } else { [255; 3] }));
        let jpeg = encode(&DynamicImage::ImageRgb8(wide), ImageFormat::Jpeg);
        // EXIF with one entry: orientation 6, to be turned by 90 degrees clockwise.
        let mut exif =
            b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec();
        let length = (exif.len() as u16 + 2).to_be_bytes();
        let mut turned = jpeg[..2].to_vec();
        turned.extend([0xff, 0xe1, length[0], length[1]]);
        turned.append(&mut exif);
        turned.extend(&jpeg[2..]);
        let image = decode_rgb(&turned).unwrap();
        assert_eq!(image.dimensions(), (8, 24));
        assert!(image.get_pixel(4, 2)[0] < 50 && image.get_pixel(4, 21)[0] > 200);
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut png = encode(
            &DynamicImage::ImageRgb8(RgbImage::new(1, 1)),
            ImageFormat::Png,
        );
        // Width and height of the IHDR chunk, then its checksum.
        png[16..20].copy_from_slice(&60_000u32.to_be_bytes());
        png[20..24].copy_from_slice(&60_000u32.to_be_bytes());
        let crc = crc32(&png[12..29]);
        png[29..33].copy_from_slice(&crc.to_be_bytes());
        let message = decode_rgb(&png).unwrap_err();
        assert!(message.to_lowercase().contains("limit"), "{message}");
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |c, _| {
                (c >> 1) ^ (0xedb8_8320 * (c & 1))
            })
        })
    }

    #[test]
    fn fits() {
        // A wide image: left half black, right half red.
        let image = RgbImage::from_fn(64, 32, |x, _| {
            if x < 32 {
                Rgb([0; 3])
            } else {
                Rgb([255, 0, 0])
            }
        });
        let transform = |fit| ImageTransform {
            size: 16,
            fit,
            ..Default::default()
        };
        let at = |pixels: &PixelArray, x: usize, y: usize| {
            [0, 1, 2].map(|c| pixels.data[c * 256 + y * 16 + x])
        };
        let pad = transform(Fit::Pad).resize(&image).unwrap();
        assert_eq!((pad.data.len(), pad.height, pad.width), (768, 16, 16));
        assert_eq!(at(&pad, 8, 3), [1.0; 3]);
        assert_eq!(at(&pad, 2, 4), [0.0; 3]);
        assert_eq!(at(&pad, 14, 11), [1.0, 0.0, 0.0]);
        assert_eq!(at(&pad, 8, 12), [1.0; 3]);
        let stretch = transform(Fit::Stretch).resize(&image).unwrap();
        assert_eq!(at(&stretch, 2, 0), [0.0; 3]);
        assert_eq!(at(&stretch, 14, 15), [1.0, 0.0, 0.0]);
        let crop = transform(Fit::Crop).resize(&image).unwrap();
        assert_eq!(at(&crop, 0, 0), [0.0; 3]);
        assert_eq!(at(&crop, 15, 15), [1.0, 0.0, 0.0]);
    }

    #[test]
    fn shrinking_is_antialiased() {
        let checks = RgbImage::from_fn(64, 64, |x, y| Rgb([255 * ((x + y) % 2) as u8; 3]));
        for filter in [Filter::Bilinear, Filter::Bicubic] {
            let transform = ImageTransform {
                size: 8,
                filter,
                ..Default::default()
            };
            let pixels = transform.resize(&checks).unwrap();
            assert!(
                pixels.data.iter().all(|v| (v - 0.5).abs() < 0.05),
                "{filter:?}"
            );
        }
    }

    #[test]
    fn normalizes_each_channel() {
        let transform = ImageTransform {
            size: 1,
            mean: [0.5, 0.25, 0.0],
            std: [0.5, 0.25, 2.0],
            ..Default::default()
        };
        let image = RgbImage::from_pixel(1, 1, Rgb([255, 0, 255]));
        let bytes = encode(&DynamicImage::ImageRgb8(image), ImageFormat::Png);
        assert_eq!(transform.apply(&bytes).unwrap().data, [1.0, -1.0, 0.5]);
    }
}
