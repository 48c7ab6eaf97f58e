//! The hash against `imagehash`, and the index against comparing with all.

use rand::{RngExt, SeedableRng};

use super::*;
use crate::{SampleRng, decode_rgb};

/// What `imagehash.phash` gives for the photographs of `tests/fixtures/images`.
const KNOWN: &str = include_str!("../../tests/fixtures/perceptual_hash/hashes.json");

#[test]
fn hashes_are_those_of_imagehash() {
    let known: Vec<(String, String)> = serde_json::from_str(KNOWN).unwrap();
    assert!(known.len() >= 5);
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for (name, expected) in known {
        let bytes = std::fs::read(folder.join(&name)).unwrap();
        let hash = PerceptualHash::of(&decode_rgb(&bytes).unwrap()).unwrap();
        let expected: PerceptualHash = expected.parse().unwrap();
        // Decoders and resizers round differently; a coefficient at the median may fall on either side.
        assert!(hash.distance(expected) <= 2, "{name}: {hash} {expected}");
    }
}

#[test]
fn one_colour_has_no_hash_and_a_slope_has() {
    let flat = RgbImage::from_pixel(40, 30, image::Rgb([200, 10, 30]));
    assert_eq!(PerceptualHash::of(&flat), None);
    let slope = |scale: u32| {
        RgbImage::from_fn(64 * scale, 48 * scale, |x, y| {
            let (x, y) = (x / scale, y / scale);
            image::Rgb([(x * 4) as u8, (y * 5) as u8, ((x * y) % 256) as u8])
        })
    };
    let (small, large) = (slope(1), slope(3));
    let hash = |image| PerceptualHash::of(image).unwrap();
    assert!(hash(&small).distance(hash(&large)) <= PerceptualHash::NEAR);
    let turned = image::imageops::rotate90(&small);
    assert!(hash(&small).distance(hash(&turned)) > PerceptualHash::NEAR);
}

#[test]
fn a_hash_is_written_and_read() {
    let hash = PerceptualHash(0x0123_4567_89ab_cdef);
    assert_eq!(hash.to_string(), "0123456789abcdef");
    assert_eq!("0123456789ABCDEF".parse(), Ok(hash));
    for wrong in ["123", "+123456789abcdef", "0123456789abcdeg"] {
        let refused = wrong.parse::<PerceptualHash>();
        assert!(refused.is_err(), "{wrong}: {refused:?}");
    }
}

#[test]
fn the_index_finds_what_comparing_with_all_finds() {
    let mut rng = SampleRng::seed_from_u64(3);
    let mut index = HashIndex::default();
    let hashes: Vec<PerceptualHash> = (0..500).map(|_| PerceptualHash(rng.random())).collect();
    for (label, hash) in hashes.iter().enumerate() {
        index.insert(*hash, label as u32);
    }
    for flipped in 0..=8u32 {
        for (label, hash) in hashes.iter().enumerate() {
            let mut other = hash.0;
            while (other ^ hash.0).count_ones() < flipped {
                other ^= 1 << rng.random_range(0..64u32);
            }
            let other = PerceptualHash(other);
            let near = |known: &PerceptualHash| known.distance(other) <= PerceptualHash::NEAR;
            let found = index.near(other, PerceptualHash::NEAR);
            assert_eq!(found.is_some(), hashes.iter().any(near), "{flipped}");
            if flipped <= PerceptualHash::NEAR {
                assert_eq!(found, Some((label as u32, flipped)));
            }
        }
    }
}
