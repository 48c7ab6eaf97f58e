use super::*;
use crate::testing::{self, Case, Random};
use crate::{Gradients, Parameters, Precision};

fn random(shape: &[usize], seed: u64) -> Tensor {
    let mut random = Random(seed);
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| random.next() as f32)
        .collect();
    Tensor::from_f32(shape, &values).expect("shape and values agree")
}

#[test]
fn agrees_with_its_reference() {
    for (tokens, width, vocabulary, count) in [
        (1, 1, 2, 1),
        (6, 7, 11, 4),
        (40, 33, 50, 60),
        (300, 20, 37, 290),
        // All rows masked but one, of primes; and a vocabulary of one word, whose loss is nothing.
        (131, 31, 257, 1),
        (1, 37, 211, 1),
        (7, 5, 1, 3),
    ] {
        // Out of order, and with the third case more targets than rows: some have two.
        let rows: Vec<u32> = (0..count).map(|i| (i * 7 % tokens) as u32).collect();
        let targets: Vec<u32> = (0..count).map(|i| (i * i % vocabulary) as u32).collect();
        let scale = 1.5;
        testing::check_operation(
            &Case::new(&[&[tokens, width], &[vocabulary, width]]),
            |tape, inputs| head_loss(tape, &inputs[0], &inputs[1], &rows, &targets, scale),
            &reference::HeadLoss {
                width,
                vocabulary,
                rows: rows.clone(),
                targets: targets.clone(),
                scale: f64::from(scale),
            },
        );
    }
}

#[test]
fn chunks_add_up_to_the_whole() {
    let (hidden, weight) = (random(&[50, 24], 1), random(&[70, 24], 2));
    let rows: Vec<u32> = (0..50).filter(|row| row % 7 != 0).collect();
    let targets: Vec<u32> = rows.iter().map(|row| row * 5 % 70).collect();
    for precision in [Precision::F32, Precision::Bf16, Precision::F16] {
        let run = |chunk| {
            let pass = Pass {
                hidden: &hidden,
                weight: &weight,
                rows: &rows,
                targets: &targets,
                scale: 0.1,
                precision,
                chunk,
            };
            pass.run(true, true).expect("fits")
        };
        let (whole, parts) = (run(1000), run(8));
        assert!((whole.loss - parts.loss).abs() < 1e-5 * whole.loss);
        for (whole, parts) in [(whole.hidden, parts.hidden), (whole.weight, parts.weight)] {
            let wide = |tensor: Option<Tensor>| -> Vec<f64> {
                let values = tensor.expect("a gradient").to_f32_vec();
                values.into_iter().map(f64::from).collect()
            };
            let parts = parts.expect("a gradient").to_f32_vec();
            testing::assert_close("gradient", precision, &parts, &wide(whole), 1e-5);
        }
    }
}

#[test]
fn chunks_on_a_device_add_up_to_the_whole() {
    let devices = testing::devices();
    let Some(gpu) = devices.iter().find_map(|device| device.gpu()) else {
        return;
    };
    let device = &devices[1];
    let there = |shape: &[usize], seed| random(shape, seed).to_device(device).expect("room");
    let (hidden, weight) = (there(&[50, 24], 1), there(&[70, 24], 2));
    let rows: Vec<u32> = (0..50).filter(|row| row % 7 != 0).collect();
    let targets: Vec<u32> = rows.iter().map(|row| row * 5 % 70).collect();
    for precision in [Precision::F32, Precision::Bf16, Precision::F16] {
        let weight = weight.to_precision(precision);
        let run = |chunk| {
            let pass = gpu::Pass {
                gpu,
                hidden: &hidden,
                weight: &weight,
                rows: &rows,
                targets: &targets,
                scale: 0.1,
                precision,
                tf32: false,
                chunk,
            };
            pass.run(true, true).expect("fits")
        };
        let (whole, parts) = (run(1000), run(8));
        for (whole, parts) in [
            (Some(whole.loss), Some(parts.loss)),
            (whole.hidden, parts.hidden),
            (whole.weight, parts.weight),
        ] {
            let numbers = |tensor: Option<Tensor>| tensor.expect("wanted").to_f32_vec();
            let whole: Vec<f64> = numbers(whole).into_iter().map(f64::from).collect();
            testing::assert_close("chunks", precision, &numbers(parts), &whole, 1e-5);
        }
    }
}

#[test]
fn the_highest_logits_are_found_wherever_they_lie() {
    for device in testing::devices() {
        for (rows, width) in [(1, 1), (3, 7), (5, 1000), (67, 131)] {
            let logits = random(&[rows, width], 4);
            let found = highest_logits(&logits.to_device(&device).expect("room")).expect("f32");
            assert_eq!(found.len(), rows);
            for (found, row) in found.iter().zip(logits.to_f32_vec().chunks(width)) {
                assert_eq!((found.place, found.logit), highest_logit(row));
                assert!((found.log_sum - log_sum_exp(row)).abs() < 1e-5);
            }
        }
    }
    assert!(highest_logits(&Tensor::zeros(&[2, 0])).is_err());
}

#[test]
fn what_is_frozen_costs_nothing() {
    let mut parameters = Parameters::new(Precision::F32);
    let hidden = parameters.add("hidden", random(&[5, 8], 1)).expect("new");
    let weight = parameters.add("weight", random(&[9, 8], 2)).expect("new");
    for trains in ["hidden", "weight", "neither"] {
        parameters.set_trainable(|name| name == trains);
        let tape = Tape::recording(&parameters);
        let (h, w) = (tape.parameter(hidden), tape.parameter(weight));
        let pass = Pass {
            hidden: &h,
            weight: &w,
            rows: &[1, 4],
            targets: &[0, 8],
            scale: 1.0,
            precision: Precision::F32,
            chunk: 3,
        };
        let done = pass
            .run(h.node.is_some(), w.node.is_some())
            .expect("it fits");
        assert_eq!(done.hidden.is_some(), trains == "hidden");
        assert_eq!(done.weight.is_some(), trains == "weight");
        let loss = head_loss(&tape, &h, &w, &[1, 4], &[0, 8], 1.0).expect("it fits");
        assert!((f64::from(loss.to_f32_vec()[0]) - done.loss).abs() < 1e-5);
        assert_eq!(tape.recorded(), usize::from(trains != "neither"));
        if trains != "neither" {
            let mut gradients = Gradients::new(&parameters);
            drop((h, w));
            tape.backward(&loss, &mut gradients).expect("a loss");
            assert_eq!(gradients.get(hidden).is_some(), trains == "hidden");
            assert_eq!(gradients.get(weight).is_some(), trains == "weight");
        }
    }
}

#[test]
fn the_loss_of_large_logits_is_finite() {
    let parameters = Parameters::new(Precision::F32);
    let tape = Tape::inference(&parameters);
    let hidden = Tensor::from_f32(&[1, 1], &[1e4]).expect("one number");
    let weight = Tensor::from_f32(&[3, 1], &[1.0, -1.0, 1.0]).expect("three numbers");
    let loss = |target| {
        let loss = head_loss(&tape, &hidden, &weight, &[0], &[target], 1.0).expect("fits");
        loss.to_f32_vec()[0]
    };
    assert!((loss(0) - 2f32.ln()).abs() < 1e-6);
    assert_eq!(loss(1), 2e4 + 2f32.ln());
}

/// The head shares its weight with the embedding: both gradients count.
#[test]
fn adds_to_the_gradient_of_a_tied_weight() {
    let mut parameters = Parameters::new(Precision::F32);
    let weight = parameters.add("weight", random(&[9, 8], 2)).expect("new");
    parameters.set_trainable(|_| true);
    let gradient = |tied: bool| {
        let mut gradients = Gradients::new(&parameters);
        let tape = Tape::recording(&parameters);
        let table = tape.parameter(weight);
        let hidden = crate::ops::embedding(&tape, &table, &[3, 3, 5]).expect("in range");
        let hidden = if tied { hidden } else { hidden.detach() };
        let loss = head_loss(&tape, &hidden, &table, &[0, 2], &[1, 2], 1.0).expect("fits");
        drop((table, hidden));
        tape.backward(&loss, &mut gradients).expect("a loss");
        gradients.get(weight).expect("a gradient").to_f32_vec()
    };
    let (head, both) = (gradient(false), gradient(true));
    for row in 0..9 {
        let same = head[row * 8..][..8] == both[row * 8..][..8];
        assert_eq!(same, row != 3 && row != 5, "row {row}");
    }
}

#[test]
fn what_is_out_of_range_is_named() {
    let parameters = Parameters::new(Precision::F32);
    let tape = Tape::inference(&parameters);
    let (hidden, weight) = (random(&[5, 8], 1), random(&[9, 8], 2));
    let error = |rows: &[u32], targets: &[u32]| {
        head_loss(&tape, &hidden, &weight, rows, targets, 1.0)
            .expect_err("refused")
            .to_string()
    };
    assert!(error(&[1, 5], &[0, 0]).contains("row 5 of target 1"));
    assert!(error(&[1, 4], &[0, 9]).contains("target 9 of row 4"));
    assert!(error(&[1], &[0, 0]).contains("1 rows for 2 targets"));
    assert!(error(&[], &[]).contains("no targets"));
    let message = head_logits(&tape, &hidden, &random(&[9, 7], 3)).expect_err("widths differ");
    assert!(message.to_string().contains("head_logits"));
}

#[test]
fn logits_are_the_product() {
    let parameters = Parameters::new(Precision::F32);
    let tape = Tape::inference(&parameters);
    let (hidden, weight) = (random(&[3, 5], 1), random(&[4, 5], 2));
    for device in testing::devices() {
        let there = |tensor: &Tensor| tensor.to_device(&device).expect("room");
        let logits = head_logits(&tape, &there(&hidden), &there(&weight)).expect("fits");
        assert_eq!((logits.shape(), logits.device()), (&[3, 4][..], device));
        are_the_product(&hidden, &weight, &logits);
    }
}

fn are_the_product(hidden: &Tensor, weight: &Tensor, logits: &Tensor) {
    let (h, w) = (hidden.to_f32_vec(), weight.to_f32_vec());
    for (at, logit) in logits.to_f32_vec().iter().enumerate() {
        let (row, token) = (at / 4 * 5, at % 4 * 5);
        let wanted: f32 = (0..5).map(|i| h[row + i] * w[token + i]).sum();
        assert!((logit - wanted).abs() < 1e-5);
    }
}
