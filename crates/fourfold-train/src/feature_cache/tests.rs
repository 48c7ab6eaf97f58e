//! What is kept, what is not, and that it is the same.

use fourfold_data::EncodedImage;

use super::*;
use crate::testing::config;

/// Of the images that the model takes.
const SIDE: usize = 16;

fn model(precision: Precision) -> Model {
    Model::new(config(), precision, 1).unwrap()
}

fn stage(more: &str) -> Stage {
    let text = format!(
        "name = \"a\"\ntrain = [\"language\"]\nmixture = [\"d\"]\nsamples = 8\nbatch = 8\nlr = 1e-3\n{more}"
    );
    toml::from_str(&text).unwrap()
}

fn key(number: u8) -> ImageKey {
    ImageKey::new(&EncodedImage::new(vec![number]), 0)
}

fn image(number: u8) -> DocumentImage {
    let pixels = PixelArray {
        data: (0..3 * SIDE * SIDE)
            .map(|i| ((i * 7 + usize::from(number) * 31) % 97) as f32 / 97.0)
            .collect(),
        height: SIDE,
        width: SIDE,
    };
    DocumentImage::Pixels(pixels, Some(key(number)))
}

fn cache(limit_mib: usize) -> FeatureCache {
    FeatureCache::for_stage(
        None,
        &stage("cache_features = true"),
        Precision::F32,
        limit_mib,
    )
    .unwrap()
}

#[test]
fn features_do_not_depend_on_the_images_beside() {
    for precision in [Precision::F32, Precision::Bf16, Precision::F16] {
        let model = model(precision);
        let all: Vec<DocumentImage> = (0..11).map(image).collect();
        let together = cache(1).missing(&model, all.iter()).unwrap().0;
        assert_eq!(together.len(), 11);
        for number in [0, 7, 8, 10] {
            let alone = cache(1).missing(&model, [image(number)].iter());
            let alone = alone.unwrap().0;
            let bits = |features: &Features| features[&key(number)].to_f32_vec();
            assert_eq!(
                bits(&together),
                bits(&alone),
                "{precision:?}, image {number}"
            );
        }
        // And they are what the encoder says of it.
        let DocumentImage::Pixels(pixels, _) = image(3) else {
            unreachable!("made above");
        };
        let plain = model
            .encode(&stack_pixels([pixels].iter()).unwrap())
            .unwrap();
        let found = together[&key(3)].to_f32_vec();
        for (found, plain) in found.iter().zip(plain.to_f32_vec()) {
            assert!((found - plain).abs() < 0.05, "{found} and {plain}");
        }
    }
}

#[test]
fn a_kept_image_is_not_encoded_again_and_is_found_by_its_key() {
    let model = model(Precision::F32);
    let mut cache = cache(1);
    let images = [image(1), image(2), image(1)];
    let (fresh, _) = cache.missing(&model, images.iter()).unwrap();
    assert_eq!(fresh.len(), 2, "the third is the first");
    let before = cache.stack(&fresh, &images).unwrap().to_f32_vec();
    assert!(!cache.known().contains(&key(1)));
    cache.keep(fresh).unwrap();
    assert!(cache.known().contains(&key(1)) && cache.take_notes().is_empty());
    let mixed = [DocumentImage::Known(key(1)), image(2), image(1)];
    let (fresh, origins) = cache.missing(&model, mixed.iter()).unwrap();
    let kept = Origins {
        memory: 2,
        ..Origins::default()
    };
    assert_eq!((fresh.len(), origins), (0, kept));
    assert_eq!(cache.stack(&fresh, &mixed).unwrap().to_f32_vec(), before);
    let unknown = [DocumentImage::Known(key(9))];
    assert!(cache.stack(&fresh, &unknown).is_err());
}

#[test]
fn without_room_nothing_is_kept_and_it_is_said() {
    let model = model(Precision::F32);
    let mut cache = cache(0);
    let images = [image(1)];
    let (fresh, _) = cache.missing(&model, images.iter()).unwrap();
    assert!(cache.stack(&fresh, &images).is_ok());
    cache.keep(fresh).unwrap();
    assert!(cache.take_notes()[0].contains("fill training.feature_cache_mib = 0"));
    assert!(!cache.known().contains(&key(1)));
    let (fresh, _) = cache.missing(&model, images.iter()).unwrap();
    assert_eq!(fresh.len(), 1);
    cache.keep(fresh).unwrap();
    assert!(cache.take_notes().is_empty(), "once");
}

#[test]
fn a_cache_goes_on_only_where_nothing_of_it_changes() {
    let model = model(Precision::F32);
    let filled = || {
        let mut cache = cache(1);
        let (fresh, _) = cache.missing(&model, [image(1)].iter()).unwrap();
        cache.keep(fresh).unwrap();
        cache
    };
    let next_in =
        |precision, more: &str| FeatureCache::for_stage(Some(filled()), &stage(more), precision, 1);
    let next = |more: &str| next_in(Precision::F32, more);
    let same = next("cache_features = true").unwrap();
    assert!(same.known().contains(&key(1)));
    let varied = next("cache_features = true\naugment = { noise = 0.1, views = 2 }").unwrap();
    assert!(!varied.known().contains(&key(1)));
    // What was made in one format is of no use in another.
    let rounded = next_in(Precision::F16, "cache_features = true").unwrap();
    assert!(!rounded.known().contains(&key(1)));
    // As every stage whose encoder trains.
    assert!(next("").is_none());
}
