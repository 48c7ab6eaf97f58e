//! The account of samples that were left out.

use serde::{Deserialize, Serialize};

use crate::DataError;

/// One sample that was left out, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// The sample's source.
    pub source: String,
    /// Its number in the source, from 0.
    pub sample: usize,
    /// Its file and row, as `train.jsonl:line 13`.
    pub origin: String,
    /// The whole message; it begins with the file and row.
    pub reason: String,
}

impl Skip {
    /// Sample `sample` of `source`, which `error` keeps from being read.
    pub fn new(source: &str, sample: usize, error: &DataError) -> Self {
        Self {
            source: source.into(),
            sample,
            origin: error.origin().unwrap_or_default().into(),
            reason: error.to_string(),
        }
    }
}

/// How many samples were left out, with the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkipReport {
    /// All of them.
    pub count: usize,
    /// The first [`SkipReport::LISTED`] of them; all of them where they are looked for.
    pub first: Vec<Skip>,
}

impl SkipReport {
    /// How many skipped samples are kept where they are passed over on the way.
    pub const LISTED: usize = 20;

    /// Notes one more, kept only while the list is short.
    pub fn add(&mut self, source: &str, sample: usize, error: &DataError) {
        if self.first.len() < Self::LISTED {
            self.list(source, sample, error);
        } else {
            self.count += 1;
        }
    }

    /// Notes one more and keeps it, however many there are.
    pub fn list(&mut self, source: &str, sample: usize, error: &DataError) {
        self.count += 1;
        self.first.push(Skip::new(source, sample, error));
    }
}

impl std::fmt::Display for SkipReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} broken samples skipped", self.count)?;
        for skip in &self.first {
            write!(f, "\n  {}", skip.reason)?;
        }
        if self.count > self.first.len() {
            write!(f, "\n  … and {} more", self.count - self.first.len())?;
        }
        Ok(())
    }
}
