//! JPEG, straight to RGB.

use ::image::RgbImage;
use ::image::metadata::Orientation;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::ImageLimits;

/// Decodes a JPEG of any colour type, and says how it is to be turned to stand upright.
pub(super) fn decode(
    bytes: &[u8],
    limits: &ImageLimits,
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
    limits.check(width, height, pixels * (3 + coefficients))?;
    let data = decoder.decode().map_err(|error| fail(&error))?;
    let image = RgbImage::from_raw(width, height, data)
        .ok_or_else(|| fail(&"it has another size than it says"))?;
    let orientation = info
        .exif_data
        .and_then(|exif| Orientation::from_exif_chunk(&exif));
    Ok((image, orientation.unwrap_or(Orientation::NoTransforms)))
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
