//! Adapters added to the weights that they stand beside.

use fourfold_tensor::Parameters;
use rayon::prelude::*;

use super::{LoraConfig, layer, names};
use crate::Result;
use crate::spec::Stored;

/// What is added to the weight of one layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Merge<'p> {
    /// `[rank, in]`.
    a: &'p [f32],
    /// `[out, rank]`.
    b: &'p [f32],
    rank: usize,
    factor: f32,
}

impl<'p> Merge<'p> {
    /// That of the layer whose weight `stored` is, if it has an adapter.
    pub fn find(
        config: Option<&LoraConfig>,
        parameters: &'p Parameters,
        stored: &Stored,
    ) -> Result<Option<Self>> {
        let Some(config) = config else {
            return Ok(None);
        };
        let [a, b] = names(layer(stored)).map(|name| parameters.find(&name));
        let (Some(a), Some(b)) = (a, b) else {
            return Ok(None);
        };
        Ok(Some(Self {
            a: parameters.get(a).master().f32()?,
            b: parameters.get(b).master().f32()?,
            rank: config.rank,
            factor: config.factor(),
        }))
    }
}

/// `weight + factor · B · A` for `weight: [out, in]`.
pub(crate) fn merged(weight: &[f32], merge: Merge<'_>) -> Vec<f32> {
    let inner = merge.a.len() / merge.rank;
    let mut sum = weight.to_vec();
    let rows = sum
        .par_chunks_mut(inner)
        .zip(merge.b.par_chunks(merge.rank));
    rows.for_each(|(row, b)| {
        for (b, a) in b.iter().zip(merge.a.chunks_exact(inner)) {
            let factor = merge.factor * b;
            for (sum, a) in row.iter_mut().zip(a) {
                *sum += factor * a;
            }
        }
    });
    sum
}
