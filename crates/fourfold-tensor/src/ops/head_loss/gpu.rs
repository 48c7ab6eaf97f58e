//! The head and its loss on a device: chunks of logits as on CPUs, only more rows at a time.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use crate::device::reduce::sum_of_values;
use crate::device::{
    Address, Epilogue, Gpu, Module, Operand, Product, Source, Spread, Sum, copies,
};
use crate::ops::embedding::{Scatter, gather};
use crate::ops::gpu::{int, upload};
use crate::{Precision, Result, Tape, Tensor};

/// Bytes of f32 logits that are in memory at once: a GPU has its best speed only with many rows.
const CHUNK_BYTES: usize = 256 << 20;
/// Fewest and most target rows whose logits are in memory at once, whatever the vocabulary.
const CHUNK_ROWS: [usize; 2] = [256, 4096];

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct LossArgs {
    logits: Address,
    targets: Address,
    losses: Address,
    gradient: Address,
    rows: i32,
    width: i32,
    scale: f32,
    pad: i32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct HighestArgs {
    logits: Address,
    places: Address,
    highest: Address,
    log_sums: Address,
    rows: i32,
    width: i32,
}

/// Target rows whose logits are in memory at once.
pub(super) fn rows_at_once(vocabulary: usize) -> usize {
    let rows = CHUNK_BYTES / size_of::<f32>() / vocabulary.max(1);
    rows.clamp(CHUNK_ROWS[0], CHUNK_ROWS[1])
}

pub(super) fn head_loss(
    gpu: &Arc<Gpu>,
    tape: &Tape<'_>,
    hidden: &Tensor,
    weight: &Tensor,
    (rows, targets): (&[u32], &[u32]),
    scale: f32,
) -> Result<Tensor> {
    let pass = Pass {
        gpu,
        hidden,
        weight: &weight.to_precision(tape.precision()),
        rows,
        targets,
        scale,
        precision: tape.precision(),
        tf32: tape.tf32(),
        chunk: rows_at_once(weight.rows()),
    };
    let done = pass.run(hidden.node.is_some(), weight.node.is_some())?;
    let (gpu, hidden_node, weight_node) = (Arc::clone(gpu), hidden.node, weight.node);
    let (shape, precision, rows) = (hidden.shape().to_vec(), hidden.precision(), rows.to_vec());
    Ok(tape.record(&[hidden, weight], done.loss, move |dy, flow| {
        if let Some(gradient) = &done.weight {
            flow.accumulate_on(&gpu, weight_node, gradient.shape(), |out, accumulate| {
                copies::add_scaled(out, gradient, 1.0, Some(&dy), accumulate)
            })?;
        }
        if let Some(gradient) = &done.hidden {
            let dx = Tensor::on_gpu(&gpu, &shape, Precision::F32)?;
            Scatter::new(&gpu, &rows)?.add(gradient, &dx, 1.0, Some(&dy), false)?;
            flow.add(hidden_node, dx.to_precision(precision))?;
        }
        Ok(())
    }))
}

/// One forward pass of the head; `rows` and `targets` are in range and of equal length.
pub(super) struct Pass<'a> {
    pub gpu: &'a Arc<Gpu>,
    pub hidden: &'a Tensor,
    /// In `precision`.
    pub weight: &'a Tensor,
    pub rows: &'a [u32],
    pub targets: &'a [u32],
    pub scale: f32,
    pub precision: Precision,
    pub tf32: bool,
    /// How many target rows have their logits in memory at once.
    pub chunk: usize,
}

/// What a pass leaves behind, all f32.
pub(super) struct Done {
    /// The scaled loss, `[1]`.
    pub loss: Tensor,
    /// Its gradient with respect to the hidden rows that have a target, `[targets, width]`.
    pub hidden: Option<Tensor>,
    /// That with respect to the weight, `[vocabulary, width]`.
    pub weight: Option<Tensor>,
}

impl Pass<'_> {
    pub(super) fn run(&self, wants_hidden: bool, wants_weight: bool) -> Result<Done> {
        let (gpu, width, count) = (self.gpu, self.hidden.width(), self.rows.len());
        let wide = |shape: &[usize]| Tensor::on_gpu(gpu, shape, Precision::F32);
        let of_hidden = wants_hidden.then(|| wide(&[count, width])).transpose()?;
        let of_weight = wants_weight
            .then(|| wide(self.weight.shape()))
            .transpose()?;
        let (targets, losses) = (upload(gpu, self.targets)?, wide(&[count])?);
        for first in (0..count).step_by(self.chunk) {
            let rows = &self.rows[first..(first + self.chunk).min(count)];
            let behind = |start: Address, numbers: usize| start + 4 * numbers as Address;
            let hidden = gather(gpu, self.hidden, rows, &[rows.len(), width], self.precision)?;
            let logits = wide(&[rows.len(), self.weight.rows()])?;
            let weight = Operand::of(self.weight);
            self.multiply(
                Operand::of(&hidden),
                weight.t(),
                logits.address(),
                Sum::Nothing,
            )?;
            let gradient = self.losses(
                logits,
                behind(targets.address(), first),
                behind(losses.address(), first),
                wants_hidden || wants_weight,
            )?;
            let gradient = Operand::of(&gradient);
            if let Some(out) = &of_hidden {
                let out = behind(out.address(), first * width);
                self.multiply(gradient, weight, out, Sum::Nothing)?;
            }
            if let Some(out) = &of_weight {
                // The first chunk writes it whole.
                let sum = if first > 0 { Sum::Result } else { Sum::Nothing };
                self.multiply(gradient.t(), Operand::of(&hidden), out.address(), sum)?;
            }
        }
        Ok(Done {
            loss: sum_of_values(gpu, &losses, f64::from(self.scale))?,
            hidden: of_hidden,
            weight: of_weight,
        })
    }

    fn multiply(&self, a: Operand, b: Operand, out: Address, sum: Sum) -> Result<()> {
        self.gpu.product(&Product {
            a,
            b,
            precision: self.precision,
            tf32: self.tf32,
            bias: None,
            out,
            out_precision: Precision::F32,
            sum,
            epilogue: Epilogue::Nothing,
        })
    }

    /// Writes the loss of each row; the gradient of the scaled loss with respect to the logits in the precision of the
    /// products, where it is `wanted`, which the logits are used up for.
    fn losses(
        &self,
        logits: Tensor,
        targets: Address,
        losses: Address,
        wanted: bool,
    ) -> Result<Tensor> {
        let (rows, vocabulary) = (logits.rows(), logits.width());
        let gradient = match (wanted, self.precision) {
            (true, Precision::F32) | (false, _) => logits.clone(),
            (true, precision) => Tensor::on_gpu(self.gpu, logits.shape(), precision)?,
        };
        let args = LossArgs {
            logits: logits.address(),
            targets,
            losses,
            gradient: if wanted { gradient.address() } else { 0 },
            rows: int(rows),
            width: int(vocabulary),
            scale: self.scale,
            pad: 0,
        };
        let module = module(gradient.precision());
        self.gpu
            .launch(module, "head_loss", spread(rows, vocabulary), &args)?;
        Ok(gradient)
    }
}

/// The place and value of the first of the highest logits of each row, and `log Σ e^logit`.
pub(super) fn highest(gpu: &Arc<Gpu>, logits: &Tensor) -> Result<[Vec<u32>; 3]> {
    let (rows, width) = (logits.rows(), logits.width());
    let found = Tensor::on_gpu(gpu, &[3, rows], Precision::F32)?;
    let at = |index: usize| found.address() + (4 * index * rows) as Address;
    let args = HighestArgs {
        logits: logits.address(),
        places: at(0),
        highest: at(1),
        log_sums: at(2),
        rows: int(rows),
        width: int(width),
    };
    gpu.launch(
        module(Precision::F32),
        "highest_logits",
        spread(rows, width),
        &args,
    )?;
    let mut words = vec![0u32; 3 * rows];
    found
        .gpu_buffer()?
        .read(0, bytemuck::cast_slice_mut(&mut words))?;
    let part = |index: usize| words[index * rows..(index + 1) * rows].to_vec();
    Ok([part(0), part(1), part(2)])
}

pub(super) fn head_logits(
    gpu: &Arc<Gpu>,
    precision: Precision,
    hidden: &Tensor,
    weight: &Tensor,
) -> Result<Tensor> {
    let shape = [hidden.rows(), weight.rows()];
    let logits = Tensor::on_gpu(gpu, &shape, Precision::F32)?;
    let (hidden, weight) = (
        hidden.to_precision(precision),
        weight.to_precision(precision),
    );
    gpu.product(&Product {
        a: Operand::of(&hidden),
        b: Operand::of(&weight).t(),
        precision,
        tf32: false,
        bias: None,
        out: logits.address(),
        out_precision: Precision::F32,
        sum: Sum::Nothing,
        epilogue: Epilogue::Nothing,
    })?;
    Ok(logits)
}

fn module(gradient: Precision) -> Module {
    Module::new(Source::HeadLoss)
        .format("IN", Precision::F32)
        .format("OUT", gradient)
}

/// A block for each row of logits.
fn spread(rows: usize, vocabulary: usize) -> Spread {
    let threads = vocabulary.div_ceil(8).next_multiple_of(32);
    Spread::row(rows, threads.clamp(32, 512) as u32)
}
