//! Rotary positions on a device.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::{Turn, table::Angles};
use crate::device::{Address, Gpu, GpuBuffer, Module, Source, copies};
use crate::ops::gpu::{int, like, row_packs, upload};
use crate::{Result, Tape, Tensor};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Args {
    x: Address,
    y: Address,
    positions: Address,
    cosines: Address,
    sines: Address,
    rows: i32,
    turned_heads: i32,
    heads: i32,
    half: i32,
    direction: f32,
    pad: i32,
}

/// What a turn needs on the device.
struct TurnOnGpu {
    turn: Turn,
    angles: Arc<Angles>,
    positions: GpuBuffer,
}

pub(super) fn rope(gpu: &Arc<Gpu>, tape: &Tape<'_>, qkv: &Tensor, turn: Turn) -> Result<Tensor> {
    let turn = TurnOnGpu {
        angles: turn.table.angles(gpu)?,
        positions: upload(gpu, &turn.positions)?,
        turn,
    };
    let y = like(gpu, qkv)?;
    turn.run(gpu, qkv, &y, 1.0)?;
    let (gpu, node) = (Arc::clone(gpu), qkv.node);
    Ok(tape.record(&[qkv], y, move |dy, flow| {
        let dx = copies::own(dy)?;
        turn.run(&gpu, &dx, &dx, -1.0)?;
        flow.add(node, dx)
    }))
}

impl TurnOnGpu {
    /// Writes `x`, turned, to `y`, which may be `x`.
    fn run(&self, gpu: &Arc<Gpu>, x: &Tensor, y: &Tensor, direction: f32) -> Result<()> {
        let heads = self.turn.heads;
        let turned = heads.query + heads.key_value;
        let (all, half) = (turned + heads.key_value, heads.width / 2);
        let args = Args {
            x: x.address(),
            y: y.address(),
            positions: self.positions.address(),
            cosines: self.angles.cosines.address(),
            sines: self.angles.sines.address(),
            rows: int(x.rows()),
            turned_heads: int(turned),
            heads: int(all),
            half: int(half),
            direction,
            pad: 0,
        };
        let module = Module::new(Source::Rope).format("T", x.precision());
        gpu.launch(module, "rope", row_packs(x.rows() * all, half), &args)
    }
}
