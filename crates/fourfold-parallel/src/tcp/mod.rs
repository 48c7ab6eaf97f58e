//! Ranks that are processes, on one machine or many, over TCP.
//!
//! Rank 0 waits at a place that all know ([`crate::Launch`]) and tells each where the next one is; numbers then go
//! around the ring from neighbour to neighbour. The connection to rank 0 stays open, and signs of life go over it: who
//! fails says why, who is killed falls silent, and either reaches every rank within seconds, whatever it is doing.

mod frame;
mod meeting;
#[cfg(test)]
mod tests;
mod watch;

use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::ending::Ending;
use crate::ring::{Link, Message, Ring};
use crate::{Alone, Collective, Launch, ParallelError, Result};
use watch::Watch;

/// The longest message between neighbours, in bytes: more than any model has.
const LONGEST: u64 = 1 << 42;

/// Meets the other ranks, waiting for them for at most `patience`; `tell` hears now and then who is missing.
///
/// # Errors
/// When they do not come, or are not of this job; says who waited where.
pub fn connect(
    launch: &Launch,
    patience: Duration,
    tell: &mut dyn FnMut(&str),
) -> Result<Arc<dyn Collective>> {
    if launch.ranks == 1 {
        return Ok(Arc::new(Alone));
    }
    let met = meeting::meet(launch, patience, tell)?;
    let ending = Arc::new(Ending::default());
    let close = |stream: &TcpStream| {
        let copy = stream.try_clone();
        copy.map(|copy| ending.close_at_end(copy))
            .map_err(ParallelError::io("cannot share a connection"))
    };
    close(&met.next)?;
    close(&met.before)?;
    let watch = Watch::start(launch.rank, met.control, Arc::clone(&ending))?;
    let (next, messages) = channel();
    let mut stream = met.next;
    let writer = move || write_all(&mut stream, &messages);
    let writer = thread::Builder::new()
        .name("to-next-rank".into())
        .spawn(writer)
        .map_err(ParallelError::io("cannot start a thread"))?;
    let (rank, ranks) = (launch.rank, launch.ranks);
    let link = TcpLink {
        rank,
        ranks,
        next: Some(next),
        writer: Some(writer),
        before: Mutex::new(met.before),
        ending,
        watch,
    };
    Ok(Arc::new(Ring { rank, ranks, link }))
}

/// Writes until nobody sends any more. A failure shows at the next one's end, whose silence all learn of.
fn write_all(stream: &mut TcpStream, messages: &Receiver<Message>) {
    while let Ok(message) = messages.recv() {
        if frame::write(stream, &message).is_err() {
            return;
        }
    }
}

struct TcpLink {
    rank: usize,
    ranks: usize,
    /// None only while this is dropped.
    next: Option<Sender<Message>>,
    writer: Option<JoinHandle<()>>,
    before: Mutex<TcpStream>,
    ending: Arc<Ending>,
    watch: Watch,
}

impl Drop for TcpLink {
    /// What was sent still arrives, unless the work of all has ended.
    fn drop(&mut self) {
        self.next = None;
        if let Some(writer) = self.writer.take() {
            // A panic there was reported by the thread itself.
            let _ = writer.join();
        }
        self.ending.close();
    }
}

impl Link for TcpLink {
    fn send(&self, message: Message) -> Result<()> {
        self.check()?;
        let next = (self.rank + 1) % self.ranks;
        let sent = self.next.as_ref().map(|sender| sender.send(message));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(self.ending.reason_or(&format!(
                "the connection from rank {} to rank {next} broke",
                self.rank
            ))),
        }
    }

    fn receive(&self) -> Result<Message> {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        frame::read(&mut *before, LONGEST).map_err(|error| {
            let rank = (self.rank + self.ranks - 1) % self.ranks;
            let guess = format!(
                "the connection from rank {rank} to rank {} broke: {error}",
                self.rank
            );
            self.ending.reason_or(&guess)
        })
    }

    fn check(&self) -> Result<()> {
        self.ending.check()
    }

    fn fail(&self, reason: &str) {
        let reason = format!("rank {} failed: {reason}", self.rank);
        if self.ending.reason().is_none() {
            self.watch.tell(&reason);
        }
        self.ending.end(&reason);
    }
}
