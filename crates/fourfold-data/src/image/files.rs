//! How large an image may be.

use serde::{Deserialize, Serialize};

/// The longest side that an image is resized to, and what [`ImageLimits`] allows when nothing is said.
pub(crate) const MAX_SIDE: u32 = 16_384;

/// What an image may take at most: a few bytes of a file can claim to be a picture of gigapixels. Images past a limit are
/// refused before memory is taken for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageLimits {
    /// Columns, and rows, in pixels.
    pub max_side: u32,
    /// Memory of the decoded image, as the file has its samples and as RGB, in bytes.
    pub max_bytes: u64,
}

impl Default for ImageLimits {
    /// 16384 pixels a side, 512 MiB.
    fn default() -> Self {
        Self {
            max_side: MAX_SIDE,
            max_bytes: 512 << 20,
        }
    }
}

impl ImageLimits {
    /// Refuses an image of `width` by `height` pixels that takes `bytes` while it is decoded.
    pub(super) fn check(&self, width: u32, height: u32, bytes: u64) -> Result<(), String> {
        let Self {
            max_side,
            max_bytes,
        } = *self;
        if width.max(height) > max_side {
            return Err(format!(
                "is of {width} × {height} pixels, and the limit is {max_side} a side"
            ));
        }
        if bytes > max_bytes {
            return Err(format!(
                "of {width} × {height} pixels would take {} MiB to decode, and the limit is {} MiB",
                bytes.div_ceil(1 << 20),
                max_bytes >> 20
            ));
        }
        Ok(())
    }
}
