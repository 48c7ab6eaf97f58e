use ::image::{DynamicImage, ImageFormat, Rgb};

use super::*;

#[test]
fn fits() {
    // A wide image: left half black, right half red.
    let image = RgbImage::from_fn(64, 32, |x, _| {
        if x < 32 {
            Rgb([0; 3])
        } else {
            Rgb([255, 0, 0])
        }
    });
    let transform = |fit| ImageTransform {
        size: 16.into(),
        fit,
        ..Default::default()
    };
    let at = |pixels: &PixelArray, x: usize, y: usize| {
        [0, 1, 2].map(|c| pixels.data[c * 256 + y * 16 + x])
    };
    let pad = transform(Fit::Pad).resize(&image).unwrap();
    assert_eq!((pad.data.len(), pad.height, pad.width), (768, 16, 16));
    assert_eq!(at(&pad, 8, 3), [1.0; 3]);
    assert_eq!(at(&pad, 2, 4), [0.0; 3]);
    assert_eq!(at(&pad, 14, 11), [1.0, 0.0, 0.0]);
    assert_eq!(at(&pad, 8, 12), [1.0; 3]);
    let stretch = transform(Fit::Stretch).resize(&image).unwrap();
    assert_eq!(at(&stretch, 2, 0), [0.0; 3]);
    assert_eq!(at(&stretch, 14, 15), [1.0, 0.0, 0.0]);
    let crop = transform(Fit::Crop).resize(&image).unwrap();
    assert_eq!(at(&crop, 0, 0), [0.0; 3]);
    assert_eq!(at(&crop, 15, 15), [1.0, 0.0, 0.0]);
}

#[test]
fn shrinking_is_antialiased() {
    let checks = RgbImage::from_fn(64, 64, |x, y| Rgb([255 * ((x + y) % 2) as u8; 3]));
    for filter in &Filter::ALL[1..] {
        let transform = ImageTransform {
            size: 8.into(),
            filter: *filter,
            ..Default::default()
        };
        let pixels = transform.resize(&checks).unwrap();
        assert!(
            pixels.data.iter().all(|v| (v - 0.5).abs() < 0.05),
            "{filter:?}"
        );
    }
}

#[test]
fn normalizes_each_channel() {
    let transform = ImageTransform {
        size: 1.into(),
        mean: [0.5, 0.25, 0.0],
        std: [0.5, 0.25, 2.0],
        ..Default::default()
    };
    let image = RgbImage::from_pixel(1, 1, Rgb([255, 0, 255]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    let image = DynamicImage::ImageRgb8(image);
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    let bytes = bytes.into_inner();
    assert_eq!(transform.apply(&bytes).unwrap().data, [1.0, -1.0, 0.5]);
}

#[test]
fn keys_that_cannot_work_are_named() {
    let change = |change: fn(&mut ImageTransform)| {
        let mut transform = ImageTransform::default();
        change(&mut transform);
        transform.check().unwrap_err().to_string()
    };
    for (error, words) in [
        (
            change(|t| t.size = 0.into()),
            "image.size: expected 1 to 4096 pixels, got 0",
        ),
        (
            change(|t| t.size.width = 5000),
            "image.size: expected 1 to 4096 pixels, got [64, 5000]",
        ),
        (change(|t| t.std = [0.0; 3]), "image.std: expected positive"),
        (
            change(|t| t.std[1] = f32::NAN),
            "image.std: expected positive",
        ),
        (
            change(|t| t.mean[2] = f32::INFINITY),
            "image.mean: expected numbers",
        ),
        (
            change(|t| t.rescale = 0.0),
            "image.rescale: expected a positive",
        ),
        (
            change(|t| t.resize = Some(Resize::Shortest(9))),
            "image.resize: has an effect with fit",
        ),
        (
            change(|t| (t.fit, t.background) = (Fit::Stretch, Background::Mean)),
            "image.background: has an effect with fit",
        ),
        (
            change(|t| (t.mean, t.background) = ([127.5; 3], Background::Mean)),
            "image.background: \"mean\" needs",
        ),
        (
            change(|t| (t.fit, t.size.width) = (Fit::Center, 32)),
            "image.resize: is needed",
        ),
        (
            change(|t| (t.fit, t.resize) = (Fit::Center, Some(Resize::Shortest(0)))),
            "image.resize: expected 1 to 16384 pixels, got 0",
        ),
        (
            change(|t| (t.fit, t.resize) = (Fit::Square, Some(Resize::Exact(99_999.into())))),
            "image.resize: expected 1 to 16384 pixels, got 99999",
        ),
        (
            change(|t| {
                (t.fit, t.resize) = (
                    Fit::Center,
                    Some(Resize::Within {
                        shortest: 5,
                        longest: 5,
                    }),
                )
            }),
            "image.resize: expected `longest` above",
        ),
    ] {
        assert!(error.starts_with(words), "{error}");
    }
}

#[test]
fn every_value_has_its_words() {
    let read = |text: &str| serde_json::from_str::<ImageTransform>(text);
    for text in [
        r#"{"size":224}"#,
        r#"{"size":[224,336],"fit":"center","resize":[224,336]}"#,
        r#"{"fit":"center","resize":72}"#,
        r#"{"fit":"center","resize":{"shortest":72,"longest":100}}"#,
        r#"{"fit":"center","resize":"never","rescale":1.0}"#,
        r#"{"fit":"square","background":"mean"}"#,
        r#"{"background":[1,2,3]}"#,
    ] {
        let transform = read(text).unwrap();
        transform.check().unwrap();
        let written: serde_json::Value = serde_json::to_value(&transform).unwrap();
        let given: serde_json::Value = serde_json::from_str(text).unwrap();
        for (key, value) in given.as_object().unwrap() {
            assert_eq!(&written[key], value, "{text}");
        }
        assert_eq!(read(&written.to_string()).unwrap(), transform);
    }
    for (text, words) in [
        (
            r#"{"size":"large"}"#,
            "expected a number of pixels, or [height, width]",
        ),
        (
            r#"{"size":-1}"#,
            "expected a number of pixels, or [height, width]",
        ),
        (
            r#"{"resize":true}"#,
            "expected a number of pixels for the shorter edge",
        ),
        (
            r#"{"background":"blue"}"#,
            "expected \"white\", \"mean\" or [red, green, blue]",
        ),
        (
            r#"{"background":[1,2,256]}"#,
            "expected \"white\", \"mean\" or [red, green, blue]",
        ),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

/// The levels take the short way, by 32 bits; the definition is a product in 64.
#[test]
fn both_ways_of_rescaling_agree() {
    for level in 0..=255u8 {
        let unit = f32::from(level) / 255.0;
        assert_eq!(unit, (f64::from(level) * UNIT) as f32);
        assert_eq!((f64::from(unit) * 255.0) as f32, f32::from(level));
    }
}

#[test]
fn an_encoder_of_another_shape_still_sees_whole_cuts() {
    let clip = ImageTransform {
        size: 24.into(),
        fit: Fit::Center,
        resize: Some(Resize::Shortest(27)),
        ..Default::default()
    };
    let shape = Size {
        height: 24,
        width: 40,
    };
    let changed = clip.for_size(shape);
    assert_eq!(changed.resize, Some(Resize::Shortest(45)));
    let white = RgbImage::from_pixel(50, 50, Rgb([255; 3]));
    let seen = changed.resize(&white).unwrap();
    assert!(seen.data.iter().all(|&sample| sample == 1.0), "black edges");
    let deit = ImageTransform {
        resize: Some(Resize::Exact(32.into())),
        ..clip
    };
    let exact = Size {
        height: 32,
        width: 54,
    };
    assert_eq!(deit.for_size(shape).resize, Some(Resize::Exact(exact)));
}

/// In one go or in two, the numbers are the same to the bit.
#[test]
fn pixels_are_what_is_resized_and_then_normalized() {
    let image = RgbImage::from_fn(50, 30, |x, y| {
        ::image::Rgb([x as u8 * 5, y as u8 * 8, (x * y) as u8])
    });
    for fit in [Fit::Pad, Fit::Stretch, Fit::Crop, Fit::Center, Fit::Square] {
        for rescale in [UNIT, 1.0, 1.0 / 127.5] {
            let transform = ImageTransform {
                size: 17.into(),
                mean: [0.485, 0.456, 0.406],
                std: [0.229, 0.224, 0.225],
                rescale,
                fit,
                ..ImageTransform::default()
            };
            let mut expected = transform.resize(&image).unwrap();
            transform.normalize(&mut expected);
            assert_eq!(transform.pixels(&image), Ok(expected), "{fit:?} {rescale}");
        }
    }
}
