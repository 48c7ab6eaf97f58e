//! From an image to normalized pixels of a fixed size.

use ::image::RgbImage;
use serde::{Deserialize, Serialize};

use super::place::{Placed, place};
use super::{Background, Filter, Fit, MAX_SIDE, PixelArray, Resize, Size, decode_rgb};
use crate::DataError;

/// What samples of 0 to 255 are multiplied with to lie in 0 to 1.
const UNIT: f64 = 1.0 / 255.0;

/// Resizing and normalization: `(rgb · rescale − mean) / std`, with `rgb` in 0 to 255.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageTransform {
    /// Height and width of the result.
    pub size: Size,
    /// Mean of each channel.
    pub mean: [f32; 3],
    /// Standard deviation of each channel.
    pub std: [f32; 3],
    /// What samples of 0 to 255 are multiplied with before mean and standard deviation; 1/255 as a rule.
    #[serde(skip_serializing_if = "is_unit")]
    pub rescale: f64,
    /// How the shape is made that of the result.
    pub fit: Fit,
    /// What the image is resized to before its centre is cut out, with [`Fit::Center`] and [`Fit::Square`]; the
    /// shorter edge to `size`, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize: Option<Resize>,
    /// The colour around the image, with [`Fit::Pad`] and [`Fit::Square`].
    pub background: Background,
    /// The resizing filter.
    pub filter: Filter,
}

fn is_unit(rescale: &f64) -> bool {
    *rescale == UNIT
}

/// Each level of each channel in `[0, 1]`, `[3, 1, 256]`: an image has millions of samples, but they are of 256 levels.
fn unit_levels() -> PixelArray {
    let levels = (0..3).flat_map(|_| (0..=255u8).map(|level| f32::from(level) / 255.0));
    PixelArray {
        data: levels.collect(),
        height: 1,
        width: 256,
    }
}

impl Default for ImageTransform {
    fn default() -> Self {
        Self {
            size: Size::from(64),
            mean: [0.5; 3],
            std: [0.5; 3],
            rescale: UNIT,
            fit: Fit::default(),
            resize: None,
            background: Background::default(),
            filter: Filter::default(),
        }
    }
}

impl ImageTransform {
    /// An image as RGB in `[0, 1]`, `[3, height, width]`, not yet normalized.
    ///
    /// # Errors
    /// When the image has no pixels, or is so narrow that nothing of it is left.
    pub fn resize(&self, image: &RgbImage) -> Result<PixelArray, String> {
        Ok(self.spread(&place(self, image)?, &unit_levels()))
    }

    /// An image as the vision encoder takes it, `[3, height, width]`: the same as [`resize`](Self::resize) and then
    /// [`normalize`](Self::normalize), in one go.
    ///
    /// # Errors
    /// As those of [`resize`](Self::resize).
    pub fn pixels(&self, image: &RgbImage) -> Result<PixelArray, String> {
        let placed = place(self, image)?;
        let mut levels = unit_levels();
        self.normalize(&mut levels);
        Ok(self.spread(&placed, &levels))
    }

    /// What is placed and what is around it, as `levels` has each of the 256 levels of each channel: `[3, 1, 256]`.
    fn spread(&self, placed: &Placed, levels: &PixelArray) -> PixelArray {
        let Size { height, width } = self.size;
        let mut data = Vec::with_capacity(3 * height * width);
        let right = placed.left + placed.width;
        for (channel, levels) in levels.data.as_chunks::<256>().0.iter().enumerate() {
            let plane_end = (channel + 1) * height * width;
            let color = levels[usize::from(placed.color[channel])];
            data.resize(data.len() + placed.top * width, color);
            for line in placed.bytes.chunks_exact((3 * placed.width).max(1)) {
                data.resize(data.len() + placed.left, color);
                let level = |rgb: &[u8; 3]| levels[usize::from(rgb[channel])];
                data.extend(line.as_chunks().0.iter().map(level));
                data.resize(data.len() + width - right, color);
            }
            data.resize(plane_end, color);
        }
        PixelArray {
            data,
            height,
            width,
        }
    }

    /// Turns `[0, 1]` into what the vision encoder was trained on, in the order and precision of Hugging Face's image
    /// processors: rescaled in 64 bits, then less the mean and by the standard deviation in 32.
    pub fn normalize(&self, pixels: &mut PixelArray) {
        let plane = pixels.height * pixels.width;
        if !is_unit(&self.rescale) {
            let rescale = |v: &mut f32| *v = (f64::from(*v) * 255.0 * self.rescale) as f32;
            pixels.data.iter_mut().for_each(rescale);
        }
        for (channel, values) in pixels.data.chunks_exact_mut(plane.max(1)).enumerate() {
            let (mean, std) = (self.mean[channel], self.std[channel]);
            values.iter_mut().for_each(|v| *v = (*v - mean) / std);
        }
    }

    /// Decodes, resizes and normalizes the bytes of an image file.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn apply(&self, bytes: &[u8]) -> Result<PixelArray, String> {
        self.pixels(&decode_rgb(bytes)?)
    }

    /// The colour that becomes zero, each channel in 0 to 1.
    pub fn mean_color(&self) -> [f32; 3] {
        match is_unit(&self.rescale) {
            true => self.mean,
            false => self
                .mean
                .map(|mean| (f64::from(mean) * UNIT / self.rescale) as f32),
        }
    }

    /// The same for an encoder that takes images of another size: what is resized before the cut keeps its proportion to
    /// the result.
    pub fn for_size(&self, size: Size) -> Self {
        let height = |pixels: usize| (pixels * size.height).div_ceil(self.size.height.max(1));
        let width = |pixels: usize| (pixels * size.width).div_ceil(self.size.width.max(1));
        // The side that grows most decides, or the cut would reach beyond the image.
        let edge = |pixels: usize| height(pixels).max(width(pixels));
        let resize = self.resize.map(|resize| match resize {
            Resize::Shortest(shortest) => Resize::Shortest(edge(shortest)),
            Resize::Within { shortest, longest } => Resize::Within {
                shortest: edge(shortest),
                longest: edge(longest),
            },
            Resize::Exact(exact) => Resize::Exact(Size {
                height: height(exact.height),
                width: width(exact.width),
            }),
            Resize::Never => Resize::Never,
        });
        Self {
            size,
            resize,
            ..self.clone()
        }
    }

    /// Refuses values that cannot work.
    ///
    /// # Errors
    /// Names the key.
    pub fn check(&self) -> Result<(), DataError> {
        let fail = |key: &str, message: String| Err(DataError::config(key, message));
        let most = MAX_SIDE as usize;
        if !(1..=4096).contains(&self.size.height) || !(1..=4096).contains(&self.size.width) {
            let message = format!("expected 1 to 4096 pixels, got {}", self.size);
            return fail("image.size", message);
        }
        if self.std.iter().any(|&s| !s.is_normal() || s < 0.0) {
            let message = format!("expected positive numbers, got {:?}", self.std);
            return fail("image.std", message);
        }
        if self.mean.iter().any(|m| !m.is_finite()) {
            return fail(
                "image.mean",
                format!("expected numbers, got {:?}", self.mean),
            );
        }
        if !self.rescale.is_normal() || self.rescale < 0.0 {
            let message = format!("expected a positive number, got {}", self.rescale);
            return fail("image.rescale", message);
        }
        let centered = matches!(self.fit, Fit::Center | Fit::Square);
        match self.resize {
            Some(_) if !centered => {
                let message = "has an effect with fit = \"center\" and \"square\" alone; \
                               remove it or change `fit`";
                return fail("image.resize", message.into());
            }
            None if centered && self.size.side().is_none() => {
                let message = "is needed where `size` is no square: the length of the shorter edge, or [height, width]";
                return fail("image.resize", message.into());
            }
            Some(Resize::Within { shortest, longest }) if longest <= shortest => {
                let message =
                    format!("expected `longest` above `shortest`, got {longest} and {shortest}");
                return fail("image.resize", message);
            }
            _ => {}
        }
        let edges = match self.resize {
            Some(Resize::Shortest(edge)) => vec![edge],
            Some(Resize::Within { shortest, longest }) => vec![shortest, longest],
            Some(Resize::Exact(Size { height, width })) => vec![height, width],
            Some(Resize::Never) | None => Vec::new(),
        };
        if let Some(edge) = edges.iter().find(|edge| !(1..=most).contains(*edge)) {
            return fail(
                "image.resize",
                format!("expected 1 to {most} pixels, got {edge}"),
            );
        }
        let padded = matches!(self.fit, Fit::Pad | Fit::Square);
        if self.background != Background::White && !padded {
            let message =
                "has an effect with fit = \"pad\" and \"square\" alone; remove it or change `fit`";
            return fail("image.background", message.into());
        }
        if self.background == Background::Mean && self.mean.iter().any(|m| !(0.0..=1.0).contains(m))
        {
            let message = format!(
                "\"mean\" needs a mean of 0 to 1, got {:?}; give [red, green, blue] instead",
                self.mean
            );
            return fail("image.background", message);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
