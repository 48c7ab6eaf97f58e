//! Matrix products on a device, described.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::driver::Address;
use super::{Gpu, GpuBuffer, Module, Source, Spread, copies};
use crate::{Precision, Result, Tensor};

/// A matrix in device memory, row after row without gaps, possibly read transposed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operand {
    pub address: Address,
    /// Rows and columns as the product reads them: after transposing.
    pub rows: usize,
    pub columns: usize,
    pub transposed: bool,
}

impl Operand {
    /// The tensor as `[rows, width]`, all but its last dimension flattened.
    pub(crate) fn of(tensor: &Tensor) -> Self {
        Self {
            address: tensor.address(),
            rows: tensor.rows(),
            columns: tensor.width(),
            transposed: false,
        }
    }

    pub(crate) fn t(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            transposed: !self.transposed,
            ..self
        }
    }
}

/// What is in the result besides the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sum {
    /// Nothing: it is overwritten.
    Nothing,
    /// What was there before.
    Result,
    /// f32 numbers from elsewhere, as many.
    Other(Address),
}

/// What becomes of the numbers of a product before they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Epilogue {
    Nothing,
    /// `gelu(…)` in its form with tanh; what it is taken of is written to `before` as well, where that is asked for.
    Gelu {
        before: Option<Address>,
    },
    /// `… · gelu'(before)`, of the same form.
    GeluGradient {
        before: Address,
    },
}

impl Epilogue {
    /// Where numbers lie that it reads or writes besides: in the format of the result, and laid out as that.
    pub(super) fn before(self) -> Option<Address> {
        match self {
            Self::Nothing => None,
            Self::Gelu { before } => before,
            Self::GeluGradient { before } => Some(before),
        }
    }
}

/// `out = a · b + bias + sum` with `a: [m, k]`, `b: [k, n]`, `bias: [n]`, `out: [m, n]`, all in memory of one device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    pub a: Operand,
    pub b: Operand,
    /// The format of both operands; sums are f32.
    pub precision: Precision,
    /// Whether the library may round operands in f32 to TF32.
    pub tf32: bool,
    /// f32.
    pub bias: Option<Address>,
    pub out: Address,
    /// f32, or the format of the operands.
    pub out_precision: Precision,
    /// Something only where `out` is f32.
    pub sum: Sum,
    /// Something only where `out` has 16 bits, and not together with a sum.
    pub epilogue: Epilogue,
}

impl Product {
    /// `[m, k, n]`.
    pub(crate) fn extents(&self) -> [usize; 3] {
        [self.a.rows, self.a.columns, self.b.columns]
    }
}

/// Numbers of a row or column of the tile that a block computes.
const TILE: usize = 128;
/// The same where operands are f32.
const WIDE_TILE: usize = 64;
/// Bytes of shared memory of a block with operands of 16 bits.
const SHARED: u32 = 40960;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ProductArgs {
    a: Address,
    b: Address,
    bias: Address,
    residual: Address,
    out: Address,
    a_stride: u64,
    b_stride: u64,
    out_stride: u64,
    m: i32,
    n: i32,
    k: i32,
    accumulate: i32,
}

impl Gpu {
    /// Computes a product without an epilogue, with the device's library, or with kernels of our own where that has nothing
    /// for it.
    pub(crate) fn product(self: &Arc<Self>, product: &Product) -> Result<()> {
        let [m, _, n] = product.extents();
        if m * n == 0 || self.product_in_one(product)? {
            return Ok(());
        }
        self.own_product(product)
    }

    /// Computes a product and its epilogue with the device's library; false where that has nothing for it.
    pub(crate) fn product_in_one(self: &Arc<Self>, product: &Product) -> Result<bool> {
        // Libraries do not expect a sum of nothing.
        if product.extents().contains(&0) {
            return Ok(false);
        }
        self.library_product(product, self.rounded_bias(product)?.as_ref())
    }

    /// The bias in the format of the result, where the library wants it so.
    fn rounded_bias(self: &Arc<Self>, product: &Product) -> Result<Option<GpuBuffer>> {
        let Some(bias) = product.bias.filter(|_| self.wants_rounded_bias(product)) else {
            return Ok(None);
        };
        let [_, _, n] = product.extents();
        let rounded = GpuBuffer::new(self, n * product.out_precision.bytes())?;
        copies::convert(
            self,
            (bias, Precision::F32),
            (rounded.address(), product.out_precision),
            n,
        )?;
        Ok(Some(rounded))
    }

    fn own_product(&self, product: &Product) -> Result<()> {
        let [m, k, n] = product.extents();
        // How far the rows lie apart in memory.
        let stride = |operand: &Operand| match operand.transposed {
            true => operand.rows as u64,
            false => operand.columns as u64,
        };
        let args = ProductArgs {
            a: product.a.address,
            b: product.b.address,
            bias: product.bias.unwrap_or(0),
            residual: match product.sum {
                Sum::Other(address) => address,
                Sum::Nothing | Sum::Result => 0,
            },
            out: product.out,
            a_stride: stride(&product.a),
            b_stride: stride(&product.b),
            out_stride: n as u64,
            m: m as i32,
            n: n as i32,
            k: k as i32,
            accumulate: i32::from(product.sum == Sum::Result),
        };
        let kernel = match (product.a.transposed, product.b.transposed) {
            (false, false) => "product_nn",
            (false, true) => "product_nt",
            (true, false) => "product_tn",
            (true, true) => "product_tt",
        };
        let (module, tile, shared) = match product.precision {
            Precision::F32 => (Module::new(Source::ProductF32), WIDE_TILE, 0),
            narrow => (
                Module::new(Source::Product).format("T", narrow),
                TILE,
                SHARED,
            ),
        };
        let spread = Spread {
            grid: [n.div_ceil(tile) as u32, m.div_ceil(tile) as u32, 1],
            threads: 256,
            shared,
        };
        let module = module.format("OUT", product.out_precision);
        self.launch(module, kernel, spread, &args)
    }
}
