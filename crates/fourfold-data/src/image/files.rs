//! How image files are decoded.

use serde::{Deserialize, Serialize};

/// The longest side that an image is resized to, and what [`ImageFiles`] allows when nothing is said.
pub(crate) const MAX_SIDE: u32 = 16_384;

/// What an image may take at most, since a few bytes of a file can claim to be a picture of gigapixels, and whether large
/// ones are decoded smaller. Images past a limit are refused before memory is taken for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageFiles {
    /// Columns, and rows, in pixels.
    pub max_side: u32,
    /// Memory of the decoded image, as the file has its samples and as RGB, in MiB.
    pub max_mib: u64,
    /// Whether JPEGs are decoded at a half, a quarter or an eighth of their size where twice the pixels of the result are
    /// left; about a fifth of a level of 255 away from the same image decoded whole, on average.
    pub shrink: bool,
}

impl Default for ImageFiles {
    /// 16384 pixels a side, 512 MiB, always decoded whole.
    fn default() -> Self {
        Self {
            max_side: MAX_SIDE,
            max_mib: 512,
            shrink: false,
        }
    }
}

impl ImageFiles {
    /// Whether this is the default.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// [`max_mib`](Self::max_mib) in bytes.
    pub(super) fn max_bytes(&self) -> u64 {
        self.max_mib.saturating_mul(1 << 20)
    }

    /// Refuses an image of `width` by `height` pixels that takes `bytes` while it is decoded.
    pub(super) fn check(&self, width: u32, height: u32, bytes: u64) -> Result<(), String> {
        let most = self.max_side;
        if width.max(height) > most {
            return Err(format!(
                "is of {width} × {height} pixels, and the limit is {most} a side (image_files.max_side)"
            ));
        }
        if bytes > self.max_bytes() {
            return Err(format!(
                "of {width} × {height} pixels would take {} MiB to decode, and the limit is {} MiB (image_files.max_mib)",
                bytes.div_ceil(1 << 20),
                self.max_mib
            ));
        }
        Ok(())
    }
}
