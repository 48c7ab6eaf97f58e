//! Ranks that an MPI started, over MPI's own transport (feature `mpi`).
//!
//! Numbers go around the same ring as elsewhere, so that a run gives the same bits over MPI and over TCP. That a rank is
//! killed is noticed by `mpirun`, which ends the others.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mpi::Threading;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, Destination, MatchedReceiveVec, Source};

use crate::ring::{Link, Message, Ring};
use crate::{Alone, Collective, ParallelError, Result};

/// The longest pause between two looks for a message. MPI itself would wait with a processor at work, which the
/// gradients that are computed meanwhile need.
const LONGEST_PAUSE: Duration = Duration::from_micros(200);

/// Starts MPI and joins its ranks; `tell` hears why this rank ends all, if it does, right before it does.
///
/// # Errors
/// When MPI cannot be called from several threads, or was started before.
pub fn connect_mpi(tell: fn(&str)) -> Result<Arc<dyn Collective>> {
    let (started, begun) = channel();
    let (end, ended) = channel();
    let keep = move || keep(&started, &ended);
    let keeper = thread::Builder::new()
        .name("mpi".into())
        .spawn(keep)
        .map_err(ParallelError::io("cannot start a thread"))?;
    let fail = || ParallelError::meeting("MPI ended while it started; see what it printed");
    begun.recv().map_err(|_| fail())??;
    let world = SimpleCommunicator::world();
    let (rank, ranks) = (world.rank() as usize, world.size() as usize);
    let keeper = Keeper {
        end: Some(end),
        thread: Some(keeper),
    };
    if ranks == 1 {
        return Ok(Arc::new(Alone));
    }
    let (next, messages) = channel();
    let to = ((rank + 1) % ranks) as i32;
    let writer = move || write_all(to, &messages);
    let writer = thread::Builder::new()
        .name("to-next-rank".into())
        .spawn(writer)
        .map_err(ParallelError::io("cannot start a thread"))?;
    let link = MpiLink {
        rank,
        before: ((rank + ranks - 1) % ranks) as i32,
        next: Some(next),
        writer: Some(writer),
        tell,
        _keeper: keeper,
    };
    Ok(Arc::new(Ring { rank, ranks, link }))
}

/// Starts MPI, and ends it in the same thread, as it demands.
fn keep(started: &Sender<Result<()>>, ended: &Receiver<()>) {
    let Some((universe, level)) = mpi::initialize_with_threading(Threading::Multiple) else {
        let _ = started.send(Err(ParallelError::meeting("MPI was started already")));
        return;
    };
    if level < Threading::Multiple {
        let _ = started.send(Err(ParallelError::meeting(
            "this MPI cannot be called from several threads (MPI_THREAD_MULTIPLE), which Fourfold needs; install one that \
             can, or set FOURFOLD_TRANSPORT=tcp",
        )));
        return;
    }
    let _ = started.send(Ok(()));
    // Until nobody holds the other end.
    let _ = ended.recv();
    drop(universe);
}

struct Keeper {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by the thread itself.
            let _ = thread.join();
        }
    }
}

fn write_all(to: i32, messages: &Receiver<Message>) {
    let world = SimpleCommunicator::world();
    while let Ok(message) = messages.recv() {
        let next = world.process_at_rank(to);
        next.send_with_tag(&message.bytes[..], i32::from(message.kind));
    }
}

struct MpiLink {
    rank: usize,
    before: i32,
    /// None only while this is dropped.
    next: Option<Sender<Message>>,
    writer: Option<JoinHandle<()>>,
    tell: fn(&str),
    /// Dropped after the writer has ended.
    _keeper: Keeper,
}

impl Drop for MpiLink {
    fn drop(&mut self) {
        self.next = None;
        if let Some(writer) = self.writer.take() {
            // A panic there was reported by the thread itself.
            let _ = writer.join();
        }
    }
}

impl Link for MpiLink {
    fn send(&self, message: Message) -> Result<()> {
        let sent = self.next.as_ref().map(|next| next.send(message));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(ParallelError::Ended {
                reason: format!("rank {} cannot send through MPI any more", self.rank),
            }),
        }
    }

    fn receive(&self) -> Result<Message> {
        let world = SimpleCommunicator::world();
        let before = world.process_at_rank(self.before);
        let mut pause = Duration::from_micros(1);
        loop {
            if let Some(found) = before.immediate_matched_probe() {
                let (bytes, status) = found.matched_receive_vec::<u8>();
                let kind = status.tag() as u8;
                return Ok(Message { kind, bytes });
            }
            thread::sleep(pause);
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    fn check(&self) -> Result<()> {
        // Where another fails, mpirun ends this process.
        Ok(())
    }

    fn fail(&self, reason: &str) {
        (self.tell)(&format!("rank {} failed: {reason}", self.rank));
        SimpleCommunicator::world().abort(1)
    }
}
