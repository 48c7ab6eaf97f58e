//! What is converted reads back as the same samples.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{fixture, names, questions};
use fourfold_data::convert::{Content, Converted, Format, Manifest, Shards, convert};
use fourfold_data::source::{self, Table};
use fourfold_data::{DataError, Source, SourceConfig, Turn, decode_rgb, sample_rng};
use serde_json::json;

fn plain(path: &Path) -> SourceConfig {
    SourceConfig {
        path: path.into(),
        images: true,
        ..SourceConfig::default()
    }
}

/// The turns and image bytes of every sample that can be read.
fn samples(source: &dyn Source) -> Vec<(Vec<Turn>, Vec<Vec<u8>>)> {
    let read = |row: usize| {
        let sample = source.sample(row, &mut sample_rng(0, row as u64)).ok()?;
        let images = sample.read_images().ok()?;
        let images: Vec<Vec<u8>> = images
            .into_iter()
            .map(|image| image.bytes.to_vec())
            .collect();
        // Bytes that are no image are not written.
        images
            .iter()
            .all(|image| fourfold_data::image_file::dimensions(image).is_ok())
            .then_some((sample.turns, images))
    };
    (0..source.len()).filter_map(read).collect()
}

fn shards(folder: &Path, format: Format, size: usize, all: usize) -> Shards {
    let ending = match format {
        Format::Parquet => "parquet",
        Format::WebDataset => "tar",
    };
    let name = |number: usize| folder.join(format!("part-{number:03}.{ending}"));
    Shards {
        format,
        paths: (0..all.div_ceil(size)).map(name).collect(),
        size,
    }
}

fn written(shards: &Shards) -> SourceConfig {
    let first = shards.paths[0].display().to_string();
    let pattern = first.replace("part-000", "part-*");
    plain(Path::new(&pattern))
}

fn converted(content: &Content<'_>, shards: &Shards) -> Converted {
    convert(content, shards, None, &|_| {}).unwrap()
}

#[test]
fn samples_are_the_same_after_conversion() {
    let layouts = fixture("layouts");
    let files = [
        "llava/llava_v1_5_mix665k.json",
        "llava/several_images.json",
        "coco/annotations/captions_train2014.json",
        "karpathy/dataset_flickr30k.json",
        "vqa/v2_OpenEnded_mscoco_val2014_questions.json",
        "huggingface/path-vqa/data/train-00000-of-00001.parquet",
        "huggingface/the_cauldron/ai2d/train-00000-of-00001.parquet",
        "webdataset/cc3m-train-0000.tar",
        "messages/train.jsonl",
    ];
    for file in files {
        let folders = [
            "llava/images",
            "coco/train2014",
            "karpathy/flickr30k-images",
        ];
        let folder = folders
            .into_iter()
            .find(|folder| folder.split('/').next() == file.split('/').next());
        let config = SourceConfig {
            image_folder: folder.map(|folder| layouts.join(folder)),
            ..plain(&layouts.join(file))
        };
        let source = source::open(&config).unwrap_or_else(|error| panic!("{file}: {error}"));
        let expected = samples(&*source);
        assert!(!expected.is_empty(), "{file}: no sample can be read");
        let table = Table::read(&config).unwrap();
        for format in [Format::Parquet, Format::WebDataset] {
            let place = tempfile::tempdir().unwrap();
            let content = Content::captions(&table).unwrap_or_else(|| Content::samples(&*source));
            let shards = shards(place.path(), format, 3, content.len());
            converted(&content, &shards);
            let again = source::open(&written(&shards));
            let again = again.unwrap_or_else(|error| panic!("{file} {format:?}: {error}"));
            assert_eq!(samples(&*again), expected, "{file} {format:?}");
        }
    }
}

#[test]
fn templates_are_rendered_and_broken_samples_told() {
    for (config, broken) in [(names(), 5), (questions(), 0)] {
        let source = source::open(&config).unwrap();
        let expected: Vec<_> = samples(&*source)
            .into_iter()
            .filter(|(turns, _)| turns.iter().all(|turn| !turn.answer.is_empty()))
            .collect();
        let place = tempfile::tempdir().unwrap();
        let content = Content::samples(&*source);
        let shards = shards(place.path(), Format::Parquet, 1000, content.len());
        let told = converted(&content, &shards);
        let skipped: usize = told.skipped.values().map(|skipped| skipped.count).sum();
        assert_eq!(told.written + skipped, content.len());
        assert!(skipped >= broken, "{told:?}");
        let again = source::open(&written(&shards)).unwrap();
        let again = samples(&*again);
        assert_eq!(again.len(), told.written);
        for (sample, expected) in again.iter().zip(&expected) {
            assert_eq!(sample.0, expected.0);
        }
    }
}

/// What a check would call broken is told here, not written for a check to find.
#[test]
fn what_is_written_can_be_learnt() {
    let rows = [
        r#"{"captions": ["a cat", " ", "a dog"]}"#,
        r#"{"captions": [""]}"#,
        r#"{"captions": ["see <image>", "a cow"]}"#,
        r#"{"captions": [5, null, {"text": "a bird"}]}"#,
        r#"{"captions": "alone"}"#,
    ];
    let turns = [
        r#"{"conversations": [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "Red."}]}"#,
        r#"{"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]}"#,
    ];
    for (lines, written_rows, skipped) in [(&rows[..], 3, 6), (&turns[..], 1, 1)] {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("rows.jsonl");
        fs::write(&path, lines.join("\n")).unwrap();
        let table = Table::read(&plain(&path)).unwrap();
        let source = source::open(&plain(&path)).unwrap();
        let content = Content::captions(&table).unwrap_or_else(|| Content::samples(&*source));
        let shards = shards(place.path(), Format::Parquet, 10, content.len());
        let told = converted(&content, &shards);
        let all: usize = told.skipped.values().map(|skipped| skipped.count).sum();
        assert_eq!((told.written, all), (written_rows, skipped), "{told:?}");
        let again = source::open(&written(&shards)).unwrap();
        assert_eq!(samples(&*again).len(), again.len());
    }
}

#[test]
fn a_run_that_was_stopped_gives_the_same_bytes() {
    let source = source::open(&questions()).unwrap();
    let content = Content::samples(&*source);
    let whole = tempfile::tempdir().unwrap();
    let stopped = tempfile::tempdir().unwrap();
    let run = |folder: &Path, size: usize, force: bool| -> Result<(Converted, Shards), DataError> {
        let shards = shards(folder, Format::WebDataset, size, content.len());
        let made_of = json!({ "size": size });
        let mut manifest =
            Manifest::open(&folder.join("made.json"), made_of, &shards.paths, force)?;
        let done = convert(&content, &shards, Some(&mut manifest), &|_| {})?;
        Ok((done, shards))
    };
    let (first, reference) = run(whole.path(), 3, false).unwrap();
    assert!(reference.paths.len() > 2 && first.kept == 0);
    let (_, shards) = run(stopped.path(), 3, false).unwrap();
    // As if it had been killed in its second shard.
    let account = stopped.path().join("made.json");
    let mut made: serde_json::Value = serde_json::from_slice(&fs::read(&account).unwrap()).unwrap();
    let kept = made["whole"]["0"].clone();
    made["whole"] = json!({ "0": kept });
    fs::write(&account, made.to_string()).unwrap();
    for path in &shards.paths[1..] {
        fs::remove_file(path).unwrap();
    }
    fs::write(stopped.path().join(".part-001.tar.unfinished"), b"half").unwrap();
    let (again, _) = run(stopped.path(), 3, false).unwrap();
    assert_eq!((again.kept, again.written), (1, first.written));
    assert_eq!(again.skipped, first.skipped);
    let bytes = |paths: &[PathBuf]| -> Vec<Vec<u8>> {
        paths.iter().map(|path| fs::read(path).unwrap()).collect()
    };
    assert_eq!(bytes(&shards.paths), bytes(&reference.paths));
    // A shard that was cut since is no whole one.
    fs::write(&shards.paths[0], b"cut").unwrap();
    let (mended, _) = run(stopped.path(), 3, false).unwrap();
    assert_eq!(mended.kept, shards.paths.len() - 1);
    assert_eq!(bytes(&shards.paths), bytes(&reference.paths));
    let refused = run(stopped.path(), 2, false).unwrap_err().to_string();
    assert!(refused.contains("--force"), "{refused}");
    let (forced, _) = run(stopped.path(), 2, true).unwrap();
    assert_eq!((forced.kept, forced.written), (0, first.written));
}

#[test]
fn large_images_are_shrunk_when_asked_for() {
    let config = SourceConfig {
        images: true,
        answer: Some("{{ path }}".into()),
        ..plain(&fixture("layouts/tables/plain.csv"))
    };
    let source: Arc<dyn Source> = source::open(&config).unwrap();
    let place = tempfile::tempdir().unwrap();
    let content = Content::samples(&*source).with_max_side(Some(5));
    let shards = shards(place.path(), Format::Parquet, 100, content.len());
    converted(&content, &shards);
    let again = source::open(&written(&shards)).unwrap();
    let images: Vec<Vec<u8>> = samples(&*again)
        .into_iter()
        .flat_map(|sample| sample.1)
        .collect();
    assert!(!images.is_empty());
    for image in images {
        let (width, height) = decode_rgb(&image).unwrap().dimensions();
        assert!(width.max(height) <= 5);
    }
}

#[test]
fn nothing_at_all_is_an_error() {
    let source = source::open(&SourceConfig {
        answer: Some("{{ '' if name else '' }}".into()),
        ..names()
    })
    .unwrap();
    let place = tempfile::tempdir().unwrap();
    let content = Content::samples(&*source);
    let shards = shards(place.path(), Format::Parquet, 100, content.len());
    let error = convert(&content, &shards, None, &|_| {})
        .unwrap_err()
        .to_string();
    assert!(error.contains("not one of its samples"), "{error}");
}
