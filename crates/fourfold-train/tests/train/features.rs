//! Features that a stage keeps of a frozen encoder.

use std::path::Path;

use fourfold_tensor::Device;

use fourfold_train::measure::measure;
use fourfold_train::metrics;
use fourfold_train::plan::plan;
use fourfold_train::recipe::Recipe;

use crate::support::*;

/// The second stage with a frozen encoder, two variations an image.
const FROZEN_ENCODER: [&str; 2] = [
    "stage.unify.train=[\"projector\", \"language\"]",
    "stage.unify.augment={ shift = 0.1, brightness = 0.1, views = 2 }",
];

#[test]
fn kept_features_change_nothing_but_rounding() {
    let place = workplace();
    let with = |name: &str, more: &[&str]| {
        let overrides = [&FROZEN_ENCODER, more].concat();
        whole(place.path(), name, &overrides).expect("trains")
    };
    let kept = with("kept", &["stage.unify.cache_features=true"]);
    let no_room = [
        "stage.unify.cache_features=true",
        "training.feature_cache_mib=0",
    ];
    let no_room = with("no-room", &no_room);
    assert!(
        weights(&kept) == weights(&no_room),
        "an image found and one computed anew are the same to the bit"
    );
    let losses = |run: &Path| -> Vec<f64> {
        let records = metrics::read(&run.join("metrics.jsonl")).expect("readable");
        records.iter().map(|record| record.loss).collect()
    };
    let plain = losses(&with("plain", &[]));
    for (update, (kept, plain)) in losses(&kept).iter().zip(&plain).enumerate() {
        assert!(
            (kept - plain).abs() < 1e-3 * plain,
            "update {update}: loss {kept} with kept features, {plain} without"
        );
    }
}

#[test]
fn what_is_kept_is_planned_and_measured() {
    let place = workplace();
    let recipe = |more: &[&str]| {
        let overrides = [&FROZEN_ENCODER, more].concat();
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        Recipe::load(&place.path().join("tiny.toml"), &overrides).expect("valid")
    };
    let kept = recipe(&["stage.unify.cache_features=true"]);
    let no_room = recipe(&[
        "stage.unify.cache_features=true",
        "training.feature_cache_mib=0",
    ]);
    let operations = |recipe: &Recipe| plan(recipe).expect("a plan").stages[1].operations;
    let plain = operations(&recipe(&[]));
    assert!(operations(&kept) < plain);
    assert_eq!(operations(&no_room), plain);
    let speeds = measure(&kept, 0.0, &Device::Cpu).expect("measured");
    let names: Vec<&str> = speeds.iter().map(|speed| speed.name.as_str()).collect();
    assert_eq!(names, ["align", "unify"]);
    for speed in speeds {
        assert!(
            speed.measured > 0 && speed.seconds().is_finite(),
            "{speed:?}"
        );
        assert!(speed.seconds() > 0.0, "{speed:?}");
    }
}

#[test]
fn a_stopped_run_with_kept_features_goes_on_as_if_it_had_not_been() {
    let place = workplace();
    let overrides = [&FROZEN_ENCODER[..], &["stage.unify.cache_features=true"]].concat();
    let straight = weights(&whole(place.path(), "straight", &overrides).expect("trains"));
    stopped(place.path(), "stopped", &overrides, 17);
    let resumed = resume(place.path(), "stopped", &overrides);
    assert!(weights(&resumed) == straight);
}
