//! A file as a slice of bytes, without a copy of it in memory.
#![allow(unsafe_code)]

use std::fs::{File, Metadata};
use std::io;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

/// A file that is read through the system's page cache: opening it costs nothing, and memory holds only the pages that
/// are looked at, which the system may drop again.
///
/// # Contract
/// The file must not change while it is open here. Nothing can enforce that: systems have no lock that every program
/// heeds. Bytes that another program rewrites in place change under the reader, and a file that is cut short ends the
/// process (SIGBUS) at the next look behind its new end. Weight files are written under another name and then renamed,
/// by this project as by Hugging Face's tools, and a file that was renamed over or removed stays whole for who has it
/// open.
#[derive(Debug)]
pub struct MappedFile {
    map: Mmap,
}

impl MappedFile {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// What the system said of a path that cannot be opened or is no regular file.
    pub fn open(path: &Path) -> io::Result<Self> {
        // Asked before it is opened: opening a pipe waits for somebody who writes to it.
        demand_regular(&std::fs::metadata(path)?)?;
        let file = File::open(path)?;
        demand_regular(&file.metadata()?)?;
        // SAFETY: the map is read-only, private to this value and lives as long as the slices lent from it; that nobody
        // changes the file meanwhile is the contract of this type, which its callers pass on.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self { map })
    }
}

fn demand_regular(found: &Metadata) -> io::Result<()> {
    if found.is_file() {
        return Ok(());
    }
    let message = "is not a regular file";
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}
