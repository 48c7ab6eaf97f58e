//! Scaled rotary positions.

use std::f32::consts::TAU;

use serde_json::{Value, json};

use super::super::metadata::Reader;
use super::config::shortest;
use super::{GgufFile, ROPE_FACTORS};
use crate::Result;

/// What every released Llama 3.1 to 3.3 has, beside its own factor.
const LOW_FACTOR: f32 = 1.0;
const HIGH_FACTOR: f32 = 4.0;
const ORIGINAL_CONTEXT: f32 = 8192.0;

/// How far a stored factor may be from the formula's, relatively: converters computed it in f32, some in another order.
const TOLERANCE: f32 = 1e-3;

/// The value of `rope_scaling`, `None` for positions that are not scaled.
///
/// A factor for all frequencies stands in the metadata. Llama 3's scaling stands there only as its outcome, a factor for
/// each of the `head_dim / 2` frequencies; the parameters of its formula are found again and checked.
pub(super) fn scaling(
    file: &GgufFile,
    prefix: &str,
    theta: f32,
    head_dim: usize,
) -> Result<Option<Value>> {
    let metadata = file.metadata();
    let key = |name: &str| format!("{prefix}.rope.scaling.{name}");
    let kind_key = key("type");
    let factor_key = key("factor");
    // A factor that no type stands beside is one for all frequencies (as llama.cpp's loader has it).
    let kind = match metadata.text(&kind_key)? {
        Some(kind) => kind,
        None if metadata.has(&factor_key) => "linear",
        None => "none",
    };
    let linear = match kind {
        "none" => None,
        "linear" => {
            let factor = metadata.demand(&factor_key, Reader::float)?;
            // There a factor of 0 stands for none.
            (factor != 0.0).then(|| json!({ "rope_type": "linear", "factor": shortest(factor) }))
        }
        other => {
            return Err(metadata.fault(
                &kind_key,
                format!("is '{other}'; expected none or linear: take another model"),
            ));
        }
    };
    if file.tensor(ROPE_FACTORS).is_none() {
        return Ok(linear);
    }
    let factors = file.read(ROPE_FACTORS)?;
    if linear.is_some() {
        return Err(file.fault(format!(
            "scales positions by '{kind_key}' and by '{ROPE_FACTORS}' at once; convert the model again"
        )));
    }
    if factors.iter().all(|factor| *factor == 1.0) && factors.len() == head_dim / 2 {
        return Ok(None);
    }
    match is_llama3(&factors, theta, head_dim) {
        Some(factor) => Ok(Some(json!({
            "rope_type": "llama3",
            "factor": shortest(factor),
            "low_freq_factor": LOW_FACTOR,
            "high_freq_factor": HIGH_FACTOR,
            "original_max_position_embeddings": ORIGINAL_CONTEXT as usize,
        }))),
        None => Err(file.fault(format!(
            "'{ROPE_FACTORS}' holds factors that Llama 3's formula with low_freq_factor 1, high_freq_factor 4 and an \
             original context of 8192 does not give; take another model"
        ))),
    }
}

/// The factor of Llama 3's scaling where it explains all factors.
///
/// A frequency whose wave is longer than the original context over `LOW_FACTOR` is divided by the factor, one whose wave
/// is shorter than it over `HIGH_FACTOR` stays, and between the two is interpolated (`modeling_rope_utils.py` of
/// `transformers`).
fn is_llama3(factors: &[f32], theta: f32, head_dim: usize) -> Option<f32> {
    let factor = factors.iter().copied().fold(f32::NAN, f32::max);
    let expected = |index: usize| {
        let wave = TAU * theta.powf(2.0 * index as f32 / head_dim as f32);
        if wave < ORIGINAL_CONTEXT / HIGH_FACTOR {
            return 1.0;
        }
        if wave > ORIGINAL_CONTEXT / LOW_FACTOR {
            return factor;
        }
        let smooth = (ORIGINAL_CONTEXT / wave - LOW_FACTOR) / (HIGH_FACTOR - LOW_FACTOR);
        1.0 / ((1.0 - smooth) / factor + smooth)
    };
    let close =
        |(index, found): (usize, &f32)| (found - expected(index)).abs() <= TOLERANCE * found.abs();
    let fits = factor > 1.0 && factors.len() == head_dim / 2;
    (fits && factors.iter().enumerate().all(close)).then_some(factor)
}
