//! Attention of rows to the keys that a visibility lets them see, and decoding over a cache of keys.

mod backward;
mod backward_task;
mod cache;
mod cpu;
mod forward;
mod gpu;
mod gpu_cache;
mod gpu_step;
mod plan;
#[cfg(test)]
mod reference;
mod softmax;
mod step;
#[cfg(test)]
mod tests;
mod tile;

pub use cache::KeyValueCache;
pub(super) use gpu::Intervals;
pub use step::attention_step;

use self::backward::Received;
use self::forward::Problem;
use super::formats::build_in;
use super::{Heads, Visibility};
use crate::device::common;
use crate::{Result, Tape, Tensor, TensorError};

/// Scaled dot-product attention: `qkv: [tokens, heads.columns()]` → `[tokens, query * width]` in the tape's
/// precision.
///
/// Row *i* of query head *h* becomes `Σ_j softmax_j(q_i · k_j / √width) v_j` over the keys *j* that `visibility`
/// lets row *i* see, with the keys and values of the key-value head that *h* shares (see [`Heads`]). `qkv` may be
/// of any format; scores, softmax and sums are f32. No `tokens × tokens` array is made, and keys that no row of a
/// block sees cost nothing: documents laid end to end take the time that they would take one by one.
///
/// The result repeats bit for bit on any number of threads.
///
/// # Errors
/// When `qkv` does not hold such heads or `visibility` describes another number of rows.
pub fn attention(
    tape: &Tape<'_>,
    qkv: &Tensor,
    heads: Heads,
    visibility: &Visibility,
) -> Result<Tensor> {
    heads.check("attention", qkv.width())?;
    if qkv.shape().len() != 2 || qkv.rows() != visibility.rows() {
        return Err(TensorError::shape(
            "attention",
            format!(
                "qkv {:?} for a visibility of {} rows; expected [{}, {}]",
                qkv.shape(),
                visibility.rows(),
                visibility.rows(),
                heads.columns()
            ),
        ));
    }
    if let Some(gpu) = common("attention", [qkv])? {
        return gpu::attention(gpu, tape, qkv, heads, visibility);
    }
    let problem = Problem {
        qkv: qkv.view(),
        heads,
        visibility,
        precision: tape.precision(),
    };
    let shape = [qkv.rows(), heads.query * heads.width];
    let mut log_sums = vec![0.0; qkv.rows() * heads.query];
    let output = build_in!(tape.precision(), &shape, |out| {
        forward::forward(&problem, out, &mut log_sums);
    });

    let precision = tape.precision();
    let (node, qkv_kept, output_kept) = (qkv.node, qkv.detach(), output.detach());
    let visibility = visibility.clone();
    Ok(tape.record(&[qkv], output, move |dy, flow| {
        let problem = Problem {
            qkv: qkv_kept.view(),
            heads,
            visibility: &visibility,
            precision,
        };
        let received = Received {
            output: output_kept.view(),
            gradient: dy.view(),
            log_sums: &log_sums,
        };
        let gradient = build_in!(qkv_kept.precision(), qkv_kept.shape(), |out| {
            backward::backward(&problem, &received, out);
        });
        flow.add(node, gradient)
    }))
}
