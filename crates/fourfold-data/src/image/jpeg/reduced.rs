//! JPEG at a fraction of its size: of each block of 8 by 8 samples, the low frequencies alone become 4 by 4, 2 by 2 or 1.

use ::image::RgbImage;
use jpeg_decoder::{Decoder, PixelFormat};

/// How many times more pixels a side a reduced image has than it is then resized to: what is left to the resizing filter
/// decides the result, not the cruder one of the blocks.
const SPARE: f64 = 2.0;

/// By how much an image that is resized by `ratio` may be reduced before: 1, 2, 4 or 8.
pub(super) fn factor(ratio: f64) -> u32 {
    let fits = |factor: &u32| ratio / f64::from(*factor) >= SPARE;
    [8, 4, 2].into_iter().find(fits).unwrap_or(1)
}

/// An image of `width` by `height` pixels at 1/`factor` of its sides, rounded up. None where the file has other colours
/// than grey or three, or is damaged: whoever decodes it whole says what is wrong.
pub(super) fn decode(bytes: &[u8], width: u32, height: u32, factor: u32) -> Option<RgbImage> {
    let side = |side: u32| u16::try_from(side.div_ceil(factor)).ok();
    let mut decoder = Decoder::new(bytes);
    decoder.read_info().ok()?;
    let (width, height) = decoder.scale(side(width)?, side(height)?).ok()?;
    let data = decoder.decode().ok()?;
    let rgb = match decoder.info()?.pixel_format {
        PixelFormat::RGB24 => data,
        PixelFormat::L8 => data.iter().flat_map(|grey| [*grey; 3]).collect(),
        PixelFormat::L16 | PixelFormat::CMYK32 => return None,
    };
    RgbImage::from_raw(width.into(), height.into(), rgb)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_the_pixels_are_left() {
        let factors = [0.5, 3.9, 4.0, 7.9, 8.0, 15.9, 16.0, 99.0].map(factor);
        assert_eq!(factors, [1, 1, 2, 2, 4, 4, 8, 8]);
    }
}
