//! Parameters laid end to end in buckets, so that few large messages go between ranks instead of many small ones.

use std::ops::Range;

use fourfold_parallel::part;
use fourfold_tensor::{ParameterId, Parameters};

/// Numbers in a bucket: 25 MiB of f32, which PyTorch found to keep links busy, and small enough that the first is on its
/// way soon after the backward pass has begun.
const NUMBERS: usize = 25 << 18;

/// Some parameters, laid end to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// They, in their order.
    pub members: Vec<Member>,
}

/// A parameter in a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub id: ParameterId,
    /// Where its numbers are in the bucket.
    pub place: Range<usize>,
}

impl Bucket {
    /// How many numbers it holds.
    pub fn len(&self) -> usize {
        self.members.last().map_or(0, |member| member.place.end)
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What lies in the [`part`] of `rank`: of each parameter there the place in the bucket and the place in the
    /// parameter.
    pub fn owned(
        &self,
        rank: usize,
        ranks: usize,
    ) -> Vec<(ParameterId, Range<usize>, Range<usize>)> {
        let part = part(self.len(), rank, ranks);
        let owned = |member: &Member| {
            let Range { start, end } = member.place;
            let place = start.max(part.start)..end.min(part.end);
            let within = place.start.wrapping_sub(start)..place.end.wrapping_sub(start);
            (!place.is_empty()).then_some((member.id, place, within))
        };
        self.members.iter().filter_map(owned).collect()
    }
}

/// Buckets for the trainable ones of `parameters`, the last first: a backward pass ends with the first.
pub fn buckets(parameters: &Parameters) -> Vec<Bucket> {
    buckets_of(&trainable(parameters), NUMBERS)
}

/// The trainable parameters with their numbers.
pub(super) fn trainable(parameters: &Parameters) -> Vec<(ParameterId, usize)> {
    let trainable = parameters.iter().filter(|(_, p)| p.trainable());
    trainable
        .map(|(id, parameter)| (id, parameter.master().len()))
        .collect()
}

/// The same with at most `most` numbers each, unless a parameter has more.
pub(super) fn buckets_of(parameters: &[(ParameterId, usize)], most: usize) -> Vec<Bucket> {
    let mut all: Vec<Bucket> = Vec::new();
    for (id, len) in parameters.iter().rev() {
        let open = all.last_mut().filter(|bucket| bucket.len() + len <= most);
        let start = open.as_ref().map_or(0, |bucket| bucket.len());
        let member = Member {
            id: *id,
            place: start..start + len,
        };
        match open {
            Some(bucket) => bucket.members.push(member),
            None => all.push(Bucket {
                members: vec![member],
            }),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use fourfold_tensor::{Precision, Tensor};

    use super::*;

    /// As many ids as there are lengths.
    fn parameters(lens: &[usize]) -> Vec<(ParameterId, usize)> {
        let mut parameters = Parameters::new(Precision::F32);
        let add = |(index, len): (usize, &usize)| {
            let name = format!("p{index}");
            let id = parameters.add(&name, Tensor::zeros(&[1])).expect("new");
            (id, *len)
        };
        lens.iter().enumerate().map(add).collect()
    }

    #[test]
    fn every_number_has_one_place_and_one_owner() {
        let lens: Vec<usize> = (0..40_usize).map(|i| 1 + (i * 7919) % 97).collect();
        let parameters = parameters(&lens);
        for most in [1, 50, 100, 1000, 100_000] {
            let all = buckets_of(&parameters, most);
            let order: Vec<ParameterId> = all
                .iter()
                .flat_map(|bucket| bucket.members.iter().map(|member| member.id))
                .collect();
            let wanted: Vec<ParameterId> = parameters.iter().rev().map(|(id, _)| *id).collect();
            assert_eq!(order, wanted);
            for bucket in &all {
                assert!(bucket.len() <= most || bucket.members.len() == 1);
                let ends = bucket.members.iter().scan(0, |end, member| {
                    let begins = member.place.start == *end;
                    *end = member.place.end;
                    Some(begins)
                });
                assert!(ends.into_iter().all(|begins| begins));
            }
            for ranks in 1..6 {
                let mut owners = vec![vec![0; 97]; lens.len()];
                for bucket in &all {
                    for rank in 0..ranks {
                        for (id, place, within) in bucket.owned(rank, ranks) {
                            assert_eq!(place.len(), within.len());
                            let index = parameters.iter().position(|(p, _)| *p == id);
                            let owners = &mut owners[index.expect("known")];
                            owners[within].iter_mut().for_each(|count| *count += 1);
                        }
                    }
                }
                for (owners, len) in owners.iter().zip(&lens) {
                    assert!(owners[..*len].iter().all(|count| *count == 1));
                    assert!(owners[*len..].iter().all(|count| *count == 0));
                }
            }
        }
    }
}
