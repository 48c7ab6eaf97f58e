//! Runs on several ranks give what one rank gives.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use fourfold_train::metrics::{self, StepRecord};
use fourfold_train::parallel::Ranks;
use fourfold_train::progress::{Progress, Silent};
use fourfold_train::trainer::{Outcome, Start};
use safetensors::SafeTensors;

use crate::support::*;

/// Twenty updates of seven documents each, of very different lengths, some without an image: whatever two ranks share,
/// they have unequal numbers of targets.
pub const UNEQUAL: [&str; 10] = [
    "stage.align.lr=1e-3",
    "stage.unify.lr=1e-3",
    "data.long={path=\"colours.jsonl\",prompt=\"Tell\",answer=\"it is {{ colour }} and nothing but {{ colour }}\"}",
    "data.text={path=\"colours.jsonl\",images=false,answer=\"{{ colour }}\"}",
    "stage.align.mixture={colours=2,long=1}",
    "stage.align.samples=35",
    "stage.align.batch=7",
    "stage.unify.mixture={colours=1,long=1,text=1}",
    "stage.unify.samples=105",
    "stage.unify.batch=7",
];

/// Packs so small that a batch is several on each rank: gradients are accumulated, and sent once.
const SMALL_PACKS: [&str; 2] = ["stage.align.pack_tokens=64", "stage.unify.pack_tokens=64"];

fn train_on(ranks: usize, place: &Path, name: &str, overrides: &[&str]) -> PathBuf {
    let outcome = run_on(
        Compute::threads(ranks),
        place,
        name,
        overrides,
        Start::New { force: false },
        Arc::default(),
        &mut Silent,
    );
    finished(outcome)
}

fn resume_on(ranks: usize, place: &Path, name: &str, overrides: &[&str]) -> PathBuf {
    let outcome = run_on(
        Compute::threads(ranks),
        place,
        name,
        overrides,
        Start::Resume,
        Arc::default(),
        &mut Silent,
    );
    finished(outcome)
}

fn stop_on(
    ranks: usize,
    place: &Path,
    name: &str,
    overrides: &[&str],
    start: Start,
    updates: usize,
) {
    let stop: Arc<AtomicBool> = Arc::default();
    let mut progress = StopAfter(updates, stop.clone());
    let ranks = Compute::threads(ranks);
    let outcome = run_on(ranks, place, name, overrides, start, stop, &mut progress);
    let outcome = outcome.expect("trains");
    assert!(matches!(outcome, Outcome::Stopped { .. }), "at {updates}");
}

fn finished(outcome: anyhow::Result<Outcome>) -> PathBuf {
    match outcome.expect("trains") {
        Outcome::Finished { run } => run.path().to_owned(),
        Outcome::Stopped { .. } => panic!("nobody asked it to stop"),
    }
}

/// The largest difference of two weights, of weights of about 1. Biases of keys are left out: they add the same to all
/// scores of a row, so their gradient is nothing but rounding, which Adam makes steps of; they change no result.
pub fn difference(a: &Path, b: &Path) -> f32 {
    let [a, b] = [a, b].map(weights);
    let [a, b] = [&a, &b].map(|file| SafeTensors::deserialize(file).expect("weights"));
    let numbers = |file: &SafeTensors<'_>, name: &str| -> Vec<f32> {
        bytemuck::pod_collect_to_vec(file.tensor(name).expect("there").data())
    };
    let difference = |name: &str| {
        let (a, b) = (numbers(&a, name), numbers(&b, name));
        let differences = a.iter().zip(&b).map(|(a, b)| (a - b).abs());
        differences.fold(0.0, f32::max)
    };
    let names = a.names().into_iter();
    names
        .filter(|name| !name.ends_with("k_proj.bias"))
        .map(difference)
        .fold(0.0, f32::max)
}

pub fn records(run: &Path) -> Vec<StepRecord> {
    metrics::read(&run.join("metrics.jsonl")).expect("readable")
}

#[test]
fn several_ranks_are_as_one() {
    let place = workplace();
    let place = place.path();
    let accumulated = [&UNEQUAL[..], &SMALL_PACKS].concat();
    let in_packs = [
        &UNEQUAL[..8],
        &SMALL_PACKS,
        &[
            "stage.unify.samples=105",
            "stage.unify.batch=0",
            "stage.unify.packs=2",
        ],
    ]
    .concat();
    for (name, overrides) in [
        ("one", &UNEQUAL[..]),
        ("small", &accumulated),
        ("packs", &in_packs),
    ] {
        let one = train_on(1, place, &format!("{name}-1"), overrides);
        let alone = records(&one);
        assert!(alone.len() >= 20, "{}", alone.len());
        for (ranks, sharded) in [(2, false), (2, true), (3, false), (3, true)] {
            let shard = format!("training.shard_optimizer={sharded}");
            let overrides = [overrides, &[&shard]].concat();
            let run = train_on(
                ranks,
                place,
                &format!("{name}-{ranks}-{sharded}"),
                &overrides,
            );
            let what = format!("{name} on {ranks}, sharded: {sharded}");
            let difference = difference(&one, &run);
            assert!(difference < 1e-6, "{what}: {difference}");
            let together = records(&run);
            assert_eq!(together.len(), alone.len(), "{what}");
            for (alone, together) in alone.iter().zip(&together) {
                let counts = |r: &StepRecord| (r.step, r.samples, r.images, r.tokens, r.targets);
                assert_eq!(counts(together), counts(alone), "{what}");
                assert_eq!(together.lr, alone.lr, "{what}");
                assert!((together.loss - alone.loss).abs() < 1e-5, "{what}");
            }
        }
    }
}

/// What adapters leave out of a document is the same in whatever pack and on whatever rank it is.
#[test]
fn what_is_dropped_depends_on_no_pack_and_no_rank() {
    let place = workplace();
    let place = place.path();
    let train = |ranks, name: &str, dropout: f64, more: &[&str]| {
        let adapters = format!(
            "model.lora={{ rank = 4, dropout = {dropout}, targets = [\"q_proj\", \"fc1\", \"language.*.mlp.*\"] }}"
        );
        let of_stage = [
            adapters.as_str(),
            "stage.unify.train=[\"projector\", \"lora\"]",
            "stage.unify.lr={ projector = 1e-3, lora = 1e-3 }",
        ];
        train_on(
            ranks,
            place,
            name,
            &[&UNEQUAL, &of_stage[..], more].concat(),
        )
    };
    let one = train(1, "one", 0.2, &[]);
    let nothing = train(1, "nothing", 0.0, &[]);
    assert!(difference(&one, &nothing) > 1e-4);
    for (ranks, name, more) in [
        (1, "small", &SMALL_PACKS[..]),
        (2, "two", &[]),
        (3, "three", &SMALL_PACKS),
        (2, "again", &["stage.unify.recompute=true"]),
    ] {
        let difference = difference(&one, &train(ranks, name, 0.2, more));
        assert!(difference < 1e-6, "{name}: {difference}");
    }
}

/// Sharded on two ranks, then on one, on three, and whole on two, stopped amid either stage.
#[test]
fn a_run_goes_on_with_other_ranks() {
    let place = workplace();
    let place = place.path();
    let straight = train_on(1, place, "straight", &UNEQUAL);
    let sharded = [&UNEQUAL[..], &["training.shard_optimizer=true"]].concat();
    let new = Start::New { force: false };
    stop_on(2, place, "moved", &sharded, new, 3);
    stop_on(1, place, "moved", &sharded, Start::Resume, 7);
    stop_on(3, place, "moved", &sharded, Start::Resume, 12);
    stop_on(2, place, "moved", &UNEQUAL, Start::Resume, 16);
    let moved = resume_on(1, place, "moved", &UNEQUAL);
    let difference = difference(&straight, &moved);
    assert!(difference < 1e-6, "{difference}");
    let steps: Vec<usize> = records(&moved).iter().map(|record| record.step).collect();
    assert_eq!(steps, (1..=20).collect::<Vec<_>>());
}

#[test]
fn a_stopped_run_on_two_ranks_repeats_bit_for_bit() {
    let place = workplace();
    let place = place.path();
    for sharded in [false, true] {
        let shard = format!("training.shard_optimizer={sharded}");
        let overrides = [&UNEQUAL[..], &[&shard]].concat();
        let straight = train_on(2, place, &format!("straight-{sharded}"), &overrides);
        let name = format!("stopped-{sharded}");
        stop_on(2, place, &name, &overrides, Start::New { force: false }, 9);
        let stopped = resume_on(2, place, &name, &overrides);
        assert!(
            weights(&straight) == weights(&stopped),
            "sharded: {sharded}"
        );
    }
}

/// One update scales so far that fp16 overflows, on one rank or both: all skip it.
#[test]
fn ranks_scale_and_skip_together() {
    let place = workplace();
    let place = place.path();
    let overrides = [
        &UNEQUAL[..],
        &["precision=fp16", "stage.unify.loss_scale={initial=1e7}"],
    ]
    .concat();
    let one = records(&train_on(1, place, "one", &overrides));
    let two = records(&train_on(2, place, "two", &overrides));
    let trace = |records: &[StepRecord]| -> Vec<_> {
        let trace = records.iter().map(|r| (r.loss_scale, r.skipped_updates));
        trace.collect()
    };
    assert_eq!(trace(&one), trace(&two));
    assert!(two.last().expect("updates").skipped_updates > Some(0));
}

/// Breaks the data of a run after some updates, by a picture that is no picture any more.
struct BreakAfter(usize, PathBuf);

impl Progress for BreakAfter {
    fn updated(&mut self, record: &StepRecord) {
        if record.step == self.0 {
            for name in ["red", "green", "blue", "grey"] {
                fs::write(self.1.join(format!("{name}.png")), "gone").expect("written");
            }
        }
    }
}

#[test]
fn the_failure_of_one_rank_ends_all_with_its_reason() {
    let place = workplace();
    let begin = Instant::now();
    let mut progress = BreakAfter(3, place.path().to_owned());
    let outcome = run_on(
        Compute::threads(3),
        place.path(),
        "broken",
        &["training.checkpoint_every=1"],
        Start::New { force: false },
        Arc::default(),
        &mut progress,
    );
    let message = format!("{:#}", outcome.expect_err("its data is gone"));
    assert!(message.contains("broken, more than"), "{message}");
    assert!(begin.elapsed() < Duration::from_secs(20), "{message}");
    newest_checkpoint(&place.path().join("broken"));
}

#[test]
fn ranks_that_begin_otherwise_are_told() {
    let place = workplace();
    let folder = place.path().join("alike");
    let ends = fourfold_parallel::threads(2);
    let messages: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> = ends
            .into_iter()
            .enumerate()
            .map(|(rank, end)| {
                let folder = folder.clone();
                let place = place.path();
                scope.spawn(move || {
                    let ranks = Compute {
                        ranks: Ranks::Processes {
                            team: fourfold_train::parallel::Team::new(end),
                            threads: Some(1),
                        },
                        devices: Vec::new(),
                    };
                    let overrides = [format!("stage.align.lr={}", 0.01 + 0.01 * rank as f64)];
                    let overrides: Vec<&str> = overrides.iter().map(String::as_str).collect();
                    let name = folder.file_name().and_then(|n| n.to_str()).expect("a name");
                    let start = Start::New { force: false };
                    let never = Arc::default();
                    let outcome = run_on(ranks, place, name, &overrides, start, never, &mut Silent);
                    format!("{:#}", outcome.expect_err("another recipe"))
                })
            })
            .collect();
        running
            .into_iter()
            .map(|rank| rank.join().expect("no panic"))
            .collect()
    });
    for message in messages {
        assert!(
            message.contains("rank 1 has another recipe") && message.contains("stage.align.lr"),
            "{message}"
        );
    }
    assert!(!folder.exists(), "nothing was begun");
}
