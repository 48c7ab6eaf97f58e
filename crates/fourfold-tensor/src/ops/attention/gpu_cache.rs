//! Keys and values that decoding keeps on a device.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use crate::device::{Address, Gpu, GpuBuffer, Module, Source};
use crate::ops::Heads;
use crate::ops::gpu::{int, row_packs};
use crate::{Precision, Result, Tensor};

/// Rows that a sequence has room for at first; doubled as it grows.
const FIRST_ROWS: usize = 256;

/// For each sequence its keys `[rows, key_value · width]` and its values, which a copied one shares with the original
/// until either grows.
#[derive(Clone, Debug)]
pub(super) struct Sequences {
    gpu: Arc<Gpu>,
    precision: Precision,
    /// Bytes of the keys of one row.
    row: usize,
    kept: Vec<Option<Arc<Kept>>>,
}

#[derive(Debug)]
struct Kept {
    keys: GpuBuffer,
    values: GpuBuffer,
}

/// Arguments of all kernels of decoding.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct StepArgs {
    pub qkv: Address,
    pub keys: Address,
    pub values: Address,
    pub sequences: Address,
    pub positions: Address,
    pub sums: Address,
    pub seen: Address,
    pub out: Address,
    pub rows: i32,
    pub query_heads: i32,
    pub key_value_heads: i32,
    pub width: i32,
    pub pieces: i32,
    pub window: i32,
}

/// Where each sequence begins and which rows are new, in the memory of the device.
pub(super) struct NewRows {
    /// Keeps alive what the addresses below are of.
    _table: GpuBuffer,
    keys: Address,
    values: Address,
    sequences: Address,
    positions: Address,
}

impl Sequences {
    pub(super) fn new(
        gpu: &Arc<Gpu>,
        sequences: usize,
        heads: Heads,
        precision: Precision,
    ) -> Self {
        Self {
            gpu: Arc::clone(gpu),
            precision,
            row: heads.key_value * heads.width * precision.bytes(),
            kept: vec![None; sequences],
        }
    }

    pub(super) fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    pub(super) fn clear(&mut self, sequence: usize) {
        self.kept[sequence] = None;
    }

    pub(super) fn copy(&mut self, from: usize, to: usize) {
        self.kept[to] = self.kept[from].clone();
    }

    pub(super) fn reorder(&mut self, from: &[usize]) {
        self.kept = from.iter().map(|from| self.kept[*from].clone()).collect();
    }

    /// Makes room for `rows` rows of `sequence`, of which it has `length`, where nobody else reads.
    pub(super) fn make_room(&mut self, sequence: usize, length: usize, rows: usize) -> Result<()> {
        let place = &mut self.kept[sequence];
        let fits = |kept: &Kept| kept.keys.bytes() >= rows * self.row;
        if place
            .as_mut()
            .is_some_and(|kept| fits(kept) && Arc::get_mut(kept).is_some())
        {
            return Ok(());
        }
        let bytes = rows.next_power_of_two().max(FIRST_ROWS) * self.row;
        let grown = Kept {
            keys: GpuBuffer::new(&self.gpu, bytes)?,
            values: GpuBuffer::new(&self.gpu, bytes)?,
        };
        if let Some(kept) = place {
            grown.keys.copy(0, &kept.keys, 0, length * self.row)?;
            grown.values.copy(0, &kept.values, 0, length * self.row)?;
        }
        *place = Some(Arc::new(grown));
        Ok(())
    }

    /// What the kernels are told of new rows: to which sequence each belongs, and which row of it each is.
    pub(super) fn new_rows(&self, sequences: &[u32], positions: &[u32]) -> Result<NewRows> {
        let begin = |of: fn(&Kept) -> &GpuBuffer| {
            let begins = self.kept.iter();
            begins.map(move |kept| kept.as_deref().map_or(0, |kept| of(kept).address()))
        };
        let begins: Vec<Address> = begin(|kept| &kept.keys)
            .chain(begin(|kept| &kept.values))
            .collect();
        let numbers = [sequences, positions].concat();
        // One array, so that it is one copy.
        let bytes = [
            bytemuck::cast_slice::<Address, u8>(&begins),
            bytemuck::cast_slice(&numbers),
        ];
        let table = GpuBuffer::of(&self.gpu, &bytes.concat())?;
        let (start, pointers) = (table.address(), self.kept.len() * size_of::<Address>());
        let lists = start + 2 * pointers as Address;
        Ok(NewRows {
            keys: start,
            values: start + pointers as Address,
            sequences: lists,
            positions: lists + size_of_val(sequences) as Address,
            _table: table,
        })
    }

    /// Puts the keys and values of `qkv`, of which row `first` is the first new one, where they belong.
    pub(super) fn append(
        &self,
        new: &NewRows,
        qkv: &Tensor,
        heads: Heads,
        (first, rows): (usize, usize),
    ) -> Result<()> {
        let behind = first * heads.columns() * qkv.precision().bytes();
        let args = StepArgs {
            qkv: qkv.address() + behind as Address,
            ..new.args(heads, rows)
        };
        let spread = row_packs(2 * rows, heads.key_value * heads.width);
        self.gpu
            .launch(self.module(qkv), "append_to_cache", spread, &args)
    }

    pub(super) fn module(&self, qkv: &Tensor) -> Module {
        Module::new(Source::AttentionStep)
            .format("T", qkv.precision())
            .format("CACHE", self.precision)
    }
}

impl NewRows {
    /// Arguments that say where everything is kept, and nothing else.
    pub(super) fn args(&self, heads: Heads, rows: usize) -> StepArgs {
        StepArgs {
            qkv: 0,
            keys: self.keys,
            values: self.values,
            sequences: self.sequences,
            positions: self.positions,
            sums: 0,
            seen: 0,
            out: 0,
            rows: int(rows),
            query_heads: int(heads.query),
            key_value_heads: int(heads.key_value),
            width: int(heads.width),
            pieces: 0,
            window: 0,
        }
    }
}
