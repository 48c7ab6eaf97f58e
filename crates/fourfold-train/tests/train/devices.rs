//! Runs on a device give what runs on this processor give: here on the emulated one, which runs the kernels of GPUs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fourfold_tensor::DeviceChoice;
use fourfold_train::metrics;
use fourfold_train::parallel::Ranks;
use fourfold_train::plan::plan;
use fourfold_train::progress::Silent;
use fourfold_train::recipe::Recipe;
use fourfold_train::trainer::{Outcome, Start};

use crate::ranks::difference;
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

/// What lies on the device at most, as `plan` foresees it.
#[test]
fn a_plan_foresees_the_memory_of_a_device() {
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
