//! What can go wrong between ranks.

use std::io;

/// What kept ranks from working together.
#[derive(Debug, thiserror::Error)]
pub enum ParallelError {
    /// Another rank failed, or is gone.
    #[error("{reason}")]
    Ended {
        /// Which, and why as far as it told.
        reason: String,
    },
    /// What a launcher set makes no sense.
    #[error("{name} = '{value}' in the environment: {expected}")]
    Environment {
        /// The variable.
        name: String,
        /// What it holds.
        value: String,
        /// What was expected and what to do.
        expected: String,
    },
    /// Ranks did not find each other.
    #[error("{message}")]
    Meeting {
        /// Who waited for whom where, and what to do.
        message: String,
    },
    /// Ranks did not make the same calls: a defect, not a user's mistake.
    #[error(
        "rank {rank} received {found} where it expected {expected} from rank {from}: the ranks are not at the same place; \
         this is a defect of Fourfold, please report it"
    )]
    Apart {
        /// Who noticed.
        rank: usize,
        /// Who sent.
        from: usize,
        /// What came.
        found: String,
        /// What should have.
        expected: String,
    },
    /// The system refused.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it did not work.
        error: io::Error,
    },
}

impl ParallelError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |error| Self::Io { what, error }
    }

    pub(crate) fn meeting(message: impl Into<String>) -> Self {
        Self::Meeting {
            message: message.into(),
        }
    }
}
