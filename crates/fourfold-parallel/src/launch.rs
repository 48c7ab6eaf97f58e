//! Who this process is among others, as its launcher says in the environment.
//!
//! Three conventions are read, the first that is there: `RANK` and `WORLD_SIZE` (torchrun, most job templates of
//! Kubernetes), Open MPI's `OMPI_COMM_WORLD_*` (mpirun), and Slurm's `SLURM_PROCID` (srun).

mod hosts;

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::{ParallelError, Result};

/// Where rank 0 waits for the others if nothing says otherwise; jobs of Open MPI and Slurm have ports of their own, so
/// that two on one machine do not meet.
const PORT: u16 = 29_500;
/// The ports that jobs get by their name: below those that systems give to outgoing connections.
const PORTS_OF_JOBS: std::ops::Range<u16> = 20_000..29_000;

/// A place among ranks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// This process, from 0.
    pub rank: usize,
    /// How many there are.
    pub ranks: usize,
    /// Its place among those of its machine.
    pub local_rank: usize,
    /// How many are on its machine.
    pub local_ranks: usize,
    /// Host name or address at which rank 0 waits for the others.
    pub host: String,
    /// The port there.
    pub port: u16,
    /// Whether an MPI started it.
    pub by_mpi: bool,
}

impl Launch {
    /// What the environment of this process says; none where it was started alone.
    ///
    /// # Errors
    /// Names the variable that makes no sense.
    pub fn from_environment() -> Result<Option<Self>> {
        Self::from_variables(&|name| {
            std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
        })
    }

    /// The same for any variables.
    ///
    /// # Errors
    /// Names the variable that makes no sense.
    pub fn from_variables(get: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let variables = Variables(get);
        for read in [Self::general, Self::open_mpi, Self::slurm] {
            if let Some(launch) = read(&variables)? {
                return launch.checked(&variables).map(Some);
            }
        }
        // One of several that nobody gave a number would train alone, as would all others.
        match variables.count("WORLD_SIZE")? {
            Some(2..) => Err(variables.missing("RANK", "WORLD_SIZE")),
            _ => Ok(None),
        }
    }

    fn general(variables: &Variables<'_>) -> Result<Option<Self>> {
        let (Some(rank), ranks) = (variables.count("RANK")?, variables.count("WORLD_SIZE")?) else {
            return Ok(None);
        };
        let ranks = ranks.ok_or_else(|| variables.missing("WORLD_SIZE", "RANK"))?;
        let local_rank = variables.count("LOCAL_RANK")?.unwrap_or(0);
        let local_ranks = variables.count("LOCAL_WORLD_SIZE")?;
        Ok(Some(Self {
            rank,
            ranks,
            local_rank,
            local_ranks: local_ranks.unwrap_or(local_rank + 1),
            host: match variables.text("MASTER_ADDR") {
                Some(host) => host,
                None if ranks == 1 => LOCAL.into(),
                None => return Err(variables.missing("MASTER_ADDR", "RANK")),
            },
            port: variables.port(None)?,
            by_mpi: false,
        }))
    }

    fn open_mpi(variables: &Variables<'_>) -> Result<Option<Self>> {
        let Some(rank) = variables.count("OMPI_COMM_WORLD_RANK")? else {
            return Ok(None);
        };
        let ranks = variables.count("OMPI_COMM_WORLD_SIZE")?;
        let ranks = ranks
            .ok_or_else(|| variables.missing("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"))?;
        let local_ranks = variables.count("OMPI_COMM_WORLD_LOCAL_SIZE")?.unwrap_or(1);
        let job = ["PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid"];
        Ok(Some(Self {
            rank,
            ranks,
            local_rank: variables.count("OMPI_COMM_WORLD_LOCAL_RANK")?.unwrap_or(0),
            local_ranks,
            host: match variables.text("MASTER_ADDR") {
                Some(host) => host,
                None if local_ranks == ranks => LOCAL.into(),
                None => {
                    return Err(ParallelError::meeting(
                        "mpirun started ranks on several machines, which do not know where rank 0 is: name its machine \
                         with `mpirun -x MASTER_ADDR=HOST …`",
                    ));
                }
            },
            port: variables.port(job.iter().find_map(|name| variables.text(name)))?,
            by_mpi: true,
        }))
    }

    /// A process that srun started. What sbatch or salloc run themselves is none, though they set most of the variables.
    fn slurm(variables: &Variables<'_>) -> Result<Option<Self>> {
        let ranks = variables.count("SLURM_STEP_NUM_TASKS")?;
        let (Some(ranks @ 2..), Some(rank)) = (ranks, variables.count("SLURM_PROCID")?) else {
            return Ok(None);
        };
        let job = variables.text("SLURM_JOB_ID");
        let step = variables.text("SLURM_STEP_ID");
        let list = ["SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"];
        let first = list
            .iter()
            .find_map(|name| hosts::first(&variables.text(name)?));
        let host = variables.text("MASTER_ADDR").or(first);
        let local_rank = variables.count("SLURM_LOCALID")?.unwrap_or(0);
        Ok(Some(Self {
            rank,
            ranks,
            local_rank,
            local_ranks: variables.tasks_here()?.unwrap_or(local_rank + 1),
            host: host.ok_or_else(|| variables.missing("SLURM_STEP_NODELIST", "SLURM_PROCID"))?,
            port: variables.port(job.zip(step).map(|(job, step)| format!("{job}.{step}")))?,
            by_mpi: false,
        }))
    }

    fn checked(mut self, variables: &Variables<'_>) -> Result<Self> {
        // As addresses of IPv6 are written before a port.
        let bare = self
            .host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        if let Some(bare) = bare {
            self.host = bare.to_owned();
        }
        let inside = self.rank < self.ranks && self.local_rank < self.local_ranks;
        if inside {
            return Ok(self);
        }
        let names = [
            "RANK",
            "WORLD_SIZE",
            "LOCAL_RANK",
            "LOCAL_WORLD_SIZE",
            "OMPI_COMM_WORLD_RANK",
            "OMPI_COMM_WORLD_SIZE",
            "SLURM_PROCID",
            "SLURM_STEP_NUM_TASKS",
        ];
        let set = names
            .iter()
            .filter_map(|name| Some(format!("{name}={}", variables.text(name)?)));
        Err(ParallelError::meeting(format!(
            "the environment says rank {} of {} (on this machine {} of {}), which is not one of them: {}; start all ranks \
             with one launcher, or unset these variables to compute alone",
            self.rank,
            self.ranks,
            self.local_rank,
            self.local_ranks,
            set.collect::<Vec<_>>().join(", ")
        )))
    }
}

const LOCAL: &str = "127.0.0.1";

struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    fn text(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.trim().is_empty())
    }

    fn count(&self, name: &str) -> Result<Option<usize>> {
        let Some(value) = self.text(name) else {
            return Ok(None);
        };
        match value.trim().parse() {
            Ok(count) => Ok(Some(count)),
            Err(_) => Err(ParallelError::Environment {
                name: name.to_owned(),
                value,
                expected: "expected a whole number; unset it to compute alone".to_owned(),
            }),
        }
    }

    fn missing(&self, name: &str, because: &str) -> ParallelError {
        ParallelError::Environment {
            name: because.to_owned(),
            value: self.text(because).unwrap_or_default(),
            expected: format!(
                "expected {name} beside it; set it as the launcher should have, or unset {because} to compute alone"
            ),
        }
    }

    /// `MASTER_PORT`, or one by the name of the job.
    fn port(&self, job: Option<String>) -> Result<u16> {
        let name = "MASTER_PORT";
        match self.text(name).map(|value| (value.trim().parse(), value)) {
            Some((Ok(port @ 1..), _)) => Ok(port),
            Some((_, value)) => Err(ParallelError::Environment {
                name: name.to_owned(),
                value,
                expected: "expected a port, from 1 to 65535".to_owned(),
            }),
            None => Ok(job.map_or(PORT, |job| {
                let mut hasher = DefaultHasher::new();
                job.hash(&mut hasher);
                let ports = u64::from(PORTS_OF_JOBS.end - PORTS_OF_JOBS.start);
                PORTS_OF_JOBS.start + (hasher.finish() % ports) as u16
            })),
        }
    }

    /// Tasks on this machine, from Slurm's `4(x2),3`: machines in order, four tasks on each of two, three on the third.
    fn tasks_here(&self) -> Result<Option<usize>> {
        let name = "SLURM_STEP_TASKS_PER_NODE";
        let Some(text) = self.text(name) else {
            return self.count("SLURM_NTASKS_PER_NODE");
        };
        let node = self.count("SLURM_NODEID")?.unwrap_or(0);
        match hosts::repeated(&text, node) {
            Some(tasks) => Ok(Some(tasks)),
            None => Err(ParallelError::Environment {
                name: name.to_owned(),
                value: text,
                expected: format!("expected a number of tasks for machine {node}, as in 4(x2),3"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(variables: &[(&str, &str)]) -> Result<Option<Launch>> {
        Launch::from_variables(&|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn message(variables: &[(&str, &str)]) -> String {
        launch(variables).expect_err("makes no sense").to_string()
    }

    #[test]
    fn a_process_that_nobody_launched_is_alone() {
        assert_eq!(launch(&[]).unwrap(), None);
        // What sbatch itself runs.
        let batch = [("SLURM_PROCID", "0"), ("SLURM_NTASKS", "8")];
        assert_eq!(launch(&batch).unwrap(), None);
        assert_eq!(launch(&[("RANK", ""), ("WORLD_SIZE", "1")]).unwrap(), None);
    }

    #[test]
    fn torchrun() {
        let variables = [
            ("RANK", "3"),
            ("WORLD_SIZE", "4"),
            ("LOCAL_RANK", "1"),
            ("LOCAL_WORLD_SIZE", "2"),
            ("MASTER_ADDR", "train-0.train"),
            ("MASTER_PORT", "1234"),
            ("SLURM_PROCID", "0"),
            ("SLURM_STEP_NUM_TASKS", "2"),
        ];
        let wanted = Launch {
            rank: 3,
            ranks: 4,
            local_rank: 1,
            local_ranks: 2,
            host: "train-0.train".into(),
            port: 1234,
            by_mpi: false,
        };
        assert_eq!(launch(&variables).unwrap(), Some(wanted));
        let six = [("RANK", "1"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "[::1]")];
        assert_eq!(launch(&six).unwrap().unwrap().host, "::1");
        let kubernetes = [("RANK", "1"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "a")];
        let found = launch(&kubernetes).unwrap().unwrap();
        assert_eq!((found.local_rank, found.local_ranks), (0, 1));
        assert_eq!(found.port, PORT);
    }

    #[test]
    fn mpirun() {
        let variables = [
            ("OMPI_COMM_WORLD_RANK", "1"),
            ("OMPI_COMM_WORLD_SIZE", "2"),
            ("OMPI_COMM_WORLD_LOCAL_RANK", "1"),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", "2"),
            ("PMIX_NAMESPACE", "4242"),
        ];
        let here = launch(&variables).unwrap().unwrap();
        assert_eq!((here.rank, here.ranks), (1, 2));
        assert_eq!(here.host, "127.0.0.1");
        assert!(PORTS_OF_JOBS.contains(&here.port));
        let other = [&variables[..4], &[("PMIX_NAMESPACE", "4243")]].concat();
        assert_ne!(launch(&other).unwrap().unwrap().port, here.port);
        let far = [&variables[..3], &[("OMPI_COMM_WORLD_LOCAL_SIZE", "1")]].concat();
        let far: Vec<_> = far
            .into_iter()
            .filter(|(name, _)| *name != "OMPI_COMM_WORLD_LOCAL_RANK")
            .collect();
        assert!(message(&far).contains("-x MASTER_ADDR"));
        let told = [&far[..], &[("MASTER_ADDR", "node1")]].concat();
        assert_eq!(launch(&told).unwrap().unwrap().host, "node1");
    }

    #[test]
    fn srun() {
        let variables = [
            ("SLURM_JOB_ID", "77"),
            ("SLURM_STEP_ID", "0"),
            ("SLURM_PROCID", "5"),
            ("SLURM_STEP_NUM_TASKS", "7"),
            ("SLURM_LOCALID", "1"),
            ("SLURM_NODEID", "1"),
            ("SLURM_STEP_TASKS_PER_NODE", "4,3"),
            ("SLURM_STEP_NODELIST", "gpu[017-018]"),
        ];
        let found = launch(&variables).unwrap().unwrap();
        assert_eq!((found.rank, found.ranks), (5, 7));
        assert_eq!((found.local_rank, found.local_ranks), (1, 3));
        assert_eq!(found.host, "gpu017");
        assert!(PORTS_OF_JOBS.contains(&found.port));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let said = message(&[("RANK", "first"), ("WORLD_SIZE", "2")]);
        assert!(said.contains("RANK = 'first'"), "{said}");
        let said = message(&[("RANK", "1")]);
        assert!(said.contains("WORLD_SIZE"), "{said}");
        let said = message(&[("RANK", "1"), ("WORLD_SIZE", "2")]);
        assert!(said.contains("MASTER_ADDR"), "{said}");
        let unnumbered = [("RANK", ""), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "a")];
        let said = message(&unnumbered);
        assert!(
            said.contains("WORLD_SIZE = '2'") && said.contains("expected RANK"),
            "{said}"
        );
        let said = message(&[("RANK", "2"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "a")]);
        assert!(
            said.contains("rank 2 of 2") && said.contains("RANK=2"),
            "{said}"
        );
        let port = [("RANK", "0"), ("WORLD_SIZE", "1"), ("MASTER_PORT", "70000")];
        assert!(message(&port).contains("65535"));
    }
}
