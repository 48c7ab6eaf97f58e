//! Sines and cosines of all positions so far, kept between calls.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

/// `cos` and `sin` of `position · theta^(-i/half)`, `[positions, half]` each.
pub(super) struct Table {
    half: usize,
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

/// Every layer of a model asks for the same table.
static TABLES: Mutex<Option<ByTheta>> = Mutex::new(None);

/// Tables by the bits of `theta` and half the width of a head.
type ByTheta = HashMap<(u32, usize), Arc<Table>>;

impl Table {
    /// A table that holds the positions up to `highest`, made or extended if need be.
    pub(super) fn shared(theta: f32, half: usize, highest: u32) -> Arc<Self> {
        let key = (theta.to_bits(), half);
        let lock = || TABLES.lock().unwrap_or_else(PoisonError::into_inner);
        let found = lock().get_or_insert_default().get(&key).cloned();
        if let Some(table) = found
            && table.cosines.len() > highest as usize * half
        {
            return table;
        }
        // Made without the lock: a thread that waits for others to finish their part may be given work that asks for
        // a table as well.
        let positions = (highest as usize + 1).next_power_of_two().max(1024);
        let table = Arc::new(Self::new(theta, half, positions));
        lock()
            .get_or_insert_default()
            .insert(key, Arc::clone(&table));
        table
    }

    /// Angles are computed in f64: an f32 angle at position 100 000 would be off by 0.004.
    fn new(theta: f32, half: usize, positions: usize) -> Self {
        let frequencies: Vec<f64> = (0..half)
            .map(|i| f64::from(theta).powf(-(i as f64) / half as f64))
            .collect();
        let (cosines, sines) = (0..positions * half)
            .into_par_iter()
            .map(|at| {
                let angle = (at / half) as f64 * frequencies[at % half];
                (angle.cos() as f32, angle.sin() as f32)
            })
            .unzip();
        Self {
            half,
            cosines,
            sines,
        }
    }

    /// Cosines and sines of one position.
    pub(super) fn row(&self, position: usize) -> (&[f32], &[f32]) {
        let row = position * self.half..(position + 1) * self.half;
        (&self.cosines[row.clone()], &self.sines[row])
    }
}
