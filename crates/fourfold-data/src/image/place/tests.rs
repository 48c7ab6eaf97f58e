use ::image::Rgb;

use super::*;

fn size(height: usize, width: usize) -> Size {
    Size { height, width }
}

/// Worked out by transformers' functions.
#[test]
fn sizes_are_rounded_as_by_transformers() {
    let within = |shortest, longest| Resize::Within { shortest, longest };
    for (resize, from, to) in [
        (Resize::Shortest(224), size(427, 640), size(224, 335)),
        (Resize::Shortest(224), size(640, 427), size(335, 224)),
        (Resize::Shortest(256), size(1, 10_000), size(256, 2_560_000)),
        (Resize::Shortest(7), size(3, 3), size(7, 7)),
        (within(48, 400), size(2, 150), size(5, 400)),
        (within(48, 400), size(133, 1), size(400, 3)),
        (within(48, 400), size(48, 60), size(48, 60)),
        (within(48, 400), size(96, 100), size(48, 50)),
        (within(48, 100), size(1, 10_000), size(0, 100)),
        (Resize::Exact(size(3, 4)), size(9, 9), size(3, 4)),
        (Resize::Never, size(9, 8), size(9, 8)),
    ] {
        assert_eq!(resized(resize, from), to, "{resize:?} {from}");
    }
}

/// What lies in the middle, and where the odd sample goes.
#[test]
fn a_crop_is_centred_as_by_transformers() {
    for (to, size, start, len, at) in [
        (9, 4, 2, 4, 0),
        (8, 4, 2, 4, 0),
        (4, 4, 0, 4, 0),
        (3, 8, 0, 3, 3),
        (4, 8, 0, 4, 2),
    ] {
        let (axis, place) = cut(99, to, size);
        assert_eq!(
            (axis.start, axis.len, place),
            (start, len, at),
            "{to} {size}"
        );
    }
}

/// Only what is kept is computed, or the longest of these would take gigabytes.
#[test]
fn an_image_of_any_shape_fits_in_memory() {
    let line = RgbImage::from_fn(1, 10_000, |_, y| Rgb([(y / 40) as u8; 3]));
    for fit in [Fit::Pad, Fit::Stretch, Fit::Crop, Fit::Center, Fit::Square] {
        let transform = ImageTransform {
            size: 224.into(),
            fit,
            ..ImageTransform::default()
        };
        let pixels = transform.resize(&line).unwrap();
        assert_eq!(pixels.data.len(), 3 * 224 * 224, "{fit:?}");
        // The middle of the picture is in the middle, if no wider than the background there.
        let middle = pixels.data[112 * 224 + 112];
        let padded = matches!(fit, Fit::Pad | Fit::Square);
        assert!(
            padded || (middle - 125.0 / 255.0).abs() < 0.02,
            "{fit:?} {middle}"
        );
    }
    let transform = ImageTransform {
        fit: Fit::Center,
        resize: Some(Resize::Within {
            shortest: 48,
            longest: 100,
        }),
        ..ImageTransform::default()
    };
    let error = transform.resize(&line).unwrap_err();
    assert!(
        error.contains("too narrow") && error.contains("1 × 10000"),
        "{error}"
    );
}

#[test]
fn an_image_without_pixels_is_refused() {
    for (width, height) in [(0, 0), (0, 3), (3, 0)] {
        for fit in [Fit::Pad, Fit::Stretch, Fit::Crop, Fit::Center, Fit::Square] {
            let transform = ImageTransform {
                fit,
                ..ImageTransform::default()
            };
            let error = transform.resize(&RgbImage::new(width, height)).unwrap_err();
            assert!(error.contains("has no pixels"), "{error}");
        }
    }
}

/// A rectangle is padded above and below, or at both sides, in the colour that is asked for.
#[test]
fn padding_shows_the_background() {
    let image = RgbImage::from_pixel(20, 20, Rgb([10, 20, 30]));
    for (fit, background, color) in [
        (Fit::Pad, Background::White, [255; 3]),
        (Fit::Pad, Background::Mean, [51, 102, 127]),
        (Fit::Pad, Background::Color([1, 2, 3]), [1, 2, 3]),
    ] {
        let transform = ImageTransform {
            size: size(8, 16),
            mean: [0.2, 0.4, 0.5],
            fit,
            background,
            ..ImageTransform::default()
        };
        let pixels = transform.resize(&image).unwrap();
        for channel in 0..3 {
            let at = |x: usize| (pixels.data[channel * 128 + 5 * 16 + x] * 255.0).round() as u8;
            assert_eq!(at(3), color[channel], "{background:?}");
            assert_eq!([at(4), at(11)], [[10, 20, 30][channel]; 2]);
            assert_eq!(at(12), color[channel]);
        }
    }
}
