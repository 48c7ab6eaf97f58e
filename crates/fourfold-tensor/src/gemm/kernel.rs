//! What the blocked driver asks of a micro-kernel, whatever instructions it is made of.

use half::bf16;

use super::Output;
use super::extent::Extent;
use super::lanes::SIDE;
use crate::ops::Gelu;

/// Computes one small tile of a 16-bit product, its sums held in registers throughout.
///
/// Both operands are *pairs*: a `u32` holds the two neighbours `2p` (low half) and `2p + 1` (high half) along the
/// summed dimension. The left operand is packed as [`Left`] says, the right one in panels, `[pairs, COLUMNS]`. A value
/// of the type is proof that this machine has its instructions.
pub(super) trait MicroKernel: Copy + Send + Sync {
    /// Rows of a full tile: [`SIDE`] times or part of it.
    const ROWS: usize;
    /// Columns of a full tile and of a packed panel.
    const COLUMNS: usize;
    /// Pairs that a tile sums before it goes on to the next: what it reads again and again of that depth has to stay in
    /// the first-level cache.
    const DEPTH: usize;

    /// Calls `work` with the registers that [`MicroKernel::tile`] needs made ready.
    fn with_registers<T>(self, work: impl FnOnce() -> T) -> T {
        work()
    }

    /// Writes `left · right` for the first `rows` rows and `columns` columns of a tile, finished by `finish`.
    ///
    /// # Safety
    /// To be called within [`MicroKernel::with_registers`]. With `1 <= rows <= ROWS`, `1 <= columns <= COLUMNS` and
    /// `pairs` a positive multiple of [`SIDE`]: `left` must be readable for all pairs of `rows` rows, those of a last
    /// incomplete group of [`SIDE`] rows filled up, `right` from its start for `pairs * COLUMNS` numbers, the places in `finish` for
    /// `rows` by `columns` numbers (its bias for `columns`), and no other thread may touch what it writes.
    #[allow(unsafe_code)]
    unsafe fn tile(
        self,
        pairs: usize,
        left: Left,
        right: Panel,
        rows: usize,
        columns: usize,
        finish: Finish,
    );
}

/// Packed rows of the left operand: groups of [`SIDE`] rows, each as blocks of [`SIDE`] pairs one after the other,
/// `[groups, blocks, SIDE rows, SIDE pairs]`.
#[derive(Clone, Copy)]
pub(super) struct Left {
    /// The first pair of a row.
    pub start: *const u32,
    /// How far groups lie apart.
    pub tile_step: usize,
    pub extent: Extent,
}

impl Left {
    /// The rows that `packed` begins with.
    pub(super) fn of(packed: &[u32], tile_step: usize) -> Self {
        Self {
            start: packed.as_ptr(),
            tile_step,
            extent: Extent::of(packed),
        }
    }

    /// The same from `row` on, which may begin within a group; an address, valid only where there is such a row.
    #[inline(always)]
    pub(super) fn at(self, row: usize) -> Self {
        let before = row / SIDE * self.tile_step + row % SIDE * SIDE;
        Self {
            start: self.start.wrapping_add(before),
            extent: self.extent.after(before),
            ..self
        }
    }
}

/// A packed panel of the right operand.
#[derive(Clone, Copy)]
pub(super) struct Panel {
    pub start: *const u32,
    /// Memory that will be read after this and may be asked for already, 16 bytes a pair; nothing is promised of it.
    pub soon: *const u32,
    pub extent: Extent,
}

impl Panel {
    /// The one that `packed` begins with.
    pub(super) fn of(packed: &[u32], soon: *const u32) -> Self {
        Self {
            start: packed.as_ptr(),
            soon,
            extent: Extent::of(packed),
        }
    }
}

/// Where a matrix that several tasks share begins, and how far its rows lie apart.
#[derive(Debug)]
pub(super) struct Place<T> {
    pub start: *mut T,
    pub row_step: usize,
    pub extent: Extent,
}

impl<T> Clone for Place<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Place<T> {}

// SAFETY: a place is only an address. Whoever reads or writes through it does so in an unsafe block of its own and
// answers there for tasks touching disjoint parts.
#[allow(unsafe_code)]
unsafe impl<T: Send> Send for Place<T> {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl<T: Sync> Sync for Place<T> {}

impl<T> Place<T> {
    /// The matrix whose rows of `row_step` numbers fill `values`.
    pub(super) fn of(values: &mut [T], row_step: usize) -> Self {
        Self {
            start: values.as_mut_ptr(),
            row_step,
            extent: Extent::of(values),
        }
    }

    /// The same for reading alone.
    fn reading(values: &[T], row_step: usize) -> Self {
        Self {
            start: values.as_ptr().cast_mut(),
            row_step,
            extent: Extent::of(values),
        }
    }

    /// The part that begins at `row` and `column`; an address, valid only where the matrix holds them.
    #[inline(always)]
    pub(super) fn at(self, row: usize, column: usize) -> Self {
        let before = row * self.row_step + column;
        Self {
            start: self.start.wrapping_add(before),
            row_step: self.row_step,
            extent: self.extent.after(before),
        }
    }

    /// Whether it has `rows` by `columns` numbers, at least one, as far as is known.
    #[inline(always)]
    pub(super) fn holds(self, rows: usize, columns: usize) -> bool {
        self.extent.holds((rows - 1) * self.row_step + columns)
    }
}

/// What happens to the sums of a tile: `out = sums + earlier + bias`.
#[derive(Clone, Copy)]
pub(super) struct Finish {
    /// What is added: sums of earlier parts of the product, or what an accumulating product finds in `out`.
    pub earlier: Option<Place<f32>>,
    /// One number a column.
    pub bias: Option<*const f32>,
    /// Where the result goes.
    pub out: Destination,
}

impl Finish {
    /// The same from `row` and `column` on.
    #[inline(always)]
    pub(super) fn at(self, row: usize, column: usize) -> Self {
        Self {
            earlier: self.earlier.map(|earlier| earlier.at(row, column)),
            bias: self.bias.map(|bias| bias.wrapping_add(column)),
            out: self.out.at(row, column),
        }
    }

    /// Whether all of it has `rows` by `columns` numbers, as far as is known.
    #[inline(always)]
    pub(super) fn holds(self, rows: usize, columns: usize) -> bool {
        let out = match self.out {
            Destination::F32(out) => out.holds(rows, columns),
            Destination::Bf16(out) | Destination::Gelu(out, _) => out.holds(rows, columns),
        };
        out && self
            .earlier
            .is_none_or(|earlier| earlier.holds(rows, columns))
    }
}

/// Where a tile is written and in which format.
#[derive(Clone, Copy)]
pub(super) enum Destination {
    F32(Place<f32>),
    Bf16(Place<bf16>),
    /// Rounded, and then GELU of that, so that it is the same bits as in two steps.
    Gelu(Place<bf16>, Gelu),
}

impl Destination {
    /// Where the columns of `output` lie, `n` a row, and what is added to them.
    pub(super) fn of(output: Output<'_>, n: usize) -> (Self, Option<Place<f32>>) {
        match output {
            Output::F32 { out, accumulate } => {
                let place = Place::of(out, n);
                (Self::F32(place), accumulate.then_some(place))
            }
            Output::Added { out, to } => {
                (Self::F32(Place::of(out, n)), Some(Place::reading(to, n)))
            }
            Output::Bf16(out) => (Self::Bf16(Place::of(out, n)), None),
            Output::Gelu(out, kind) => (Self::Gelu(Place::of(out, n), kind), None),
        }
    }

    #[inline(always)]
    pub(super) fn at(self, row: usize, column: usize) -> Self {
        match self {
            Self::F32(place) => Self::F32(place.at(row, column)),
            Self::Bf16(place) => Self::Bf16(place.at(row, column)),
            Self::Gelu(place, kind) => Self::Gelu(place.at(row, column), kind),
        }
    }
}
