//! Who trains: this process alone, ranks within it, or processes that a launcher started.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fourfold_parallel::{Collective, Launch, connect};
use fourfold_tensor::Device;
use fourfold_train::parallel::{Ranks, Team};

use crate::machine::Machine;
use crate::output::note;

/// How long ranks wait for each other unless the environment says otherwise: a scheduler may take its time.
const PATIENCE: Duration = Duration::from_secs(600);
/// The variables that say how long, and over what.
const PATIENCE_KEY: &str = "FOURFOLD_MEETING_SECONDS";
const TRANSPORT_KEY: &str = "FOURFOLD_TRANSPORT";

/// The ranks of this run, and what those of this process compute on: ranks that the launcher's environment tells of, or
/// `here` ones in this process; without a number, one for each GPU that there is.
///
/// # Errors
/// When the environment makes no sense or contradicts `here`, the ranks do not meet, or a device cannot be used.
pub fn ranks(here: Option<u16>, machine: &Machine) -> Result<(Ranks, Vec<Device>)> {
    let launch = Launch::from_environment()?;
    let Some(launch) = launch.filter(|launch| launch.ranks > 1) else {
        let devices = machine.all_devices()?;
        let ranks = here.map_or(devices.len(), usize::from);
        return Ok((Ranks::Threads(ranks), devices));
    };
    if let Some(here) = here.filter(|here| *here > 1) {
        bail!(
            "this is rank {} of {} that were launched together, and --ranks {here} asks for more within it; leave --ranks \
             out, or start one process",
            launch.rank,
            launch.ranks
        );
    }
    let ranks = Ranks::Processes {
        team: Team::new(met(&launch)?),
        threads: share_of_cores(launch.local_ranks),
    };
    let device = machine.device_of_process(launch.local_rank);
    let device = device.inspect_err(|error| ranks.cannot_begin(error))?;
    Ok((ranks, vec![device]))
}

/// Refuses to be one of several processes that were launched together; `instead` says what trains on them.
///
/// # Errors
/// When this is one, or the environment makes no sense.
pub fn demand_alone(command: &str, instead: &str) -> Result<()> {
    match Launch::from_environment()? {
        Some(launch) if launch.ranks > 1 => bail!(
            "`{command}` is for one process, and this is rank {} of {} that were launched together; start it without the \
             launcher, or {instead}",
            launch.rank,
            launch.ranks
        ),
        _ => Ok(()),
    }
}

/// Whether `ranks` are led elsewhere: this process then says and writes nothing.
pub fn follows(ranks: &Ranks) -> bool {
    matches!(ranks, Ranks::Processes { team, .. } if !team.leads())
}

fn met(launch: &Launch) -> Result<Arc<dyn Collective>> {
    let transport = std::env::var(TRANSPORT_KEY).ok();
    match transport.as_deref() {
        None | Some("tcp" | "mpi") => {}
        Some(other) => bail!("{TRANSPORT_KEY} = '{other}' in the environment; expected tcp or mpi"),
    }
    #[cfg(feature = "mpi")]
    if transport.as_deref().unwrap_or("mpi") == "mpi" && launch.by_mpi {
        let tell = |reason: &str| note(format_args!("error: {reason}"));
        return Ok(fourfold_parallel::connect_mpi(tell)?);
    }
    if transport.as_deref() == Some("mpi") {
        bail!(
            "{TRANSPORT_KEY} = 'mpi' in the environment, but {}; leave it out to connect over TCP",
            match cfg!(feature = "mpi") {
                true => "no MPI started this process",
                false => "this program was built without the feature `mpi`",
            }
        );
    }
    let patience = match std::env::var(PATIENCE_KEY) {
        Ok(text) => text.parse().map(Duration::from_secs).with_context(|| {
            format!("{PATIENCE_KEY} = '{text}' in the environment; expected whole seconds")
        })?,
        Err(_) => PATIENCE,
    };
    let mut tell = |text: &str| note(format_args!("rank {}: {text}", launch.rank));
    Ok(connect(launch, patience, &mut tell)?)
}

/// This process's part of the machine's cores, unless its launcher bound it to some: those are its own.
fn share_of_cores(processes: usize) -> Option<usize> {
    let cores = std::thread::available_parallelism().ok()?.get();
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").ok();
    let allowed = std::fs::read_to_string("/proc/self/status").ok();
    let allowed = allowed.as_deref().and_then(|status| {
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix("Cpus_allowed_list:"));
        line.and_then(count)
    });
    let bound = match (online.as_deref().and_then(count), allowed) {
        (Some(online), Some(allowed)) => allowed < online,
        _ => false,
    };
    Some(match bound {
        true => cores,
        false => (cores / processes.max(1)).max(1),
    })
}

/// How many numbers a list such as `0-3,8` has.
fn count(list: &str) -> Option<usize> {
    let parts = list.trim().split(',').map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        Some((last + 1).saturating_sub(first))
    });
    parts.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_counted() {
        assert_eq!(count("0-3,8\n"), Some(5));
        assert_eq!(count("\t7"), Some(1));
        assert_eq!(count("all"), None);
    }
}
