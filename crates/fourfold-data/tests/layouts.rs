//! Every file in a published layout, read without a template, gives what its maker says.
//!
//! `fixtures/layouts/expected.json` says it; README.md beside it, where the layouts were taken from.

#[path = "layouts/cases.rs"]
mod cases;
mod common;
#[path = "layouts/golden.rs"]
mod golden;
#[path = "layouts/read.rs"]
mod read;

use std::collections::BTreeSet;

use common::open;
use fourfold_data::source::Accepted;
use fourfold_data::{Prompts, SourceConfig, source};
use read::{Expected, Seen, config, expected, file};
use serde_json::json;

/// Rows that are no sample rather than a broken one: they have no caption, so that there is nothing to expand them to.
const WITHOUT_SAMPLE: [(&str, usize); 3] = [
    ("coco/annotations/captions_train2014.json", 3),
    ("coco/annotations/sorted_keys.json", 3),
    ("parquet_chats/flickr30k/test-00000-of-00001.parquet", 1),
];

/// What is different between a file and what is expected of it.
fn differences(name: &str, wanted: &Expected) -> Vec<String> {
    let mut found = Vec::new();
    let mut differ = |what: String| found.push(format!("{name}: {what}"));
    let config = config(name, wanted);
    let opened = source::open(&config);
    match (&opened, &wanted.error) {
        (Err(error), None) => differ(format!("cannot be opened: {error}")),
        (Ok(_), Some(error)) => differ(format!("is opened, though: {error}")),
        (Err(error), Some(_)) => {
            let base = name.rsplit('/').next().unwrap();
            if !error.to_string().contains(base) {
                differ(format!("the error does not name the file: {error}"));
            }
        }
        (Ok(source), None) => {
            let seen = Seen::of(&config, &**source);
            let rows: BTreeSet<usize> = wanted.samples.iter().map(|sample| sample.row).collect();
            let good: BTreeSet<usize> = seen.samples.iter().map(|sample| sample.row).collect();
            for row in rows.difference(&good) {
                differ(format!("row {row} is lost: {:?}", seen.broken.get(row)));
            }
            for row in good.difference(&rows) {
                differ(format!("row {row} is read"));
            }
            for sample in &wanted.samples {
                if let Some(got) = seen.samples.iter().find(|got| got.row == sample.row)
                    && got != sample
                {
                    differ(format!("expected {sample:?}\n   got {got:?}"));
                }
            }
            for row in &wanted.skipped {
                let absent = WITHOUT_SAMPLE.contains(&(name, *row));
                if seen.broken.contains_key(row) == absent {
                    differ(format!(
                        "row {row} should be {}",
                        if absent { "absent" } else { "broken" }
                    ));
                }
            }
            for (row, message) in &seen.broken {
                if !wanted.skipped.contains(row) {
                    differ(format!("row {row} is broken: {message}"));
                }
            }
        }
    }
    found
}

#[test]
fn every_file_gives_what_its_maker_says() {
    let all = expected();
    assert!(all.len() > 50, "{} files", all.len());
    let found: Vec<String> = all
        .iter()
        .flat_map(|(name, wanted)| differences(name, wanted))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Each reason in the words of the reader that a person would look for.
#[test]
fn what_is_wrong_is_said() {
    for (name, row, parts) in [
        ("llava/odd.json", 6, "place 2 images"),
        ("llava/odd.json", 9, "`<image>`"),
        ("llava/odd.json", 10, "second question in a row"),
        ("llava/odd.json", 11, "got \"observation\""),
        ("llava/odd.json", 13, "answer is empty"),
        ("llava/odd.json", 15, "`video`"),
        ("messages/train.jsonl", 8, "nobody answers"),
        (
            "hostile/twice.tar",
            0,
            "two of its members are called 0.jpg",
        ),
        ("hostile/slip.tar", 0, "leads out of the archive"),
        ("hostile/images.jsonl", 19, "is an address"),
        ("hostile/rows.jsonl", 8, "the row has none"),
        (
            "tables/columns.csv",
            2,
            "has 5 cells where the header has 4",
        ),
        (
            "parquet_chats/VQAv2/validation-00000-of-00001.parquet",
            1,
            "answer is empty",
        ),
    ] {
        let all = expected();
        let config = config(name, &all[name]);
        let seen = Seen::of(&config, &*open(&config));
        let message = &seen.broken[&row];
        assert!(message.contains(parts), "{name} row {row}: {message}");
    }
    for (name, parts) in [
        (
            "hostile/cut.tar",
            "ends within 1.jpg: it was cut short; 1 samples before that are whole",
        ),
        (
            "hostile/cut_in_header.tar",
            "1 samples before that are whole",
        ),
        ("hostile/utf16.csv", "UTF-16; write it in UTF-8"),
        ("hostile/cut.json", "in element 2"),
        ("hostile/no_comma.json", "expected `,` or `]`"),
        (
            "hostile/unclosed.csv",
            "line 3: a quote is opened and never closed",
        ),
        ("hostile/cut.jsonl.zst", "cannot be unpacked"),
        ("coco/annotations/image_info_test2014.json", "no captions"),
        (
            "vqa/v2_OpenEnded_mscoco_test-dev2015_questions.json",
            "`annotations`",
        ),
    ] {
        let all = expected();
        let error = source::open(&config(name, &all[name]))
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(parts), "{name}: {error}");
    }
}

/// Questions whose answers are not published are for answering; with an answer of its own a recipe may read them.
#[test]
fn questions_without_answers_need_a_template() {
    let source = open(&SourceConfig {
        path: file("vqa/v2_OpenEnded_mscoco_test-dev2015_questions.json").into(),
        image_folder: Some(file("vqa")),
        prompt: Prompts::One("{{ question }}".into()),
        answer: Some("?".into()),
        images: true,
        ..Default::default()
    });
    let sample = source
        .sample(1, &mut fourfold_data::sample_rng(0, 0))
        .unwrap();
    assert_eq!(sample.turns[0].prompt, "What sport is this?");
    assert_eq!(
        sample.images[0].name(0),
        file("vqa/test2015/COCO_test2015_000000262144.jpg")
            .display()
            .to_string()
    );
}

#[test]
fn a_split_of_karpathy_is_a_filter() {
    let mut config = SourceConfig {
        path: file("karpathy/dataset_coco.json").into(),
        image_folder: Some(file("karpathy/coco")),
        images: true,
        ..Default::default()
    };
    let values = vec![json!("train"), json!("restval")];
    config.filter.insert("split".into(), Accepted::Any(values));
    let source = open(&config);
    // Two captions of the one image, six of the other.
    assert_eq!(source.len(), 8);
    assert!((0..8).all(|sample| source.columns(sample)["split"] != json!("test")));
    config.draw = common::lists(&[("caption", "captions")]);
    assert_eq!(open(&config).len(), 2);
}

#[test]
fn what_is_deep_or_long_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.jsonl");
    let long = "word ".repeat(2 << 20);
    let deep = "[".repeat(100_000);
    let lines = [
        "{\"text\": \"good\"}".to_owned(),
        format!("{{\"text\": {deep}}}"),
        format!("{{\"text\": {deep}{}}}", "]".repeat(100_000)),
        deep.clone(),
        format!("{{\"text\": \"{long}\"}}"),
    ];
    std::fs::write(&path, lines.join("\n")).unwrap();
    let source = open(&SourceConfig {
        path: path.into(),
        ..Default::default()
    });
    let sample = |row| source.sample(row, &mut fourfold_data::sample_rng(0, 0));
    assert_eq!(sample(0).unwrap().turns[0].answer, "good");
    for row in 1..4 {
        let error = sample(row).unwrap_err().to_string();
        assert!(
            error.contains("expected a JSON object: recursion limit exceeded"),
            "{error}"
        );
    }
    assert!(sample(4).unwrap_err().to_string().contains("bytes of text"));
    // As an array what does not end takes the rest of the file with it.
    let path = folder.path().join("rows.json");
    std::fs::write(
        &path,
        format!("[{}]", [&*lines[0], &lines[2], &lines[4]].join(",")),
    )
    .unwrap();
    let source = open(&SourceConfig {
        path: path.clone().into(),
        ..Default::default()
    });
    assert_eq!(source.len(), 3);
    assert!(
        source
            .sample(1, &mut fourfold_data::sample_rng(0, 0))
            .is_err()
    );
    std::fs::write(&path, format!("[{}, {}", lines[0], deep)).unwrap();
    let error = source::open(&SourceConfig {
        path: path.into(),
        ..Default::default()
    });
    assert!(
        error
            .err()
            .unwrap()
            .to_string()
            .contains("it ends in element 1")
    );
}
