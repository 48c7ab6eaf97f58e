//! Copies on a stream of their own, so that those of numbers that are ready do not wait for what is asked for later.

use std::sync::Mutex;

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;

use super::super::driver::{Address, Mark};
use super::lock;
use super::staging::Staging;

pub(super) struct Beside {
    stream: sys::CUstream,
    staging: Mutex<Staging>,
    /// Events that no mark uses.
    free: Mutex<Vec<sys::CUevent>>,
    /// When what was asked of the stream has run.
    done: Mutex<sys::CUevent>,
}

// SAFETY: as for `Cuda`, which has the context current before it calls; events and staging are behind locks.
unsafe impl Send for Beside {}
// SAFETY: as above.
unsafe impl Sync for Beside {}

impl Beside {
    /// # Safety
    /// A context is current, and lives longer than this, as it has to be in every other call.
    pub(super) unsafe fn new() -> Result<Self, DriverError> {
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking)?;
        Ok(Self {
            stream,
            // SAFETY: the stream is of the context that is current.
            staging: Mutex::new(unsafe { Staging::new(stream)? }),
            free: Mutex::default(),
            done: Mutex::new(event()?),
        })
    }

    /// The stream that copies run on.
    pub(super) fn stream(&self) -> sys::CUstream {
        self.stream
    }

    /// A place in what `stream`, a living one of the same context, was asked for so far.
    pub(super) fn mark(&self, stream: sys::CUstream) -> Result<Mark, DriverError> {
        let free = lock(&self.free).pop();
        let event = free.map_or_else(event, Ok)?;
        // SAFETY: event and stream live; nothing else uses the event.
        unsafe { result::event::record(event, stream)? };
        Ok(Mark(event as u64))
    }

    /// What is copied from now on waits for what comes before `mark`, which `mark` above gave and which is used once.
    pub(super) fn follow(&self, mark: Mark) -> Result<(), DriverError> {
        let event = mark.0 as sys::CUevent;
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: the event is never destroyed. It may be recorded anew: this waits for what it marks now.
        unsafe { result::stream::wait_event(self.stream, event, flags)? };
        lock(&self.free).push(event);
        Ok(())
    }

    pub(super) fn download(&self, from: Address, bytes: &mut [u8]) -> Result<(), DriverError> {
        lock(&self.staging).download(from, bytes)
    }

    pub(super) fn upload(&self, bytes: &[u8], to: Address) -> Result<(), DriverError> {
        lock(&self.staging).upload(bytes, to)
    }

    /// What `stream` is asked for from now on waits for the copies.
    pub(super) fn join(&self, stream: sys::CUstream) -> Result<(), DriverError> {
        let done = lock(&self.done);
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: event and streams live, and the event is not recorded anew between the two calls.
        unsafe {
            result::event::record(*done, self.stream)?;
            result::stream::wait_event(stream, *done, flags)
        }
    }
}

pub(super) fn event() -> Result<sys::CUevent, DriverError> {
    result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING)
}
