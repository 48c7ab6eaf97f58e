//! JPEG, straight to RGB.

mod reduced;

use ::image::RgbImage;
use ::image::metadata::Orientation;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::place::ratio;
use super::{ImageFiles, ImageTransform};

/// Decodes a JPEG of any colour type, and says how it is to be turned to stand upright. It is decoded at a fraction of its
/// size where `shrink` makes so little of it that enough is left.
pub(super) fn decode(
    bytes: &[u8],
    files: &ImageFiles,
    shrink: Option<&ImageTransform>,
) -> Result<(RgbImage, Orientation), String> {
    if is_cut(bytes) {
        return Err(format!(
            "is a JPEG that is cut short after {} bytes",
            bytes.len()
        ));
    }
    let fail = |error: &dyn std::fmt::Display| {
        format!("JPEG of {} bytes cannot be decoded: {error}", bytes.len())
    };
    // Sizes are checked here. What is not to the letter of the standard is read as other programs do.
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX));
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| fail(&error))?;
    let info = decoder.info().ok_or_else(|| fail(&"it has no frame"))?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    let pixels = u64::from(width) * u64::from(height);
    // A progressive one is kept whole as coefficients of 16 bits; of others, some rows at a time.
    let coefficients = match info.sof.is_progressive() {
        true => 2 * u64::from(info.components),
        false => 0,
    };
    files.check(width, height, pixels * (3 + coefficients))?;
    let orientation = info
        .exif_data
        .and_then(|exif| Orientation::from_exif_chunk(&exif))
        .unwrap_or(Orientation::NoTransforms);
    if let Some(transform) = shrink {
        let factor = reduced::factor(match is_turned(orientation) {
            true => ratio(transform, height, width),
            false => ratio(transform, width, height),
        });
        if factor > 1
            && let Some(image) = reduced::decode(bytes, width, height, factor)
        {
            return Ok((image, orientation));
        }
    }
    let data = decoder.decode().map_err(|error| fail(&error))?;
    let image = RgbImage::from_raw(width, height, data)
        .ok_or_else(|| fail(&"it has another size than it says"))?;
    Ok((image, orientation))
}

/// Whether rows become columns.
fn is_turned(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

/// Whether a JPEG ends before its last scan does. The decoder fills up with grey what is missing.
fn is_cut(jpeg: &[u8]) -> bool {
    const START_OF_SCAN: [u8; 2] = [0xff, 0xda];
    const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
    // From behind, where the end is to be.
    let end = jpeg.windows(2).rposition(|pair| pair == END_OF_IMAGE);
    let after_end = &jpeg[end.unwrap_or(0)..];
    after_end.windows(2).any(|pair| pair == START_OF_SCAN)
}
