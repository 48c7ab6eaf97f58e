//! Training in fp16: its loss is scaled, and what overflows is skipped.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fourfold_train::metrics::{self, StepRecord};
use fourfold_train::progress::Progress;
use fourfold_train::trainer::Start;
use safetensors::SafeTensors;

use crate::support::*;

/// Far too large at first, and soon tried again: gradients of four answers' tokens overflow at more than about a million.
const TOO_LARGE: [&str; 5] = [
    "precision=fp16",
    "stage.align.loss_scale.initial=268435456",
    "stage.align.loss_scale.growth_interval=3",
    "stage.unify.loss_scale.initial=268435456",
    "stage.unify.loss_scale.growth_interval=7",
];

fn records(run: &Path) -> Vec<StepRecord> {
    metrics::read(&run.join("metrics.jsonl")).expect("readable")
}

/// What the scale was, and how many updates were skipped, update by update.
fn scales(run: &Path) -> Vec<(f64, u64)> {
    let scale = |record: &StepRecord| Some((record.loss_scale?, record.skipped_updates?));
    let all = records(run);
    let scales = all.iter().map(scale).collect::<Option<Vec<_>>>();
    scales.expect("both in each line")
}

#[test]
fn it_learns_as_f32_does() {
    let place = workplace();
    let run = |precision: &str| {
        let given = format!("precision={precision}");
        records(&whole(place.path(), precision, &[&given]).expect("trains"))
    };
    let (half, full) = (run("fp16"), run("f32"));
    let first = |records: &[StepRecord]| records[0].loss;
    assert!((first(&half) / first(&full) - 1.0).abs() < 1e-3);
    let last = |records: &[StepRecord]| -> f64 {
        let losses = records[36..].iter().map(|record| record.loss);
        losses.sum::<f64>() / 10.0
    };
    let (half_end, full_end) = (last(&half), last(&full));
    assert!(
        (half_end - full_end).abs() < 0.05 * full[0].loss,
        "{half_end} in fp16, {full_end} in f32"
    );
    assert!(half.iter().all(|r| r.skipped_updates == Some(0)));
    assert!(full.iter().all(|r| r.loss_scale.is_none()));
    // The norm is that of gradients that are not scaled.
    let (half, full) = (half[0].grad_norm, full[0].grad_norm);
    assert!((half / full - 1.0).abs() < 0.02, "norms {half} and {full}");
}

/// Keeps what is told.
#[derive(Default)]
struct Notes(Vec<String>);

impl Progress for Notes {
    fn note(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
}

#[test]
fn a_scale_that_is_too_large_is_halved_and_its_updates_are_counted_and_told() {
    let place = workplace();
    let (mut notes, never) = (Notes::default(), Arc::new(AtomicBool::new(false)));
    let new = Start::New { force: false };
    run(place.path(), "run", &TOO_LARGE, new, never, &mut notes).expect("trains");
    let folder = place.path().join("run");
    let (records, scales) = (records(&folder), scales(&folder));
    assert_eq!(scales[0], (268_435_456.0, 1));
    assert_eq!(scales[1].0, 134_217_728.0);
    let mut skipped = 0;
    for (place, record) in records.iter().enumerate() {
        let (scale, so_far) = scales[place];
        // Each stage counts for itself.
        let before = match record.update {
            1 => 0,
            _ => scales[place - 1].1,
        };
        let was_skipped = so_far == before + 1;
        skipped += usize::from(was_skipped);
        assert_eq!(record.grad_norm.is_nan(), was_skipped);
        if let Some((next, _)) = scales
            .get(place + 1)
            .filter(|_| records[place + 1].update > 1)
        {
            match was_skipped {
                true => assert_eq!(*next, scale / 2.0),
                false => assert!(*next == scale || *next == 2.0 * scale),
            }
        }
    }
    assert!(
        scales.windows(2).any(|pair| pair[1].0 > pair[0].0),
        "it grows"
    );
    let told = notes.0.iter().filter(|note| note.contains("is skipped"));
    assert_eq!(told.count(), skipped);
    let note = notes.0.iter().find(|note| note.contains("is skipped"));
    let note = note.expect("at least one");
    assert!(
        note.contains("update 1 of stage 'align'") && note.contains("268435456"),
        "{note}"
    );
    let once = notes.0.iter().filter(|note| note.contains("simulated"));
    assert_eq!(once.count(), 1);
    let (begin, end) = (records[0].loss, records[45].loss);
    assert!(end < 0.7 * begin, "loss {begin} -> {end}");
}

#[test]
fn nothing_moves_in_an_update_that_is_skipped() {
    let place = workplace();
    let with = |name: &str, more: &[&str]| {
        let one = ["stage.align.samples=4", "stage.unify.samples=4"];
        let folder = whole(place.path(), name, &[&one, more].concat()).expect("trains");
        (weights(&folder), records(&folder))
    };
    let (slow, records) = with("slow", &TOO_LARGE);
    assert!(
        records
            .iter()
            .all(|record| record.skipped_updates == Some(1))
    );
    // Had a step been made, it would have been another.
    let fast = [&TOO_LARGE[..], &["stage.align.lr=1", "stage.unify.lr=1"]].concat();
    assert!(with("fast", &fast).0 == slow);
    assert!(with("learning", &["precision=fp16"]).0 != slow);
}

/// AdamW would learn much the same from gradients that were scaled throughout, but not where the scale changes.
#[test]
fn the_optimizer_sees_gradients_that_are_not_scaled() {
    let place = workplace();
    let moments = |name: &str, more: &[&str]| -> Vec<f32> {
        stopped(place.path(), name, more, 2);
        let file = newest_checkpoint(&place.path().join(name)).join("tensors.safetensors");
        let bytes = fs::read(file).expect("written");
        let stored = SafeTensors::deserialize(&bytes).expect("whole");
        let mut names = stored.names();
        names.retain(|name| name.starts_with("first."));
        names.sort();
        let moments = names.iter().map(|name| stored.tensor(name).expect("named"));
        moments
            .flat_map(|view| bytemuck::pod_collect_to_vec::<u8, f32>(view.data()))
            .collect()
    };
    let full = moments("f32", &[]);
    let half = moments("fp16", &["precision=fp16"]);
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>();
    let error = square(&mut half.iter().zip(&full).map(|(h, f)| h - f));
    let all = square(&mut full.iter().copied());
    assert!(
        full.len() > 100 && error < 1e-3 * all,
        "{error} of {all}, {} numbers",
        full.len()
    );
}

#[test]
fn a_run_that_is_stopped_amid_it_goes_on_as_if_it_had_not_been() {
    let place = workplace();
    let straight = whole(place.path(), "straight", &TOO_LARGE).expect("trains");
    // While the scale falls, between its changes, and in the second stage.
    for stop_at in [2, 5, 9, 20] {
        let name = format!("stopped-{stop_at}");
        stopped(place.path(), &name, &TOO_LARGE, stop_at);
        let folder = resume(place.path(), &name, &TOO_LARGE);
        assert!(
            weights(&folder) == weights(&straight),
            "stopped after {stop_at} updates"
        );
        assert_eq!(scales(&folder), scales(&straight));
    }
}

#[test]
fn numbers_that_overflow_at_any_scale_end_the_run_with_what_helps() {
    let place = workplace();
    // Weights of a million are infinite in fp16.
    let too_fast = ["precision=fp16", "stage.unify.lr=1e6"];
    let (mut notes, never) = (Notes::default(), Arc::new(AtomicBool::new(false)));
    let new = Start::New { force: false };
    let ended = run(place.path(), "run", &too_fast, new, never, &mut notes);
    let message = format!("{:#}", ended.expect_err("no scale helps"));
    for part in ["stage 'unify'", "the loss scale fell", "bf16", "lr"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let forward = notes.0.iter().filter(|n| n.contains("on its way forward"));
    assert!(forward.count() > 20, "{:?}", notes.0);
    let last = records(&place.path().join("run"))
        .pop()
        .expect("some updates");
    assert!(last.loss.is_nan() && last.skipped_updates == Some(30));
}

#[test]
fn stages_of_different_precision_go_on_from_a_checkpoint() {
    let place = workplace();
    let mixed = [
        "stage.align.precision=fp16",
        "stage.unify.train=[\"projector\",\"language\"]",
        // Features are of the format of their stage.
        "stage.align.cache_features=true",
        "stage.align.augment={}",
        "stage.unify.cache_features=true",
        "stage.unify.augment={}",
    ];
    let straight = whole(place.path(), "straight", &mixed).expect("trains");
    let other = [&mixed[..], &["stage.align.precision=f32"]].concat();
    let other = whole(place.path(), "other", &other).expect("trains");
    assert!(weights(&straight) != weights(&other));
    for record in records(&straight) {
        assert_eq!(record.loss_scale.is_some(), record.stage == "align");
    }
    // Within the first stage, at its end, and within the second.
    for stop_at in [2, 6, 15] {
        let name = format!("stopped-{stop_at}");
        stopped(place.path(), &name, &mixed, stop_at);
        let folder = resume(place.path(), &name, &mixed);
        assert!(
            weights(&folder) == weights(&straight),
            "stopped after {stop_at} updates"
        );
    }
}
