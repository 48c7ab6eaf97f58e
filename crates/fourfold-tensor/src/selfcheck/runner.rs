//! Runs the cases of an operation on a device, and says what is wrong.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use super::case::{Array, Case, Kind};
use super::compare::largest_difference;
use super::{Bounds, Extent};
use crate::{Device, Precision, Result};

/// An operation with the cases that it is checked by.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// What it is called.
    pub name: &'static str,
    /// How far off its numbers may be.
    pub bounds: Bounds,
    /// Its cases.
    pub cases: fn(Extent) -> Vec<Case>,
    /// Whether it is compared in f32 alone.
    pub f32_alone: bool,
}

impl Operation {
    /// One that is held to [`Bounds::OPERATION`].
    pub fn new(name: &'static str, cases: fn(Extent) -> Vec<Case>) -> Self {
        Self {
            name,
            bounds: Bounds::OPERATION,
            cases,
            f32_alone: false,
        }
    }

    /// The same, compared in f32 alone: not at all on this processor, which would be compared with itself.
    pub fn in_f32_alone(self) -> Self {
        Self {
            f32_alone: true,
            ..self
        }
    }

    /// The same, held to `bounds`.
    pub fn within(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
    }
}

/// The largest errors in one precision, relative to the largest number of their array.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Errors {
    /// The precision.
    pub precision: Precision,
    /// What they are held to.
    pub bound: f64,
    /// That of an output.
    pub output: f64,
    /// That of a gradient; none where the operation has none.
    pub gradient: Option<f64>,
}

/// What was found of an operation.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its name.
    pub operation: &'static str,
    /// How many cases there are.
    pub cases: usize,
    /// One a precision.
    pub errors: Vec<Errors>,
    /// Whether two runs of each case gave the same bits.
    pub repeats: bool,
    /// Bytes on the device that were not given back.
    pub bytes_left: usize,
    /// All that is wrong, in words.
    pub problems: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_ok(&self) -> bool {
        self.problems.is_empty()
    }
}

/// The precisions that `device` is checked in. This processor's f32 is what everything is held to.
pub fn precisions(device: &Device) -> Vec<Precision> {
    let narrow = [Precision::Bf16, Precision::F16];
    match device {
        Device::Cpu => narrow.to_vec(),
        Device::Gpu(_) => [&[Precision::F32], &narrow[..]].concat(),
    }
}

/// Checks `operation` on the device that `open` gives, which is asked for anew so that a device that has failed may be
/// another one. Goes on after what is wrong.
pub fn check(operation: &Operation, extent: Extent, open: &dyn Fn() -> Result<Device>) -> Report {
    let begin = Instant::now();
    let mut report = Report {
        operation: operation.name,
        cases: 0,
        errors: Vec::new(),
        repeats: true,
        bytes_left: 0,
        problems: Vec::new(),
        seconds: 0.0,
    };
    match open() {
        Ok(device) => check_on(&device, operation, extent, &mut report),
        Err(error) => report.problems.push(error.to_string()),
    }
    report.seconds = begin.elapsed().as_secs_f64();
    report
}

fn check_on(device: &Device, operation: &Operation, extent: Extent, report: &mut Report) {
    let live = || device.gpu().map_or(0, |gpu| gpu.live_bytes());
    let before = live();
    report.errors = precisions(device)
        .into_iter()
        .filter(|precision| !operation.f32_alone || *precision == Precision::F32)
        .map(|precision| Errors {
            precision,
            bound: operation.bounds.of(precision),
            output: 0.0,
            gradient: None,
        })
        .collect();
    // What cases keep on the device goes with them.
    for case in (operation.cases)(extent) {
        report.cases += 1;
        match computed(&case, &Device::Cpu, Precision::F32) {
            Ok(wanted) => check_case(device, &case, &wanted, report),
            Err(message) => report
                .problems
                .push(format!("here in f32: {message}; case: {}", case.name())),
        }
    }
    if let Some(Err(error)) = device.gpu().map(|gpu| gpu.synchronize()) {
        report.problems.push(error.to_string());
    }
    report.bytes_left = live().saturating_sub(before);
    if report.bytes_left > 0 {
        let message = format!("{} bytes were not given back", report.bytes_left);
        report.problems.push(message);
    }
}

/// Computes `case` twice in each precision, and compares.
fn check_case(device: &Device, case: &Case, wanted: &[Array], report: &mut Report) {
    for index in 0..report.errors.len() {
        let precision = report.errors[index].precision;
        let twice = [(); 2].map(|()| computed(case, device, precision));
        let [first, second] = match twice {
            [Ok(first), Ok(second)] => [first, second],
            [Err(message), _] | [_, Err(message)] => {
                report.wrong(precision, case, &message);
                continue;
            }
        };
        if !same_bits(&first, &second) {
            report.repeats = false;
            report.wrong(precision, case, "two runs gave different bits");
        }
        if let Some(message) = report.errors[index].note(&first, wanted) {
            report.wrong(precision, case, &message);
        }
    }
}

impl Report {
    /// Notes what is wrong; what was so of another case already is told once, with both.
    fn wrong(&mut self, precision: Precision, case: &Case, message: &str) {
        let told = format!("{}: {message}; case: ", precision.name());
        let mut problems = self.problems.iter_mut();
        match problems.find(|problem| problem.starts_with(&told)) {
            Some(problem) => *problem += &format!("; and {}", case.name()),
            None => self.problems.push(told + case.name()),
        }
    }
}

impl Errors {
    /// Takes note of what `found` has for errors; says what is wrong, at the place where it is furthest off.
    fn note(&mut self, found: &[Array], wanted: &[Array]) -> Option<String> {
        let names = |arrays: &[Array]| -> Vec<String> {
            arrays.iter().map(|array| array.name.clone()).collect()
        };
        if names(found) != names(wanted) {
            let (found, wanted) = (names(found), names(wanted));
            return Some(format!("{found:?} came of it; expected {wanted:?}"));
        }
        let mut worst: Option<(f64, String)> = None;
        let mut worse = |error: f64, message: String| {
            if worst.as_ref().is_none_or(|(worst, _)| error > *worst) {
                worst = Some((error, message));
            }
        };
        for (found, wanted) in found.iter().zip(wanted) {
            let name = &found.name;
            let difference = match largest_difference(&found.values, &wanted.values) {
                Ok(Some(difference)) => difference,
                Ok(None) => continue,
                Err(message) => {
                    worse(f64::INFINITY, format!("{name}: {message}"));
                    continue;
                }
            };
            let error = difference.error;
            match found.kind {
                Kind::Output => self.output = self.output.max(error),
                Kind::Gradient => {
                    self.gradient = Some(self.gradient.unwrap_or(0.0).max(error));
                }
            }
            if error > self.bound {
                let (at, of) = (difference.at, found.values.len());
                let (found, wanted) = (difference.found, difference.wanted);
                let bound = self.bound;
                worse(
                    error,
                    format!(
                        "{name} at {at} of {of}: {found}, expected {wanted}, error {error:.1e}, at most {bound:.0e}"
                    ),
                );
            }
        }
        worst.map(|(_, message)| message)
    }
}

/// What `case` gives; a panic is a message like any other, so that the next case is looked at.
fn computed(
    case: &Case,
    device: &Device,
    precision: Precision,
) -> std::result::Result<Vec<Array>, String> {
    match catch_unwind(AssertUnwindSafe(|| case.compute(device, precision))) {
        Ok(Ok(arrays)) => Ok(arrays),
        Ok(Err(error)) => Err(error.to_string().trim_end().to_owned()),
        Err(panic) => Err(format!(
            "a defect of Fourfold, please report it: {}",
            panic_text(&*panic)
        )),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic".to_owned())
}

fn same_bits(first: &[Array], second: &[Array]) -> bool {
    let bits = |arrays: &[Array]| -> Vec<u32> {
        let values = arrays.iter().flat_map(|array| &array.values);
        values.map(|value| value.to_bits()).collect()
    };
    bits(first) == bits(second)
}
