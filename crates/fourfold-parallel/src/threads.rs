//! Ranks that are threads of one process.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::ending::Ending;
use crate::ring::{Link, Message, Ring};
use crate::{Alone, Collective, Result};

/// How often a waiting rank looks whether another has failed.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// `ranks` ends of a collective, the first of rank 0, each for a thread of its own.
pub fn threads(ranks: usize) -> Vec<Arc<dyn Collective>> {
    if ranks <= 1 {
        return vec![Arc::new(Alone)];
    }
    let ending = Arc::new(Ending::default());
    let (to, from): (Vec<_>, Vec<_>) = (0..ranks).map(|_| channel()).unzip();
    let ends = from.into_iter().enumerate().map(|(rank, before)| {
        let link = ThreadLink {
            rank,
            next: to[(rank + 1) % ranks].clone(),
            before: Mutex::new(before),
            ending: Arc::clone(&ending),
        };
        Arc::new(Ring { rank, ranks, link }) as Arc<dyn Collective>
    });
    ends.collect()
}

struct ThreadLink {
    rank: usize,
    next: Sender<Message>,
    before: Mutex<Receiver<Message>>,
    ending: Arc<Ending>,
}

impl ThreadLink {
    fn gone(&self) -> crate::ParallelError {
        self.ending
            .reason_or("another rank ended before its work was done")
    }
}

impl Link for ThreadLink {
    fn send(&self, message: Message) -> Result<()> {
        self.check()?;
        self.next.send(message).map_err(|_| self.gone())
    }

    fn receive(&self) -> Result<Message> {
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match before.recv_timeout(LOOK_EVERY) {
                Ok(message) => return Ok(message),
                Err(RecvTimeoutError::Timeout) => self.check()?,
                Err(RecvTimeoutError::Disconnected) => return Err(self.gone()),
            }
        }
    }

    fn check(&self) -> Result<()> {
        self.ending.check()
    }

    fn fail(&self, reason: &str) {
        self.ending
            .end(&format!("rank {} failed: {reason}", self.rank));
    }
}
