//! That what is wrong is found, and goes on being looked for.

use std::cell::Cell;

use super::*;
use crate::{Device, DeviceChoice, Precision, Tensor};

fn emulated() -> crate::Result<Device> {
    DeviceChoice::Emulated.open()
}

/// Twice some numbers, and a gradient.
fn twice(precision: Precision, wrong: impl Fn(&mut [f32], &mut [f32])) -> Vec<Array> {
    let (mut y, mut dx) = (vec![2.0, 4.0, -6.0], vec![2.0; 3]);
    if precision == Precision::F16 {
        wrong(&mut y, &mut dx);
    }
    vec![Array::output("y", y), Array::gradient("x", dx)]
}

fn report(cases: fn(Extent) -> Vec<Case>) -> Report {
    check(&Operation::new("twice", cases), Extent::Quick, &|| {
        Ok(Device::Cpu)
    })
}

#[test]
fn an_operation_that_is_right_is_ok() {
    let found = report(|_| {
        vec![Case::new("x [3]", |_, precision| {
            Ok(twice(precision, |_, _| ()))
        })]
    });
    assert!(found.is_ok() && found.repeats, "{found:?}");
    assert_eq!(found.errors.len(), 2);
    assert_eq!(
        (found.errors[0].output, found.errors[0].gradient),
        (0.0, Some(0.0))
    );
}

#[test]
fn a_wrong_number_is_found_with_its_case_and_the_next_case_is_looked_at() {
    let found = report(|_| {
        let case = |name: &str, wrong: fn(&mut [f32], &mut [f32])| {
            Case::new(name, move |_, precision| Ok(twice(precision, wrong)))
        };
        vec![
            case("the first", |y, _| y[1] = 4.5),
            case("the second", |_, dx| dx[2] = f32::NAN),
            case("within the bound", |y, _| y[2] = -6.01),
        ]
    });
    assert_eq!((found.cases, found.problems.len()), (3, 2), "{found:?}");
    let [first, second] = &found.problems[..] else {
        panic!("{found:?}");
    };
    for part in ["fp16", "y at 1 of 3", "4.5", "expected 4", "the first"] {
        assert!(first.contains(part), "{first}");
    }
    assert!(
        second.contains("gradient of x at 2") && second.contains("the second"),
        "{second}"
    );
    assert_eq!(found.errors[1].gradient, Some(f64::INFINITY));
}

#[test]
fn what_fails_panics_or_gives_something_else_is_told() {
    let found = report(|_| {
        let fails = |what: fn() -> Result<Vec<Array>, Failure>| {
            move |_: &Device, precision: Precision| match precision {
                Precision::F32 => Ok(twice(precision, |_, _| ())),
                _ => what(),
            }
        };
        vec![
            Case::new("fails", fails(|| Err("no such library".into()))),
            Case::new("as well", fails(|| Err("no such library".into()))),
            Case::new("panics", fails(|| panic!("out of range"))),
            Case::new("lacks", fails(|| Ok(vec![]))),
        ]
    });
    assert_eq!(found.problems.len(), 6, "{found:?}");
    let told = |at: usize, part: &str| assert!(found.problems[at].contains(part), "{found:?}");
    told(0, "no such library; case: fails; and as well");
    told(2, "out of range");
    told(4, "expected");
}

#[test]
fn bits_that_differ_are_found() {
    thread_local!(static RUNS: Cell<u32> = const { Cell::new(0) });
    let found = report(|_| {
        vec![Case::new("x [1]", |_, _| {
            RUNS.set(RUNS.get() + 1);
            let value = 1.0 + RUNS.get() as f32 * f32::EPSILON;
            Ok(vec![Array::output("y", vec![value])])
        })]
    });
    assert!(!found.repeats && !found.is_ok(), "{found:?}");
    assert!(found.problems[0].contains("different bits"), "{found:?}");
}

#[test]
fn memory_that_is_left_is_found() {
    let operation = Operation::new("leaks", |_| {
        vec![Case::new("x [3]", |device, _| {
            std::mem::forget(Tensor::zeros_on(device, &[3]));
            Ok(vec![])
        })]
    });
    // A device that no other test uses.
    let own = DeviceChoice::emulated_with_own_products();
    let found = check(&operation, Extent::Quick, &|| Ok(own.clone()));
    // Three precisions, two runs.
    assert_eq!(found.bytes_left, 3 * 2 * 12, "{found:?}");
    assert!(found.problems[0].contains("not given back"), "{found:?}");
}

#[test]
fn a_device_that_cannot_be_opened_is_told() {
    let operation = Operation::new("none", |_| vec![]);
    let found = check(&operation, Extent::Quick, &|| {
        DeviceChoice::Cuda(4096).open()
    });
    assert!(found.problems[0].starts_with("cuda:4096"), "{found:?}");
}

#[test]
fn every_operation_is_right_in_16_bits_here_and_with_the_kernels_for_gpus() {
    let mut wrong = Vec::new();
    for open in [&(|| Ok(Device::Cpu)) as &dyn Fn() -> _, &emulated] {
        for operation in operations() {
            let report = check(&operation, Extent::Quick, open);
            assert!(report.cases > 0, "{}", operation.name);
            // Other tests take memory of the device meanwhile.
            let problems = report.problems.into_iter();
            let problems = problems.filter(|problem| !problem.contains("not given back"));
            wrong.extend(problems.map(|problem| format!("{}: {problem}", operation.name)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
