//! Copies between the host and a GPU through memory that the GPU reaches on its own.
//!
//! From other memory the driver would copy while the caller waits. Two halves take turns: one is filled while the GPU
//! reads the other.

use std::ffi::c_void;

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;

use super::super::driver::Address;

/// Bytes of a half.
const HALF: usize = 8 << 20;

/// Where an upload begins within a half.
const ALIGNMENT: usize = 64;

pub(super) struct Staging {
    stream: sys::CUstream,
    halves: [Half; 2],
    /// The half that is being filled, and how far it is.
    current: usize,
    filled: usize,
    received: *mut c_void,
}

struct Half {
    start: *mut c_void,
    /// When the GPU has read everything in it.
    read: sys::CUevent,
}

impl Staging {
    /// # Safety
    /// The context of `stream` is current, and lives longer than this.
    pub(super) unsafe fn new(stream: sys::CUstream) -> Result<Self, DriverError> {
        // SAFETY: as this function demands.
        let half = || unsafe {
            let half = Half {
                start: result::malloc_host(HALF, 0)?,
                read: result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING)?,
            };
            result::event::record(half.read, stream)?;
            Ok(half)
        };
        Ok(Self {
            stream,
            halves: [half()?, half()?],
            current: 0,
            filled: 0,
            // SAFETY: as this function demands.
            received: unsafe { result::malloc_host(HALF, 0)? },
        })
    }

    /// Sends `bytes` to `to`. They may change when this returns; that they have arrived is known to what comes later on
    /// the stream.
    pub(super) fn upload(&mut self, bytes: &[u8], to: Address) -> Result<(), DriverError> {
        let mut sent = 0;
        while sent < bytes.len() {
            if self.filled == HALF {
                self.turn()?;
            }
            let count = (bytes.len() - sent).min(HALF - self.filled);
            // SAFETY: the half has room for as many bytes behind what is filled, and the GPU has read what was there
            // before (`turn`). The bytes at `to` are the caller's to write.
            unsafe {
                let place = self.halves[self.current]
                    .start
                    .cast::<u8>()
                    .add(self.filled);
                place.copy_from_nonoverlapping(bytes[sent..].as_ptr(), count);
                let staged = std::slice::from_raw_parts(place, count);
                result::memcpy_htod_async(to + sent as Address, staged, self.stream)?;
            }
            sent += count;
            self.filled = (self.filled + count).next_multiple_of(ALIGNMENT);
        }
        Ok(())
    }

    /// Goes on to the other half, once the GPU has read it.
    fn turn(&mut self) -> Result<(), DriverError> {
        // SAFETY: the events live as long as `self`.
        unsafe {
            result::event::record(self.halves[self.current].read, self.stream)?;
            self.current = 1 - self.current;
            self.filled = 0;
            result::event::synchronize(self.halves[self.current].read)
        }
    }

    /// Waits for what lies at `from`, after everything before it on the stream.
    pub(super) fn download(&mut self, from: Address, bytes: &mut [u8]) -> Result<(), DriverError> {
        for (piece, bytes) in bytes.chunks_mut(HALF).enumerate() {
            // SAFETY: there is room for as many bytes, which nothing else uses; they are read when they have arrived.
            unsafe {
                let place = self.received.cast::<u8>();
                let received = std::slice::from_raw_parts_mut(place, bytes.len());
                let from = from + (piece * HALF) as Address;
                result::memcpy_dtoh_async(received, from, self.stream)?;
                result::stream::synchronize(self.stream)?;
                bytes.copy_from_slice(received);
            }
        }
        Ok(())
    }
}
