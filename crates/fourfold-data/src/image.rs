//! From the bytes of an image file to normalized pixels of a fixed size.

mod decode;
mod pillow;
mod place;
mod transform;
mod words;

pub use decode::decode_rgb;
pub use transform::ImageTransform;
pub use words::{Background, Filter, Fit, Resize, Size};

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
