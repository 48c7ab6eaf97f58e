//! Where ranks run, and how one's failure ends the others.

use std::thread;

use anyhow::{Context, Result};
use fourfold_parallel::threads;

use super::Team;
use crate::threads::in_pool;

/// Where the ranks of a run are.
#[derive(Clone, Debug)]
pub enum Ranks {
    /// So many threads of this process, which share its worker threads.
    Threads(usize),
    /// This process is one, the others are elsewhere.
    Processes {
        /// It, among all.
        team: Team,
        /// Worker threads of this process unless the recipe gives a number; all cores when absent.
        threads: Option<usize>,
    },
}

impl Default for Ranks {
    fn default() -> Self {
        Self::Threads(1)
    }
}

impl Ranks {
    /// Tells ranks in other processes that this one cannot begin, and why.
    pub fn cannot_begin(&self, error: &anyhow::Error) {
        if let Self::Processes { team, .. } = self {
            team.collective().fail(&format!("{error:#}"));
        }
    }
}

/// Runs `work` on every rank that is in this process, with the ranks' shares of `worker_threads`; gives what that of the
/// lowest one gave. A rank that fails tells the others why, and they fail for that reason.
///
/// # Errors
/// That of the rank.
pub(crate) fn on_every_rank<T: Send>(
    ranks: &Ranks,
    worker_threads: Option<usize>,
    first: impl FnOnce(Team) -> Result<T> + Send,
    others: impl Fn(Team) -> Result<()> + Send + Sync,
) -> Result<T> {
    match ranks {
        Ranks::Threads(0 | 1) => in_pool(worker_threads, || first(Team::default())),
        Ranks::Threads(count) => {
            let all = worker_threads.unwrap_or_else(rayon::current_num_threads);
            let share = Some((all / count).max(1));
            let mut ends = threads(*count).into_iter().map(Team::new);
            let leader = ends.next().context("no rank")?;
            thread::scope(|scope| {
                for team in ends {
                    let others = &others;
                    let work = move || alone(team, share, others);
                    let name = "rank".to_owned();
                    let spawned = thread::Builder::new().name(name).spawn_scoped(scope, work);
                    if let Err(error) = spawned {
                        let error = anyhow::Error::from(error).context("cannot start a rank");
                        leader.collective().fail(&format!("{error:#}"));
                        return Err(error);
                    }
                }
                alone(leader, share, first)
            })
        }
        Ranks::Processes { team, threads } => {
            alone(team.clone(), worker_threads.or(*threads), first)
        }
    }
}

/// Runs the work of one rank; its failure is all ranks'.
fn alone<T: Send>(
    team: Team,
    worker_threads: Option<usize>,
    work: impl FnOnce(Team) -> Result<T> + Send,
) -> Result<T> {
    let _told = ToldOnPanic(team.clone());
    let own = team.clone();
    let result = in_pool(worker_threads, move || work(own));
    if let Err(error) = &result {
        // Where another failed before, its reason stays.
        team.collective().fail(&format!("{error:#}"));
    }
    result
}

struct ToldOnPanic(Team);

impl Drop for ToldOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0
                .collective()
                .fail("it panicked, which is a defect of Fourfold; see what it printed");
        }
    }
}
