//! The account of samples that were left out.

use serde::{Deserialize, Serialize};

use crate::DataError;

/// One sample that was left out, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// The sample's source.
    pub source: String,
    /// The whole message; it begins with the file and row.
    pub reason: String,
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
    pub fn add(&mut self, source: &str, error: &DataError) {
        if self.first.len() < Self::LISTED {
            self.list(source, error);
        } else {
            self.count += 1;
        }
    }

    /// Notes one more and keeps it, however many there are.
    pub fn list(&mut self, source: &str, error: &DataError) {
        self.count += 1;
        self.first.push(Skip {
            source: source.into(),
            reason: error.to_string(),
        });
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
