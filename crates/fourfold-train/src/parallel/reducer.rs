//! Gradients summed over ranks while the backward pass still computes others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use fourfold_parallel::Collective;
use fourfold_tensor::{
    DeviceCollective, DeviceNumbers, Gradients, ParameterId, Parameters, TensorError,
};

use super::{Bucket, Member, Team, buckets};

/// Sums gradients over ranks, bucket by bucket, while others are computed: in a thread of its own, or on a device beside
/// what that computes.
///
/// Every rank sends the same buckets in the same order, whatever its packs are: a bucket goes when all gradients in it
/// are complete and those before it are gone.
pub struct Reducer {
    team: Team,
    buckets: Vec<Bucket>,
    /// The bucket of each parameter.
    bucket_of: BTreeMap<ParameterId, usize>,
    /// Of each bucket the parameters whose gradients are not complete yet.
    missing: Vec<usize>,
    /// The next bucket to go.
    next: usize,
    way: Way,
}

/// Where numbers are summed.
enum Way {
    /// In the host's memory, wherever gradients lie.
    Host(InThread),
    /// On the device that gradients lie on.
    Device(OnDevice),
}

struct InThread {
    /// Of each bucket its memory while it is not on its way.
    values: Vec<Vec<f32>>,
    /// None only while this is dropped.
    outgoing: Option<Sender<Job>>,
    incoming: Receiver<Result<Job>>,
    thread: Option<JoinHandle<()>>,
}

struct OnDevice {
    collective: Arc<dyn DeviceCollective>,
    scatter: bool,
    /// Of each bucket its memory.
    numbers: Vec<DeviceNumbers>,
}

struct Job {
    bucket: usize,
    values: Vec<f32>,
}

impl Reducer {
    /// For the trainable ones of `parameters`. With `scatter`, a rank gets the sums of its parts of the buckets alone.
    ///
    /// # Errors
    /// When the system gives no thread, or the device no memory.
    pub fn new(team: Team, parameters: &Parameters, scatter: bool) -> Result<Self> {
        let buckets = buckets(parameters);
        Self::with_buckets(team, parameters, scatter, buckets)
    }

    fn with_buckets(
        team: Team,
        parameters: &Parameters,
        scatter: bool,
        buckets: Vec<Bucket>,
    ) -> Result<Self> {
        let bucket_of = buckets.iter().enumerate().flat_map(|(index, bucket)| {
            bucket.members.iter().map(move |member| (member.id, index))
        });
        let way = match (parameters.device().gpu(), team.device_collective()) {
            (Some(gpu), Some(collective)) => {
                let room = buckets
                    .iter()
                    .map(|bucket| DeviceNumbers::new(gpu, bucket.len()));
                Way::Device(OnDevice {
                    collective: Arc::clone(collective),
                    scatter,
                    numbers: room.collect::<Result<_, _>>()?,
                })
            }
            _ => Way::Host(InThread::new(&team, &buckets, scatter)?),
        };
        Ok(Self {
            team,
            bucket_of: bucket_of.collect(),
            missing: vec![0; buckets.len()],
            next: 0,
            buckets,
            way,
        })
    }

    /// The memory of each bucket on the device, where they are summed there; free between updates.
    pub fn numbers(&self) -> Option<&[DeviceNumbers]> {
        match &self.way {
            Way::Host(_) => None,
            Way::Device(device) => Some(&device.numbers),
        }
    }

    /// Before the last backward pass of an update.
    pub fn begin(&mut self) {
        self.next = 0;
        let counts = self.buckets.iter().map(|bucket| bucket.members.len());
        self.missing = counts.collect();
    }

    /// The gradient of `id` will not change any more on this rank.
    ///
    /// # Errors
    /// When a device fails.
    pub fn complete(&mut self, id: ParameterId, gradients: &Gradients) -> Result<(), TensorError> {
        if let Some(bucket) = self.bucket_of.get(&id) {
            self.missing[*bucket] = self.missing[*bucket].saturating_sub(1);
        }
        while self.missing.get(self.next) == Some(&0) {
            self.send(self.next, gradients)?;
            self.next += 1;
        }
        Ok(())
    }

    /// Sends what has not gone, and puts the sums of all into `gradients`; a parameter that a gradient reached on any
    /// rank has one on all.
    ///
    /// # Errors
    /// When a rank is gone.
    pub fn finish(&mut self, gradients: &mut Gradients) -> Result<()> {
        for bucket in self.next..self.buckets.len() {
            self.send(bucket, gradients)?;
        }
        self.next = self.buckets.len();
        match &mut self.way {
            Way::Host(thread) => thread.wait()?,
            Way::Device(device) => device.collective.wait()?,
        }
        // Only now: all that the others are asked for beside is done.
        let members = self.buckets.iter().flat_map(|bucket| &bucket.members);
        let own = members.map(|member| gradients.get(member.id).is_some());
        let reached = self.team.hear(own.collect::<Vec<bool>>())?;
        let mut index = 0;
        for (bucket, members) in self.buckets.iter().enumerate() {
            for member in &members.members {
                if reached.iter().any(|rank| rank.get(index) == Some(&true)) {
                    let (id, place) = (member.id, member.place.clone());
                    match &self.way {
                        Way::Host(thread) => gradients.put(id, &thread.values[bucket][place])?,
                        Way::Device(device) => {
                            gradients.put_from(id, &device.numbers[bucket], place.start)?;
                        }
                    }
                }
                index += 1;
            }
        }
        Ok(())
    }

    fn send(&mut self, bucket: usize, gradients: &Gradients) -> Result<(), TensorError> {
        let members = &self.buckets[bucket].members;
        match &mut self.way {
            Way::Host(thread) => thread.send(bucket, members, gradients),
            Way::Device(device) => device.send(bucket, members, gradients),
        }
    }
}

impl OnDevice {
    fn send(
        &self,
        bucket: usize,
        members: &[Member],
        gradients: &Gradients,
    ) -> Result<(), TensorError> {
        let numbers = &self.numbers[bucket];
        for member in members {
            match gradients.get(member.id) {
                Some(gradient) => {
                    numbers.copy_from(member.place.start, gradient, 0..member.place.len())?;
                }
                None => numbers.clear(member.place.clone())?,
            }
        }
        match self.scatter {
            true => self.collective.reduce_scatter(numbers),
            false => self.collective.all_reduce(numbers),
        }
    }
}

impl InThread {
    fn new(team: &Team, buckets: &[Bucket], scatter: bool) -> Result<Self> {
        let (outgoing, jobs) = channel();
        let (results, incoming) = channel();
        let collective = Arc::clone(team.collective());
        let work = move || reduce(&*collective, scatter, &jobs, &results);
        let thread = std::thread::Builder::new()
            .name("reduce".into())
            .spawn(work)
            .context("cannot start the thread that sums gradients")?;
        Ok(Self {
            values: buckets
                .iter()
                .map(|bucket| vec![0.0; bucket.len()])
                .collect(),
            outgoing: Some(outgoing),
            incoming,
            thread: Some(thread),
        })
    }

    fn send(
        &mut self,
        bucket: usize,
        members: &[Member],
        gradients: &Gradients,
    ) -> Result<(), TensorError> {
        let mut values = std::mem::take(&mut self.values[bucket]);
        for member in members {
            let out = &mut values[member.place.clone()];
            if !gradients.read(member.id, out)? {
                out.fill(0.0);
            }
        }
        if let Some(outgoing) = &self.outgoing {
            // Where the thread has ended, what comes back says so.
            let _ = outgoing.send(Job { bucket, values });
        }
        Ok(())
    }

    /// Waits until all buckets are back.
    fn wait(&mut self) -> Result<()> {
        for _ in 0..self.values.len() {
            let job = self.incoming.recv();
            let job = job.context("the thread that sums gradients ended")??;
            self.values[job.bucket] = job.values;
        }
        Ok(())
    }
}

impl Drop for InThread {
    fn drop(&mut self) {
        self.outgoing = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by the thread itself.
            let _ = thread.join();
        }
    }
}

fn reduce(
    collective: &dyn Collective,
    scatter: bool,
    jobs: &Receiver<Job>,
    results: &Sender<Result<Job>>,
) {
    while let Ok(mut job) = jobs.recv() {
        let summed = match scatter {
            true => collective.reduce_scatter(&mut job.values),
            false => collective.sum(&mut job.values),
        };
        let result = summed.map(|()| job).map_err(anyhow::Error::from);
        let failed = result.is_err();
        if results.send(result).is_err() || failed {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::time::{Duration, Instant};

    use fourfold_parallel::threads;
    use fourfold_tensor::{Device, DeviceChoice, Precision, Tensor};

    use super::super::Sums;
    use super::super::buckets::{buckets_of, trainable};
    use super::*;

    fn emulated() -> Device {
        DeviceChoice::Emulated.open().expect("a C++ compiler")
    }

    /// Parameters of unlike lengths on `device`, and gradients of `rank`, which reach all but one, or all but two.
    fn gradients_of(rank: usize, device: &Device) -> (Parameters, Gradients) {
        let mut parameters = Parameters::new(Precision::F32);
        for (index, len) in [7, 100, 1, 33, 64].into_iter().enumerate() {
            let zeros = Tensor::zeros(&[len]);
            parameters.add(format!("p{index}"), zeros).expect("new");
        }
        parameters.set_trainable(|_| true);
        parameters.to_device(device).expect("room");
        let mut gradients = Gradients::new(&parameters);
        for (index, (id, parameter)) in parameters.iter().enumerate() {
            let number = |i: usize| ((i * 31 + index * 7 + rank * 13) as f32 * 0.37).sin();
            let values: Vec<f32> = (0..parameter.master().len()).map(number).collect();
            if index != 1 && (index != 3 || rank == 0) {
                gradients.put(id, &values).expect("as many");
            }
        }
        (parameters, gradients)
    }

    /// What every rank has after a sum over `ranks`, and how often numbers came back to the host amid the way back.
    fn summed(ranks: usize, scatter: bool, device: &Device) -> Vec<(Vec<Vec<f32>>, usize)> {
        let barrier = Barrier::new(ranks);
        let work = |team: Team| {
            let (parameters, mut gradients) = gradients_of(team.rank(), device);
            let (team, _) = Sums::agree(team, device).expect("all are there");
            let all = buckets_of(&trainable(&parameters), 80);
            assert_eq!(all.len(), 4);
            let reducer = Reducer::with_buckets(team.clone(), &parameters, scatter, all.clone());
            let mut reducer = reducer.expect("a thread");
            let downloads = || device.gpu().map_or(0, |gpu| gpu.downloads());
            // Twice: buckets are used again.
            let mut amid = 0;
            for again in [false, true] {
                if again {
                    (_, gradients) = gradients_of(team.rank(), device);
                }
                barrier.wait();
                let before = downloads();
                reducer.begin();
                for id in parameters.ids().collect::<Vec<_>>().into_iter().rev() {
                    reducer.complete(id, &gradients).expect("no failure");
                }
                barrier.wait();
                amid += downloads() - before;
                barrier.wait();
                reducer.finish(&mut gradients).expect("no failure");
            }
            // Where the parts of others are not said, they are left out.
            let mut own = vec![Vec::new(); 5];
            for bucket in &all {
                let whole = bucket.members.iter().map(|m| (m.id, 0..m.place.len()));
                let parts: Vec<_> = match scatter {
                    false => whole.collect(),
                    true => {
                        let owned = bucket.owned(team.rank(), ranks).into_iter();
                        owned.map(|(id, _, within)| (id, within)).collect()
                    }
                };
                for (id, place) in parts {
                    let index = parameters.ids().position(|other| other == id);
                    if let Some(gradient) = gradients.get(id) {
                        own[index.expect("known")] = gradient.to_f32_vec()[place].to_vec();
                    }
                }
            }
            (own, amid)
        };
        std::thread::scope(|scope| {
            let running: Vec<_> = threads(ranks)
                .into_iter()
                .map(|end| scope.spawn(|| work(Team::new(end))))
                .collect();
            let ends = running.into_iter().map(|rank| rank.join());
            ends.map(|end| end.expect("no panic")).collect()
        })
    }

    #[test]
    fn a_device_sums_what_the_host_sums_and_downloads_nothing_amid() {
        for ranks in [2, 3] {
            for scatter in [false, true] {
                let here = summed(ranks, scatter, &Device::Cpu);
                let there = summed(ranks, scatter, &emulated());
                for (rank, (here, there)) in here.iter().zip(&there).enumerate() {
                    assert_eq!(here.0, there.0, "{ranks} {scatter} {rank}");
                    assert_eq!(there.1, 0, "{ranks} {scatter} {rank}");
                    assert!(here.0[1].is_empty(), "no gradient reached it");
                    assert_eq!(here.0.len(), 5);
                }
                if !scatter {
                    assert!(there.iter().all(|rank| rank.0 == there[0].0));
                }
            }
        }
    }

    /// The first is done for before it has sent anything: the others wait for it, and hear why.
    #[test]
    fn a_rank_that_fails_ends_the_sums_of_the_others() {
        let device = emulated();
        let begin = Instant::now();
        let work = |team: Team| {
            let (parameters, mut gradients) = gradients_of(team.rank(), &device);
            let (team, sums) = Sums::agree(team, &device).expect("all are there");
            assert!(matches!(sums, Sums::Staged(_)), "{sums:?}");
            let mut reducer = Reducer::new(team.clone(), &parameters, false).expect("a thread");
            if team.rank() == 0 {
                std::thread::sleep(Duration::from_millis(100));
                team.collective().fail("its fan stopped");
                return;
            }
            let error = reducer.finish(&mut gradients).expect_err("one is gone");
            let message = format!("{error:#}");
            assert!(
                message.contains("rank 0 failed: its fan stopped"),
                "{message}"
            );
            let again = reducer.finish(&mut gradients).expect_err("still");
            assert!(!again.to_string().is_empty());
        };
        std::thread::scope(|scope| {
            let ends = threads(3).into_iter();
            let running: Vec<_> = ends
                .map(|end| scope.spawn(|| work(Team::new(end))))
                .collect();
            running
                .into_iter()
                .for_each(|rank| rank.join().expect("no panic"));
        });
        assert!(begin.elapsed() < Duration::from_secs(10));
    }
}
