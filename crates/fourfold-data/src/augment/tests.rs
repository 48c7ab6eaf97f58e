//! What augmentation may and may not do to an image.

use super::*;
use crate::sample_rng;

fn picture() -> PixelArray {
    let data = (0..3 * 64 * 64)
        .map(|i| ((i * 31) % 97) as f32 / 96.0)
        .collect();
    PixelArray {
        height: 64,
        width: 64,
        data,
    }
}

fn everything() -> Augment {
    Augment {
        scale: Some([0.8, 1.2]),
        shift: 0.1,
        rotate_degrees: 20.0,
        flip: true,
        brightness: 0.2,
        contrast: 0.2,
        saturation: 0.3,
        hue: 0.1,
        grayscale: 0.2,
        blur: 1.0,
        noise: 0.05,
        erase: 0.5,
        views: None,
    }
}

#[test]
fn nothing_asked_changes_nothing() {
    let mut pixels = picture();
    Augment::default().apply(&mut pixels, &mut sample_rng(1, 2));
    assert_eq!(pixels, picture());
    assert!(Augment::default().is_none());
}

#[test]
fn the_same_draw_gives_the_same_picture_and_another_does_not() {
    let varied = |ordinal| {
        let mut pixels = picture();
        everything().apply(&mut pixels, &mut sample_rng(1, ordinal));
        pixels
    };
    assert_eq!(varied(5), varied(5));
    assert_ne!(varied(5), varied(6));
}

#[test]
fn values_stay_numbers_between_black_and_white() {
    for ordinal in 0..50 {
        let mut pixels = picture();
        everything().apply(&mut pixels, &mut sample_rng(3, ordinal));
        assert!(
            pixels.data.iter().all(|v| (0.0..=1.0).contains(v)),
            "draw {ordinal}"
        );
    }
}

#[test]
fn a_white_picture_stays_white_under_a_warp() {
    let mut pixels = PixelArray {
        height: 64,
        width: 64,
        data: vec![1.0; 3 * 64 * 64],
    };
    let warp = Augment {
        scale: Some([0.5, 0.6]),
        shift: 0.3,
        rotate_degrees: 90.0,
        ..Augment::default()
    };
    warp.apply(&mut pixels, &mut sample_rng(1, 1));
    assert!(pixels.data.iter().all(|value| (value - 1.0).abs() < 1e-5));
}

#[test]
fn values_outside_their_range_are_refused_by_key() {
    let message = Augment {
        hue: 0.7,
        ..Augment::default()
    }
    .check()
    .unwrap_err()
    .to_string();
    assert!(
        message.contains("hue") && message.contains("0.5"),
        "{message}"
    );
}

#[test]
fn white_and_grey_survive_every_color_operation() {
    // Hue and saturation turn about the grey axis and keep luma.
    let colors = Augment {
        saturation: 1.0,
        hue: 0.5,
        ..Augment::default()
    };
    for ordinal in 0..20 {
        let mut pixels = PixelArray {
            height: 1,
            width: 2,
            data: vec![0.5, 0.45, 0.5, 0.5, 0.5, 0.55],
        };
        let luma = |p: &PixelArray| (0..3).map(|c| LUMA[c] * p.data[2 * c + 1]).sum::<f32>();
        let before = luma(&pixels);
        colors.apply(&mut pixels, &mut sample_rng(9, ordinal));
        assert!(
            [0, 2, 4]
                .iter()
                .all(|&i| (pixels.data[i] - 0.5).abs() < 1e-5),
            "{pixels:?}"
        );
        assert!((luma(&pixels) - before).abs() < 1e-5);
        assert!(
            (pixels.data[1] - 0.45).abs() > 1e-4,
            "the other pixel's colour changes"
        );
    }
}

#[test]
fn a_flip_mirrors_left_and_right_half_of_the_time() {
    let flip = Augment {
        flip: true,
        ..Augment::default()
    };
    let mut mirrored = picture();
    mirrored
        .data
        .chunks_exact_mut(64)
        .for_each(<[f32]>::reverse);
    let mut flips = 0;
    for ordinal in 0..100 {
        let mut pixels = picture();
        flip.apply(&mut pixels, &mut sample_rng(1, ordinal));
        let near = |other: &PixelArray| {
            pixels
                .data
                .iter()
                .zip(&other.data)
                .all(|(a, b)| (a - b).abs() < 1e-5)
        };
        assert!(near(&picture()) || near(&mirrored));
        flips += u32::from(near(&mirrored));
    }
    assert!((30..=70).contains(&flips), "{flips} of 100");
}

#[test]
fn a_zoom_shows_the_content_at_its_size() {
    // A black square of 32 × 32 in the middle, shown at half its size: 16 × 16.
    let mut pixels = PixelArray {
        height: 64,
        width: 64,
        data: vec![1.0; 3 * 64 * 64],
    };
    for plane in pixels.data.chunks_exact_mut(64 * 64) {
        plane
            .chunks_exact_mut(64)
            .skip(16)
            .take(32)
            .for_each(|row| row[16..48].fill(0.0));
    }
    let half = Augment {
        scale: Some([0.5, 0.5]),
        ..Augment::default()
    };
    half.apply(&mut pixels, &mut sample_rng(1, 1));
    let black: f32 = pixels.data[..64 * 64].iter().map(|v| 1.0 - v).sum();
    assert!((black - 256.0).abs() < 8.0, "{black}");
    assert_eq!(
        (pixels.data[32 * 64 + 32], pixels.data[32 * 64 + 20]),
        (0.0, 1.0)
    );
}

#[test]
fn a_quarter_turn_turns() {
    let mut pixels = picture();
    warp(&mut pixels, [[0.0, 1.0], [-1.0, 0.0]], [0.0, 0.0]);
    let source = picture();
    for (y, x) in [(0, 0), (3, 60), (31, 2), (63, 63)] {
        let (got, wanted) = (pixels.data[y * 64 + x], source.data[(63 - x) * 64 + y]);
        assert!((got - wanted).abs() < 1e-4, "{y} {x}");
    }
}

#[test]
fn noise_and_blur_have_their_strength() {
    let gray = || PixelArray {
        height: 64,
        width: 64,
        data: vec![0.5; 3 * 64 * 64],
    };
    let mut pixels = gray();
    noise(&mut pixels, 0.1, 7);
    let count = pixels.data.len() as f32;
    let mean = pixels.data.iter().sum::<f32>() / count;
    let variance = pixels.data.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / count;
    assert!((mean - 0.5).abs() < 0.005 && (variance.sqrt() - 0.1).abs() < 0.005);
    // A point spreads to a Gaussian of the asked variance and keeps its sum.
    let mut pixels = gray();
    pixels.data.fill(0.0);
    pixels.data[32 * 64 + 32] = 1.0;
    blur(&mut pixels, 1.5);
    let sum: f32 = pixels.data.iter().sum();
    let spread: f32 = (0..64 * 64)
        .map(|i| pixels.data[i] * ((i % 64) as f32 - 32.0).powi(2))
        .sum();
    assert!(
        (sum - 1.0).abs() < 1e-4 && (spread - 2.25).abs() < 0.2,
        "{sum} {spread}"
    );
}
