use ::image::{Luma, Rgb, Rgba};

use super::*;

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn decodes_every_format_and_color_type() {
    let rgb = DynamicImage::ImageRgb8(RgbImage::from_pixel(9, 7, Rgb([200, 40, 90])));
    for format in [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::WebP,
        ImageFormat::Gif,
        ImageFormat::Bmp,
    ] {
        let image = decode_rgb(&encode(&rgb, format)).unwrap();
        assert_eq!(image.dimensions(), (9, 7), "{format:?}");
        for (got, wanted) in image.get_pixel(4, 3).0.iter().zip([200u8, 40, 90]) {
            assert!(got.abs_diff(wanted) <= 4, "{format:?}: {got} {wanted}");
        }
    }
    let grays = [
        DynamicImage::ImageLuma8(::image::ImageBuffer::from_pixel(3, 3, Luma([77]))),
        DynamicImage::ImageLuma16(::image::ImageBuffer::from_pixel(3, 3, Luma([77 * 257]))),
    ];
    for gray in grays {
        let image = decode_rgb(&encode(&gray, ImageFormat::Png)).unwrap();
        assert_eq!(image.get_pixel(1, 1).0, [77; 3]);
    }
}

#[test]
fn transparency_shows_white() {
    let mut image = ::image::RgbaImage::from_pixel(2, 1, Rgba([0, 0, 0, 0]));
    image.put_pixel(1, 0, Rgba([100, 0, 255, 51]));
    let rgb = decode_rgb(&encode(&DynamicImage::ImageRgba8(image), ImageFormat::Png)).unwrap();
    assert_eq!(rgb.get_pixel(0, 0).0, [255; 3]);
    assert_eq!(rgb.get_pixel(1, 0).0, [224, 204, 255]);
}

#[test]
fn broken_bytes_are_told_apart() {
    let rgb = DynamicImage::ImageRgb8(RgbImage::from_pixel(40, 40, Rgb([1, 2, 3])));
    let png = encode(&rgb, ImageFormat::Png);
    assert!(decode_rgb(b"").unwrap_err().contains("empty"));
    let message = decode_rgb(&png[..png.len() / 2]).unwrap_err();
    assert!(message.contains("cannot be decoded"), "{message}");
    // A decoder that fills up what is missing must not hide that it is.
    let large = RgbImage::from_fn(90, 90, |x, y| Rgb([(x * y) as u8, x as u8, y as u8]));
    let jpeg = encode(&DynamicImage::ImageRgb8(large), ImageFormat::Jpeg);
    for length in [jpeg.len() - 1, jpeg.len() * 3 / 4] {
        let message = decode_rgb(&jpeg[..length]).unwrap_err();
        assert!(message.contains("cut short"), "{message}");
    }
}

#[test]
fn a_photograph_is_turned_upright() {
    let wide = RgbImage::from_fn(24, 8, |x, _| Rgb(if x < 12 { [0; 3] } else { [255; 3] }));
    let jpeg = encode(&DynamicImage::ImageRgb8(wide), ImageFormat::Jpeg);
    // EXIF with one entry: orientation 6, to be turned by 90 degrees clockwise.
    let mut exif =
        b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec();
    let length = (exif.len() as u16 + 2).to_be_bytes();
    let mut turned = jpeg[..2].to_vec();
    turned.extend([0xff, 0xe1, length[0], length[1]]);
    turned.append(&mut exif);
    turned.extend(&jpeg[2..]);
    let image = decode_rgb(&turned).unwrap();
    assert_eq!(image.dimensions(), (8, 24));
    assert!(image.get_pixel(4, 2)[0] < 50 && image.get_pixel(4, 21)[0] > 200);
}

/// What stands in place of an image is named, whatever the file is called.
#[test]
fn what_is_no_image_is_named() {
    let long_comment = format!("<!-- {} --><svg>", "x".repeat(2000));
    for (bytes, name) in [
        (b"<!DOCTYPE html><title>404</title>".as_slice(), "is HTML"),
        (b"\n  <HTML><svg/></HTML>", "is HTML"),
        (b"\xef\xbb\xbf<html>not found</html>", "is HTML"),
        (
            b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>",
            "is an SVG drawing",
        ),
        (
            b"<?xml version=\"1.0\"?>\n<!-- drawn --><svg><foreignObject><html/>",
            "is an SVG drawing",
        ),
        (
            b"<?xml version=\"1.0\"?><Error><Code>AccessDenied",
            "is XML",
        ),
        (long_comment.as_bytes(), "is XML"),
        (b"{\"error\": \"no such file\"}", "is JSON"),
        (b"%PDF-1.7", "is a PDF"),
        (b"PK\x03\x04\0\0", "is a ZIP archive"),
        (b"\x1f\x8b\x08\0", "is compressed with gzip"),
        (b"II*\0\x08\0\0\0", "is a TIFF"),
        (b"\0\0\0\x1cftypavif\0\0", "is an AVIF"),
        (b"\0\0\0\x18ftypheic\0\0", "is a HEIC"),
        (b"\0\0\0\x18ftypisom\0\0", "is a film"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid",
            "git lfs pull",
        ),
    ] {
        let message = decode_rgb(bytes).unwrap_err();
        assert!(message.contains(name), "{message}");
        assert!(message.contains("not a PNG, JPEG"), "{message}");
    }
    let message = decode_rgb(b"not found").unwrap_err();
    assert!(message.contains("9 bytes beginning 6e 6f 74"), "{message}");
}

/// A PNG of one pixel that claims to have others.
fn claiming(width: u32, height: u32) -> Vec<u8> {
    let mut png = encode(
        &DynamicImage::ImageRgb8(RgbImage::new(1, 1)),
        ImageFormat::Png,
    );
    // Width and height of the IHDR chunk, then its checksum.
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let crc = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    png
}

#[test]
fn a_bomb_is_refused() {
    for (width, height, limit) in [
        (60_000, 60_000, "the limit is 16384 a side"),
        (100_000, 1, "the limit is 16384 a side"),
        (1, 16_385, "the limit is 16384 a side"),
        (16_384, 16_384, "the limit is 512 MiB"),
    ] {
        let message = decode_rgb(&claiming(width, height)).unwrap_err();
        assert!(
            message.contains(&format!("{width} × {height}")),
            "{message}"
        );
        assert!(message.contains(limit), "{message}");
    }
}

#[test]
fn a_jpeg_bomb_is_refused() {
    let image = DynamicImage::ImageRgb8(RgbImage::new(8, 8));
    let mut jpeg = encode(&image, ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]);
    let frame = frame.expect("a baseline frame");
    for (side, limit) in [(65_000u16, "16384 a side"), (16_384, "512 MiB")] {
        // Marker, length and precision come before the height and the width.
        jpeg[frame + 5..frame + 7].copy_from_slice(&side.to_be_bytes());
        jpeg[frame + 7..frame + 9].copy_from_slice(&side.to_be_bytes());
        let message = decode_rgb(&jpeg).unwrap_err();
        assert!(message.contains(&format!("{side} × {side}")), "{message}");
        assert!(message.contains(limit), "{message}");
    }
}

#[test]
fn limits_are_those_that_are_given() {
    let image = DynamicImage::ImageRgb8(RgbImage::new(40, 8));
    for format in [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::WebP,
        ImageFormat::Gif,
        ImageFormat::Bmp,
    ] {
        let bytes = encode(&image, format);
        let within = |max_side, max_mib| {
            let files = ImageFiles {
                max_side,
                max_mib,
                ..ImageFiles::default()
            };
            decode_rgb_within(&bytes, &files).map(|image| image.dimensions())
        };
        assert_eq!(within(40, 1), Ok((40, 8)), "{format:?}");
        let message = within(39, 1).unwrap_err();
        assert!(message.contains("39 a side"), "{format:?}: {message}");
        assert!(within(40, 0).is_err(), "{format:?}");
    }
}

/// Waves from coarse to fine, as a photograph has them, in a JPEG.
fn photograph(width: u32, height: u32) -> Vec<u8> {
    let wave = |x: u32, y: u32, length: f64| ((f64::from(x) + 0.6 * f64::from(y)) / length).sin();
    let image = RgbImage::from_fn(width, height, |x, y| {
        let level = |shift: u32| {
            let sum =
                60.0 * wave(x + shift, y, 150.0) + 30.0 * wave(y, x, 31.0) + 12.0 * wave(x, y, 5.0);
            (128.0 + sum) as u8
        };
        Rgb([level(0), level(40), level(90)])
    });
    encode(&DynamicImage::ImageRgb8(image), ImageFormat::Jpeg)
}

const SHRINKING: ImageFiles = ImageFiles {
    max_side: 4000,
    max_mib: 100,
    shrink: true,
};

#[test]
fn a_large_jpeg_is_decoded_smaller_where_that_is_wanted() {
    use crate::{Fit, Resize};
    let transform = |fit, resize| ImageTransform {
        size: 56.into(),
        fit,
        resize,
        ..ImageTransform::default()
    };
    let jpeg = photograph(500, 340);
    let size = |transform: &ImageTransform, jpeg: &[u8], files| {
        decode_rgb_for(transform, jpeg, &files)
            .unwrap()
            .dimensions()
    };
    let center = transform(Fit::Center, None);
    assert_eq!(size(&center, &jpeg, ImageFiles::default()), (500, 340));
    // 340 pixels become 56: a half is three times that, a quarter not twice.
    assert_eq!(size(&center, &jpeg, SHRINKING), (250, 170));
    for fit in [Fit::Stretch, Fit::Crop] {
        assert_eq!(size(&transform(fit, None), &jpeg, SHRINKING), (250, 170));
    }
    // Here 500 pixels do.
    for fit in [Fit::Pad, Fit::Square] {
        assert_eq!(size(&transform(fit, None), &jpeg, SHRINKING), (125, 85));
    }
    let never = transform(Fit::Center, Some(Resize::Never));
    assert_eq!(size(&never, &jpeg, SHRINKING), (500, 340));
    assert_eq!(size(&center, &photograph(300, 223), SHRINKING), (300, 223));
    let png = DynamicImage::ImageRgb8(RgbImage::new(500, 340));
    assert_eq!(
        size(&center, &encode(&png, ImageFormat::Png), SHRINKING),
        (500, 340)
    );

    let pixels = |files| {
        let rgb = decode_rgb_for(&center, &jpeg, &files).unwrap();
        center.resize(&rgb).unwrap().data
    };
    let (whole, shrunk) = (pixels(ImageFiles::default()), pixels(SHRINKING));
    let apart: Vec<f32> = whole
        .iter()
        .zip(&shrunk)
        .map(|(a, b)| 255.0 * (a - b).abs())
        .collect();
    let mean = apart.iter().sum::<f32>() / apart.len() as f32;
    let most = apart.iter().copied().fold(0.0, f32::max);
    assert!(mean > 0.0 && mean < 0.6 && most < 8.0, "{mean} {most}");
}

#[test]
fn a_grey_jpeg_is_decoded_smaller_too() {
    let gray = DynamicImage::ImageLuma8(::image::ImageBuffer::from_pixel(300, 200, Luma([77])));
    let transform = ImageTransform {
        size: 16.into(),
        ..ImageTransform::default()
    };
    let image = decode_rgb_for(&transform, &encode(&gray, ImageFormat::Jpeg), &SHRINKING).unwrap();
    assert_eq!(
        (image.dimensions(), image.get_pixel(9, 9).0),
        ((38, 25), [77; 3])
    );
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| {
            (c >> 1) ^ (0xedb8_8320 * (c & 1))
        })
    })
}
