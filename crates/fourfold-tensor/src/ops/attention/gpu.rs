//! Attention on a device.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use crate::device::{Address, Gpu, GpuBuffer, Module, Source, Spread};
use crate::ops::gpu::{THREADS, int};
use crate::ops::{Heads, Visibility};
use crate::{Precision, Result, Tape, Tensor, TensorError};

/// Heads wider than this do not fit the registers and the shared memory of a block.
pub(super) const WIDEST: usize = 256;

/// Heads wider than this get smaller tiles.
const WIDE: usize = 128;

/// Rows of a tile whose bounds are known.
const BOUNDED: usize = 32;
/// Bytes of the bounds of a tile: four whole numbers.
const BOUNDS: usize = 16;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ForwardArgs {
    qkv: Address,
    start: Address,
    end: Address,
    out: Address,
    log_sums: Address,
    rows: i32,
    query_heads: i32,
    key_value_heads: i32,
    pad: i32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct DeltaArgs {
    out: Address,
    dy: Address,
    delta: Address,
    rows: i32,
    query_heads: i32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct BoundsArgs {
    start: Address,
    end: Address,
    bounds: Address,
    rows: i32,
    pad: i32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct BackwardArgs {
    qkv: Address,
    start: Address,
    end: Address,
    dy: Address,
    log_sums: Address,
    delta: Address,
    bounds: Address,
    dqkv: Address,
    rows: i32,
    query_heads: i32,
    key_value_heads: i32,
    pad: i32,
}

pub(super) fn attention(
    gpu: &Arc<Gpu>,
    tape: &Tape<'_>,
    qkv: &Tensor,
    heads: Heads,
    visibility: &Visibility,
) -> Result<Tensor> {
    check_width("attention", heads)?;
    let (rows, precision) = (qkv.rows(), tape.precision());
    let problem = Problem {
        gpu: Arc::clone(gpu),
        qkv: qkv.to_precision(precision),
        heads,
        intervals: visibility.on_gpu(gpu)?,
    };
    let out = Tensor::on_gpu(gpu, &[rows, heads.query * heads.width], precision)?;
    let log_sums = match tape.records(&[qkv]) {
        true => GpuBuffer::new(gpu, problem.numbers_of_rows())?,
        false => GpuBuffer::new(gpu, 0)?,
    };
    problem.forward(&out, &log_sums)?;
    let (node, format, kept) = (qkv.node, qkv.precision(), out.detach());
    Ok(tape.record(&[qkv], out, move |dy, flow| {
        let gradient = problem.backward(&kept, &dy.to_precision(precision), &log_sums)?;
        flow.add(node, gradient.to_precision(format))
    }))
}

pub(super) fn check_width(operation: &'static str, heads: Heads) -> Result<()> {
    match heads.width <= WIDEST {
        true => Ok(()),
        false => Err(TensorError::shape(
            operation,
            format!(
                "heads of width {}; on a device at most {WIDEST}: run such a model with `cpu`",
                heads.width
            ),
        )),
    }
}

struct Problem {
    gpu: Arc<Gpu>,
    /// In the precision of products.
    qkv: Tensor,
    heads: Heads,
    intervals: Arc<Intervals>,
}

impl Problem {
    /// The module of the forward pass or of the way back; in f32 one has both.
    fn module(&self, of_16_bits: Source) -> Module {
        let module = match self.qkv.precision() {
            Precision::F32 => Module::new(Source::AttentionPlain),
            narrow => Module::new(of_16_bits).format("T", narrow),
        };
        module.number("HEAD_WIDTH", self.heads.width as u32)
    }

    /// The width of a head as the kernels for tensor cores have it in memory, with a gap behind.
    fn padded(&self) -> (usize, usize) {
        let padded = self.heads.width.next_multiple_of(16);
        (padded, padded + 8)
    }

    /// Rows of a tile of the f32 kernels, and numbers of a row of one.
    fn plain_tile(&self) -> (usize, usize) {
        let tile = if self.heads.width > WIDE { 16 } else { 32 };
        (tile, self.heads.width | 1)
    }

    /// Bytes of an f32 number for each row of each query head.
    fn numbers_of_rows(&self) -> usize {
        self.qkv.rows() * self.heads.query * size_of::<f32>()
    }

    fn forward(&self, out: &Tensor, log_sums: &GpuBuffer) -> Result<()> {
        let rows = self.qkv.rows();
        let args = ForwardArgs {
            qkv: self.qkv.address(),
            start: self.intervals.start.address(),
            end: self.intervals.end.address(),
            out: out.address(),
            log_sums: log_sums.address(),
            rows: int(rows),
            query_heads: int(self.heads.query),
            key_value_heads: int(self.heads.key_value),
            pad: 0,
        };
        let (tile, threads, shared) = match self.qkv.precision() {
            Precision::F32 => {
                let (tile, row) = self.plain_tile();
                (tile, 4 * tile, 4 * (3 * tile * row + tile * (tile + 1)))
            }
            _ => {
                let (padded, row) = self.padded();
                let keys = if padded > WIDE { 32 } else { 64 };
                (64, 128, 2 * (64 + 2 * keys) * row)
            }
        };
        let spread = Spread {
            grid: [rows.div_ceil(tile) as u32, self.heads.query as u32, 1],
            threads: threads as u32,
            shared: shared as u32,
        };
        let module = self.module(Source::AttentionForward);
        self.gpu.launch(module, "attention_forward", spread, &args)
    }

    /// The gradient of `qkv`, in its precision.
    fn backward(&self, out: &Tensor, dy: &Tensor, log_sums: &GpuBuffer) -> Result<Tensor> {
        let (gpu, heads, rows) = (&self.gpu, self.heads, self.qkv.rows());
        let module = self.module(Source::AttentionBackward);
        let delta = GpuBuffer::new(gpu, self.numbers_of_rows())?;
        let args = DeltaArgs {
            out: out.address(),
            dy: dy.address(),
            delta: delta.address(),
            rows: int(rows),
            query_heads: int(heads.query),
        };
        let warps = THREADS as usize / 32;
        let spread = Spread::row((rows * heads.query).div_ceil(warps), THREADS);
        gpu.launch(module, "attention_delta", spread, &args)?;

        let bounds = GpuBuffer::new(gpu, rows.div_ceil(BOUNDED) * BOUNDS)?;
        let args = BoundsArgs {
            start: self.intervals.start.address(),
            end: self.intervals.end.address(),
            bounds: bounds.address(),
            rows: int(rows),
            pad: 0,
        };
        let spread = Spread::row(rows.div_ceil(THREADS as usize), THREADS);
        gpu.launch(module, "attention_bounds", spread, &args)?;

        let dqkv = Tensor::on_gpu(gpu, self.qkv.shape(), self.qkv.precision())?;
        let args = BackwardArgs {
            qkv: self.qkv.address(),
            start: self.intervals.start.address(),
            end: self.intervals.end.address(),
            dy: dy.address(),
            log_sums: log_sums.address(),
            delta: delta.address(),
            bounds: bounds.address(),
            dqkv: dqkv.address(),
            rows: int(rows),
            query_heads: int(heads.query),
            key_value_heads: int(heads.key_value),
            pad: 0,
        };
        let (own, columns, threads, shared) = match self.qkv.precision() {
            Precision::F32 => {
                let (tile, row) = self.plain_tile();
                (
                    tile,
                    1,
                    4 * tile,
                    4 * (4 * tile * row + 2 * tile * (tile + 1)),
                )
            }
            _ => {
                let (padded, row) = self.padded();
                let (own, stages) = if padded > WIDE { (32, 1) } else { (64, 2) };
                let shared = 2 * (2 * own + 64 * stages) * row;
                (own, padded.div_ceil(WIDE), 2 * own, shared)
            }
        };
        let spread = |heads: usize, columns: usize| Spread {
            grid: [rows.div_ceil(own) as u32, heads as u32, columns as u32],
            threads: threads as u32,
            shared: shared as u32,
        };
        let of_keys = spread(heads.key_value, columns);
        gpu.launch(module, "attention_backward_keys", of_keys, &args)?;
        gpu.launch(
            module,
            "attention_backward_queries",
            spread(heads.query, 1),
            &args,
        )?;
        Ok(dqkv)
    }
}

/// What rows see, in the memory of a device.
#[derive(Debug)]
pub(in crate::ops) struct Intervals {
    start: GpuBuffer,
    end: GpuBuffer,
}

impl Intervals {
    pub(in crate::ops) fn new(gpu: &Arc<Gpu>, visibility: &Visibility) -> Result<Self> {
        Ok(Self {
            start: GpuBuffer::of(gpu, visibility.start())?,
            end: GpuBuffer::of(gpu, visibility.end())?,
        })
    }

    pub(in crate::ops) fn gpu(&self) -> &Arc<Gpu> {
        self.start.gpu()
    }
}
