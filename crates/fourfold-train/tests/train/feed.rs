//! Batches that are read ahead are those that would have been read in time.

use std::fs;
use std::path::Path;

use fourfold_data::{Batch, Shard};
use fourfold_tensor::{Device, DeviceChoice, Precision};
use fourfold_train::assemble::{assemble, text};
use fourfold_train::feed::Feed;
use fourfold_train::recipe::Recipe;
use fourfold_train::sources::Sources;
use fourfold_train::stage::StagePlan;

use crate::support::*;

fn first_stage(place: &Path) -> StagePlan {
    let recipe = Recipe::load(&place.join("tiny.toml"), &[]).expect("valid");
    let sources = Sources::new(&recipe);
    let text = text(&recipe, &sources, None).expect("a tokenizer");
    let assembled = assemble(&recipe, text, Precision::F32).expect("a model");
    let config = assembled.model.config();
    let plans = StagePlan::all(&recipe, &sources, config, &assembled.reading).expect("plans");
    plans.into_iter().next().expect("a stage")
}

/// What the loader gives in time: batches, and the error that ends them.
fn in_time(plan: &StagePlan) -> (Vec<Batch>, String) {
    let mut loader = plan.load(true, None, None, Shard::WHOLE).expect("a loader");
    let mut batches = Vec::new();
    loop {
        match loader.next_batch() {
            Ok(batch) => batches.push(batch),
            Err(error) => return (batches, error.to_string()),
        }
    }
}

fn ahead(plan: &StagePlan, device: &Device) -> (Vec<Batch>, String) {
    let loader = plan.load(true, None, None, Shard::WHOLE).expect("a loader");
    let mut feed = Feed::new(loader, device.clone(), true);
    let mut batches = Vec::new();
    loop {
        let ready = match feed.next_batch() {
            Ok(ready) => ready,
            Err(error) => return (batches, error.to_string()),
        };
        let pixels = ready.pixels.expect("pixels of the first pack");
        assert_eq!(pixels.device(), *device);
        let images = ready.batch.packs[0].images.iter();
        let images = images.flat_map(|image| &image.pixels().expect("pixels").data);
        assert!(pixels.to_f32_vec().iter().eq(images));
        batches.push(ready.batch);
        // However often it is asked.
        feed.look_ahead();
        feed.look_ahead();
    }
}

#[test]
fn batches_and_errors_come_in_their_order() {
    let place = workplace();
    let place = place.path();
    let emulated = DeviceChoice::Emulated.open().expect("a C++ compiler");
    let plan = first_stage(place);
    let expected = in_time(&plan);
    assert!(expected.0.len() > 2);
    for device in [Device::Cpu, emulated.clone()] {
        assert_eq!(ahead(&plan, &device), expected, "{device}");
    }
    fs::remove_file(place.join("red.png")).expect("removed");
    let expected = in_time(&plan);
    assert!(expected.1.contains("red.png"), "{}", expected.1);
    for device in [Device::Cpu, emulated] {
        assert_eq!(ahead(&plan, &device), expected, "{device}");
    }
}
