//! From the bytes of an image file to normalized pixels of a fixed size.

mod decode;
mod files;
mod foreign;
mod jpeg;
mod pillow;
mod place;
mod transform;
mod words;

pub use decode::{decode_rgb, decode_rgb_for, decode_rgb_within};
pub use files::ImageFiles;
pub(crate) use files::MAX_SIDE;
pub use transform::ImageTransform;
pub use words::{Background, Filter, Fit, Resize, Size};

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
