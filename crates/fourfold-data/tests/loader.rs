//! Batches made in the background: the same whatever the threads, and wherever training stopped.

mod common;

use std::time::{Duration, Instant};

use common::{encoder, names, open, questions, texts};
use fourfold_data::source::Accepted;
use fourfold_data::{
    Augment, Batch, BatchSize, DataError, End, Loader, LoaderConfig, Mixture, PackBudget,
    SamplerState, Shard, SourceConfig, TooLong,
};
use serde_json::json;

fn config() -> LoaderConfig {
    LoaderConfig {
        batch: BatchSize::Documents(5),
        budget: PackBudget {
            tokens: 64,
            images: 2,
        },
        seed: 11,
        prefetch: 2,
        threads: 2,
        end: End::Never,
        too_long: TooLong::Cut,
        shard: Shard::WHOLE,
        strict: false,
    }
}

fn mixture() -> Mixture {
    let sources = [(names(), 2.0), (questions(), 1.0), (texts(), 1.5)];
    let open = |(source, weight)| (open(&source), Some(weight));
    Mixture::new(sources.into_iter().map(open).collect()).unwrap()
}

fn start(config: LoaderConfig, resume: Option<SamplerState>) -> Loader {
    let augment = Augment {
        rotate_degrees: 20.0,
        noise: 0.1,
        ..Augment::default()
    };
    Loader::start(mixture(), encoder(Some(augment), 60), config, resume).unwrap()
}

fn take(loader: &mut Loader, count: usize) -> Vec<Batch> {
    (0..count).map(|_| loader.next_batch().unwrap()).collect()
}

/// The error that ends a loader over one source.
fn end(source: SourceConfig, strict: bool) -> DataError {
    let mixture = Mixture::new(vec![(open(&source), None)]).unwrap();
    let config = LoaderConfig { strict, ..config() };
    let mut loader = Loader::start(mixture, encoder(None, 60), config, None).unwrap();
    let error = (0..1000)
        .find_map(|_| loader.next_batch().err())
        .expect("an end");
    assert!(loader.next_batch().is_err());
    error
}

#[test]
fn a_batch_has_its_count_and_its_sums() {
    let mut skipped = 0;
    for batch in take(&mut start(config(), None), 40) {
        assert_eq!(batch.documents + batch.skipped.len(), 5);
        assert_eq!(
            batch.packs.iter().map(|p| p.documents.len()).sum::<usize>(),
            batch.documents
        );
        assert_eq!(
            batch.packs.iter().map(|p| p.tokens.len()).sum::<usize>(),
            batch.tokens
        );
        assert_eq!(
            batch.packs.iter().map(|p| p.target_count()).sum::<usize>(),
            batch.targets
        );
        assert_eq!(
            batch.packs.iter().map(|p| p.images.len()).sum::<usize>(),
            batch.images
        );
        assert!(
            batch
                .packs
                .iter()
                .all(|p| p.tokens.len() <= 64 && p.images.len() <= 2)
        );
        skipped += batch.skipped.len();
    }
    assert!(
        skipped > 20,
        "half of the fixture's rows are broken, {skipped} were skipped"
    );
}

#[test]
fn threads_and_prefetch_change_nothing() {
    let reference = take(
        &mut start(
            LoaderConfig {
                threads: 1,
                prefetch: 1,
                ..config()
            },
            None,
        ),
        20,
    );
    for (threads, prefetch) in [(2, 3), (5, 1)] {
        let config = LoaderConfig {
            threads,
            prefetch,
            ..config()
        };
        assert_eq!(take(&mut start(config, None), 20), reference);
    }
}

#[test]
fn resuming_after_any_batch_gives_the_batches_that_would_have_followed() {
    let whole = take(&mut start(config(), None), 16);
    for stop in [1, 7, 15] {
        let state = serde_json::to_string(&whole[stop - 1].state_after).unwrap();
        let state = serde_json::from_str(&state).unwrap();
        // The seed is the position's own, whatever the configuration says.
        let config = LoaderConfig {
            seed: 99,
            ..config()
        };
        assert_eq!(
            take(&mut start(config, Some(state)), 16 - stop),
            whole[stop..]
        );
    }
}

#[test]
fn strict_ends_at_the_first_broken_sample() {
    let error = end(names(), true);
    assert!(matches!(error, DataError::Strict(_)), "{error}");
    assert!(
        error.to_string().starts_with("images.parquet:row "),
        "{error}"
    );
}

#[test]
fn a_source_with_nothing_but_broken_samples_is_an_error() {
    let mut broken = names();
    broken
        .filter
        .insert("kind".into(), Accepted::One(json!("broken")));
    let error = end(broken, false);
    assert!(
        matches!(error, DataError::NothingLeft { drawn: 10, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("images.parquet:row "), "{error}");
}

/// Of two samples one is broken: it leaves its batch short, and a batch with nothing else in it is passed over.
#[test]
fn a_broken_sample_leaves_its_place_empty() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("two.jsonl");
    std::fs::write(&path, "{\"text\": \"a red cat\"}\n{\"text\": \"\"}\n").unwrap();
    let source = SourceConfig {
        path: path.into(),
        answer: Some("{{ text }}".into()),
        images: false,
        ..Default::default()
    };
    let mixture = Mixture::new(vec![(open(&source), None)]).unwrap();
    let config = LoaderConfig {
        batch: BatchSize::Documents(1),
        ..config()
    };
    let mut loader = Loader::start(mixture, encoder(None, 60), config, None).unwrap();
    for batch in take(&mut loader, 100) {
        assert_eq!(batch.documents, 1);
        assert!(
            batch
                .skipped
                .iter()
                .all(|skip| skip.sample == 1 && skip.reason.starts_with("two.jsonl:line 2: "))
        );
    }
}

#[test]
fn a_loader_that_is_dropped_ends_its_thread_promptly() {
    let mut loader = start(
        LoaderConfig {
            batch: BatchSize::Documents(100_000),
            ..config()
        },
        None,
    );
    std::thread::sleep(Duration::from_millis(50));
    let begin = Instant::now();
    drop(loader);
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "took {:?}",
        begin.elapsed()
    );
    // And one that waits because nobody takes its batches.
    loader = start(config(), None);
    take(&mut loader, 1);
    std::thread::sleep(Duration::from_millis(50));
    drop(loader);
}

#[test]
fn what_cannot_work_is_refused_at_the_start() {
    let refuse = |config| Loader::start(mixture(), encoder(None, 60), config, None).err();
    for config in [
        LoaderConfig {
            batch: BatchSize::Documents(0),
            ..config()
        },
        LoaderConfig {
            threads: 0,
            ..config()
        },
        LoaderConfig {
            prefetch: 0,
            ..config()
        },
    ] {
        assert!(matches!(refuse(config), Some(DataError::Config { .. })));
    }
    let other = SamplerState {
        seed: 1,
        lengths: vec![3],
        drawn: vec![0],
        tokens: 0,
        packs: 0,
    };
    let error = Loader::start(mixture(), encoder(None, 60), config(), Some(other))
        .err()
        .unwrap();
    assert!(matches!(error, DataError::Resume(_)), "{error}");
    assert!(Mixture::new(Vec::new()).is_err());
    let weights = |weight| Mixture::new(vec![(open(&names()), weight), (open(&texts()), None)]);
    assert!(weights(Some(1.0)).is_err() && weights(None).is_ok());
    assert!(Mixture::new(vec![(open(&names()), Some(-1.0))]).is_err());
}
