//! Why the work of all ranks ended, told once to whoever asks.

use std::net::{Shutdown, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{ParallelError, Result};

/// How long a broken connection waits for the reason, which comes by another.
const REASON_COMES_WITHIN: Duration = Duration::from_secs(3);

/// Shared by all that waits for other ranks in a process.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Debug, Default)]
struct State {
    reason: Option<String>,
    /// Connections that somebody may be waiting at.
    waiting: Vec<TcpStream>,
}

impl State {
    fn close(&mut self) {
        for stream in self.waiting.drain(..) {
            // That one is closed already is no harm.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Ending {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the work for `reason`, unless it has ended; whether this was the first.
    pub(crate) fn end(&self, reason: &str) -> bool {
        let mut state = self.lock();
        let first = state.reason.is_none();
        if first {
            state.reason = Some(reason.to_owned());
            state.close();
            self.told.notify_all();
        }
        first
    }

    /// Closes what this rank is waiting at: its work is done.
    pub(crate) fn close(&self) {
        self.lock().close();
    }

    /// Has `stream` closed when the work ends, so that nobody waits at it for ever.
    pub(crate) fn close_at_end(&self, stream: TcpStream) {
        let mut state = self.lock();
        match state.reason {
            Some(_) => {
                let _ = stream.shutdown(Shutdown::Both);
            }
            None => state.waiting.push(stream),
        }
    }

    /// The reason, if the work has ended.
    pub(crate) fn reason(&self) -> Option<String> {
        self.lock().reason.clone()
    }

    /// # Errors
    /// The reason, if the work has ended.
    pub(crate) fn check(&self) -> Result<()> {
        match self.reason() {
            Some(reason) => Err(ended(&reason)),
            None => Ok(()),
        }
    }

    /// The error for a connection that broke: the reason, if it is or becomes known, or else `guess`, which becomes it.
    pub(crate) fn reason_or(&self, guess: &str) -> ParallelError {
        let state = self.lock();
        let waited = self
            .told
            .wait_timeout_while(state, REASON_COMES_WITHIN, |s| s.reason.is_none());
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = &state.reason {
            return ended(reason);
        }
        drop(state);
        self.end(guess);
        ended(guess)
    }
}

fn ended(reason: &str) -> ParallelError {
    ParallelError::Ended {
        reason: reason.to_owned(),
    }
}
