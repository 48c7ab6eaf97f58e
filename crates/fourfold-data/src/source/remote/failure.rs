//! What can go wrong with a store, and what to do about it.

use std::io;
use std::path::Path;

use object_store::Error;

use super::super::location::scheme;
use crate::DataError;

/// Why a file of a store cannot be read.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is none of that name.
    Missing(String),
    /// Asking again would not help.
    Refused(String),
    /// Asking again may help.
    Broken(String),
}

impl Failure {
    /// That a store answered `error` when asked for `url`.
    pub fn of_store(url: &str, error: Error) -> Self {
        let reason = reason(&error);
        match error {
            _ if is_missing(&error) => Self::Missing(format!(
                "there is no such file in the store ({reason}); check bucket or host, and the file's name"
            )),
            Error::Unauthenticated { .. } | Error::PermissionDenied { .. } => Self::Refused(format!(
                "the store refuses access ({reason}); {}",
                keys(url)
            )),
            _ if is_whole(&error, &reason) => Self::Refused(
                "the server ignores ranges of bytes, which is how large files are read; fetch the file and give its path"
                    .into(),
            ),
            _ if reason.contains("incorrectly configured region") => Self::Refused(format!(
                "the bucket is in another region ({reason}); set AWS_REGION to it"
            )),
            // The library has asked several times already where that could help.
            _ => Self::Refused(format!(
                "cannot be fetched: {reason}; check the connection, or fetch the file and give its path"
            )),
        }
    }

    /// That an answer began well and broke off.
    pub fn of_body(url: &str, error: Error) -> Self {
        match Self::of_store(url, error) {
            Self::Refused(message) => Self::Broken(message),
            other => other,
        }
    }

    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing(_))
    }

    /// As an error of the file at `url`.
    pub fn of(self, url: &Path) -> DataError {
        DataError::file(url, self.to_string())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing(message) | Self::Refused(message) | Self::Broken(message) => {
                f.write_str(message)
            }
        }
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        Self::other(failure.to_string())
    }
}

/// Whether there is no such file. The library says the same where a server refuses to be asked for the size alone (405).
pub(super) fn is_missing(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. }) && !reason(error).contains(": 405")
}

/// Whether the whole file was the answer to a question for a part.
fn is_whole(error: &Error, reason: &str) -> bool {
    matches!(error, Error::NotSupported { .. }) || reason.contains("non-partial response")
}

/// Where the keys of a store are looked for.
fn keys(url: &str) -> &'static str {
    match scheme(url) {
        Some(("s3", _)) => {
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (`aws configure export-credentials --format env` prints \
             those of a profile), and AWS_REGION or AWS_ENDPOINT_URL where the store is not in us-east-1"
        }
        Some(("gs", _)) => {
            "set GOOGLE_APPLICATION_CREDENTIALS to a file of credentials, or run `gcloud auth application-default login`"
        }
        _ => "use a URL that needs no login, such as a signed one",
    }
}

/// The innermost cause, which is what the server or the connection said; the library's own words around it repeat the
/// URL.
fn reason(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let text = cause.to_string();
    let line = text
        .lines()
        .next()
        .unwrap_or_default()
        .trim_end_matches([':', ' ']);
    match line.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
