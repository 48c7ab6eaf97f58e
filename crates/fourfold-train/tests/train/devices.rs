//! Runs on a device give what runs on this processor give: here on the emulated one, which runs the kernels of GPUs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use fourfold_tensor::DeviceChoice;
use fourfold_train::metrics::{self, StepRecord};
use fourfold_train::parallel::Ranks;
use fourfold_train::plan::plan;
use fourfold_train::progress::{Progress, Silent};
use fourfold_train::recipe::Recipe;
use fourfold_train::trainer::{Outcome, Start};

use crate::ranks::{UNEQUAL, difference, records};
use crate::support::*;

/// Few and small updates: kernels are emulated slowly. Rates as they are where rounding is not made steps of.
const SHORT: [&str; 6] = [
    "stage.align.samples=8",
    "stage.align.lr=1e-3",
    "stage.unify.samples=16",
    "stage.unify.lr=1e-3",
    "training.samples={data=\"colours\",count=1}",
    "training.checkpoint_every=3",
];

/// The device is one for all tests: the one that looks at its memory has it alone.
static DEVICE: RwLock<()> = RwLock::new(());

fn with_others() -> RwLockReadGuard<'static, ()> {
    DEVICE.read().unwrap_or_else(PoisonError::into_inner)
}

fn emulated(ranks: usize) -> Compute {
    let device = DeviceChoice::Emulated.open().expect("a C++ compiler");
    Compute {
        ranks: Ranks::Threads(ranks),
        devices: vec![device],
    }
}

fn train_on(compute: Compute, place: &Path, name: &str, more: &[&str]) -> PathBuf {
    let overrides = [&SHORT, more].concat();
    let start = match place.join(name).exists() {
        true => Start::Resume,
        false => Start::New { force: false },
    };
    let outcome = run_on(
        compute,
        place,
        name,
        &overrides,
        start,
        Arc::default(),
        &mut Silent,
    );
    match outcome.expect("trains") {
        Outcome::Finished { run } => run.path().to_owned(),
        Outcome::Stopped { .. } => panic!("nobody asked it to stop"),
    }
}

#[test]
fn a_device_trains_what_this_processor_trains() {
    let _used = with_others();
    let place = workplace();
    let place = place.path();
    let kept = [
        "stage.align.cache_features=true",
        "training.feature_cache=\"kept\"",
    ];
    let here = train_on(Compute::default(), place, "here", &kept);
    let there = train_on(emulated(1), place, "there", &kept);
    let apart = train_on(
        emulated(2),
        place,
        "apart",
        &["training.shard_optimizer=true"],
    );
    for run in [&there, &apart] {
        let difference = difference(&here, run);
        assert!(difference < 2e-6, "{difference}");
    }
    let losses = |run: &Path| -> Vec<f64> {
        let records = metrics::read(&run.join("metrics.jsonl")).expect("readable");
        records.iter().map(|record| record.loss).collect()
    };
    for (here, there) in losses(&here).iter().zip(losses(&there)) {
        assert!((here - there).abs() < 1e-5, "{here} {there}");
    }
}

/// Begun on the device, ended here, in each of the formats that scale or round.
#[test]
fn a_run_goes_on_on_another_device() {
    let _used = with_others();
    let place = workplace();
    let place = place.path();
    for precision in ["bf16", "fp16"] {
        let precision = format!("precision={precision}");
        let overrides = [&SHORT[..], &[&precision]].concat();
        let name = precision.replace('=', "-");
        let stop: Arc<std::sync::atomic::AtomicBool> = Arc::default();
        let mut progress = StopAfter(4, stop.clone());
        let new = Start::New { force: false };
        let stopped = run_on(
            emulated(1),
            place,
            &name,
            &overrides,
            new,
            stop,
            &mut progress,
        );
        let stopped = stopped.expect("trains");
        assert!(matches!(stopped, Outcome::Stopped { .. }), "{precision}");
        let moved = train_on(Compute::default(), place, &name, &[&precision]);
        let straight = format!("{name}-straight");
        let straight = train_on(Compute::default(), place, &straight, &[&precision]);
        let difference = difference(&moved, &straight);
        assert!(difference < 5e-3, "{precision}: {difference}");
    }
}

#[test]
fn tf32_rounds_on_a_device_and_nowhere_else() {
    let _used = with_others();
    let place = workplace();
    let place = place.path();
    let train = |compute, name| train_on(compute, place, name, &["precision=tf32"]);
    let here = train_on(Compute::default(), place, "here", &["precision=f32"]);
    let here_too = train(Compute::default(), "here-too");
    assert_eq!(difference(&here, &here_too), 0.0);
    let there = difference(&here, &train(emulated(1), "there"));
    assert!((1e-6..5e-3).contains(&there), "{there}");
}

/// Notes, and the data broken after some updates.
#[derive(Default)]
struct Told {
    notes: Vec<String>,
    breaks: Option<(usize, PathBuf)>,
}

impl Progress for Told {
    fn note(&mut self, note: &str) {
        self.notes.push(note.to_owned());
    }

    fn updated(&mut self, record: &StepRecord) {
        if let Some((_, place)) = self.breaks.as_ref().filter(|(at, _)| *at == record.step) {
            for name in ["red", "green", "blue", "grey"] {
                fs::write(place.join(format!("{name}.png")), "gone").expect("written");
            }
        }
    }
}

/// Ranks on a device, whose gradients are summed beside what it computes, are as those on this processor.
#[test]
fn ranks_on_a_device_are_as_ranks_here() {
    let _used = with_others();
    let place = workplace();
    let place = place.path();
    let few = [
        &UNEQUAL[..],
        &["stage.align.samples=14", "stage.unify.samples=28"],
    ]
    .concat();
    let packed = ["stage.unify.pack_tokens=64"];
    for (ranks, sharded, more) in [
        (2, false, &packed[..]),
        (2, true, &[]),
        (3, false, &[]),
        (3, true, &packed),
    ] {
        let shard = format!("training.shard_optimizer={sharded}");
        let overrides = [&SHORT[4..], &few, more, &[&shard]].concat();
        let name = |where_: &str| format!("{where_}-{ranks}-{sharded}");
        let here = run_to_its_end(Compute::threads(ranks), place, &name("here"), &overrides);
        let there = run_to_its_end(emulated(ranks), place, &name("there"), &overrides);
        let difference = difference(&here.0, &there.0);
        assert!(difference < 2e-6, "{ranks} {sharded}: {difference}");
        for (here, there) in records(&here.0).iter().zip(records(&there.0)) {
            assert!((here.loss - there.loss).abs() < 1e-5, "{ranks} {sharded}");
            let norms = (here.grad_norm, there.grad_norm);
            assert!((norms.0 - norms.1).abs() < 1e-4 * norms.0, "{norms:?}");
        }
        let told = |notes: &[String]| {
            notes
                .iter()
                .any(|n| n.contains("through the host's memory"))
        };
        assert!(told(&there.1) && !told(&here.1), "{:?}", there.1);
    }
}

fn run_to_its_end(
    compute: Compute,
    place: &Path,
    name: &str,
    overrides: &[&str],
) -> (PathBuf, Vec<String>) {
    let mut told = Told::default();
    let new = Start::New { force: false };
    let outcome = run_on(
        compute,
        place,
        name,
        overrides,
        new,
        Arc::default(),
        &mut told,
    );
    match outcome.expect("trains") {
        Outcome::Finished { run } => (run.path().to_owned(), told.notes),
        Outcome::Stopped { .. } => panic!("nobody asked it to stop"),
    }
}

/// A gradient that overflows on one rank skips the update on all, sharded and not.
#[test]
fn ranks_on_a_device_skip_together() {
    let _used = with_others();
    let place = workplace();
    let place = place.path();
    for sharded in [false, true] {
        let shard = format!("training.shard_optimizer={sharded}");
        let overrides = [
            &SHORT[4..],
            &UNEQUAL,
            &[
                "precision=fp16",
                "stage.align.samples=7",
                "stage.unify.samples=28",
                "stage.unify.loss_scale={initial=1e7}",
                &shard,
            ],
        ]
        .concat();
        let name = format!("skips-{sharded}");
        let (run, _) = run_to_its_end(emulated(2), place, &name, &overrides);
        let skipped = records(&run).last().expect("updates").skipped_updates;
        assert!(skipped > Some(0), "{skipped:?}");
    }
}

#[test]
fn the_failure_of_one_rank_ends_all_on_a_device() {
    let _used = with_others();
    let place = workplace();
    let begin = Instant::now();
    let mut told = Told {
        breaks: Some((2, place.path().to_owned())),
        ..Told::default()
    };
    let overrides = [&SHORT[..], &["training.checkpoint_every=1"]].concat();
    let outcome = run_on(
        emulated(3),
        place.path(),
        "broken",
        &overrides,
        Start::New { force: false },
        Arc::default(),
        &mut told,
    );
    let message = format!("{:#}", outcome.expect_err("its data is gone"));
    assert!(message.contains("broken, more than"), "{message}");
    assert!(begin.elapsed() < Duration::from_secs(60), "{message}");
    newest_checkpoint(&place.path().join("broken"));
}

/// What lies on the device at most, as `plan` foresees it.
#[test]
fn a_plan_foresees_the_memory_of_a_device() {
    let _alone = DEVICE.write().unwrap_or_else(PoisonError::into_inner);
    let place = workplace();
    let place = place.path();
    // Larger than what each operation has for itself.
    let wider = [
        "precision=bf16",
        "model.vision.hidden_size=64",
        "model.vision.intermediate_size=128",
        "model.language.hidden_size=128",
        "model.language.intermediate_size=384",
        "stage.unify.batch=16",
        "stage.unify.samples=32",
    ];
    let overrides: Vec<String> = [&SHORT, &wider[..]]
        .concat()
        .iter()
        .map(ToString::to_string)
        .collect();
    let recipe = Recipe::load(&place.join("tiny.toml"), &overrides).expect("a recipe");
    let plan = plan(&recipe).expect("a plan");
    let run = train_on(emulated(1), place, "run", &wider);
    for record in metrics::read(&run.join("metrics.jsonl")).expect("readable") {
        let stage = plan.stages.iter().find(|stage| stage.name == record.stage);
        let foreseen = stage.expect("the same stages").gpu_memory / f64::from(1 << 20);
        let taken = record.device_memory_mib.expect("on a device");
        let ratio = taken / foreseen;
        assert!(
            (0.8..1.25).contains(&ratio),
            "{}: {taken} of {foreseen} MiB",
            record.stage
        );
    }
}
