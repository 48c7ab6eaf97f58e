//! Attention against its reference, against itself, and decoding against both.

use super::reference::Attention;
use super::*;
use crate::testing::{self, Case, Random, assert_close, weighted_sum};
use crate::{Device, Gradients, Parameters, Precision};

/// Interval of each row from a rule.
fn visibility(rows: usize, rule: impl Fn(u32) -> (u32, u32)) -> Visibility {
    let (start, end) = (0..rows as u32).map(rule).unzip();
    Visibility::new(start, end).expect("every row sees itself")
}

fn causal(rows: usize) -> Visibility {
    visibility(rows, |row| (0, row + 1))
}

/// Causal documents of the given lengths.
fn documents(lengths: &[usize]) -> Visibility {
    let (mut start, mut end) = (Vec::new(), Vec::new());
    for length in lengths {
        let first = start.len() as u32;
        for row in first..first + *length as u32 {
            start.push(first);
            end.push(row + 1);
        }
    }
    Visibility::new(start, end).expect("every row sees itself")
}

fn heads(query: usize, key_value: usize, width: usize) -> Heads {
    Heads {
        query,
        key_value,
        width,
    }
}

fn check(heads: Heads, visibility: Visibility) {
    let case = Case::new(&[&[visibility.rows(), heads.columns()]]);
    check_case(&case, heads, visibility);
}

fn check_case(case: &Case, heads: Heads, visibility: Visibility) {
    check_on(&testing::devices(), case, heads, visibility);
}

fn check_on(devices: &[Device], case: &Case, heads: Heads, visibility: Visibility) {
    let operation =
        |tape: &Tape<'_>, inputs: &[Tensor]| attention(tape, &inputs[0], heads, &visibility);
    let reference = Attention {
        heads,
        visibility: visibility.clone(),
    };
    testing::check_on(devices, case, operation, &reference);
}

#[test]
fn agrees_with_its_reference_for_every_head_width() {
    // Kernels are compiled for each width, which takes a second: those at which they are cut otherwise, and some between.
    let on_devices = [1, 16, 33, 64, 72, 128, 200, 256];
    for width in [
        1, 8, 15, 16, 20, 24, 32, 33, 40, 48, 64, 72, 80, 88, 96, 112, 128, 160, 192, 200, 256,
    ] {
        let devices = match on_devices.contains(&width) {
            true => testing::devices(),
            false => vec![Device::Cpu],
        };
        let (heads, rows) = (heads(2, 2, width), causal(19));
        let case = Case::new(&[&[rows.rows(), heads.columns()]]);
        check_on(&devices, &case, heads, rows);
    }
}

#[test]
fn agrees_with_its_reference_for_every_visibility() {
    let shape = heads(2, 1, 8);
    check(shape, causal(1));
    check(shape, causal(150));
    check(shape, Visibility::blocks(140, 70));
    check(shape, Visibility::blocks(130, 33));
    check(shape, documents(&[1, 50, 3, 64, 17, 2]));
    // An image of 20 rows that see each other within a causal document.
    check(
        shape,
        visibility(70, |row| {
            (0, if (5..25).contains(&row) { 25 } else { row + 1 })
        }),
    );
    // The same, isolated: its rows see nothing but each other.
    let isolated = |row| {
        if (5..25).contains(&row) {
            (5, 25)
        } else {
            (0, row + 1)
        }
    };
    check(shape, visibility(70, isolated));
    // A prefix whose rows see all of it.
    check(shape, visibility(100, |row| (0, (row + 1).max(40))));
    // Sliding windows, within a tile and over several.
    check(
        shape,
        visibility(90, |row| (row.saturating_sub(6), row + 1)),
    );
    check(
        shape,
        visibility(200, |row| (row.saturating_sub(70), (row + 9).min(200))),
    );
}

#[test]
fn agrees_with_its_reference_for_shared_keys() {
    check(heads(4, 2, 8), documents(&[30, 7]));
    check(heads(6, 1, 16), causal(21));
    check(heads(3, 3, 4), Visibility::blocks(20, 10));
    check(heads(7, 1, 40), documents(&[31, 1, 67, 2]));
    check(heads(6, 3, 72), Visibility::blocks(53, 17));
}

#[test]
fn agrees_with_its_reference_where_most_is_masked() {
    let shape = heads(4, 2, 24);
    // Nobody sees anything but itself: the output is the value, whatever queries and keys are.
    check(shape, Visibility::blocks(1, 1));
    check(shape, Visibility::blocks(67, 1));
    // One row sees all of them, the others only themselves: first, last, and at either end of a tile of keys.
    for one in [0, 63, 64, 130] {
        let alone = |row| if row == one { (0, 131) } else { (row, row + 1) };
        check(shape, visibility(131, alone));
    }
    check(shape, visibility(0, |row| (row, row + 1)));
}

/// The reference's gradient was held to central differences above, which would take minutes here.
#[test]
fn agrees_with_its_reference_for_one_huge_document_among_tiny_ones() {
    let check = |heads: Heads, visibility: Visibility| {
        let case = Case::new(&[&[visibility.rows(), heads.columns()]]).without_differences();
        check_case(&case, heads, visibility);
    };
    check(heads(2, 1, 8), documents(&[1, 3, 2, 1777, 1, 2]));
    // So long that its tasks take more keys than others do; the window keeps the reference fast.
    let windows = visibility(4609, |row| match row {
        5..4606 => (row.saturating_sub(40).max(5), (row + 3).min(4606)),
        _ => (row, row + 1),
    });
    check(heads(3, 1, 5), windows);
}

#[test]
fn agrees_with_its_reference_where_documents_are_cut() {
    // 1100 rows make three tasks of keys; the window keeps the reference fast.
    check(
        heads(1, 1, 2),
        visibility(1100, |row| (row.saturating_sub(3), (row + 2).min(1100))),
    );
}

fn random_rows(seed: u64, rows: usize, columns: usize) -> Vec<f32> {
    let mut random = Random(seed);
    (0..rows * columns).map(|_| random.next() as f32).collect()
}

/// The result and the gradient of `qkv` for the gradient `dy`.
fn run(qkv: &[f32], heads: Heads, visibility: &Visibility, dy: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let mut parameters = Parameters::new(Precision::F32);
    let qkv = Tensor::from_f32(&[visibility.rows(), heads.columns()], qkv).expect("fits");
    let id = parameters.add("qkv", qkv).expect("a new name");
    parameters.set_trainable(|_| true);
    let mut gradients = Gradients::new(&parameters);
    let tape = Tape::recording(&parameters);
    let y = attention(&tape, &tape.parameter(id), heads, visibility).expect("fits");
    let loss = weighted_sum(&tape, &y, dy);
    tape.backward(&loss, &mut gradients).expect("recorded");
    let gradient = gradients.get(id).expect("a gradient reached it");
    (y.to_f32_vec(), gradient.to_f32_vec())
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn invisible_rows_change_no_bit() {
    // An image that sees ahead, isolated; causal text around it; then a second document.
    let visibility = visibility(120, |row| match row {
        0..10 => (0, row + 1),
        10..40 => (10, 40),
        40..90 => (0, row + 1),
        _ => (90, row + 1),
    });
    let heads = heads(4, 2, 20);
    let (columns, out_columns) = (heads.columns(), heads.query * heads.width);
    let qkv = random_rows(5, 120, columns);
    for row in [0, 9, 10, 25, 40, 89, 90, 119] {
        // Only this row is asked for, so only what it sees may matter.
        let mut dy = vec![0.0; 120 * out_columns];
        dy[row * out_columns..(row + 1) * out_columns].copy_from_slice(&random_rows(
            7,
            1,
            out_columns,
        ));
        let (y, gradient) = run(&qkv, heads, &visibility, &dy);
        let seen = visibility.start()[row] as usize..visibility.end()[row] as usize;
        let mut changed = qkv.clone();
        for other in (0..120).filter(|other| !seen.contains(other)) {
            for value in &mut changed[other * columns..(other + 1) * columns] {
                *value = -3.0 * *value + 0.5;
            }
        }
        let (y_changed, gradient_changed) = run(&changed, heads, &visibility, &dy);
        let outputs = row * out_columns..(row + 1) * out_columns;
        assert_eq!(
            bits(&y[outputs.clone()]),
            bits(&y_changed[outputs]),
            "output of row {row}"
        );
        assert_eq!(gradient, gradient_changed, "gradient from row {row}");
        for (other, gradient) in gradient.chunks(columns).enumerate() {
            let zero = gradient.iter().all(|value| *value == 0.0);
            assert_eq!(
                zero,
                !seen.contains(&other),
                "row {row} and the gradient of {other}"
            );
        }
    }
}

#[test]
fn another_document_may_hold_anything() {
    let (shape, visibility) = (heads(2, 1, 12), documents(&[40, 30]));
    let qkv = random_rows(5, 70, shape.columns());
    let dy = random_rows(6, 70, 24);
    let (y, gradient) = run(&qkv, shape, &visibility, &dy);
    let mut broken = qkv.clone();
    broken[40 * shape.columns()..].fill(f32::NAN);
    let (y_broken, gradient_broken) = run(&broken, shape, &visibility, &dy);
    assert_eq!(bits(&y[..40 * 24]), bits(&y_broken[..40 * 24]));
    let first = 40 * shape.columns();
    assert_eq!(bits(&gradient[..first]), bits(&gradient_broken[..first]));
    assert!(y_broken[40 * 24..].iter().all(|value| value.is_nan()));
}

#[test]
fn extreme_scores_stay_finite() {
    let shape = heads(1, 1, 16);
    let qkv: Vec<f32> = random_rows(5, 80, 48)
        .iter()
        .map(|value| value * 200.0)
        .collect();
    let (y, gradient) = run(&qkv, shape, &causal(80), &random_rows(6, 80, 16));
    assert!(y.iter().chain(&gradient).all(|value| value.is_finite()));
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let heads = heads(4, 2, 16);
    let visibility = documents(&[1100, 50, 300]);
    let qkv = random_rows(5, 1450, heads.columns());
    let dy = random_rows(6, 1450, 64);
    let results: Vec<_> = [1, 2, 3]
        .into_iter()
        .map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let pool = pool.expect("threads start");
            let (y, gradient) = pool.install(|| run(&qkv, heads, &visibility, &dy));
            (bits(&y), bits(&gradient))
        })
        .collect();
    assert!(results[0] == results[1] && results[0] == results[2]);
}

#[test]
fn decoding_step_by_step_equals_causal_attention() {
    // A window within a tile, one that begins within another tile, and one longer than any sequence.
    for window in [None, Some(1), Some(37), Some(100), Some(1000)] {
        for at_once in [1, 7, 45, 80] {
            decode_step_by_step(window, at_once);
        }
    }
}

/// Every device in every precision, with how exact it is.
fn everywhere() -> Vec<(Device, Precision, f64)> {
    let devices = testing::devices().into_iter();
    let each = |device: Device| {
        testing::PRECISIONS.map(|(precision, tolerance)| (device.clone(), precision, tolerance))
    };
    devices.flat_map(each).collect()
}

/// What a row sees is cut into several pieces on a device, and a sequence outgrows its room.
#[test]
fn decoding_far_on_equals_causal_attention() {
    let (shape, rows) = (heads(10, 2, 12), 700);
    let numbers = random_rows(8, rows, shape.columns());
    for window in [None, Some(300)] {
        let first = |row: u32| (row + 1).saturating_sub(window.unwrap_or(usize::MAX) as u32);
        let visibility = visibility(rows, |row| (first(row), row + 1));
        for (device, precision, tolerance) in everywhere() {
            let parameters = Parameters::new(precision);
            let tape = Tape::inference(&parameters);
            let there = |rows: std::ops::Range<usize>| {
                let numbers = &numbers[rows.start * shape.columns()..rows.end * shape.columns()];
                let rows = Tensor::from_f32(&[rows.len(), shape.columns()], numbers);
                let rows = rows.expect("as many").to_precision(precision);
                rows.to_device(&device).expect("room")
            };
            let whole = attention(&tape, &there(0..rows), shape, &visibility).expect("fits");
            let whole = whole.to_f32_vec();
            let mut cache =
                KeyValueCache::new_on(&device, 2, rows, shape, precision).expect("heads fit");
            cache.write(1, &there(0..200), shape, 0..200).expect("room");
            for step in [200..600, 600..601, 601..rows] {
                let sequences = vec![1; step.len()];
                let y = there(step.clone());
                let y = attention_step(&y, shape, &mut cache, &sequences, window).expect("room");
                let wanted = &whole[step.start * 120..step.end * 120];
                let wanted: Vec<f64> = wanted.iter().map(|value| f64::from(*value)).collect();
                assert_close("far on", precision, &y.to_f32_vec(), &wanted, tolerance);
            }
        }
    }
}

#[test]
fn a_cache_and_its_rows_lie_together() {
    let shape = heads(2, 1, 4);
    let devices = testing::devices();
    let mut caches = devices.iter().map(|device| {
        KeyValueCache::new_on(device, 1, 8, shape, Precision::F32).expect("heads fit")
    });
    let (Some(_), Some(mut there)) = (caches.next(), caches.next()) else {
        return;
    };
    let rows = Tensor::zeros(&[1, 16]);
    let message = attention_step(&rows, shape, &mut there, &[0], None).expect_err("elsewhere");
    let message = message.to_string();
    assert!(
        message.contains("cpu") && message.contains("emulated"),
        "{message}"
    );
}

/// Two sequences get 80 rows, `at_once` in a step.
fn decode_step_by_step(window: Option<usize>, at_once: usize) {
    let shape = heads(6, 2, 20);
    let (lengths, prefilled) = ([150, 90], [70, 3]);
    let whole = documents(&lengths);
    let first = |row: usize| (row + 1).saturating_sub(window.unwrap_or(usize::MAX)) as u32;
    let starts = whole.start().iter().enumerate();
    let starts = starts.map(|(row, start)| first(row).max(*start)).collect();
    let visibility = Visibility::new(starts, whole.end().to_vec()).expect("holds each row");
    let rows = random_rows(5, 240, shape.columns());
    for (device, precision, tolerance) in everywhere() {
        let parameters = Parameters::new(precision);
        let tape = Tape::inference(&parameters);
        let there = |tensor: Tensor| {
            let tensor = tensor.to_precision(precision);
            tensor.to_device(&device).expect("room")
        };
        let qkv = there(Tensor::from_f32(&[240, shape.columns()], &rows).expect("fits"));
        let values = qkv.to_f32_vec();
        let whole = attention(&tape, &qkv, shape, &visibility)
            .expect("fits")
            .to_f32_vec();
        let row_of = |row: usize| {
            let values = &values[row * shape.columns()..][..shape.columns()];
            there(Tensor::from_f32(&[1, shape.columns()], values).expect("fits"))
        };
        let mut cache =
            KeyValueCache::new_on(&device, 4, 150, shape, precision).expect("heads fit");
        // Sequences 2 and 1, in this order; 2 is decoded on a copy while 0 goes astray.
        cache.write(0, &qkv, shape, 0..prefilled[0]).expect("room");
        cache.copy(0, 2, prefilled[0]).expect("both exist");
        attention_step(&row_of(200), shape, &mut cache, &[0], window).expect("room");
        cache
            .write(3, &qkv, shape, 150..150 + prefilled[1])
            .expect("room");
        cache.reorder(&[0, 3, 2, 3]).expect("all exist");
        for step in (0..80).step_by(at_once) {
            let count = at_once.min(80 - step);
            let first = prefilled[0] + step..prefilled[0] + step + count;
            let second = 150 + prefilled[1] + step..150 + prefilled[1] + step + count;
            let rows: Vec<usize> = first.chain(second).collect();
            let numbers: Vec<f32> = rows
                .iter()
                .flat_map(|row| row_of(*row).to_f32_vec())
                .collect();
            let numbers = Tensor::from_f32(&[2 * count, shape.columns()], &numbers).expect("fits");
            let y = attention_step(
                &there(numbers),
                shape,
                &mut cache,
                &[vec![2; count], vec![1; count]].concat(),
                window,
            );
            let y = y.expect("room").to_f32_vec();
            let wanted: Vec<f64> = rows
                .iter()
                .flat_map(|row| &whole[row * 120..(row + 1) * 120])
                .map(|value| f64::from(*value))
                .collect();
            assert_close("decoded row", precision, &y, &wanted, tolerance);
        }
        assert_eq!(
            [0, 1, 2, 3].map(|sequence| cache.rows(sequence)),
            [71, 83, 150, 3]
        );
        let message = attention_step(&row_of(0), shape, &mut cache, &[2], window)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("sequence 2") && message.contains("150"),
            "{message}"
        );
        // What was read before the last 100 rows goes on as if they had not been.
        cache.copy(2, 0, 50).expect("both exist");
        let y = attention_step(&row_of(50), shape, &mut cache, &[0], window).expect("room");
        let wanted: Vec<f64> = whole[50 * 120..51 * 120]
            .iter()
            .map(|v| f64::from(*v))
            .collect();
        assert_close(
            "row behind a beginning",
            precision,
            &y.to_f32_vec(),
            &wanted,
            tolerance,
        );
        cache.clear(2).expect("it exists");
        assert_eq!(cache.rows(2), 0);
        // One row alone: its own value comes back.
        let y = attention_step(&row_of(0), shape, &mut cache, &[2], window)
            .expect("room")
            .to_f32_vec();
        let wanted: Vec<f64> = whole[..120].iter().map(|value| f64::from(*value)).collect();
        assert_close("first row", precision, &y, &wanted, tolerance);
    }
}

#[test]
fn refuses_what_does_not_fit() {
    let parameters = Parameters::new(Precision::F32);
    let tape = Tape::inference(&parameters);
    let shape = heads(2, 1, 4);
    let message = attention(&tape, &Tensor::zeros(&[3, 16]), shape, &causal(4)).unwrap_err();
    assert!(
        message.to_string().contains("visibility of 4 rows"),
        "{message}"
    );
    let message = attention(&tape, &Tensor::zeros(&[4, 15]), shape, &causal(4)).unwrap_err();
    assert!(message.to_string().contains("15"), "{message}");
    let empty = attention(&tape, &Tensor::zeros(&[0, 16]), shape, &causal(0)).expect("no rows");
    assert_eq!(empty.shape(), [0, 8]);

    let mut cache = KeyValueCache::new(2, 8, shape, Precision::F32).expect("heads fit");
    let rows = Tensor::zeros(&[2, 16]);
    let three = Tensor::zeros(&[3, 16]);
    assert!(attention_step(&three, shape, &mut cache, &[0, 1, 0], None).is_err());
    let nine = Tensor::zeros(&[9, 16]);
    assert!(attention_step(&nine, shape, &mut cache, &[0; 9], None).is_err());
    assert!(attention_step(&rows, shape, &mut cache, &[0, 2], None).is_err());
    assert!(attention_step(&rows, shape, &mut cache, &[0], None).is_err());
    assert!(attention_step(&rows, heads(1, 1, 4), &mut cache, &[0, 1], None).is_err());
    assert!(cache.write(0, &rows, shape, 1..3).is_err());
    assert!(cache.write(2, &rows, shape, 0..1).is_err());
    assert!(cache.copy(0, 2, 0).is_err() && cache.copy(0, 1, 1).is_err());
    assert!(cache.reorder(&[0]).is_err());
    assert_eq!((cache.rows(0), cache.rows(1)), (0, 0));
    assert!(KeyValueCache::new(1, 8, heads(3, 2, 4), Precision::F32).is_err());
}
