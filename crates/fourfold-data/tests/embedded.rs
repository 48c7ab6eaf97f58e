//! The data sets that ship with Fourfold, read as the recipes read them.

mod common;

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::path::{Path, PathBuf};

use common::{encoder, lists};
use fourfold_data::source::{Row, Table};
use fourfold_data::{PackBudget, Prompts, SourceConfig, Tables, check, decode_rgb, hash};

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
            path: dataset(name).into(),
            prompt: Prompts::One("{{ question }}".into()),
            answer: Some("{{ answer }}".into()),
            each: lists(&[("question", "questions"), ("answer", "answers")]),
            images: true,
            ..Default::default()
        };
        let report = check(
            &*tables.open(&config).unwrap(),
            &encoder,
            PackBudget::UNLIMITED,
        )
        .unwrap();
        assert!(
            report.good == report.samples && report.images == report.good,
            "{report}"
        );
        let truncated = report.rows.as_ref().map(|rows| rows.truncated);
        assert_eq!(truncated, Some(0), "{report}");
    }
}

fn table(name: &str) -> Table {
    Table::open(&dataset(name)).unwrap()
}

/// Hashes of all images of a file, as the pixels they decode to: another compression hides nothing.
fn images(table: &Table) -> HashSet<String> {
    let hash = |row: Row| {
        let image = row.images[0].load("", 0).unwrap();
        hash::sha256(decode_rgb(&image.bytes).unwrap().as_raw())
    };
    rows(table).map(hash).collect()
}

fn rows(table: &Table) -> impl Iterator<Item = Row> {
    (0..table.len()).map(|row| table.row(row).unwrap())
}

fn column(table: &Table, name: &str) -> HashSet<String> {
    rows(table)
        .map(|row| row.columns[name].as_str().unwrap().to_owned())
        .collect()
}

fn demand_disjoint<T: Eq + Hash + Debug>(train: &HashSet<T>, test: &HashSet<T>, what: &str) {
    let shared: Vec<&T> = train.intersection(test).collect();
    assert!(shared.is_empty(), "{what} in training and test: {shared:?}");
}

#[test]
fn no_test_image_is_in_training() {
    let emoji = images(&table("emoji/train.parquet"));
    for test in ["emoji/test-style.parquet", "emoji/test-concept.parquet"] {
        demand_disjoint(&emoji, &images(&table(test)), test);
    }
}

#[test]
fn easy_vqa_keeps_its_own_split() {
    let (train, test) = (
        table("easy-vqa/train.parquet"),
        table("easy-vqa/test.parquet"),
    );
    assert_eq!((train.len(), test.len()), (4000, 1000));
    demand_disjoint(&images(&train), &images(&test), "easy-vqa");
}

#[test]
fn no_word_of_a_test_concept_is_in_training() {
    let train = table("emoji/train.parquet");
    let test = table("emoji/test-concept.parquet");
    let lines = table("text/wordnet-train.parquet");
    let lines = column(&lines, "text");
    for name in ["concept", "name", "keywords", "description"] {
        demand_disjoint(&column(&train, name), &column(&test, name), name);
        demand_disjoint(&lines, &column(&test, name), name);
    }
}

#[test]
fn a_test_style_concept_is_trained_on_in_other_styles_alone() {
    let drawing = |row: Row| {
        (
            row.columns["concept"].clone(),
            row.columns["vendor"].clone(),
        )
    };
    let drawings = |table: &Table| rows(table).map(drawing).collect::<HashSet<_>>();
    let (train, test) = (
        table("emoji/train.parquet"),
        table("emoji/test-style.parquet"),
    );
    demand_disjoint(&drawings(&train), &drawings(&test), "a drawing");
    let seen = column(&train, "concept");
    assert!(column(&test, "concept").is_subset(&seen));
}

#[test]
fn no_concept_is_another_ones_skin_tone() {
    for name in ["train", "test-style", "test-concept"] {
        let table = table(&format!("emoji/{name}.parquet"));
        for concept in column(&table, "concept") {
            let tone = concept
                .split('-')
                .any(|point| ("1F3FB"..="1F3FF").contains(&point.to_uppercase().as_str()));
            // The five swatches themselves are concepts of their own.
            assert!(!tone || !concept.contains('-'), "{name}: {concept}");
        }
    }
}
