//! How gradients and weights are summed and gathered over ranks: all have to agree.

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result};
use fourfold_parallel::{Collective, part};
use fourfold_tensor::{Device, HostCollective, NcclSupport, Operation};
use serde::{Deserialize, Serialize};

use super::Team;

/// What ranks sum by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sums {
    /// In the host's memory, where all parameters lie.
    Host,
    /// Through the host's memory, and why: numbers of devices pass through it beside what the devices compute.
    Staged(String),
    /// From GPU to GPU, by this version of NCCL.
    Nccl(String),
}

/// What a rank can do.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Ability {
    Host,
    Staged(String),
    Nccl { device: String, version: String },
}

impl Ability {
    fn of(device: &Device) -> Self {
        match device.gpu().map(|gpu| gpu.nccl_support()) {
            None => Self::Host,
            Some(Err(why)) => Self::Staged(why),
            Some(Ok(NcclSupport { device, version })) => Self::Nccl { device, version },
        }
    }
}

impl Sums {
    /// What all can do: NCCL only if every rank has it, in one version, and a GPU of its own.
    fn of(all: &[Ability]) -> Self {
        let mut known: Vec<(&str, &str)> = Vec::new();
        let mut hindrance = None;
        for (rank, ability) in all.iter().enumerate() {
            let problem = match ability {
                Ability::Host => "it computes on its CPU".to_owned(),
                Ability::Staged(why) => why.clone(),
                Ability::Nccl { device, version } => {
                    let same = known.iter().position(|(known, _)| known == device);
                    let other = known.first().filter(|(_, first)| first != version);
                    match (same, other) {
                        (Some(first), _) => format!("it has the GPU of rank {first}"),
                        (None, Some((_, first))) => {
                            format!("its NCCL is {version}, that of rank 0 {first}")
                        }
                        (None, None) => {
                            known.push((device, version));
                            continue;
                        }
                    }
                }
            };
            hindrance.get_or_insert((rank, problem));
        }
        let on_host = |ability: &Ability| matches!(ability, Ability::Host);
        match (hindrance, known.first()) {
            _ if all.iter().all(on_host) => Self::Host,
            (Some((rank, problem)), _) => Self::Staged(format!("rank {rank}: {problem}")),
            (None, Some((_, version))) => Self::Nccl((*version).to_owned()),
            (None, None) => Self::Host,
        }
    }

    /// What there is to tell.
    pub fn note(&self) -> Option<String> {
        match self {
            Self::Host => None,
            Self::Staged(why) => Some(format!(
                "gradients are summed through the host's memory, without NCCL ({why})"
            )),
            Self::Nccl(version) => Some(format!(
                "gradients are summed from GPU to GPU, by NCCL {version}"
            )),
        }
    }

    /// Agrees with the other ranks of `team` on how numbers on `device` are summed; every rank has to ask.
    ///
    /// # Errors
    /// When a rank is gone or NCCL fails.
    pub fn agree(team: Team, device: &Device) -> Result<(Team, Self)> {
        if team.is_alone() {
            return Ok((team, Self::Host));
        }
        let sums = Self::of(&team.hear(Ability::of(device))?);
        let Some(gpu) = device.gpu() else {
            return Ok((team, sums));
        };
        let host = Arc::new(Host(Arc::clone(team.collective())));
        let device = match &sums {
            Self::Host | Self::Staged(_) => gpu.staged(host)?,
            Self::Nccl(_) => {
                let id = match team.leads() {
                    true => Some(gpu.nccl_id()?),
                    false => None,
                };
                let id: Vec<u8> = team.from_leader(id)?;
                gpu.nccl(host, &id)
                    .context("ranks do not meet through NCCL")?
            }
        };
        Ok((team.with_device(device), sums))
    }
}

/// What ranks do together, as devices ask for it.
struct Host(Arc<dyn Collective>);

impl HostCollective for Host {
    fn rank(&self) -> usize {
        self.0.rank()
    }

    fn ranks(&self) -> usize {
        self.0.ranks()
    }

    fn part(&self, len: usize, rank: usize) -> Range<usize> {
        part(len, rank, self.0.ranks())
    }

    fn run(&self, operation: Operation, values: &mut [f32]) -> Result<(), String> {
        let done = match operation {
            Operation::AllReduce => self.0.sum(values),
            Operation::ReduceScatter => self.0.reduce_scatter(values),
            Operation::AllGather => self.0.all_gather(values),
            Operation::Broadcast => self.0.broadcast(values),
        };
        done.map_err(|error| error.to_string())
    }

    fn check(&self) -> Result<(), String> {
        self.0.check().map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nccl(device: &str, version: &str) -> Ability {
        Ability::Nccl {
            device: device.to_owned(),
            version: version.to_owned(),
        }
    }

    #[test]
    fn nccl_is_for_ranks_that_all_have_it_and_a_gpu_each() {
        let why = "libnccl.so.2 was not found";
        let staged = |why: &str| Sums::Staged(why.to_owned());
        for (all, expected) in [
            (vec![Ability::Host, Ability::Host], Sums::Host),
            (
                vec![nccl("a", "2.27.3"), nccl("b", "2.27.3")],
                Sums::Nccl("2.27.3".to_owned()),
            ),
            (
                vec![nccl("a", "2.27.3"), nccl("a", "2.27.3")],
                staged("rank 1: it has the GPU of rank 0"),
            ),
            (
                vec![nccl("a", "2.27.3"), nccl("b", "2.21.5")],
                staged("rank 1: its NCCL is 2.21.5, that of rank 0 2.27.3"),
            ),
            (
                vec![nccl("a", "2.27.3"), Ability::Host],
                staged("rank 1: it computes on its CPU"),
            ),
            (
                vec![Ability::Staged(why.to_owned()), nccl("a", "2.27.3")],
                staged("rank 0: libnccl.so.2 was not found"),
            ),
        ] {
            let sums = Sums::of(&all);
            assert_eq!(sums, expected);
            assert_eq!(sums.note().is_none(), expected == Sums::Host);
        }
    }
}
