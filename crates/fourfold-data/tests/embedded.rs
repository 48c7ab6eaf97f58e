//! The data sets that ship with Fourfold, read as the recipes read them.

mod common;

use std::path::{Path, PathBuf};
use std::time::Instant;

use common::{encoder, lists};
use fourfold_data::{
    Augment, Loader, LoaderConfig, Mixture, PackBudget, Prompts, SourceConfig, Tables, check,
};

fn dataset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../datasets")
        .join(name)
}

#[test]
fn every_row_is_good() {
    let tables = Tables::new();
    let encoder = encoder(None, 512);
    for name in [
        "emoji/test-style.parquet",
        "emoji/test-concept.parquet",
        "easy-vqa/test.parquet",
    ] {
        let config = SourceConfig {
            path: dataset(name),
            prompt: Prompts::One("{{ question }}".into()),
            answer: "{{ answer }}".into(),
            each: lists(&[("question", "questions"), ("answer", "answers")]),
            images: true,
            ..Default::default()
        };
        let report = check(&*tables.open(&config).unwrap(), &encoder).unwrap();
        assert!(
            report.good == report.samples && report.images == report.good,
            "{report}"
        );
        assert_eq!(report.truncated, 0, "{report}");
    }
}

/// `CARGO_PROFILE_DEV_OPT_LEVEL=3 cargo test -p fourfold-data -- --ignored --nocapture documents`
#[test]
#[ignore = "measures time"]
fn documents_a_second() {
    let begin = Instant::now();
    let config = SourceConfig {
        path: dataset("emoji/train.parquet"),
        prompt: Prompts::One("What is this?".into()),
        answer: "{{ name }}".into(),
        images: true,
        ..Default::default()
    };
    let source = Tables::new().open(&config).unwrap();
    println!("{} rows read in {:?}", source.len(), begin.elapsed());
    let everything = Augment {
        scale: Some([0.8, 1.2]),
        shift: 0.1,
        rotate_degrees: 15.0,
        brightness: 0.2,
        contrast: 0.2,
        saturation: 0.2,
        hue: 0.05,
        ..Augment::default()
    };
    for (name, augment) in [("plain", None), ("augmented", Some(everything))] {
        let mixture = Mixture::new(vec![(source.clone(), None)]).unwrap();
        let config = LoaderConfig {
            batch: 64,
            budget: PackBudget {
                tokens: 2048,
                images: 64,
            },
            seed: 1,
            prefetch: 2,
            threads: 1,
            strict: true,
        };
        let mut loader = Loader::start(mixture, encoder(augment, 512), config, None).unwrap();
        let begin = Instant::now();
        for _ in 0..50 {
            loader.next_batch().unwrap();
        }
        println!(
            "{name}: {:.0} documents a second",
            3200.0 / begin.elapsed().as_secs_f64()
        );
    }
}
