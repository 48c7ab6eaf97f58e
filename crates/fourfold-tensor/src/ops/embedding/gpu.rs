//! Rows of tables on a device: taking them, and adding to those that they came from.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use crate::device::{Address, Gpu, GpuBuffer, Module, Source};
use crate::ops::gpu::{int, row_packs, upload};
use crate::{Precision, Result, Tape, Tensor};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct GatherArgs {
    table: Address,
    ids: Address,
    out: Address,
    rows: i32,
    width: i32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ScatterArgs {
    rows: Address,
    table: Address,
    ids: Address,
    starts: Address,
    order: Address,
    factor_at: Address,
    distinct: i32,
    width: i32,
    factor: f32,
    accumulate: i32,
}

pub(super) fn embedding(
    gpu: &Arc<Gpu>,
    tape: &Tape<'_>,
    table: &Tensor,
    ids: &[u32],
) -> Result<Tensor> {
    let y = gather(gpu, table, ids, &[ids.len(), table.width()], Precision::F32)?;
    let (gpu, node, shape) = (Arc::clone(gpu), table.node, table.shape().to_vec());
    let ids = if node.is_some() {
        ids.to_vec()
    } else {
        Vec::new()
    };
    Ok(tape.record(&[table], y, move |dy, flow| {
        flow.accumulate_on(&gpu, node, &shape, |out, accumulate| {
            Scatter::new(&gpu, &ids)?.add(&dy, out, 1.0, None, accumulate)
        })
    }))
}

/// The rows `ids` of `table`, in `precision` and as a tensor of `shape`.
pub(in crate::ops) fn gather(
    gpu: &Arc<Gpu>,
    table: &Tensor,
    ids: &[u32],
    shape: &[usize],
    precision: Precision,
) -> Result<Tensor> {
    let out = Tensor::on_gpu(gpu, shape, precision)?;
    let (rows, width) = (ids.len(), table.width());
    let ids = upload(gpu, ids)?;
    let args = GatherArgs {
        table: table.address(),
        ids: ids.address(),
        out: out.address(),
        rows: int(rows),
        width: int(width),
    };
    let module = module(table.precision(), precision);
    gpu.launch(module, "gather_rows", row_packs(rows, width), &args)?;
    Ok(out)
}

/// Which rows are added to which row of a table, sorted so that each sum is made by one block, in order.
pub(in crate::ops) struct Scatter {
    gpu: Arc<Gpu>,
    ids: GpuBuffer,
    starts: GpuBuffer,
    order: GpuBuffer,
    distinct: usize,
}

impl Scatter {
    /// Row *i* goes to row `ids[i]` of a table.
    pub(in crate::ops) fn new(gpu: &Arc<Gpu>, ids: &[u32]) -> Result<Self> {
        let mut order: Vec<u32> = (0..ids.len() as u32).collect();
        order.sort_by_key(|row| ids[*row as usize]);
        let same = |a: &u32, b: &u32| ids[*a as usize] == ids[*b as usize];
        let (mut distinct, mut starts) = (Vec::new(), vec![0u32]);
        for rows in order.chunk_by(same) {
            let start = starts.last().copied().unwrap_or(0);
            distinct.push(ids[rows[0] as usize]);
            starts.push(start + rows.len() as u32);
        }
        Ok(Self {
            gpu: Arc::clone(gpu),
            ids: upload(gpu, &distinct)?,
            starts: upload(gpu, &starts)?,
            order: upload(gpu, &order)?,
            distinct: distinct.len(),
        })
    }

    /// `table[ids[i]] += factor · rows[i]`, the factor times the number at `factor_at` where that is given; the table is
    /// zeroed first unless `accumulate` is set.
    pub(in crate::ops) fn add(
        &self,
        rows: &Tensor,
        table: &Tensor,
        factor: f32,
        factor_at: Option<&Tensor>,
        accumulate: bool,
    ) -> Result<()> {
        if !accumulate {
            table.gpu_buffer()?.clear()?;
        }
        let args = ScatterArgs {
            rows: rows.address(),
            table: table.address(),
            ids: self.ids.address(),
            starts: self.starts.address(),
            order: self.order.address(),
            factor_at: factor_at.map_or(0, Tensor::address),
            distinct: int(self.distinct),
            width: int(table.width()),
            factor,
            accumulate: i32::from(accumulate),
        };
        let module = module(rows.precision(), table.precision());
        let spread = row_packs(self.distinct, table.width());
        self.gpu.launch(module, "scatter_rows", spread, &args)
    }
}

fn module(read: Precision, written: Precision) -> Module {
    Module::new(Source::Embedding)
        .format("IN", read)
        .format("OUT", written)
}
