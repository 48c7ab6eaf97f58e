//! The angles of rotary positions, and their sines and cosines kept between calls.

use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use crate::device::{Gpu, GpuBuffer};
use crate::{Result, TensorError};

/// Pair *i* of a head is turned by `position · frequencies[i]` radians, and made `amplitude` times as long.
///
/// Clones share their table of sines and cosines: every layer that turns alike should hold a clone of one.
#[derive(Clone, Debug)]
pub struct Rotary {
    frequencies: Arc<[f64]>,
    amplitude: f64,
    table: Arc<Mutex<Arc<Table>>>,
}

impl Rotary {
    /// Angles from the frequency of each pair, in radians a position; `amplitude` is 1 but for rules that stretch
    /// attention (YaRN).
    ///
    /// # Errors
    /// When there is no pair, a frequency is not finite or the amplitude is not a positive number.
    pub fn new(frequencies: Vec<f64>, amplitude: f64) -> Result<Self> {
        let problem = if frequencies.is_empty() {
            "no pair of numbers to turn".to_owned()
        } else if let Some(pair) = frequencies.iter().position(|f| !f.is_finite()) {
            format!(
                "frequency {} of pair {pair}; expected finite numbers",
                frequencies[pair]
            )
        } else if !(amplitude > 0.0 && amplitude.is_finite()) {
            format!("amplitude {amplitude}; expected a positive number")
        } else {
            return Ok(Self {
                table: Arc::new(Mutex::new(Arc::new(Table::new(&frequencies, amplitude, 0)))),
                frequencies: frequencies.into(),
                amplitude,
            });
        };
        Err(TensorError::shape("rotary", problem))
    }

    /// `theta^(-2i/width)` for the pairs of a head of `width` numbers (Su et al., RoFormer, arXiv 2104.09864).
    ///
    /// # Errors
    /// When the width is odd or 0, or `theta` is not positive.
    pub fn plain(theta: f32, width: usize) -> Result<Self> {
        if !width.is_multiple_of(2) {
            let message = format!("heads of width {width}; expected an even width");
            return Err(TensorError::shape("rotary", message));
        }
        if !(theta > 0.0 && theta.is_finite()) {
            let message = format!("theta {theta}; expected a positive number (Llama's is 10000)");
            return Err(TensorError::shape("rotary", message));
        }
        let exponent = |pair: usize| -2.0 * pair as f64 / width as f64;
        let frequency = |pair| f64::from(theta).powf(exponent(pair));
        Self::new((0..width / 2).map(frequency).collect(), 1.0)
    }

    /// Numbers of a head that it turns.
    pub fn width(&self) -> usize {
        2 * self.frequencies.len()
    }

    /// A table that holds the positions up to `highest`, made or extended if need be.
    pub(super) fn table(&self, highest: u32) -> Arc<Table> {
        let lock = || self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let found = Arc::clone(&lock());
        if found.positions() > highest as usize {
            return found;
        }
        // Made without the lock: a thread that waits for others to finish their part may be given work that asks for
        // a table as well.
        let positions = (highest as usize + 1).next_power_of_two().max(1024);
        let table = Arc::new(Table::new(&self.frequencies, self.amplitude, positions));
        *lock() = Arc::clone(&table);
        table
    }
}

impl PartialEq for Rotary {
    fn eq(&self, other: &Self) -> bool {
        self.frequencies == other.frequencies && self.amplitude == other.amplitude
    }
}

/// `amplitude · cos` and `amplitude · sin` of `position · frequency`, `[positions, pairs]` each.
#[derive(Debug)]
pub(super) struct Table {
    pairs: usize,
    cosines: Vec<f32>,
    sines: Vec<f32>,
    /// The same on each device that asked for them.
    on_devices: Mutex<Vec<Arc<Angles>>>,
}

/// A table in the memory of a device.
#[derive(Debug)]
pub(super) struct Angles {
    pub cosines: GpuBuffer,
    pub sines: GpuBuffer,
}

impl Table {
    /// Angles are computed in f64: an f32 angle at position 100 000 would be off by 0.004.
    fn new(frequencies: &[f64], amplitude: f64, positions: usize) -> Self {
        let pairs = frequencies.len();
        let (cosines, sines) = (0..positions * pairs)
            .into_par_iter()
            .map(|at| {
                let angle = (at / pairs) as f64 * frequencies[at % pairs];
                let (sine, cosine) = angle.sin_cos();
                ((amplitude * cosine) as f32, (amplitude * sine) as f32)
            })
            .unzip();
        Self {
            pairs,
            cosines,
            sines,
            on_devices: Mutex::default(),
        }
    }

    /// The table in the memory of `gpu`, brought there once.
    pub(super) fn angles(&self, gpu: &Arc<Gpu>) -> Result<Arc<Angles>> {
        let lock = self.on_devices.lock();
        let mut known = lock.unwrap_or_else(PoisonError::into_inner);
        let here = |angles: &&Arc<Angles>| Arc::ptr_eq(angles.cosines.gpu(), gpu);
        if let Some(found) = known.iter().find(here) {
            return Ok(Arc::clone(found));
        }
        let angles = Arc::new(Angles {
            cosines: GpuBuffer::of(gpu, &self.cosines)?,
            sines: GpuBuffer::of(gpu, &self.sines)?,
        });
        known.push(Arc::clone(&angles));
        Ok(angles)
    }

    fn positions(&self) -> usize {
        self.cosines.len() / self.pairs
    }

    /// Cosines and sines of one position.
    pub(super) fn row(&self, position: usize) -> (&[f32], &[f32]) {
        let row = position * self.pairs..(position + 1) * self.pairs;
        (&self.cosines[row.clone()], &self.sines[row])
    }
}
