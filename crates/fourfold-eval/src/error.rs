//! What can be wrong with cases to score.

use thiserror::Error;

/// Why scoring was refused.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum EvalError {
    /// The list of cases is empty, so there is no mean to take.
    #[error("nothing to score: the list is empty; give at least one case")]
    Empty,
    /// Two cases have the same id. The positions count from 1.
    #[error(
        "cases {first} and {second} have the same id \"{id}\"; give each case one id, with all its \
         references in it"
    )]
    DuplicateId {
        /// The id that both have.
        id: String,
        /// Position of the first.
        first: usize,
        /// Position of the second.
        second: usize,
    },
    /// What is right is neither yes nor no, where that is measured. The position counts from 1.
    #[error(
        "case {position} (id \"{id}\"): yes_no is for questions that are answered by yes or no, and its reference is \
         \"{reference}\""
    )]
    NotYesOrNo {
        /// The case's id.
        id: String,
        /// Its position in the list.
        position: usize,
        /// Its first reference.
        reference: String,
    },
    /// A case has nothing to be compared with. The position counts from 1.
    #[error(
        "case {position} (id \"{id}\") has no reference with text in it; add one, or leave the case \
         out"
    )]
    NoReferences {
        /// The case's id.
        id: String,
        /// Its position in the list.
        position: usize,
    },
}
