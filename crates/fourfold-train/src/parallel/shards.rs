//! The optimizer cut into shards, one a rank: its moments, two numbers for each that trains, are held once over all ranks
//! (ZeRO-1 of arXiv 1910.02054).

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context, Result};
use fourfold_model::Model;
use fourfold_tensor::{DeviceNumbers, ParameterId, Parameters, Tensor};

use super::{Bucket, Team, buckets};

/// Which numbers each rank steps: its part of every bucket that gradients are summed in.
pub struct Shards {
    team: Team,
    buckets: Vec<Bucket>,
}

impl Shards {
    /// For the trainable ones of `parameters`.
    pub fn new(team: Team, parameters: &Parameters) -> Self {
        let buckets = buckets(parameters);
        Self { team, buckets }
    }

    /// Of each parameter the numbers that are this rank's, which may be none.
    pub fn own(&self) -> BTreeMap<ParameterId, Range<usize>> {
        let members = self.buckets.iter().flat_map(|bucket| &bucket.members);
        let mut own: BTreeMap<_, _> = members.map(|member| (member.id, 0..0)).collect();
        for bucket in &self.buckets {
            let owned = bucket.owned(self.team.rank(), self.team.ranks());
            own.extend(owned.into_iter().map(|(id, _, within)| (id, within)));
        }
        own
    }

    /// Gives every rank the weights that others stepped. With `numbers`, one a bucket, on the device of the weights.
    ///
    /// # Errors
    /// When a rank is gone.
    pub fn gather_weights(
        &self,
        model: &mut Model,
        numbers: Option<&[DeviceNumbers]>,
    ) -> Result<()> {
        if let (Some(collective), Some(numbers)) = (self.team.device_collective(), numbers) {
            for (bucket, numbers) in self.buckets.iter().zip(numbers) {
                for (id, place, within) in bucket.owned(self.team.rank(), self.team.ranks()) {
                    numbers.copy_from(place.start, model.parameters.get(id).master(), within)?;
                }
                collective.all_gather(numbers)?;
            }
            collective.wait()?;
            for (bucket, numbers) in self.buckets.iter().zip(numbers) {
                for member in &bucket.members {
                    let start = member.place.start;
                    model.parameters.put_from(member.id, numbers, start)?;
                }
            }
            return Ok(());
        }
        let mut values = Vec::new();
        for bucket in &self.buckets {
            self.gather(bucket, &mut values, |id, within, out| {
                let master = model.parameters.get(id).master().to_host()?;
                out.copy_from_slice(&master.f32()?[within]);
                Ok(())
            })?;
            for member in &bucket.members {
                let new = &values[member.place.clone()];
                model
                    .parameters
                    .update(member.id, |master| master.copy_from_slice(new))?;
            }
        }
        Ok(())
    }

    /// Numbers of all parameters, of which each rank's `own` gives those that are its own; on rank 0.
    ///
    /// # Errors
    /// When a rank is gone.
    pub fn gather_all(
        &self,
        own: &BTreeMap<ParameterId, Tensor>,
    ) -> Result<BTreeMap<ParameterId, Tensor>> {
        let (mut all, mut values) = (BTreeMap::new(), Vec::new());
        for bucket in &self.buckets {
            self.gather(bucket, &mut values, |id, _, out| {
                let own = own.get(&id).context("a rank has no moments of its part")?;
                out.copy_from_slice(own.f32()?);
                Ok(())
            })?;
            // Rank 0 writes them.
            if self.team.leads() {
                for member in &bucket.members {
                    let numbers = &values[member.place.clone()];
                    all.insert(member.id, Tensor::from_f32(&[numbers.len()], numbers)?);
                }
            }
        }
        Ok(all)
    }

    fn gather(
        &self,
        bucket: &Bucket,
        values: &mut Vec<f32>,
        own: impl Fn(ParameterId, Range<usize>, &mut [f32]) -> Result<()>,
    ) -> Result<()> {
        values.clear();
        values.resize(bucket.len(), 0.0);
        for (id, place, within) in bucket.owned(self.team.rank(), self.team.ranks()) {
            own(id, within, &mut values[place])?;
        }
        Ok(self.team.collective().all_gather(values)?)
    }
}
