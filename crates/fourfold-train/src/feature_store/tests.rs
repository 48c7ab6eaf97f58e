//! What is stored is found again to the bit, and nothing else is, whatever happens to the files.

use std::collections::BTreeMap;

use fourfold_data::{EncodedImage, KnownImages};
use fourfold_model::Part;
use fourfold_tensor::Precision;

use super::*;
use crate::files::testing::Scratch;
use crate::testing::config;

fn model(precision: Precision) -> Model {
    Model::new(config(), precision, 1).unwrap()
}

fn transform() -> ImageTransform {
    ImageTransform {
        size: 16.into(),
        ..ImageTransform::default()
    }
}

fn open(root: &Path, model: &Model) -> Result<FeatureStore> {
    FeatureStore::open(root, 1, model, &transform(), None)
}

fn key(number: u8) -> ImageKey {
    ImageKey::new(&EncodedImage::new(vec![number]), 0)
}

/// Made up, of some images.
fn features(store: &FeatureStore, numbers: impl Iterator<Item = u8>) -> BTreeMap<ImageKey, Tensor> {
    let shape = store.about.shape;
    let one = |number: u8| {
        let values: Vec<f32> = (0..shape.patches * shape.width)
            .map(|i| (i as f32 + 1.0) / (f32::from(number) + 3.0) - 1.0)
            .collect();
        let all = Tensor::from_f32(&[shape.patches, shape.width], &values).unwrap();
        (key(number), all.to_precision(shape.precision))
    };
    numbers.map(one).collect()
}

fn add(store: &mut FeatureStore, numbers: impl Iterator<Item = u8>) {
    let new = features(store, numbers);
    store.append(new.iter()).unwrap();
}

fn holds(store: &FeatureStore, number: u8) -> bool {
    store.stored().contains(&key(number))
}

fn demand_right(store: &FeatureStore, numbers: impl Iterator<Item = u8>) {
    for (key, expected) in features(store, numbers) {
        assert!(store.stored().contains(&key));
        let found = store.stored().read(&key).unwrap().expect("stored");
        assert_eq!(found.shape(), expected.shape());
        assert_eq!(found.precision(), expected.precision());
        let bits = |tensor: &Tensor| tensor.to_f32_vec().into_iter().map(f32::to_bits);
        assert!(bits(&found).eq(bits(&expected)));
    }
}

fn refusal(root: &Path, model: &Model) -> String {
    let refused = open(root, model).err();
    format!("{:#}", refused.expect("refused"))
}

/// A folder with the images 0 to 4, in this order, in one shard.
fn filled(model: &Model) -> (Scratch, PathBuf) {
    let scratch = Scratch::new("features");
    let mut store = open(scratch.path(), model).unwrap();
    for number in 0..5 {
        add(&mut store, 0..number + 1);
    }
    let shard = store.folder.join("00001.features");
    (scratch, shard)
}

#[test]
fn a_later_run_finds_the_same_bits_and_writes_nothing() {
    for precision in [Precision::F32, Precision::Bf16, Precision::F16] {
        let model = model(precision);
        let (scratch, shard) = filled(&model);
        let length = fs::metadata(&shard).unwrap().len();
        let mut again = open(scratch.path(), &model).unwrap();
        assert_eq!(length, 80 + 5 * again.about.shape.record());
        demand_right(&again, 0..5);
        assert!(!holds(&again, 5));
        assert!(again.stored().read(&key(5)).unwrap().is_none());
        add(&mut again, 0..5);
        assert_eq!(shard::list(&again.folder).unwrap().len(), 1);
        assert!(again.take_notes().is_empty());
    }
}

#[test]
fn a_torn_tail_is_passed_over_and_written_anew() {
    let model = model(Precision::Bf16);
    let (scratch, shard) = filled(&model);
    let whole = fs::read(&shard).unwrap();
    let record = open(scratch.path(), &model).unwrap().about.shape.record() as usize;
    let ends = (0..whole.len()).step_by(13);
    for end in ends.chain([79, 80, whole.len() - 1]) {
        fs::write(&shard, &whole[..end]).unwrap();
        let mut store = open(scratch.path(), &model).unwrap();
        let kept = end.saturating_sub(80) / record;
        demand_right(&store, 0..kept as u8);
        assert!((kept as u8..5).all(|number| !holds(&store, number)));
        add(&mut store, 0..5);
        let again = open(scratch.path(), &model).unwrap();
        demand_right(&again, 0..5);
        let new = store.folder.join("00002.features");
        fs::remove_file(new).unwrap();
    }
}

#[test]
fn a_damaged_record_is_told_and_written_anew() {
    let model = model(Precision::F32);
    let (scratch, shard) = filled(&model);
    let whole = fs::read(&shard).unwrap();
    let record = open(scratch.path(), &model).unwrap().about.shape.record() as usize;
    let second = 80 + record;
    // In the checksum, in the image's digest, in its view and in the numbers.
    for place in [0, 10, 41, 44, record - 1] {
        let mut damaged = whole.clone();
        damaged[second + place] ^= 4;
        fs::write(&shard, &damaged).unwrap();
        let mut store = open(scratch.path(), &model).unwrap();
        let lost: Vec<u8> = (0..5).filter(|number| !holds(&store, *number)).collect();
        assert_eq!(lost.len(), 1, "byte {place}");
        let notes = store.take_notes();
        // A record under another image's name is nobody's.
        assert_eq!(notes.is_empty(), (8..44).contains(&place), "{notes:?}");
        assert!(notes.iter().all(|note| note.contains("00001.features")));
        add(&mut store, 0..5);
        let mut again = open(scratch.path(), &model).unwrap();
        demand_right(&again, 0..5);
        assert!(again.take_notes().is_empty(), "it was written anew");
        fs::remove_file(again.folder.join("00002.features")).unwrap();
    }
}

#[test]
fn features_that_vanish_while_they_are_used_end_the_run_with_a_way_out() {
    let model = model(Precision::F32);
    let (scratch, shard) = filled(&model);
    let store = open(scratch.path(), &model).unwrap();
    assert!(holds(&store, 4));
    let whole = fs::read(&shard).unwrap();
    fs::write(&shard, &whole[..whole.len() - 1]).unwrap();
    assert!(holds(&store, 4), "what is known once stays so");
    let demand_named = || {
        let error = format!("{:#}", store.stored().read(&key(4)).unwrap_err());
        assert!(
            error.contains("00001.features") && error.contains("--resume"),
            "{error}"
        );
    };
    demand_named();
    fs::remove_file(&shard).unwrap();
    demand_named();
}

#[test]
fn foreign_files_are_left_alone_or_refused_by_name() {
    let model = model(Precision::F32);
    let (scratch, shard) = filled(&model);
    let folder = shard.parent().unwrap();
    fs::write(folder.join("letter.txt"), "dear").unwrap();
    fs::write(scratch.path().join("letter.txt"), "dear").unwrap();
    fs::write(folder.join(".about.json.partial"), "{").unwrap();
    demand_right(&open(scratch.path(), &model).unwrap(), 0..5);

    let foreign = folder.join("00007.features");
    fs::write(&foreign, [7; 500]).unwrap();
    let error = refusal(scratch.path(), &model);
    assert!(
        error.contains("00007.features holds no features"),
        "{error}"
    );

    // Of the same model in the other precision.
    let other = self::model(Precision::Bf16);
    let (_scratch, shard) = filled(&other);
    fs::copy(shard, &foreign).unwrap();
    let error = refusal(scratch.path(), &model);
    assert!(
        error.contains("00007.features holds no features"),
        "{error}"
    );
}

#[test]
fn another_version_and_a_changed_description_are_not_trusted() {
    let model = model(Precision::F32);
    let (scratch, shard) = filled(&model);
    let about = shard.with_file_name(ABOUT);
    let text = fs::read_to_string(&about).unwrap();
    assert!(text.contains("\"format\": 1,"), "{text}");
    for changed in [
        text.replace("\"format\": 1", "\"format\": 2"),
        text[..20].into(),
    ] {
        fs::write(&about, changed).unwrap();
        let error = refusal(scratch.path(), &model);
        assert!(
            error.contains("about.json") && error.contains("remove the folder"),
            "{error}"
        );
    }
    // A shard of another version.
    fs::write(&about, text).unwrap();
    let mut bytes = fs::read(&shard).unwrap();
    bytes[15] = b'2';
    fs::write(&shard, bytes).unwrap();
    assert!(refusal(scratch.path(), &model).contains("00001.features"));
    // Without the description, the shard's own header tells.
    fs::remove_file(&shard).unwrap();
    fs::remove_file(&about).unwrap();
    assert!(!holds(&open(scratch.path(), &model).unwrap(), 0));
}

/// Everything that features depend on.
#[test]
fn another_encoder_transform_variation_or_image_finds_nothing() {
    let plain = model(Precision::F32);
    let (scratch, _) = filled(&plain);
    let finds = |model: &Model, transform: &ImageTransform, augment: Option<&Augment>| {
        let store = FeatureStore::open(scratch.path(), 1, model, transform, augment).unwrap();
        (0..5).any(|number| holds(&store, number))
    };
    assert!(finds(&plain, &transform(), None));

    let ids: Vec<_> = plain.parameters.ids().collect();
    for id in ids {
        let mut changed = model(Precision::F32);
        let last = |values: &mut [f32]| {
            let bits = values[values.len() - 1].to_bits() ^ 1;
            values[values.len() - 1] = f32::from_bits(bits);
        };
        changed.parameters.update(id, last).unwrap();
        let name = changed.parameters.get(id).name();
        let others = Part::of(name) != Some(Part::Vision);
        assert_eq!(finds(&changed, &transform(), None), others, "{name}");
    }
    let mut other = config();
    other.vision.layer_norm_eps = 1e-5;
    let other = Model::new(other, Precision::F32, 1).unwrap();
    assert!(!finds(&other, &transform(), None));
    assert!(!finds(&model(Precision::Bf16), &transform(), None));

    let mean = ImageTransform {
        mean: [0.5, 0.5, 0.49],
        ..transform()
    };
    let filter = ImageTransform {
        filter: fourfold_data::Filter::Bilinear,
        ..transform()
    };
    let fit = ImageTransform {
        fit: fourfold_data::Fit::Crop,
        ..transform()
    };
    for transform in [mean, filter, fit] {
        assert!(!finds(&plain, &transform, None), "{transform:?}");
    }

    let varied = |flip, views| Augment {
        flip,
        views: Some(views),
        ..Augment::default()
    };
    assert!(finds(&plain, &transform(), Some(&varied(false, 2))));
    assert!(!finds(&plain, &transform(), Some(&varied(true, 2))));
    let flipped = |views| {
        let augment = varied(true, views);
        FeatureStore::open(scratch.path(), 1, &plain, &transform(), Some(&augment)).unwrap()
    };
    add(&mut flipped(2), 0..1);
    assert!(holds(&flipped(4), 0), "more variations keep the first ones");
    let view = ImageKey::new(&EncodedImage::new(vec![0]), 1);
    assert!(!flipped(4).stored().contains(&view));
    assert!(!holds(&flipped(2), 1), "another image");
}

#[test]
fn runs_at_the_same_time_write_shards_of_their_own() {
    let model = model(Precision::F32);
    let scratch = Scratch::new("features");
    let mut stores = [(); 3].map(|()| open(scratch.path(), &model).unwrap());
    std::thread::scope(|scope| {
        for (store, first) in stores.iter_mut().zip([0, 2, 4]) {
            scope.spawn(move || {
                for number in first..first + 4 {
                    add(store, number..number + 1);
                }
            });
        }
    });
    let store = open(scratch.path(), &model).unwrap();
    demand_right(&store, 0..8);
    assert_eq!(shard::list(&store.folder).unwrap().len(), 3);
}

#[test]
fn a_full_folder_is_told_once_and_stays_as_large() {
    let model = model(Precision::F32);
    let scratch = Scratch::new("features");
    let mut store = open(scratch.path(), &model).unwrap();
    store.room = 3 * store.about.shape.record() + 1;
    add(&mut store, 0..5);
    add(&mut store, 0..8);
    let notes = store.take_notes();
    assert_eq!(notes.len(), 1);
    assert!(
        notes[0].contains("has reached training.feature_cache_disk_mib = 1"),
        "{notes:?}"
    );
    let again = open(scratch.path(), &model).unwrap();
    assert_eq!((0..8).filter(|number| holds(&again, *number)).count(), 3);
    assert_eq!((1 << 20) - again.room, 80 + 3 * again.about.shape.record());
}

#[test]
fn a_failed_write_is_told_once_and_costs_nothing() {
    let model = model(Precision::F32);
    let scratch = Scratch::new("features");
    let mut store = open(scratch.path(), &model).unwrap();
    fs::remove_dir_all(&store.folder).unwrap();
    add(&mut store, 0..5);
    add(&mut store, 0..8);
    let notes = store.take_notes();
    assert_eq!(notes.len(), 1);
    assert!(
        notes[0].contains(&store.about.key) && notes[0].contains("training.feature_cache"),
        "{notes:?}"
    );
    assert!(!holds(&store, 0));
}

#[test]
fn a_folder_that_cannot_be_written_is_refused_at_the_start() {
    let scratch = Scratch::new("features");
    let root = scratch.path().join("a").join("b");
    prepare(&root).unwrap();
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    let file = scratch.path().join("file");
    fs::write(&file, "").unwrap();
    for root in [file.clone(), file.join("inside")] {
        let error = format!("{:#}", prepare(&root).unwrap_err());
        assert!(error.contains("training.feature_cache"), "{error}");
    }
}
