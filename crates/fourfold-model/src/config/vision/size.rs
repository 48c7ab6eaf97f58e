//! The height and width of images.

use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Pixels of an image, or patches of its grid: one number in files where both are equal, `[height, width]` otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSize {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl ImageSize {
    /// As many rows as columns.
    pub fn square(side: usize) -> Self {
        Self {
            height: side,
            width: side,
        }
    }

    /// The side of a square.
    pub fn side(self) -> Option<usize> {
        (self.height == self.width).then_some(self.height)
    }

    /// Rows times columns.
    pub fn area(self) -> usize {
        self.height.saturating_mul(self.width)
    }
}

impl fmt::Display for ImageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {}", self.height, self.width)
    }
}

impl Serialize for ImageSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.side() {
            Some(side) => side.serialize(serializer),
            None => [self.height, self.width].serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ImageSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> serde::de::Visitor<'de> for Reader {
            type Value = ImageSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of pixels, or [height, width]")
            }

            fn visit_u64<E: Error>(self, side: u64) -> Result<ImageSize, E> {
                usize::try_from(side)
                    .map(ImageSize::square)
                    .map_err(|_| E::custom(format!("{side} is too large")))
            }

            fn visit_i64<E: Error>(self, side: i64) -> Result<ImageSize, E> {
                usize::try_from(side).map(ImageSize::square).map_err(|_| {
                    E::custom(format!("is {side}; expected a whole number of at least 1"))
                })
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut sides: A,
            ) -> Result<ImageSize, A::Error> {
                match (
                    sides.next_element()?,
                    sides.next_element()?,
                    sides.next_element::<usize>()?,
                ) {
                    (Some(height), Some(width), None) => Ok(ImageSize { height, width }),
                    _ => Err(A::Error::custom(
                        "is a list of another length; expected two whole numbers, [height, width]",
                    )),
                }
            }
        }

        deserializer.deserialize_any(Reader)
    }
}
