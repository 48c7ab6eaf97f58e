//! Images cut into patches, each a row.

mod gpu;
#[cfg(test)]
mod reference;

use super::formats::{build_in, check_f32, convert};
use crate::device::common;
use crate::parallel::for_rows;
use crate::{Precision, Result, Tensor, TensorError};

/// `images: [images, channels, height, width]` in f32 → `[images · patches, channels · patch · patch]` in `precision`,
/// of `height / patch` by `width / patch` whole patches an image; rows and columns of pixels behind the last whole patch
/// are left out, as a convolution without padding leaves them out.
///
/// Patches follow each other row by row within an image. The numbers of a patch lie channel by channel as in the weight
/// `[out, channels, patch, patch]` of a convolution with stride `patch`, which is then a linear layer. Images need no
/// gradient, so nothing is recorded.
///
/// # Errors
/// When `images` is not f32 with four dimensions, or smaller than one patch.
pub fn patchify(images: &Tensor, patch: usize, precision: Precision) -> Result<Tensor> {
    let &[count, channels, height, width] = images.shape() else {
        return Err(TensorError::shape(
            "patchify",
            format!(
                "images {:?}; expected [images, channels, height, width]",
                images.shape()
            ),
        ));
    };
    if patch == 0 || height < patch || width < patch {
        return Err(TensorError::shape(
            "patchify",
            format!(
                "images of {height} x {width} pixels; expected room for a patch of {patch} x {patch}, at least 1 x 1"
            ),
        ));
    }
    if let Some(gpu) = common("patchify", [images])? {
        check_f32("patchify", [images])?;
        let shape = [count, channels, height, width];
        return gpu::patchify(gpu, images, shape, patch, precision);
    }
    let pixels = images.f32()?;
    let (down, across) = (height / patch, width / patch);
    let columns = channels * patch * patch;
    let shape = [count * down * across, columns];
    Ok(build_in!(precision, &shape, |out| {
        for_rows(out, columns, |first, out| {
            for (row, out) in out.chunks_exact_mut(columns).enumerate() {
                let at = first + row;
                let (image, y, x) = (at / (down * across), at / across % down, at % across);
                // A line of pixels within the patch: `line` counts over channels, then over rows.
                for (line, out) in out.chunks_exact_mut(patch).enumerate() {
                    let channel = image * channels + line / patch;
                    let pixel = (channel * height + y * patch + line % patch) * width + x * patch;
                    convert::<(_, _)>(&pixels[pixel..pixel + patch], out);
                }
            }
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, devices};

    #[test]
    fn agrees_with_its_reference() {
        // The last two numbers are of rows and columns of pixels that make no whole patch.
        for (count, channels, [down, across], patch, [below, beside]) in [
            (1, 1, [1, 1], 1, [0, 0]),
            (2, 3, [2, 3], 4, [0, 0]),
            (3, 3, [14, 14], 16, [0, 0]),
            (5, 2, [4, 1], 7, [0, 0]),
            (1, 1, [7, 5], 13, [0, 0]),
            (0, 3, [2, 2], 4, [0, 0]),
            (2, 3, [4, 4], 4, [2, 2]),
            (2, 3, [3, 2], 5, [4, 0]),
            (1, 2, [1, 3], 6, [0, 5]),
            (1, 3, [27, 27], 14, [6, 6]),
        ] {
            let shape = [
                count,
                channels,
                down * patch + below,
                across * patch + beside,
            ];
            let mut random = Random(7);
            // Numbers that every format has.
            let values: Vec<f32> = (0..shape.iter().product())
                .map(|_| (random.next() * 256.0).round() as f32 / 256.0)
                .collect();
            let images = Tensor::from_f32(&shape, &values).expect("shape and values agree");
            let expected = reference::patchify(&values, shape, patch);
            for device in devices() {
                let images = images.to_device(&device).expect("room");
                for precision in [Precision::F32, Precision::Bf16, Precision::F16] {
                    let patches = patchify(&images, patch, precision).expect("it fits");
                    assert_eq!(patches.device(), device);
                    assert_eq!(patches.precision(), precision);
                    let columns = channels * patch * patch;
                    assert_eq!(patches.shape(), [count * down * across, columns]);
                    assert_eq!(patches.to_f32_vec(), expected);
                }
            }
        }
    }

    #[test]
    fn says_what_does_not_fit() {
        let error = |shape: &[usize], patch| {
            patchify(&Tensor::zeros(shape), patch, Precision::F32)
                .expect_err("refused")
                .to_string()
        };
        assert!(error(&[3, 4, 4], 2).contains("[3, 4, 4]"));
        assert!(error(&[1, 3, 3, 6], 4).contains("3 x 6"));
        assert!(error(&[1, 3, 6, 3], 4).contains("6 x 3"));
        assert!(error(&[1, 3, 4, 6], 0).contains("patchify"));
    }
}
