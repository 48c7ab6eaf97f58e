//! `fourfold selfcheck`: whether a device computes what this processor does.

mod table;

use anyhow::{Result, bail};
use clap::Args;
use fourfold_tensor::selfcheck::{Extent, Report, check};
use fourfold_tensor::{Device, selfcheck};
use serde::Serialize;

use self::table::Table;
use crate::machine::Machine;
use crate::output::{duration, say};

/// Holds every operation on a device, forwards and backwards, to this processor in f32
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fourfold selfcheck
  fourfold selfcheck --device cuda:1 --json

Errors are the largest of all cases, relative to the largest number of an array. Each case runs twice and has to give the \
same bits, and no memory may be left over. On `cpu`, 16-bit formats are held to f32. What is wrong is told with the shapes \
of its case, and the exit status is 1 then. The first run on a device compiles its kernels and takes longer.")]
pub struct Selfcheck {
    /// One or two cases of each operation
    #[arg(long)]
    quick: bool,
    /// Print one JSON object an operation
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: Machine,
}

/// A report as JSON has it.
#[derive(Serialize)]
struct Line<'a> {
    device: String,
    operation: &'a str,
    ok: bool,
    cases: usize,
    errors: Vec<ErrorsOf>,
    same_bits: bool,
    bytes_left: usize,
    seconds: f64,
    problems: &'a [String],
}

/// The largest errors in a precision; null for what is no number.
#[derive(Serialize)]
struct ErrorsOf {
    precision: &'static str,
    bound: f64,
    output: f64,
    gradient: Option<f64>,
}

impl Selfcheck {
    /// Runs the command.
    ///
    /// # Errors
    /// When the device cannot be used, or something on it is wrong.
    pub fn run(self) -> Result<()> {
        self.machine.start()?;
        let device = self.machine.device()?;
        // What `auto` found, so that it stays the same one.
        let choice = match &device {
            Device::Cpu => fourfold_tensor::DeviceChoice::Cpu,
            Device::Gpu(gpu) => gpu.label().parse()?,
        };
        let mut operations = selfcheck::operations();
        operations.extend(fourfold_model::selfcheck::operations());
        // On this processor, what is compared in f32 alone would be compared with itself.
        operations.retain(|operation| device != Device::Cpu || !operation.f32_alone);
        let table = Table::new(&operations, &selfcheck::precisions(&device));
        if !self.json {
            say(format_args!(
                "{} against this processor in f32; what is told are errors relative to the largest number.\n",
                described(&device)
            ))?;
            say(table.head())?;
        }
        drop(device);
        let extent = match self.quick {
            true => Extent::Quick,
            false => Extent::Whole,
        };
        let mut reports = Vec::with_capacity(operations.len());
        for operation in &operations {
            let report = check(operation, extent, &|| choice.open());
            match self.json {
                true => say(serde_json::to_string(&Line::new(
                    &choice.to_string(),
                    &report,
                ))?)?,
                false => say(table.row(&report))?,
            }
            reports.push(report);
        }
        if !self.json {
            say(table.foot(&operations, &reports))?;
        }
        let wrong: Vec<&Report> = reports.iter().filter(|report| !report.is_ok()).collect();
        if wrong.is_empty() {
            if !self.json {
                let seconds = reports.iter().map(|report| report.seconds).sum();
                let cases: usize = reports.iter().map(|report| report.cases).sum();
                say(format_args!(
                    "All {} operations are right on {choice}: {cases} cases, {}.",
                    reports.len(),
                    duration(seconds)
                ))?;
            }
            return Ok(());
        }
        let names: Vec<&str> = wrong.iter().map(|report| report.operation).collect();
        bail!(
            "{} of {} operations are wrong on {choice}: {}. Do not train on it; please report this with the output of \
             `fourfold selfcheck --device {choice}` and of `fourfold devices`",
            wrong.len(),
            reports.len(),
            names.join("; ")
        )
    }
}

/// The device by its names.
fn described(device: &Device) -> String {
    match device {
        Device::Cpu => "16-bit formats of this processor".to_owned(),
        Device::Gpu(gpu) => format!("{} ({})", gpu.label(), gpu.name()),
    }
}

impl<'a> Line<'a> {
    fn new(device: &str, report: &'a Report) -> Self {
        let errors = report.errors.iter().map(|errors| ErrorsOf {
            precision: errors.precision.name(),
            bound: errors.bound,
            output: errors.output,
            gradient: errors.gradient,
        });
        Self {
            device: device.to_owned(),
            operation: report.operation,
            ok: report.is_ok(),
            cases: report.cases,
            errors: errors.collect(),
            same_bits: report.repeats,
            bytes_left: report.bytes_left,
            seconds: report.seconds,
            problems: &report.problems,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn operations_are_told_apart_by_name() {
        let mut operations = selfcheck::operations();
        operations.extend(fourfold_model::selfcheck::operations());
        let names: HashSet<&str> = operations.iter().map(|operation| operation.name).collect();
        assert_eq!(names.len(), operations.len());
    }
}
