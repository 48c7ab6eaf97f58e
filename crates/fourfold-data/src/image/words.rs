//! The words of a recipe's `[image]`.

use serde::{Deserialize, Serialize};

/// Rows and columns; in a recipe `size = 224` or `size = [height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "SizeWords", into = "SizeWords")]
pub struct Size {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a number of pixels, or [height, width]"
)]
enum SizeWords {
    Side(usize),
    Sides([usize; 2]),
}

impl Size {
    /// The side, where height and width are the same.
    pub fn side(self) -> Option<usize> {
        (self.height == self.width).then_some(self.height)
    }
}

impl From<usize> for Size {
    fn from(side: usize) -> Self {
        Self {
            height: side,
            width: side,
        }
    }
}

impl From<SizeWords> for Size {
    fn from(words: SizeWords) -> Self {
        match words {
            SizeWords::Side(side) => side.into(),
            SizeWords::Sides([height, width]) => Self { height, width },
        }
    }
}

impl From<Size> for SizeWords {
    fn from(size: Size) -> Self {
        match size.side() {
            Some(side) => Self::Side(side),
            None => Self::Sides([size.height, size.width]),
        }
    }
}

/// As a recipe has it: `224`, or `[height, width]`.
impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self.side() {
            Some(side) => write!(f, "{side}"),
            None => write!(f, "[{}, {}]", self.height, self.width),
        }
    }
}

/// How an image's shape is brought to the one that the vision encoder takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// The whole image, centred on the background.
    #[default]
    Pad,
    /// The whole image, its shape not kept.
    Stretch,
    /// The largest centred part of the wanted shape.
    Crop,
    /// Resized as [`Resize`] says, then its centre is cut out; black where there is not enough of it. With the pixels
    /// that the image processors of Hugging Face make with Pillow 13.
    Center,
    /// Padded with the background to a square of its longer side, then as [`Fit::Center`]. With the pixels of LLaVA.
    Square,
}

/// What an image is resized to before its centre is cut out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ResizeWords", into = "ResizeWords")]
pub enum Resize {
    /// Its shorter edge becomes this long, the longer one in proportion, rounded down.
    Shortest(usize),
    /// The same, but with a shorter edge where the longer one would exceed `longest`.
    Within {
        /// The shorter edge.
        shortest: usize,
        /// What the longer edge may be.
        longest: usize,
    },
    /// To these rows and columns, the shape not kept.
    Exact(Size),
    /// Not at all.
    Never,
}

#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a number of pixels for the shorter edge, [height, width], \
                 { shortest = PIXELS, longest = PIXELS } or \"never\""
)]
enum ResizeWords {
    Shortest(usize),
    Exact([usize; 2]),
    Within(Edges),
    Never(Never),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Edges {
    shortest: usize,
    longest: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Never {
    Never,
}

impl From<ResizeWords> for Resize {
    fn from(words: ResizeWords) -> Self {
        match words {
            ResizeWords::Shortest(edge) => Self::Shortest(edge),
            ResizeWords::Exact([height, width]) => Self::Exact(Size { height, width }),
            ResizeWords::Within(Edges { shortest, longest }) => Self::Within { shortest, longest },
            ResizeWords::Never(Never::Never) => Self::Never,
        }
    }
}

impl From<Resize> for ResizeWords {
    fn from(resize: Resize) -> Self {
        match resize {
            Resize::Shortest(edge) => Self::Shortest(edge),
            Resize::Exact(size) => Self::Exact([size.height, size.width]),
            Resize::Within { shortest, longest } => Self::Within(Edges { shortest, longest }),
            Resize::Never => Self::Never(Never::Never),
        }
    }
}

/// The colour around a padded image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BackgroundWords", into = "BackgroundWords")]
pub enum Background {
    /// White.
    #[default]
    White,
    /// The mean colour, `mean · 255` rounded down as LLaVA does.
    Mean,
    /// Red, green and blue.
    Color([u8; 3]),
}

#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected \"white\", \"mean\" or [red, green, blue] of 0 to 255"
)]
enum BackgroundWords {
    Named(Named),
    Color([u8; 3]),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Named {
    White,
    Mean,
}

impl From<BackgroundWords> for Background {
    fn from(words: BackgroundWords) -> Self {
        match words {
            BackgroundWords::Named(Named::White) => Self::White,
            BackgroundWords::Named(Named::Mean) => Self::Mean,
            BackgroundWords::Color(color) => Self::Color(color),
        }
    }
}

impl From<Background> for BackgroundWords {
    fn from(background: Background) -> Self {
        match background {
            Background::White => Self::Named(Named::White),
            Background::Mean => Self::Named(Named::Mean),
            Background::Color(color) => Self::Color(color),
        }
    }
}

/// The filter an image is resized with; all but `Nearest` are antialiased when they shrink. In the order of Pillow's
/// numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// The nearest pixel.
    Nearest,
    /// A sinc within three of its lobes.
    Lanczos,
    /// Triangle filter.
    Bilinear,
    /// Catmull-Rom cubic.
    #[default]
    Bicubic,
    /// The mean of the pixels covered.
    Box,
    /// A sinc within one lobe, in a Hamming window.
    Hamming,
}

impl Filter {
    /// All of them, each at Pillow's number.
    pub const ALL: [Self; 6] = [
        Self::Nearest,
        Self::Lanczos,
        Self::Bilinear,
        Self::Bicubic,
        Self::Box,
        Self::Hamming,
    ];
}
