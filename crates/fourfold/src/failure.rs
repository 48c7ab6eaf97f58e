//! How the program ends when something goes wrong.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, ErrorKind};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use anyhow::{Error, Result};
use fourfold_data::DataError;

use crate::output::note;

/// The exit code of a program that was interrupted.
const INTERRUPTED: u8 = 130;

/// Ends a command that stopped because it was told to, everything said already.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// The last panic of any thread. It is told only if it ends the program: what decoders do to damaged images
/// is caught and told as an error of that image.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Runs a command and turns what comes of it into an exit code.
pub fn guard(command: impl FnOnce() -> Result<()>) -> ExitCode {
    panic::set_hook(Box::new(remember));
    match panic::catch_unwind(AssertUnwindSafe(command)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => report(&error),
        Err(_) => {
            defect();
            ExitCode::FAILURE
        }
    }
}

fn report(error: &Error) -> ExitCode {
    // Whoever reads the output has had enough, as in `fourfold data show … | head`.
    if error.chain().any(is_broken_pipe) {
        return ExitCode::SUCCESS;
    }
    if error.is::<Interrupted>() {
        return ExitCode::from(INTERRUPTED);
    }
    note(format_args!("error: {}", chain(error)));
    if error
        .chain()
        .any(|cause| matches!(cause.downcast_ref(), Some(DataError::Loader(_))))
    {
        defect();
    }
    ExitCode::FAILURE
}

/// A message with its causes; what a cause says again is left out.
fn chain(error: &Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}\n  because: {}", cause.replace('\n', "\n  "));
        }
    }
    text
}

fn is_broken_pipe(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

fn remember(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let message = payload.downcast_ref::<&str>().map(ToString::to_string);
    let message = message.or_else(|| payload.downcast_ref::<String>().cloned());
    let place = info
        .location()
        .map_or_else(String::new, |place| format!(" at {place}"));
    let mut text = format!("{}{place}", message.unwrap_or_else(|| "no message".into()));
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        text = format!("{text}\n{trace}");
    }
    *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
}

/// Says that the program itself is at fault.
fn defect() {
    let panic = PANIC.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(panic) = panic {
        note(format_args!(
            "error: Fourfold stopped because of a defect of its own: {panic}\n\
             Please report it with this message, the command and Fourfold's version ({}); \
             RUST_BACKTRACE=1 adds where it happened.",
            env!("CARGO_PKG_VERSION")
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn causes_are_told_once() {
        let error: Result<()> = Err(anyhow::anyhow!("no such file")).context("cannot read a.toml");
        let error = error
            .context("cannot read a.toml: no such file")
            .context("in the recipe");
        let text = chain(&error.unwrap_err());
        assert_eq!(
            text,
            "in the recipe\n  because: cannot read a.toml: no such file"
        );
    }

    #[test]
    fn a_reader_who_leaves_is_no_failure() {
        let pipe = Error::from(io::Error::from(ErrorKind::BrokenPipe)).context("writing");
        assert_eq!(
            format!("{:?}", report(&pipe)),
            format!("{:?}", ExitCode::SUCCESS)
        );
        let other = Error::from(io::Error::from(ErrorKind::NotFound));
        assert_eq!(
            format!("{:?}", report(&other)),
            format!("{:?}", ExitCode::FAILURE)
        );
    }
}
