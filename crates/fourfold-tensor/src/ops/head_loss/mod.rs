//! The language model's head and its loss as one operation: the matrix of all logits never exists.

mod chunks;
mod cpu;
mod gpu;
#[cfg(test)]
mod reference;

use rayon::prelude::*;

use super::embedding::scatter_add;
use super::formats::check_f32;
use crate::device::common;
use crate::gemm::{Matrix, Output, product};
use crate::parallel::for_rows;
use crate::{Result, Tape, Tensor, TensorError};
use chunks::Pass;

/// Bytes of f32 logits that are in memory at once. More rows at a time read the weight and its gradient less often.
const CHUNK_BYTES: usize = 32 << 20;
/// Fewest and most target rows whose logits are in memory at once, whatever the vocabulary.
const CHUNK_ROWS: [usize; 2] = [128, 1024];

/// Target rows whose logits [`head_loss`] has in memory at once.
pub fn head_loss_rows(vocabulary: usize) -> usize {
    let rows = CHUNK_BYTES / size_of::<f32>() / vocabulary.max(1);
    rows.clamp(CHUNK_ROWS[0], CHUNK_ROWS[1])
}

/// The same on a device, where more rows at a time are faster.
pub fn head_loss_rows_on_device(vocabulary: usize) -> usize {
    gpu::rows_at_once(vocabulary)
}

/// `scale · Σ_i cross_entropy(hidden[rows[i]] · weightᵀ, targets[i])`, f32 `[1]`, for `hidden: [tokens, width]` and
/// `weight: [vocabulary, width]`.
///
/// With `scale = 1 / targets of the whole update` micro-batches and workers add up to the mean over all targets. The
/// cross-entropy is `log Σ e^logit - logit[target]`, in f32. Logits are computed once: their gradients go
/// into those of `hidden` (zero in rows without a target) and, if it trains, of `weight` while they are in memory, and
/// the backward pass only scales these. A row may be named more than once.
///
/// # Errors
/// When the shapes do not fit, there is no target at all, or a row or a target is out of range.
pub fn head_loss(
    tape: &Tape<'_>,
    hidden: &Tensor,
    weight: &Tensor,
    rows: &[u32],
    targets: &[u32],
    scale: f32,
) -> Result<Tensor> {
    check("head_loss", hidden, weight)?;
    check_targets(hidden, weight, rows, targets)?;
    if let Some(gpu) = common("head_loss", [hidden, weight])? {
        return gpu::head_loss(gpu, tape, hidden, weight, (rows, targets), scale);
    }
    let pass = Pass {
        hidden,
        weight,
        rows,
        targets,
        scale,
        precision: tape.precision(),
        chunk: head_loss_rows(weight.rows()),
    };
    let done = pass.run(hidden.node.is_some(), weight.node.is_some())?;
    let loss = Tensor::from_f32(&[1], &[(f64::from(scale) * done.loss) as f32])?;
    let (hidden_node, weight_node) = (hidden.node, weight.node);
    let (shape, precision) = (hidden.shape().to_vec(), hidden.precision());
    let (width, rows) = (hidden.width(), rows.to_vec());
    Ok(tape.record(&[hidden, weight], loss, move |dy, flow| {
        let factor = dy.f32()?[0];
        if let Some(gradient) = &done.weight {
            let values = gradient.f32()?;
            flow.accumulate(weight_node, gradient.shape(), |out, accumulate| {
                for_rows(out, width, |first, out| {
                    let values = &values[first * width..][..out.len()];
                    cpu::scale_or_add(values, factor, out, accumulate);
                });
            });
        }
        if let Some(gradient) = &done.hidden {
            let values = gradient.f32()?;
            let dx = Tensor::build::<f32>(&shape, |out| {
                scatter_add(out, width, &rows, values, factor, false);
            });
            flow.add(hidden_node, dx.to_precision(precision))?;
        }
        Ok(())
    }))
}

/// `hidden · weightᵀ` for `hidden: [rows, width]`, `weight: [vocabulary, width]` → f32 `[rows, vocabulary]`, for
/// decoding; no gradient.
///
/// # Errors
/// When the shapes do not fit.
pub fn head_logits(tape: &Tape<'_>, hidden: &Tensor, weight: &Tensor) -> Result<Tensor> {
    check("head_logits", hidden, weight)?;
    if let Some(gpu) = common("head_logits", [hidden, weight])? {
        return gpu::head_logits(gpu, tape.precision(), hidden, weight);
    }
    let mut result = Ok(());
    let logits = Tensor::build::<f32>(&[hidden.rows(), weight.rows()], |out| {
        let output = Output::F32 {
            out,
            accumulate: false,
        };
        let (hidden, weight) = (Matrix::new(hidden), Matrix::new(weight).t());
        result = product(hidden, weight, None, tape.precision(), output);
    });
    result.map(|()| logits)
}

/// What decoding asks of the logits of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Highest {
    /// The place of the first of the highest logits.
    pub place: usize,
    /// The highest logit.
    pub logit: f32,
    /// `log Σ e^logit`.
    pub log_sum: f32,
}

/// The highest logit of each row of `logits: [rows, vocabulary]` in f32, wherever they lie.
///
/// # Errors
/// When they are of another format, there is no vocabulary, or a device fails.
pub fn highest_logits(logits: &Tensor) -> Result<Vec<Highest>> {
    check_f32("highest_logits", [logits])?;
    if logits.width() == 0 {
        return Err(TensorError::shape(
            "highest_logits",
            "a vocabulary of no tokens",
        ));
    }
    let Some(gpu) = logits.gpu() else {
        let rows = logits.f32()?.par_chunks_exact(logits.width());
        let highest = |row: &[f32]| {
            let (place, logit) = highest_logit(row);
            let log_sum = log_sum_exp(row);
            Highest {
                place,
                logit,
                log_sum,
            }
        };
        return Ok(rows.map(highest).collect());
    };
    let [places, logits, log_sums] = gpu::highest(gpu, logits)?;
    let found = places.into_iter().zip(logits).zip(log_sums);
    let highest = |((place, logit), log_sum)| Highest {
        place: place as usize,
        logit: f32::from_bits(logit),
        log_sum: f32::from_bits(log_sum),
    };
    Ok(found.map(highest).collect())
}

/// The first of the highest logits of a row, at least one: its place and value.
pub fn highest_logit(logits: &[f32]) -> (usize, f32) {
    let highest = cpu::highest(logits);
    let place = logits.iter().position(|logit| *logit == highest);
    (place.unwrap_or(0), highest)
}

/// `log Σ e^logit` of a row of logits, at least one: what log-probabilities are measured from.
pub fn log_sum_exp(logits: &[f32]) -> f32 {
    let highest = cpu::highest(logits);
    highest + cpu::sum_of_exponentials(logits, highest).ln()
}

fn check(operation: &'static str, hidden: &Tensor, weight: &Tensor) -> Result<()> {
    if weight.shape().len() != 2 || hidden.width() != weight.width() {
        return Err(TensorError::shape(
            operation,
            format!(
                "hidden {:?}, weight {:?} (expected [vocabulary, {}])",
                hidden.shape(),
                weight.shape(),
                hidden.width()
            ),
        ));
    }
    Ok(())
}

fn check_targets(hidden: &Tensor, weight: &Tensor, rows: &[u32], targets: &[u32]) -> Result<()> {
    let beyond =
        |values: &[u32], limit: usize| values.iter().position(|value| *value as usize >= limit);
    let (tokens, vocabulary) = (hidden.rows(), weight.rows());
    let problem = if rows.len() != targets.len() {
        format!("{} rows for {} targets", rows.len(), targets.len())
    } else if targets.is_empty() {
        "no targets: every label is masked; leave such a pack out".to_owned()
    } else if let Some(at) = beyond(rows, tokens) {
        format!(
            "row {} of target {at}; expected rows below {tokens}",
            rows[at]
        )
    } else if let Some(at) = beyond(targets, vocabulary) {
        format!(
            "target {} of row {}; expected token ids below the vocabulary's {vocabulary}",
            targets[at], rows[at]
        )
    } else {
        return Ok(());
    };
    Err(TensorError::shape("head_loss", problem))
}

#[cfg(test)]
mod tests;
