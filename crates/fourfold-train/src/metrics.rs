//! `metrics.jsonl`: one line an update.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fourfold_model::Part;
use fourfold_tensor::Device;
use serde::{Deserialize, Serialize};

use crate::feature_cache::Origins;
use crate::files;

/// What happened in one update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The stage's name.
    pub stage: String,
    /// Updates since the run began, this one included.
    pub step: usize,
    /// Updates since the stage began, this one included.
    pub update: usize,
    /// Documents of this update.
    pub samples: usize,
    /// Images of this update.
    pub images: usize,
    /// Rows of this update.
    pub tokens: usize,
    /// Rows with a target.
    pub targets: usize,
    /// Packs that it was computed in.
    pub packs: usize,
    /// Documents that were cut at the token limit.
    pub truncated: usize,
    /// Broken samples passed over.
    pub skipped: usize,
    /// Documents left out since they were too long.
    #[serde(default)]
    pub dropped: usize,
    /// Mean cross-entropy over the targets, in nats; no number, `null`, where it overflowed in fp16.
    #[serde(with = "number_or_null")]
    pub loss: f64,
    /// The learning rate of each part that trains.
    pub lr: BTreeMap<Part, f64>,
    /// Norm of all gradients before clipping; likewise.
    #[serde(with = "number_or_null")]
    pub grad_norm: f64,
    /// Seconds that the update took, waiting for data included.
    pub seconds: f64,
    /// Seconds of them spent waiting for data.
    pub data_wait_seconds: f64,
    /// Rows a second.
    pub tokens_per_second: f64,
    /// Where the features of its images came from, in a stage that keeps them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Origins>,
    /// What the loss was multiplied by on the way back, in fp16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f64>,
    /// Updates of the stage so far that were skipped since gradients overflowed, in fp16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped_updates: Option<u64>,
    /// Memory of the process, where the system tells; of rank 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<f64>,
    /// The most memory of its device that tensors took in the update, where it computes on one; of rank 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_memory_mib: Option<f64>,
    /// Seconds that rank 0 spent waiting for sums of gradients when its own were done, where there are other ranks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank_wait_seconds: Option<f64>,
}

/// JSON has no infinity, and nothing else that is no number.
mod number_or_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        number.is_finite().then_some(number).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Option::deserialize(deserializer).map(|number| number.unwrap_or(f64::NAN))
    }
}

/// The open `metrics.jsonl` of a run.
pub struct Metrics {
    path: PathBuf,
    file: File,
}

impl Metrics {
    /// Opens the file for appending after dropping every line of a step after `last_step`: a resumed run
    /// does those steps again.
    ///
    /// # Errors
    /// Names the file, and the line that is no record.
    pub fn open(path: &Path, last_step: usize) -> Result<Self> {
        if path.exists() {
            let kept: Vec<StepRecord> = read(path)?
                .into_iter()
                .filter(|record| record.step <= last_step)
                .collect();
            let mut text = String::new();
            for record in &kept {
                text.push_str(&files::json_line(record)?);
            }
            files::write_atomic(path, text.as_bytes())?;
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    /// Appends one line.
    ///
    /// # Errors
    /// Names the file.
    pub fn write(&mut self, record: &StepRecord) -> Result<()> {
        self.file
            .write_all(files::json_line(record)?.as_bytes())
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// The records of a `metrics.jsonl`; a last line that a crash cut short is left out.
///
/// # Errors
/// Names the file and the line that is no record.
pub fn read(path: &Path) -> Result<Vec<StepRecord>> {
    let expected = "a step's record; remove the line, or the file if the record does not matter";
    files::read_json_lines(path, expected)
}

/// The most memory that tensors took on `device` since the last call, in MiB; nothing on this processor.
pub fn device_peak_mib(device: &Device) -> Option<f64> {
    let gpu = device.gpu()?;
    let peak = gpu.peak_bytes();
    gpu.reset_peak();
    Some((peak as f64 / (1 << 20) as f64 * 10.0).round() / 10.0)
}

/// Memory that this process holds now, in MiB; nothing where the system does not tell.
pub fn memory_mib() -> Option<f64> {
    status_mib("VmRSS:")
}

/// The most memory that this process held so far, in MiB; nothing where the system does not tell.
pub fn peak_memory_mib() -> Option<f64> {
    status_mib("VmHWM:")
}

fn status_mib(key: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some((kib / 102.4).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::testing::Scratch;

    fn record(step: usize) -> StepRecord {
        StepRecord {
            stage: "align".into(),
            step,
            update: step,
            samples: 4,
            images: 4,
            tokens: 100,
            targets: 30,
            packs: 2,
            truncated: 0,
            skipped: 0,
            dropped: 0,
            loss: 2.5,
            lr: BTreeMap::from([(Part::Projector, 1e-3)]),
            grad_norm: 0.7,
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

    #[test]
    fn resuming_drops_later_steps_and_a_cut_line() {
        let scratch = Scratch::new("metrics");
        let path = scratch.path().join("metrics.jsonl");
        let mut metrics = Metrics::open(&path, 0).unwrap();
        (1..=5).for_each(|step| metrics.write(&record(step)).unwrap());
        drop(metrics);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() - 20]).unwrap();
        assert_eq!(read(&path).unwrap().len(), 4);
        let mut metrics = Metrics::open(&path, 3).unwrap();
        metrics.write(&record(4)).unwrap();
        let steps: Vec<usize> = read(&path).unwrap().iter().map(|r| r.step).collect();
        assert_eq!(steps, [1, 2, 3, 4]);
        assert_eq!(read(&path).unwrap()[3], record(4));
    }

    #[test]
    fn an_update_that_overflowed_is_written_and_read() {
        let skipped = StepRecord {
            loss: f64::NAN,
            grad_norm: f64::INFINITY,
            loss_scale: Some(65536.0),
            skipped_updates: Some(1),
            ..record(1)
        };
        let line = files::json_line(&skipped).unwrap();
        assert!(line.contains("\"loss\":null") && line.contains("\"skipped_updates\":1"));
        let read: StepRecord = serde_json::from_str(&line).unwrap();
        assert!(read.loss.is_nan() && read.grad_norm.is_nan());
        assert_eq!(read.loss_scale, Some(65536.0));
        // Of other precisions as before.
        let line = files::json_line(&record(1)).unwrap();
        assert!(!line.contains("loss_scale") && !line.contains("skipped_updates"));
    }

    #[test]
    fn a_line_that_is_no_record_is_named() {
        let scratch = Scratch::new("metrics");
        let path = scratch.path().join("metrics.jsonl");
        fs::write(
            &path,
            format!("{}nonsense\n", files::json_line(&record(1)).unwrap()),
        )
        .unwrap();
        let error = format!("{:#}", read(&path).unwrap_err());
        assert!(error.contains("metrics.jsonl, line 2"), "{error}");
    }
}
