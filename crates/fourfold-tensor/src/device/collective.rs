//! What the devices of several ranks do together: sums of f32 numbers that lie on them.
//!
//! All of it goes on beside what else a device does: it begins after what the device was asked for before, and what it is
//! asked for later waits from [`DeviceCollective::wait`] on. NVIDIA GPUs talk to each other through NCCL (`cuda/nccl.rs`);
//! any device can go through the host's memory ([`Gpu::staged`]).

use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::driver::{Mark, Peers};
use super::{Gpu, GpuBuffer};
use crate::{Precision, Result, Tensor, TensorError};

/// Something that all ranks do together, each with as many numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The numbers become their sums over all ranks.
    AllReduce,
    /// A rank's part becomes the sums; what the rest holds afterwards is not said.
    ReduceScatter,
    /// The parts of the others become what they have there.
    AllGather,
    /// The numbers become those of rank 0.
    Broadcast,
}

/// One rank's end of what the devices of all ranks do together.
///
/// Every rank has to make the same calls in the same order, with as many numbers each. Sums have the same bits on all
/// ranks.
///
/// # Errors
/// Every call fails once any rank has failed or is gone.
pub trait DeviceCollective: Send + Sync {
    /// Begins `operation` on `numbers`, in place, after what their device was asked for so far. Until [`Self::wait`] they
    /// may not be used.
    ///
    /// # Errors
    /// When a rank is gone, the device fails, or they are on their way already.
    fn start(&self, operation: Operation, numbers: &DeviceNumbers) -> Result<()>;

    /// Makes what the device is asked for from now on wait for all that was begun. The host goes on, unless numbers pass
    /// through its memory.
    ///
    /// # Errors
    /// When a rank is gone or the device fails.
    fn wait(&self) -> Result<()>;

    /// Begins to replace `numbers` by their sums over all ranks.
    ///
    /// # Errors
    /// As [`Self::start`].
    fn all_reduce(&self, numbers: &DeviceNumbers) -> Result<()> {
        self.start(Operation::AllReduce, numbers)
    }

    /// Begins to replace this rank's part of `numbers` by its sum over all ranks.
    ///
    /// # Errors
    /// As [`Self::start`].
    fn reduce_scatter(&self, numbers: &DeviceNumbers) -> Result<()> {
        self.start(Operation::ReduceScatter, numbers)
    }

    /// Begins to replace the parts of the other ranks by what they have there.
    ///
    /// # Errors
    /// As [`Self::start`].
    fn all_gather(&self, numbers: &DeviceNumbers) -> Result<()> {
        self.start(Operation::AllGather, numbers)
    }

    /// Begins to replace `numbers` by those of rank 0.
    ///
    /// # Errors
    /// As [`Self::start`].
    fn broadcast(&self, numbers: &DeviceNumbers) -> Result<()> {
        self.start(Operation::Broadcast, numbers)
    }
}

/// What ranks do together with numbers in the host's memory, and how they hear of failures; see [`Operation`]. Errors say
/// which rank failed and why.
pub trait HostCollective: Send + Sync {
    /// This rank, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn ranks(&self) -> usize;

    /// Where in `len` numbers the part of `rank` is. Parts lie end to end and differ by one number at most.
    fn part(&self, len: usize, rank: usize) -> Range<usize>;

    /// Does `operation` with `values`, in place.
    ///
    /// # Errors
    /// When a rank is gone.
    fn run(&self, operation: Operation, values: &mut [f32]) -> Result<(), String>;

    /// Whether all others are still there, as far as is known; costs nothing.
    ///
    /// # Errors
    /// When one is not.
    fn check(&self) -> Result<(), String>;
}

/// What NCCL has to know of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NcclSupport {
    /// Another one for every device of every machine.
    pub device: String,
    /// The version of the library: 2.27.3.
    pub version: String,
}

/// f32 numbers in the memory of a device that ranks work on together.
#[derive(Debug)]
pub struct DeviceNumbers {
    /// Held by whoever works on it as well.
    buffer: Arc<GpuBuffer>,
    len: usize,
}

impl DeviceNumbers {
    /// Room for `len` numbers on `gpu`, whose values are not said.
    ///
    /// # Errors
    /// When the device has no memory for them.
    pub fn new(gpu: &Arc<Gpu>, len: usize) -> Result<Self> {
        Ok(Self {
            buffer: Arc::new(GpuBuffer::reachable(gpu, len * size_of::<f32>())?),
            len,
        })
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies the numbers of `tensor` at `place`, f32 and on the same device, to those from `at` on.
    ///
    /// # Errors
    /// When they do not fit, are on their way, or the device fails.
    pub fn copy_from(&self, at: usize, tensor: &Tensor, place: Range<usize>) -> Result<()> {
        let buffer = self.beside(tensor)?;
        let bytes = place.len() * size_of::<f32>();
        let (at, from) = (at * size_of::<f32>(), place.start * size_of::<f32>());
        self.buffer.copy(at, buffer, from, bytes)
    }

    /// Copies the numbers from `at` on to all of `tensor`, f32 and on the same device. Nobody else may read it meanwhile.
    pub(crate) fn copy_to(&self, at: usize, tensor: &Tensor) -> Result<()> {
        let buffer = self.beside(tensor)?;
        buffer.copy(0, &self.buffer, at * size_of::<f32>(), buffer.bytes())
    }

    /// Sets the numbers at `place` to 0.
    ///
    /// # Errors
    /// When they are not there, are on their way, or the device fails.
    pub fn clear(&self, place: Range<usize>) -> Result<()> {
        self.demand_still()?;
        let bytes = place.len() * size_of::<f32>();
        self.buffer
            .clear_part(place.start * size_of::<f32>(), bytes)
    }

    /// What they are, when all that the device was asked for before has run.
    ///
    /// # Errors
    /// When they are on their way, or the device fails.
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        self.demand_still()?;
        let mut values = vec![0.0f32; self.len];
        self.buffer.read(0, bytemuck::cast_slice_mut(&mut values))?;
        Ok(values)
    }

    /// The memory of `tensor`, from and to which these numbers can be copied.
    fn beside<'a>(&self, tensor: &'a Tensor) -> Result<&'a GpuBuffer> {
        self.demand_still()?;
        let buffer = tensor.gpu_buffer()?;
        if Arc::ptr_eq(buffer.gpu(), self.buffer.gpu()) && tensor.precision() == Precision::F32 {
            return Ok(buffer);
        }
        Err(TensorError::shape(
            "numbers of ranks",
            format!(
                "expected f32 on {}, found {:?} on {}",
                self.buffer.gpu().label(),
                tensor.precision(),
                tensor.device()
            ),
        ))
    }

    /// Held as by whoever works on them.
    #[cfg(test)]
    pub(super) fn held(&self) -> Arc<GpuBuffer> {
        Arc::clone(&self.buffer)
    }

    /// Refuses numbers that others work on.
    fn demand_still(&self) -> Result<()> {
        match Arc::strong_count(&self.buffer) {
            1 => Ok(()),
            _ => Err(TensorError::shape(
                "numbers of ranks",
                "they are on their way between ranks; `wait` for them first",
            )),
        }
    }
}

impl Gpu {
    /// What this device does together with those of other ranks through the host's memory, by `host`. A thread makes the
    /// calls of `host`, which may make no others between [`DeviceCollective::start`] and [`DeviceCollective::wait`].
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn staged(
        self: &Arc<Self>,
        host: Arc<dyn HostCollective>,
    ) -> Result<Arc<dyn DeviceCollective>> {
        Ok(Arc::new(Staged::new(Arc::clone(self), host)?))
    }

    /// What NCCL has to know of this device, or why it cannot be used there.
    ///
    /// # Errors
    /// Says what is missing and what brings it.
    pub fn nccl_support(&self) -> Result<NcclSupport, String> {
        self.driver().nccl()
    }

    /// A new id under which ranks meet: one of them makes it, and all use it once.
    ///
    /// # Errors
    /// When NCCL is missing or fails.
    pub fn nccl_id(&self) -> Result<Vec<u8>> {
        self.check()?;
        self.driver().nccl_id()
    }

    /// What this device does together with those of other ranks through NCCL; each rank has to have another device, and
    /// all have to ask. `host` says who they are, and when one is gone.
    ///
    /// # Errors
    /// When NCCL is missing, fails, or a rank is gone.
    pub fn nccl(
        self: &Arc<Self>,
        host: Arc<dyn HostCollective>,
        id: &[u8],
    ) -> Result<Arc<dyn DeviceCollective>> {
        self.check()?;
        Ok(Arc::new(Direct {
            peers: self.driver().nccl_meet(host, id)?,
            on_their_way: Mutex::default(),
            gpu: Arc::clone(self),
        }))
    }
}

/// Through what devices have for it.
struct Direct {
    /// Goes before the device does.
    peers: Box<dyn Peers>,
    /// Kept until what the device is asked for waits for them.
    on_their_way: Mutex<Vec<Arc<GpuBuffer>>>,
    gpu: Arc<Gpu>,
}

impl DeviceCollective for Direct {
    fn start(&self, operation: Operation, numbers: &DeviceNumbers) -> Result<()> {
        self.gpu.check()?;
        numbers.demand_still()?;
        lock(&self.on_their_way).push(Arc::clone(&numbers.buffer));
        match numbers.len {
            0 => Ok(()),
            len => self.peers.start(operation, numbers.buffer.address(), len),
        }
    }

    fn wait(&self) -> Result<()> {
        self.peers.join()?;
        lock(&self.on_their_way).clear();
        Ok(())
    }
}

/// Through the host's memory.
struct Staged {
    /// None only while this is dropped.
    outgoing: Option<Sender<Job>>,
    back: Mutex<Back>,
    thread: Option<JoinHandle<()>>,
    gpu: Arc<Gpu>,
}

struct Job {
    operation: Operation,
    numbers: Arc<GpuBuffer>,
    len: usize,
    /// When they are what they have to be.
    after: Mark,
}

/// What comes back from the thread.
struct Back {
    results: Receiver<Result<()>>,
    /// How many results are still to come.
    pending: usize,
}

impl Staged {
    fn new(gpu: Arc<Gpu>, host: Arc<dyn HostCollective>) -> Result<Self> {
        let (outgoing, jobs) = channel();
        let (results_out, results) = channel();
        let device = Arc::clone(&gpu);
        let work = move || pass_on(&device, &*host, &jobs, &results_out);
        let thread = std::thread::Builder::new()
            .name("staged".into())
            .spawn(work);
        let thread = thread.map_err(|problem| {
            gpu.error(format!(
                "cannot start the thread that sums numbers: {problem}"
            ))
        })?;
        Ok(Self {
            outgoing: Some(outgoing),
            back: Mutex::new(Back {
                results,
                pending: 0,
            }),
            thread: Some(thread),
            gpu,
        })
    }
}

impl DeviceCollective for Staged {
    fn start(&self, operation: Operation, numbers: &DeviceNumbers) -> Result<()> {
        numbers.demand_still()?;
        let job = Job {
            operation,
            numbers: Arc::clone(&numbers.buffer),
            len: numbers.len,
            after: self.gpu.mark()?,
        };
        lock(&self.back).pending += 1;
        if let Some(outgoing) = &self.outgoing {
            // Where the thread has ended, what came back says so.
            let _ = outgoing.send(job);
        }
        Ok(())
    }

    fn wait(&self) -> Result<()> {
        let mut back = lock(&self.back);
        while back.pending > 0 {
            back.pending -= 1;
            let ended = || self.gpu.error("the thread that sums numbers has ended");
            back.results.recv().map_err(|_| ended())??;
        }
        self.gpu.driver().join_beside()
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        self.outgoing = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by the thread itself.
            let _ = thread.join();
        }
    }
}

/// Does what is asked for until one of it fails.
fn pass_on(
    gpu: &Gpu,
    host: &dyn HostCollective,
    jobs: &Receiver<Job>,
    results: &Sender<Result<()>>,
) {
    let mut values = Vec::new();
    while let Ok(job) = jobs.recv() {
        let result = pass(gpu, host, &job, &mut values);
        let failed = result.is_err();
        // Before anybody hears that they have come.
        drop(job);
        if results.send(result).is_err() || failed {
            return;
        }
    }
}

fn pass(gpu: &Gpu, host: &dyn HostCollective, job: &Job, values: &mut Vec<f32>) -> Result<()> {
    let own = host.part(job.len, host.rank());
    let none = 0..0;
    let (sent, changed) = match (job.operation, host.rank()) {
        (Operation::AllReduce, _) => (0..job.len, 0..job.len),
        (Operation::ReduceScatter, _) => (0..job.len, own),
        (Operation::AllGather, _) => (own, 0..job.len),
        (Operation::Broadcast, 0) => (0..job.len, none),
        (Operation::Broadcast, _) => (none, 0..job.len),
    };
    let at = |place: &Range<usize>| job.numbers.address() + (place.start * size_of::<f32>()) as u64;
    values.resize(job.len, 0.0);
    gpu.driver().follow_beside(job.after)?;
    if !sent.is_empty() {
        let bytes = bytemuck::cast_slice_mut(&mut values[sent.clone()]);
        gpu.driver().download_beside(at(&sent), bytes)?;
    }
    host.run(job.operation, values)
        .map_err(|message| TensorError::Together { message })?;
    match changed.is_empty() {
        true => Ok(()),
        false => {
            let bytes = bytemuck::cast_slice(&values[changed.clone()]);
            gpu.driver().upload_beside(bytes, at(&changed))
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
