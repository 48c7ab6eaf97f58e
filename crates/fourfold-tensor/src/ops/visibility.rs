//! Which keys a row sees, compiled to two integers a row.

use std::sync::{Arc, Mutex, PoisonError};

use super::attention::Intervals;
use crate::device::Gpu;
use crate::{Result, TensorError};

/// Row *i* sees the keys `[start_i, end_i)`.
///
/// Causal, bidirectional, prefix and document-isolated masks are all intervals; no `tokens × tokens` mask is built.
#[derive(Clone, Debug)]
pub struct Visibility {
    start: Arc<[u32]>,
    end: Arc<[u32]>,
    /// The same on the device that asked for it last: every layer of a model does.
    on_gpu: Arc<Mutex<Option<Arc<Intervals>>>>,
}

impl PartialEq for Visibility {
    fn eq(&self, other: &Self) -> bool {
        self.start == other.start && self.end == other.end
    }
}

impl Eq for Visibility {}

impl Visibility {
    /// Checks that every interval is non-empty, lies within the rows and holds the row itself.
    ///
    /// # Errors
    /// Naming the first row whose interval does not.
    pub fn new(start: Vec<u32>, end: Vec<u32>) -> Result<Self> {
        if start.len() != end.len() {
            return Err(TensorError::shape(
                "visibility",
                format!("{} starts for {} ends", start.len(), end.len()),
            ));
        }
        for (row, (first, last)) in start.iter().zip(&end).enumerate() {
            let (row, rows) = (row as u32, start.len() as u32);
            if !(*first <= row && row < *last && *last <= rows) {
                return Err(TensorError::shape(
                    "visibility",
                    format!(
                        "row {row} sees [{first}, {last}) of {rows} rows; expected it to hold the row"
                    ),
                ));
            }
        }
        Ok(Self {
            start: start.into(),
            end: end.into(),
            on_gpu: Arc::default(),
        })
    }

    /// Everything within blocks of `block` rows: a batch of encoder inputs of equal length.
    pub fn blocks(rows: usize, block: usize) -> Self {
        let first = |row: usize| row / block * block;
        Self {
            start: (0..rows).map(|row| first(row) as u32).collect(),
            end: (0..rows)
                .map(|row| (first(row) + block).min(rows) as u32)
                .collect(),
            on_gpu: Arc::default(),
        }
    }

    /// The intervals in the memory of `gpu`.
    pub(super) fn on_gpu(&self, gpu: &Arc<Gpu>) -> Result<Arc<Intervals>> {
        let lock = self.on_gpu.lock();
        let mut known = lock.unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.as_ref().filter(|known| Arc::ptr_eq(known.gpu(), gpu)) {
            return Ok(Arc::clone(found));
        }
        let intervals = Arc::new(Intervals::new(gpu, self)?);
        *known = Some(Arc::clone(&intervals));
        Ok(intervals)
    }

    /// First visible key of each row.
    pub fn start(&self) -> &[u32] {
        &self.start
    }

    /// One past the last visible key of each row.
    pub fn end(&self) -> &[u32] {
        &self.end
    }

    /// How many rows it describes.
    pub fn rows(&self) -> usize {
        self.start.len()
    }
}
