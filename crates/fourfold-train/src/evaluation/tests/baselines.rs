//! What is held against a model: other images, none, the nearest, the most frequent answer.

use super::*;

#[test]
fn shuffling_leaves_no_image_in_its_place_and_loses_none() {
    let place = workplace("shuffle");
    let cases = Cases::read(
        &*open(place.path(), "test.jsonl", "{{ question }}"),
        &Measure::default(),
    )
    .cases;
    for seed in 0..20 {
        let questions = shuffled(&cases, seed).unwrap();
        let mut seen = BTreeSet::new();
        for (case, question) in cases.iter().zip(&questions) {
            assert_eq!(case.prompt, question.prompt);
            let (own, other) = (case.images[0].key(), question.images[0].key());
            assert_ne!(own, other, "seed {seed}");
            seen.insert(other);
        }
        assert_eq!(seen.len(), 3);
        // Both questions about a picture are asked about the same other picture.
        assert_eq!(questions[0].images[0].key(), questions[1].images[0].key());
    }
    let error = shuffled(&cases[..2], 0).unwrap_err().to_string();
    assert!(error.contains("two different images"), "{error}");
}

#[test]
fn the_blind_image_is_the_mean_color() {
    let case = Case {
        id: "a".into(),
        images: vec![RowImage::Missing; 2],
        image_key: None,
        prompt: "p".into(),
        references: Vec::new(),
        group: None,
    };
    let transform = ImageTransform {
        size: 7.into(),
        mean: [0.2, 0.5, 1.0],
        std: [1.0; 3],
        ..ImageTransform::default()
    };
    let questions = blind(&[case], &transform);
    assert_eq!(questions[0].images.len(), 2);
    let blind = questions[0].images[0].load("blind", 0).unwrap();
    let pixels = decode_rgb(&blind.bytes).unwrap();
    assert_eq!(pixels.dimensions(), (7, 7));
    assert!(pixels.pixels().all(|pixel| pixel.0 == [51, 128, 255]));
    let normalized = transform.apply(&blind.bytes).unwrap();
    assert!(normalized.data.iter().all(|value| value.abs() < 0.01));
}

/// Against the definition: the sum of squared differences, image by image.
#[test]
fn the_nearest_image_is_the_one_of_least_squared_difference() {
    let scratch = Scratch::new("nearest");
    let mut state = 1u64;
    let mut noise = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    let mut images = Vec::new();
    for (split, count) in [("train", 300), ("test", 20)] {
        let mut lines = String::new();
        for number in 0..count {
            let picture =
                image::RgbImage::from_fn(4, 4, |_, _| image::Rgb([noise(), noise(), noise()]));
            picture
                .save(scratch.path().join(format!("{split}{number}.bmp")))
                .unwrap();
            lines += &format!("{{\"image\": \"{split}{number}.bmp\", \"answer\": \"{number}\"}}\n");
            images.push(picture);
        }
        fs::write(scratch.path().join(format!("{split}.jsonl")), lines).unwrap();
    }
    let (train, test) = images.split_at(300);
    let transform = ImageTransform {
        size: 4.into(),
        ..ImageTransform::default()
    };
    let index = PixelIndex::build(
        &[&*open(scratch.path(), "train.jsonl", "")],
        &transform,
        ImageFiles::default(),
    )
    .unwrap();
    let cases = Cases::read(
        &*open(scratch.path(), "test.jsonl", ""),
        &Measure::default(),
    )
    .cases;
    let distance = |a: &image::RgbImage, b: &image::RgbImage| -> i64 {
        a.as_raw()
            .iter()
            .zip(b.as_raw())
            .map(|(a, b)| (i64::from(*a) - i64::from(*b)).pow(2))
            .sum()
    };
    for (said, picture) in index.nearest(&cases).unwrap().iter().zip(test) {
        let nearest = (0..300)
            .min_by_key(|place| distance(&train[*place], picture))
            .unwrap();
        assert_eq!(*said, Some(nearest.to_string()));
    }
}

#[test]
fn the_nearest_image_answers_the_question_that_is_asked() {
    let place = workplace("asked");
    let train = open(place.path(), "train.jsonl", "{{ question }}");
    let index = PixelIndex::build(
        &[&*train],
        &ImageTransform {
            size: 16.into(),
            ..ImageTransform::default()
        },
        ImageFiles::default(),
    )
    .unwrap();
    let cases = Cases::read(
        &*open(place.path(), "test.jsonl", "{{ question }}"),
        &Measure::default(),
    )
    .cases;
    let said = |cases: &[Case]| -> Vec<String> {
        let said = index.nearest(cases).unwrap().into_iter();
        said.map(|said| said.unwrap_or_else(|| "none".into()))
            .collect()
    };
    assert_eq!(said(&cases), ["red", "yes", "green", "no", "blue", "no"]);
    let other = Cases::read(
        &*open(place.path(), "test.jsonl", "Never asked"),
        &Measure::default(),
    )
    .cases;
    assert_eq!(said(&other), ["red", "green", "blue"]);
    let blind = Case {
        images: Vec::new(),
        image_key: None,
        ..cases[0].clone()
    };
    assert_eq!(said(&[blind]), ["none"]);
}

#[test]
fn majority_breaks_ties_by_the_alphabet_and_knows_what_is_common() {
    let place = workplace("majority");
    let train = open(place.path(), "train.jsonl", "{{ question }}");
    let cases = Cases::read(
        &*open(place.path(), "test.jsonl", "{{ question }}"),
        &Measure::default(),
    )
    .cases;
    let said = majority(&cases, &[&*train]).unwrap();
    assert_eq!(said, ["blue", "no", "blue", "no", "blue", "no"]);
    let unseen = Cases::read(
        &*open(place.path(), "test.jsonl", "Unseen?"),
        &Measure::default(),
    )
    .cases;
    assert_eq!(majority(&unseen, &[&*train]).unwrap(), ["no", "no", "no"]);
    assert!(majority(&cases, &[]).is_err());
}
