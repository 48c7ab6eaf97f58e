//! Several files as one source: they are of one layout, and have their images in the same place, or the one that differs
//! is named.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{fixture, open, refusal};
use fourfold_data::{Paths, Source, SourceConfig, sample_rng};

const IMAGE_TABLE: &str = "{\"image\": \"a.png\", \"text\": \"red\"}\n";
const TEXT_TABLE: &str = "{\"text\": \"blue\", \"note\": \"no image\"}\n";
const OTHER_NAME: &str = "{\"picture\": \"a.png\", \"text\": \"green\"}\n";
const SEEN_TALK: &str = r#"{"image": "a.png", "conversations": [{"from": "human", "value": "<image>What?"}, {"from": "gpt", "value": "Red."}]}
"#;
const BLIND_TALK: &str = r#"{"id": "7", "conversations": [{"from": "human", "value": "Hello?"}, {"from": "gpt", "value": "Hello."}]}
"#;

/// Files of these texts in a folder, as one source.
fn several(files: &[(&str, &str)]) -> (tempfile::TempDir, SourceConfig) {
    let folder = tempfile::tempdir().unwrap();
    let write = |(name, text): &(&str, &str)| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let config = listed(files.iter().map(write).collect());
    (folder, config)
}

fn listed(paths: Vec<PathBuf>) -> SourceConfig {
    SourceConfig {
        path: Paths::Several(paths),
        images: true,
        ..SourceConfig::default()
    }
}

fn refused(files: &[(&str, &str)]) -> String {
    let (_folder, config) = several(files);
    refusal(&config)
}

fn demand(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
}

/// Images of each sample.
fn images(source: &dyn Source) -> Vec<usize> {
    let count = |row| source.sample(row, &mut sample_rng(0, 0)).unwrap().images;
    (0..source.len()).map(|row| count(row).len()).collect()
}

#[test]
fn a_file_whose_images_are_named_elsewhere_is_told() {
    let message = refused(&[("a.jsonl", IMAGE_TABLE), ("b.jsonl", OTHER_NAME)]);
    demand(
        &message,
        &[
            "b.jsonl: names its images in `picture`",
            "a.jsonl",
            "`image`",
        ],
    );
    // Whichever comes first.
    let message = refused(&[("b.jsonl", OTHER_NAME), ("a.jsonl", IMAGE_TABLE)]);
    demand(&message, &["b.jsonl: names its images in `picture`"]);
    let csv = [
        ("a.csv", "image,text,n\na.png,red,1\n"),
        ("b.csv", "img,text,n\na.png,red,1\n"),
    ];
    demand(&refused(&csv), &["b.csv: names its images in `img`"]);
}

#[test]
fn a_table_without_images_is_no_part_of_one_with_them() {
    for files in [
        [("a.jsonl", IMAGE_TABLE), ("b.jsonl", TEXT_TABLE)],
        [("b.jsonl", TEXT_TABLE), ("a.jsonl", IMAGE_TABLE)],
    ] {
        let message = refused(&files);
        demand(&message, &["b.jsonl: has no images", "a.jsonl"]);
        let (_folder, config) = several(&files);
        let unseen = SourceConfig {
            images: false,
            ..config
        };
        assert_eq!(images(&*open(&unseen)), [0, 0]);
    }
}

#[test]
fn conversations_of_text_stand_beside_those_about_images() {
    let (_folder, config) = several(&[("a.jsonl", BLIND_TALK), ("b.jsonl", SEEN_TALK)]);
    assert_eq!(images(&*open(&config)), [0, 1]);
    // Also where the recipe says which column names the images.
    let config = SourceConfig {
        image_column: Some("image".into()),
        ..config
    };
    assert_eq!(images(&*open(&config)), [0, 1]);
}

#[test]
fn a_file_of_another_layout_is_told() {
    let message = refused(&[("talk.jsonl", SEEN_TALK), ("table.jsonl", IMAGE_TABLE)]);
    demand(
        &message,
        &[
            "table.jsonl: is a table",
            "talk.jsonl is conversations",
            "data of its own",
        ],
    );
    let layout = |name: &str| fixture("layouts").join(name);
    let message = refusal(&listed(vec![
        layout("coco/annotations/captions_val2014.json"),
        layout("vqa/v2_OpenEnded_mscoco_val2014_questions.json"),
    ]));
    demand(&message, &["is questions of VQA", "annotations of COCO"]);
}

#[test]
fn annotations_are_for_questions() {
    let (folder, config) = several(&[("a.jsonl", IMAGE_TABLE)]);
    let message = refusal(&SourceConfig {
        annotations: Some(folder.path().join("annotations.json")),
        ..config
    });
    demand(
        &message,
        &[
            "annotations: ",
            "annotations.json",
            "a.jsonl is no file of VQA",
        ],
    );
}

#[test]
fn a_folder_is_no_file() {
    let message = refusal(&listed(vec![Path::new(env!("CARGO_MANIFEST_DIR")).into()]));
    demand(&message, &["is a folder", "/*.parquet"]);
}

#[test]
fn captions_in_lists_and_in_texts_are_not_read_alike() {
    let lists = "{\"image\": \"a.png\", \"captions\": [\"red\", \"a red one\"]}\n";
    let text = "{\"image\": \"a.png\", \"caption\": \"green\"}\n";
    let talk = "{\"image\": \"a.png\", \"prompts\": [\"What?\"], \"answers\": [\"Red.\"]}\n";
    for (first, second) in [(lists, text), (text, lists), (lists, talk), (talk, text)] {
        let message = refused(&[("a.jsonl", first), ("b.jsonl", second)]);
        demand(
            &message,
            &[
                "its columns speak for",
                "a.jsonl",
                "b.jsonl",
                "data of its own",
            ],
        );
    }
    let (_folder, config) = several(&[("a.jsonl", lists), ("b.jsonl", text)]);
    let each = SourceConfig {
        each: [("caption".to_owned(), "captions".to_owned())].into(),
        answer: Some("{{ caption }}".into()),
        ..config
    };
    demand(
        &refusal(&each),
        &["b.jsonl", "the list `captions`", "does not exist"],
    );
}

/// What is seen in one file holds for a column that begins empty in another.
#[test]
fn a_column_that_begins_empty_is_what_it_is_elsewhere() {
    let named = "{\"img_path\": \"a.png\", \"text\": \"red\"}\n";
    let late = "{\"img_path\": null, \"text\": \"blue\", \"n\": 1}\n".repeat(70)
        + "{\"img_path\": \"a.png\", \"text\": \"green\", \"n\": 1}\n";
    for files in [
        [("a.jsonl", named), ("b.jsonl", &*late)],
        [("b.jsonl", &*late), ("a.jsonl", named)],
    ] {
        let (folder, config) = several(&files);
        fs::copy(
            fixture("layouts/tables/images/blue.png"),
            folder.path().join("a.png"),
        )
        .unwrap();
        let source = open(&config);
        let shown = (0..source.len()).filter(|row| {
            let sample = source.sample(*row, &mut sample_rng(0, 0)).unwrap();
            sample.read_images().is_ok_and(|images| images.len() == 1)
        });
        assert_eq!(shown.count(), 2, "the others lack theirs");
    }
}

/// More rows of text than are looked at, then one that names an image: not a sample of text.
#[test]
fn a_late_row_with_an_image_is_not_read_without_it() {
    let text = "{\"text\": \"blue\"}\n".repeat(70);
    let (_folder, config) = several(&[(
        "a.jsonl",
        &(text + "{\"img_path\": \"a.png\", \"text\": \"red\"}\n"),
    )]);
    let source = open(&config);
    let sample = |row| {
        source
            .sample(row, &mut sample_rng(0, 0))
            .map(|sample| sample.images.len())
    };
    assert_eq!(sample(0).unwrap(), 0);
    let message = sample(70).unwrap_err().to_string();
    demand(
        &message,
        &[
            "a.jsonl:line 71",
            "`img_path` names an image",
            "image_column",
        ],
    );
}

#[test]
fn parts_of_messages_name_images_wherever_the_first_stand() {
    let text = r#"{"messages": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hello."}]}
"#;
    let parts = r#"{"messages": [{"role": "user", "content": [{"type": "image", "image": "a.png"}, {"type": "text", "text": "What?"}]}, {"role": "assistant", "content": "Red."}]}
"#;
    for before in [1, 70] {
        let (_folder, config) = several(&[("a.jsonl", &(text.repeat(before) + parts))]);
        let source = open(&config);
        assert!(source.shows_images());
        assert_eq!(images(&*source).iter().sum::<usize>(), 1);
    }
    let (_folder, config) = several(&[("a.jsonl", text), ("b.jsonl", parts)]);
    assert_eq!(images(&*open(&config)), [0, 1]);
}

/// What has no image may have a name of one, as a text-only conversation's `id`.
#[test]
fn names_that_only_look_like_images_decide_nothing_among_conversations() {
    let named = BLIND_TALK.replace("\"7\"", "\"7.jpg\"");
    let (_folder, config) = several(&[("a.jsonl", &named), ("b.jsonl", SEEN_TALK)]);
    assert_eq!(images(&*open(&config)), [0, 1]);
    let other = "{\"image\": null, \"file_name\": \"a.png\"}\n";
    let rows = IMAGE_TABLE.to_owned() + &other.replace("}", ", \"text\": \"blue\"}");
    let (_folder, config) = several(&[("a.jsonl", &rows)]);
    let error = open(&config)
        .sample(1, &mut sample_rng(0, 0))
        .unwrap()
        .images[0]
        .load("a.jsonl:line 2", 0)
        .unwrap_err();
    assert!(error.to_string().contains("the row has none"), "{error}");
}

#[test]
fn both_spellings_of_conversations_are_read_with_their_images() {
    let parts = r#"{"messages": [{"role": "user", "content": [{"type": "image", "image": "a.png"}, {"type": "text", "text": "What?"}]}, {"role": "assistant", "content": "Red."}]}
"#;
    for files in [
        [("a.jsonl", BLIND_TALK), ("b.jsonl", parts)],
        [("b.jsonl", parts), ("a.jsonl", BLIND_TALK)],
    ] {
        let (_folder, config) = several(&files);
        assert_eq!(images(&*open(&config)).iter().sum::<usize>(), 1);
    }
}

/// Of many rows without captions or turns, the first that has some tells what all are.
#[test]
fn rows_with_empty_lists_are_counted_and_passed() {
    let empty = "{\"image\": \"a.png\", \"texts\": []}\n".repeat(70);
    let full =
        "{\"image\": \"a.png\", \"texts\": [{\"user\": \"What?\", \"assistant\": \"Red.\"}]}\n";
    let (_folder, config) = several(&[("a.jsonl", &(empty + full))]);
    let source = open(&config);
    assert_eq!(
        source.sample(70, &mut sample_rng(0, 0)).unwrap().turns[0].answer,
        "Red."
    );
    let captions =
        "{\"image\": \"a.png\", \"captions\": [\"red\", \"a red one\"]}\n{\"image\": \"a.png\"}\n";
    let (_folder, config) = several(&[("a.jsonl", captions)]);
    let source = open(&config);
    assert_eq!((source.len(), source.rows_without_samples()), (2, 1));
}
