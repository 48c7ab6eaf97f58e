//! Sums over many numbers of a device, in a fixed order.

use std::ops::Range;
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::{Address, Gpu, GpuBuffer, Module, Source, Spread};
use crate::{Precision, Result, Tensor};

/// Numbers whose squares one block adds.
const CHUNK: usize = 16 * 1024;

/// What kernels of sums take for threads a block.
const THREADS: u32 = 256;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct SumPiecesArgs {
    pieces: Address,
    out: Address,
    count: i32,
    width: i32,
    stride: i32,
    accumulate: i32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Numbers {
    values: Address,
    count: u64,
}

/// Which numbers a block takes: of which tensor, and the how manieth piece of it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Chunk {
    pub tensor: u32,
    pub chunk: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct SquaresArgs {
    tensors: Address,
    chunks: Address,
    sums: Address,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct TotalArgs {
    sums: Address,
    total: Address,
    count: u64,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct SumArgs {
    values: Address,
    total: Address,
    count: u64,
    factor: f64,
}

fn module() -> Module {
    Module::new(Source::Reduce)
}

/// Rows of `stride` numbers whose columns are to be summed.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub numbers: &'a GpuBuffer,
    pub count: usize,
    pub stride: usize,
}

/// `out = Σ rows`, or `out += Σ rows` where `accumulate` is set, of the columns from `first` on.
pub(crate) fn sum_rows(rows: Rows<'_>, first: usize, out: &Tensor, accumulate: bool) -> Result<()> {
    let args = SumPiecesArgs {
        pieces: rows.numbers.address() + (first * size_of::<f32>()) as Address,
        out: out.address(),
        count: rows.count as i32,
        width: out.len() as i32,
        stride: rows.stride as i32,
        accumulate: i32::from(accumulate),
    };
    let spread = Spread::row(out.len().div_ceil(THREADS as usize), THREADS);
    rows.numbers
        .gpu()
        .launch(module(), "sum_pieces", spread, &args)
}

/// The pieces of tensors of these lengths, each of `chunk` numbers but for the last of a tensor.
pub(super) fn chunks(lengths: impl Iterator<Item = usize>, chunk: usize) -> Vec<Chunk> {
    let pieces = lengths.enumerate().flat_map(|(tensor, length)| {
        (0..length.div_ceil(chunk)).map(move |chunk| Chunk {
            tensor: tensor as u32,
            chunk: chunk as u32,
        })
    });
    pieces.collect()
}

/// The sum of the squares of the numbers at these places of f32 tensors, in f64.
pub(crate) fn sum_of_squares(gpu: &Arc<Gpu>, parts: &[(&Tensor, Range<usize>)]) -> Result<f64> {
    let numbers = |(tensor, place): &(&Tensor, Range<usize>)| Numbers {
        values: tensor.address() + (place.start * size_of::<f32>()) as Address,
        count: place.len() as u64,
    };
    let table: Vec<Numbers> = parts.iter().map(numbers).collect();
    let chunks = chunks(parts.iter().map(|(_, place)| place.len()), CHUNK);
    let (count, table) = (chunks.len(), GpuBuffer::of(gpu, &table)?);
    let chunks = GpuBuffer::of(gpu, &chunks)?;
    let sums = GpuBuffer::new(gpu, count * size_of::<f64>())?;
    let args = SquaresArgs {
        tensors: table.address(),
        chunks: chunks.address(),
        sums: sums.address(),
    };
    gpu.launch(
        module(),
        "squares_of_chunks",
        Spread::row(count, THREADS),
        &args,
    )?;
    let total = GpuBuffer::new(gpu, size_of::<f64>())?;
    let args = TotalArgs {
        sums: sums.address(),
        total: total.address(),
        count: count as u64,
    };
    gpu.launch(module(), "total_of_chunks", Spread::row(1, THREADS), &args)?;
    let mut bytes = [0; size_of::<f64>()];
    total.read(0, &mut bytes)?;
    Ok(f64::from_ne_bytes(bytes))
}

/// `factor · Σ values` for f32 numbers, summed in f64: `[1]`, still on the device.
pub(crate) fn sum_of_values(gpu: &Arc<Gpu>, values: &Tensor, factor: f64) -> Result<Tensor> {
    let total = Tensor::on_gpu(gpu, &[1], Precision::F32)?;
    let args = SumArgs {
        values: values.address(),
        total: total.address(),
        count: values.len() as u64,
        factor,
    };
    gpu.launch(module(), "sum_of_values", Spread::row(1, THREADS), &args)?;
    Ok(total)
}
