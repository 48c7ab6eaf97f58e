//! What the page shows, and that nothing in it comes from elsewhere.

use std::collections::BTreeMap;

use super::chart::chart;
use super::encode::{base64, escape};
use super::*;
use crate::files::testing::Scratch;
use crate::metrics::{Metrics, StepRecord};
use crate::samples::SampleRecord;

#[test]
fn base64_has_its_known_values() {
    // RFC 4648, section 10.
    let known = [
        "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy",
    ];
    for (length, expected) in known.iter().enumerate() {
        assert_eq!(base64(&b"foobar"[..length]), *expected);
    }
    assert_eq!(base64(&[0xff, 0xfe, 0xfd]), "//79");
}

#[test]
fn a_curve_has_its_ends_and_survives_odd_values() {
    let svg = chart("loss", &[4.0, 2.0, 1.0]);
    assert!(svg.contains(">4.000<") && svg.contains(">1.000<") && svg.contains("3 updates"));
    assert!(
        svg.contains("44.0,8.0 ") && svg.contains(",158.0 "),
        "{svg}"
    );
    assert_eq!(chart("loss", &[]), "");
    assert!(!chart("loss", &[f64::NAN, 1.0]).contains("NaN"));
    assert!(!chart("loss", &[2.0; 3]).contains("NaN"));
    let points = |svg: &str| svg.matches(',').count();
    assert!(
        points(&chart("loss", &vec![1.5; 100_000])) <= 2 * 400,
        "a long run stays small"
    );
}

#[test]
fn the_page_is_whole_escaped_and_self_contained() {
    let scratch = Scratch::new("report");
    let folder = scratch.path().join("a<b");
    let run = RunFolder::create(&folder, false, "name = \"a<b\"\n")
        .unwrap()
        .0;
    let mut metrics = Metrics::open(&run.metrics(), 0).unwrap();
    for (step, stage) in ["align", "align", "unify"].iter().enumerate() {
        let skipped_updates = (*stage == "unify").then_some(3);
        let record = StepRecord {
            skipped_updates,
            ..record(step + 1, stage)
        };
        metrics.write(&record).unwrap();
    }
    let picture = b"\x89PNG picture";
    fs::write(run.samples().join("000.png"), picture).unwrap();
    let sample = SampleRecord {
        image: Some("000.png".into()),
        origin: "x.parquet:row 1".into(),
        prompt: "What?".into(),
        reference: "a cat".into(),
        answer: "<script>alert(1)</script>".into(),
    };
    let line = serde_json::to_string(&sample).unwrap() + "\n";
    fs::write(run.samples().join("step-00000003.jsonl"), line).unwrap();
    write(&run).unwrap();
    let page = fs::read_to_string(run.report()).unwrap();
    for part in [
        "Stage align",
        "Stage unify",
        "2 updates, 8 samples",
        "expected: a cat",
        "0 documents cut, 3 updates skipped whose gradients overflowed",
        "0 documents cut</p>",
    ] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
    assert!(page.contains(&format!("data:image/png;base64,{}", base64(picture))));
    assert!(page.contains(&escape(&sample.answer)) && !page.contains("<script"));
    assert!(page.contains("<h1>a&lt;b</h1>"));
    assert!(
        !page.contains("http") && !page.contains("Scores"),
        "no network, no empty section"
    );
}

fn record(step: usize, stage: &str) -> StepRecord {
    StepRecord {
        stage: stage.into(),
        step,
        update: step,
        samples: 4,
        images: 4,
        tokens: 100,
        targets: 30,
        packs: 1,
        truncated: 0,
        skipped: 0,
        dropped: 0,
        loss: 3.0 / step as f64,
        lr: BTreeMap::new(),
        grad_norm: 1.0,
        seconds: 0.5,
        data_wait_seconds: 0.1,
        tokens_per_second: 200.0,
        features: None,
        loss_scale: None,
        skipped_updates: None,
        memory_mib: None,
        device_memory_mib: None,
        rank_wait_seconds: None,
    }
}
