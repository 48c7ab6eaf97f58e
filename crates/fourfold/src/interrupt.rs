//! Ctrl-C, or a request of the system to end: the first asks to stop, the second insists.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

use crate::output::note;

/// A flag that the first Ctrl-C, hang-up or termination signal raises; the second ends the program at once.
///
/// # Errors
/// When the system lets no handler be set.
pub fn flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = flag.clone();
    ctrlc::set_handler(move || {
        if raised.swap(true, Ordering::SeqCst) {
            note(format_args!("aborted"));
            std::process::exit(130);
        }
        note(format_args!(
            "\nstopping after the work at hand; a second Ctrl-C or signal aborts at once"
        ));
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(flag)
}
