//! Keys and values that decoding keeps.

use std::ops::Range;
use std::sync::Arc;

use half::{bf16, f16};

use super::forward::load_view;
use super::gpu_cache::Sequences;
use super::tile::{TILE, padded, store_row};
use crate::ops::Heads;
use crate::{Device, Element, Precision, Result, Tensor, TensorError};

/// The keys and values of one layer for several growing sequences.
///
/// Rows lie in tiles, keys turned as the kernel reads them. A copied sequence shares its tiles with the
/// original until one of them grows, so beam search copies at most one tile a sequence and step, and what prompts
/// have in common is kept once. On a device a sequence is one array, of which it shares all or nothing.
#[derive(Clone, Debug)]
pub struct KeyValueCache {
    key_value_heads: usize,
    width: usize,
    capacity: usize,
    pub(super) lengths: Vec<usize>,
    pub(super) tiles: Tiles,
    /// The sequences of a cache that lies on a device; there are no tiles then.
    pub(super) on_gpu: Option<Sequences>,
}

/// For each sequence its tiles; for each tile and key-value head `[width, TILE]` keys, then `[TILE, padded width]`
/// values.
#[derive(Clone, Debug)]
pub(super) enum Tiles {
    F32(Vec<Sequence<f32>>),
    Bf16(Vec<Sequence<bf16>>),
    F16(Vec<Sequence<f16>>),
}

/// Runs an expression with the tiles bound in the format that they are kept in.
macro_rules! with_tiles {
    ($all:expr, |$tiles:ident| $body:expr) => {
        match $all {
            $crate::ops::attention::cache::Tiles::F32($tiles) => $body,
            $crate::ops::attention::cache::Tiles::Bf16($tiles) => $body,
            $crate::ops::attention::cache::Tiles::F16($tiles) => $body,
        }
    };
}
pub(super) use with_tiles;

pub(super) type Sequence<T> = Vec<Arc<Vec<T>>>;

impl KeyValueCache {
    /// Room for `sequences` empty sequences of up to `capacity` rows each, kept in `precision`. Memory is taken as
    /// the sequences grow.
    ///
    /// # Errors
    /// When `heads` has a count of zero or query heads that do not share the key-value heads evenly.
    pub fn new(
        sequences: usize,
        capacity: usize,
        heads: Heads,
        precision: Precision,
    ) -> Result<Self> {
        Self::new_on(&Device::Cpu, sequences, capacity, heads, precision)
    }

    /// The same on `device`, where the rows that are written have to lie as well.
    ///
    /// # Errors
    /// As [`KeyValueCache::new`].
    pub fn new_on(
        device: &Device,
        sequences: usize,
        capacity: usize,
        heads: Heads,
        precision: Precision,
    ) -> Result<Self> {
        heads.check("key-value cache", heads.columns())?;
        Ok(Self {
            key_value_heads: heads.key_value,
            width: heads.width,
            capacity,
            lengths: vec![0; sequences],
            tiles: match precision {
                Precision::F32 => Tiles::F32(vec![Vec::new(); sequences]),
                Precision::Bf16 => Tiles::Bf16(vec![Vec::new(); sequences]),
                Precision::F16 => Tiles::F16(vec![Vec::new(); sequences]),
            },
            on_gpu: device
                .gpu()
                .map(|gpu| Sequences::new(gpu, sequences, heads, precision)),
        })
    }

    /// How many sequences it has room for.
    pub fn sequences(&self) -> usize {
        self.lengths.len()
    }

    /// How many rows `sequence` has; 0 for one that does not exist.
    pub fn rows(&self, sequence: usize) -> usize {
        self.lengths.get(sequence).copied().unwrap_or(0)
    }

    /// How many rows a sequence may have.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Appends the keys and values in `rows` of `qkv: [tokens, heads.columns()]` to `sequence`.
    ///
    /// # Errors
    /// When the sequence or the rows do not exist, `qkv` holds other heads, or the capacity is exceeded; nothing is
    /// written then.
    pub fn write(
        &mut self,
        sequence: usize,
        qkv: &Tensor,
        heads: Heads,
        rows: Range<usize>,
    ) -> Result<()> {
        self.check(qkv, heads)?;
        self.check_room(sequence, rows.len())?;
        if rows.end > qkv.rows() {
            return Err(refuse(format!(
                "rows {rows:?} of {} are to be written",
                qkv.rows()
            )));
        }
        let Some(kept) = &mut self.on_gpu else {
            self.append(sequence, qkv, heads, rows);
            return Ok(());
        };
        let (length, count) = (self.lengths[sequence], rows.len());
        kept.make_room(sequence, length, length + count)?;
        let positions: Vec<u32> = (length..length + count).map(|row| row as u32).collect();
        let new = kept.new_rows(&vec![sequence as u32; count], &positions)?;
        kept.append(&new, qkv, heads, (rows.start, count))?;
        self.lengths[sequence] += count;
        Ok(())
    }

    /// Forgets the rows of `sequence`.
    ///
    /// # Errors
    /// When there is no such sequence.
    pub fn clear(&mut self, sequence: usize) -> Result<()> {
        self.check_room(sequence, 0)?;
        self.lengths[sequence] = 0;
        match &mut self.on_gpu {
            Some(kept) => kept.clear(sequence),
            None => with_tiles!(&mut self.tiles, |tiles| tiles[sequence].clear()),
        }
        Ok(())
    }

    /// Makes sequence `to` the first `rows` rows of `from`.
    ///
    /// # Errors
    /// When there is no such sequence, or `from` has fewer rows.
    pub fn copy(&mut self, from: usize, to: usize, rows: usize) -> Result<()> {
        self.check_room(from, 0)?;
        self.check_room(to, 0)?;
        if rows > self.lengths[from] {
            return Err(refuse(format!(
                "{rows} rows of sequence {from}, which has {}",
                self.lengths[from]
            )));
        }
        self.lengths[to] = rows;
        let own = rows.div_ceil(TILE);
        if let Some(kept) = &mut self.on_gpu {
            kept.copy(from, to);
            return Ok(());
        }
        with_tiles!(&mut self.tiles, |tiles| {
            tiles[to] = tiles[from][..own].to_vec();
        });
        Ok(())
    }

    /// Makes each sequence *i* what `from[i]` was: the survivors of a step of beam search.
    ///
    /// # Errors
    /// When `from` does not name one existing sequence for each sequence.
    pub fn reorder(&mut self, from: &[usize]) -> Result<()> {
        if from.len() != self.sequences() {
            return Err(refuse(format!(
                "{} origins for {} sequences; expected one each",
                from.len(),
                self.sequences()
            )));
        }
        for sequence in from {
            self.check_room(*sequence, 0)?;
        }
        self.lengths = from.iter().map(|from| self.lengths[*from]).collect();
        if let Some(kept) = &mut self.on_gpu {
            kept.reorder(from);
            return Ok(());
        }
        with_tiles!(&mut self.tiles, |tiles| {
            *tiles = from.iter().map(|from| tiles[*from].clone()).collect();
        });
        Ok(())
    }

    /// Where it lies.
    pub fn device(&self) -> Device {
        match &self.on_gpu {
            None => Device::Cpu,
            Some(kept) => Device::Gpu(Arc::clone(kept.gpu())),
        }
    }

    pub(super) fn check(&self, qkv: &Tensor, heads: Heads) -> Result<()> {
        if qkv.device() != self.device() {
            return Err(refuse(format!(
                "rows that lie on {} for a cache on {}; bring them together with `to_device` or `new_on`",
                qkv.device(),
                self.device()
            )));
        }
        heads.check("key-value cache", qkv.width())?;
        if (heads.key_value, heads.width) != (self.key_value_heads, self.width) {
            return Err(refuse(format!(
                "{} key-value heads of width {} for a cache of {} of width {}",
                heads.key_value, heads.width, self.key_value_heads, self.width
            )));
        }
        Ok(())
    }

    pub(super) fn check_room(&self, sequence: usize, more: usize) -> Result<()> {
        let Some(rows) = self.lengths.get(sequence) else {
            return Err(refuse(format!(
                "sequence {sequence} of {}",
                self.sequences()
            )));
        };
        if rows + more > self.capacity {
            return Err(refuse(format!(
                "sequence {sequence} has {rows} rows and gets {more} more; it has room for {}: stop it there, or \
                 make the cache with a larger capacity",
                self.capacity
            )));
        }
        Ok(())
    }

    pub(super) fn append(
        &mut self,
        sequence: usize,
        qkv: &Tensor,
        heads: Heads,
        rows: Range<usize>,
    ) {
        let width = heads.width;
        let mut numbers = vec![0.0; padded(2 * heads.key_value * width)];
        for row in rows {
            let column = heads.query * width;
            let columns = 2 * heads.key_value * width;
            load_view(
                qkv.view(),
                heads.columns(),
                row..row + 1,
                column,
                columns,
                1.0,
                &mut numbers,
            );
            let (keys, values) = numbers[..columns].split_at(columns / 2);
            let at = self.lengths[sequence];
            with_tiles!(&mut self.tiles, |tiles| {
                push(&mut tiles[sequence], at, width, keys, values);
            });
            self.lengths[sequence] += 1;
        }
    }
}

fn refuse(message: String) -> TensorError {
    TensorError::shape("key-value cache", message)
}

/// How many numbers one key-value head has in a tile: of keys, and in all.
pub(super) fn tile_sizes(width: usize) -> (usize, usize) {
    (width * TILE, (width + padded(width)) * TILE)
}

/// Puts the keys and values of all heads as row `at` of a sequence.
fn push<T: Element>(
    tiles: &mut Sequence<T>,
    at: usize,
    width: usize,
    keys: &[f32],
    values: &[f32],
) {
    let (key_size, size) = tile_sizes(width);
    if at.is_multiple_of(TILE) {
        tiles.truncate(at / TILE);
        tiles.push(Arc::new(vec![T::store(0.0); keys.len() / width * size]));
    }
    let (tile, lane) = (Arc::make_mut(&mut tiles[at / TILE]), at % TILE);
    let heads = keys.chunks_exact(width).zip(values.chunks_exact(width));
    for (tile, (key, value)) in tile.chunks_exact_mut(size).zip(heads) {
        let (tile_keys, tile_values) = tile.split_at_mut(key_size);
        for (i, key) in key.iter().enumerate() {
            tile_keys[i * TILE + lane] = T::store(*key);
        }
        store_row(
            value,
            1.0,
            &mut tile_values[lane * padded(width)..][..width],
        );
    }
}
