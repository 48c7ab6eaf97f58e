//! Runs that begin from pretrained backbones, changed on the way in.

use std::fs;
use std::path::{Path, PathBuf};

use fourfold_model::{ImageSize, Model};
use fourfold_tensor::Precision;

use crate::support::*;

/// A finished run whose second stage wrote its backbones, and the files of the language model's tokenizer.
fn backbones(place: &Path) -> PathBuf {
    let export = [
        "stage.unify.export=[\"vision\", \"language\"]",
        "stage.unify.samples=8",
    ];
    let two_blocks = "model.vision.num_hidden_layers=2";
    let run = whole(place, "first", &[&export[..], &[two_blocks]].concat()).expect("trains");
    run.join("parts")
}

/// A recipe that begins from `parts`.
fn from_parts(place: &Path, parts: &Path, vision: &str) -> PathBuf {
    let (before, rest) = RECIPE.split_once("[model.vision]").expect("there");
    let (_, rest) = rest.split_once("[model.projector]").expect("there");
    let (projector, rest) = rest.split_once("[model.language]").expect("there");
    let (_, rest) = rest.split_once("[image]\nsize = 16\n").expect("there");
    let parts = parts.display();
    let text = format!(
        "{before}[model.vision]\nfrom = \"{parts}/vision\"\n{vision}\n[model.projector]{projector}[model.language]\nfrom \
         = \"{parts}/language\"\n{rest}"
    );
    fs::write(place.join("tiny.toml"), text).expect("written");
    place.to_owned()
}

#[test]
fn an_encoder_may_be_cut_and_take_images_of_another_size() {
    let place = workplace();
    let parts = backbones(place.path());
    from_parts(place.path(), &parts, "layer = -2\nimage_size = [16, 24]");
    let run = whole(place.path(), "second", &["stage.unify.samples=8"]).expect("trains");
    let model = Model::load(&run.join("model"), Precision::F32).expect("written");
    let vision = &model.config().vision;
    assert_eq!((vision.num_hidden_layers, vision.final_norm), (1, false));
    let size = ImageSize {
        height: 16,
        width: 24,
    };
    assert_eq!((vision.image_size, vision.patches()), (size, 24));
    assert_eq!(model.config().visual_tokens(), 6);
    let preprocessor = fs::read_to_string(run.join("model/preprocessor_config.json"));
    assert!(preprocessor.expect("readable").contains("24"));
}

/// Lets the image processor of an encoder make images of 8 pixels a side, where the encoder is said to take 16.
fn make_smaller(vision: &Path) {
    let file = vision.join("preprocessor_config.json");
    let config = fs::read_to_string(&file).expect("there");
    assert!(config.contains("16"), "{config}");
    fs::write(file, config.replace("16", "8")).expect("written");
}

#[test]
fn an_image_processor_of_another_size_decides_where_any_will_do() {
    let place = workplace();
    let parts = backbones(place.path());
    make_smaller(&parts.join("vision"));
    from_parts(place.path(), &parts, "");
    let message = refusal(place.path(), &[]);
    assert!(message.contains("image_size = 8"), "{message}");
    from_parts(place.path(), &parts, "image_size = 16");
    whole(place.path(), "second", &["stage.unify.samples=8"]).expect("trains");
}

#[test]
fn a_dinov2_takes_what_its_image_processor_makes() {
    let place = workplace();
    let dinov2 = RECIPE.replace("[model.vision]", "[model.vision]\nmodel_type = \"dinov2\"");
    fs::write(place.path().join("tiny.toml"), dinov2).expect("written");
    let export = "stage.unify.export=[\"vision\", \"language\"]";
    let run = whole(place.path(), "first", &[export, "stage.unify.samples=8"]).expect("trains");
    let parts = run.join("parts");
    make_smaller(&parts.join("vision"));
    from_parts(place.path(), &parts, "");
    let run = whole(place.path(), "second", &["stage.unify.samples=8"]).expect("trains");
    let model = Model::load(&run.join("model"), Precision::F32).expect("written");
    assert_eq!(model.config().vision.image_size.height, 8);
}

#[test]
fn a_vocabulary_grows_by_added_tokens() {
    let place = workplace();
    let parts = backbones(place.path());
    let before = Model::load(&place.path().join("first/model"), Precision::F32).expect("written");
    from_parts(place.path(), &parts, "");
    let add = "tokenizer.add=[\"<photo>\", \"<drawing>\"]";
    let frozen = [
        "stage.align.samples=4",
        "stage.unify.train=[\"projector\"]",
        add,
    ];
    let run = whole(place.path(), "second", &frozen).expect("trains");
    let model = Model::load(&run.join("model"), Precision::F32).expect("written");
    let (old, new) = (before.config().vocabulary(), model.config().vocabulary());
    assert_eq!(new, old + 2);
    let table = |model: &Model| {
        let id = model
            .parameters
            .find("language.model.embed_tokens.weight")
            .expect("there");
        model.parameters.get(id).master().to_f32_vec()
    };
    let (old_table, new_table) = (table(&before), table(&model));
    // parts/ are written in 16 bits.
    let kept = new_table.iter().zip(&old_table).take(old_table.len());
    assert!(
        kept.clone()
            .all(|(new, old)| (new - old).abs() <= 0.01 * old.abs())
    );
    for column in 0..16 {
        let known = new_table[..old * 16].iter().skip(column).step_by(16);
        let mean = known.sum::<f32>() / old as f32;
        for row in old..new {
            assert!((new_table[row * 16 + column] - mean).abs() < 1e-6);
        }
    }
}

#[test]
fn keys_beside_from_are_told_apart() {
    let place = workplace();
    let parts = backbones(place.path());
    for (vision, expected) in [
        ("layer = -9", "this encoder has 2 blocks"),
        ("keep_class_token = true", "no class token"),
        ("image_size = 2", "patch_size"),
        ("hidden_size = 16", "`from` names pretrained weights"),
    ] {
        from_parts(place.path(), &parts, vision);
        let message = refusal(place.path(), &[]);
        assert!(
            message.contains(expected),
            "{message} should say {expected}"
        );
    }
}
