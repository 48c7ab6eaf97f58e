//! What training does: it learns, repeats, and moves nothing that is frozen.

use std::path::{Path, PathBuf};

use fourfold_train::metrics;

use crate::support::*;

#[test]
fn the_loss_falls_and_a_run_repeats_bit_for_bit() {
    let place = workplace();
    let first = whole(place.path(), "first", &[]).expect("trains");
    let second = whole(place.path(), "second", &["threads=1"]).expect("trains");
    assert_eq!(
        weights(&first),
        weights(&second),
        "one thread and several give the same weights"
    );
    let records = metrics::read(&first.join("metrics.jsonl")).expect("readable");
    assert_eq!(records.len(), 46);
    let (begin, end) = (records[0].loss, records[45].loss);
    assert!(end < 0.5 * begin, "loss {begin} -> {end}");
}

#[test]
fn splitting_a_batch_into_packs_changes_nothing_but_rounding() {
    let place = workplace();
    // One update, so that rounding does not grow over a whole run.
    let one = ["stage.align.samples=4", "stage.unify.samples=4"];
    let whole_batch = whole(place.path(), "one-pack", &one).expect("trains");
    let split = [
        &one[..],
        &["stage.align.pack_images=1", "stage.unify.pack_images=1"],
    ]
    .concat();
    let split = whole(place.path(), "many-packs", &split).expect("trains");
    let norms = |run: &Path| -> Vec<(usize, f64, f64)> {
        let records = metrics::read(&run.join("metrics.jsonl")).expect("readable");
        records
            .iter()
            .map(|record| (record.packs, record.loss, record.grad_norm))
            .collect()
    };
    for (whole, split) in norms(&whole_batch).iter().zip(norms(&split)) {
        assert_eq!((whole.0, split.0), (1, 4));
        assert!(
            (whole.1 - split.1).abs() < 1e-5 * whole.1,
            "loss {} and {}",
            whole.1,
            split.1
        );
        assert!(
            (whole.2 - split.2).abs() < 1e-4 * whole.2,
            "norm {} and {}",
            whole.2,
            split.2
        );
    }
}

#[test]
fn computing_blocks_again_changes_no_bit() {
    let place = workplace();
    let with =
        |name: &str, more: &[&str]| weights(&whole(place.path(), name, more).expect("trains"));
    let again = ["stage.align.recompute=true", "stage.unify.recompute=true"];
    assert!(with("again", &again) == with("kept", &[]));
}

#[test]
fn what_a_stage_freezes_does_not_move() {
    let place = workplace();
    let only = ["stage.unify.train=[\"language\"]", "stage.unify.lr=0.05"];
    let run = whole(place.path(), "frozen", &only).expect("trains");
    let model = |folder: PathBuf| {
        fourfold_model::Model::load(&folder, fourfold_tensor::Precision::F32).expect("loads")
    };
    let after = model(run.join("model"));
    // A run with no update of the second stage's kind differs in the language model alone.
    let other = ["stage.unify.train=[\"language\"]", "stage.unify.lr=0.01"];
    let other = model(
        whole(place.path(), "other", &other)
            .expect("trains")
            .join("model"),
    );
    for ((_, a), (_, b)) in after.parameters.iter().zip(other.parameters.iter()) {
        let same = a.master().to_f32_vec() == b.master().to_f32_vec();
        assert_eq!(same, !a.name().starts_with("language."), "{}", a.name());
    }
}
