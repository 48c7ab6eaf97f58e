//! The sizes that a configuration may have.
//!
//! The limits lie far above any model that trains here. They are there so that a size with digits too many is refused
//! by name, and so that no product of sizes can overflow.

use crate::{ModelError, Result};

/// The largest width, and the largest number of heads.
pub(super) const WIDTH: usize = 1 << 20;
/// The largest number of blocks.
pub(super) const LAYERS: usize = 10_000;
/// The largest number of tokens that a language model knows.
pub(super) const VOCABULARY: usize = 1 << 24;
/// The longest document in tokens.
pub(super) const POSITIONS: usize = 1 << 24;
/// The largest side of an image in pixels.
pub(super) const IMAGE: usize = 8192;

/// Refuses a norm's epsilon that would not keep it from dividing by 0, or would outweigh what it norms.
pub(super) fn check_epsilon(origin: &str, epsilon: f32) -> Result<()> {
    if epsilon > 0.0 && epsilon <= 1.0 {
        return Ok(());
    }
    let message = format!("is {epsilon}; expected a number above 0 and at most 1");
    Err(ModelError::config(origin, message))
}

/// Refuses a size of 0 or above its limit; `sizes` are the keys of `part` with their sizes and limits.
pub(super) fn check(part: &str, sizes: &[(&str, usize, usize)]) -> Result<()> {
    for (key, size, limit) in sizes {
        let expected = if *size == 0 {
            "at least 1".to_owned()
        } else if size > limit {
            format!("at most {limit}")
        } else {
            continue;
        };
        let origin = format!("{part}.{key}");
        return Err(ModelError::config(
            origin,
            format!("is {size}; expected {expected}"),
        ));
    }
    Ok(())
}
