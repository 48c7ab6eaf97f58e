//! One file's way into the cache. It appears there whole or not at all; what has arrived before a stop is gone on
//! with.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow};
use fourfold_data::hash::sha256_file;

use super::cache::RepositoryCache;
use super::client::{Client, RemoteFile, TRIES, header};
use super::failure::{Failure, on_disk};
use super::id::HubId;
use crate::files;

/// Bytes that are written at a time.
const CHUNK: usize = 1 << 16;

/// What a download needs to know beside the file.
pub(super) struct Download<'a> {
    pub client: &'a Client<'a>,
    pub cache: &'a RepositoryCache,
    /// At the commit that is fetched.
    pub id: &'a HubId,
    /// Wait before the first new try.
    pub pause: Duration,
    /// Raised when the work is to end.
    pub stop: &'a AtomicBool,
}

impl Download<'_> {
    /// Brings the content of `file` into the cache unless it is there. `received` hears how many bytes of it are here
    /// by now.
    pub fn fetch(&self, file: &RemoteFile, received: &mut dyn FnMut(u64)) -> Result<(), Failure> {
        let blob = self.cache.blob(&file.etag);
        let Some(_lock) = self.lock(file)? else {
            return Err(self.stopped(file));
        };
        if fs::metadata(&blob).is_ok_and(|found| found.len() == file.size) {
            received(file.size);
            return Ok(());
        }
        self.cache.create_blobs().map_err(Failure::Here)?;
        let partial = self.cache.partial(&file.etag);
        self.complete(file, &partial, received)?;
        demand_content(file, &partial)?;
        let place = || -> std::io::Result<()> {
            File::options().append(true).open(&partial)?.sync_all()?;
            fs::rename(&partial, &blob)
        };
        place().map_err(|error| on_disk(error, &blob, file.size))?;
        files::sync_folder(blob.parent());
        Ok(())
    }

    /// Receives until all of it is there, or nothing more comes.
    fn complete(
        &self,
        file: &RemoteFile,
        partial: &Path,
        received: &mut dyn FnMut(u64),
    ) -> Result<(), Failure> {
        let length = || fs::metadata(partial).map_or(0, |found| found.len());
        let (mut furthest, mut idle) = (length(), 0);
        loop {
            let here = length();
            if here == file.size && partial.exists() {
                return Ok(());
            }
            let from = if here > file.size { 0 } else { here };
            let failure = match self.receive(file, partial, from, received) {
                Ok(()) => Failure::Network(format!(
                    "{} ended after {} of {} bytes",
                    file.name,
                    length(),
                    file.size
                )),
                Err(failure) if failure.passes() => failure,
                Err(failure) => return Err(failure),
            };
            let here = length();
            if here == file.size && partial.exists() {
                return Ok(());
            }
            idle = if here > furthest { 0 } else { idle + 1 };
            furthest = furthest.max(here);
            if idle == TRIES {
                return Err(failure);
            }
            std::thread::sleep(self.pause * idle);
        }
    }

    /// One request: appends to `partial` from byte `from` on.
    fn receive(
        &self,
        file: &RemoteFile,
        partial: &Path,
        from: u64,
        received: &mut dyn FnMut(u64),
    ) -> Result<(), Failure> {
        let response = self.client.open(self.id, &file.name, from)?;
        // A hub that ignores the range sends all of it.
        let range = header(response.headers(), "content-range").unwrap_or_default();
        let goes_on =
            response.status().as_u16() == 206 && range.starts_with(&format!("bytes {from}-"));
        let mut here = if goes_on { from } else { 0 };
        let fail = |error| on_disk(error, partial, file.size);
        let mut out = File::options()
            .create(true)
            .append(true)
            .open(partial)
            .map_err(fail)?;
        out.set_len(here).map_err(fail)?;
        let mut body = response.into_body().into_reader();
        let mut chunk = vec![0; CHUNK];
        received(here);
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(self.stopped(file));
            }
            let count = body
                .read(&mut chunk)
                .map_err(|error| Failure::Network(error.to_string()))?;
            if count == 0 {
                return Ok(());
            }
            here += count as u64;
            if here > file.size {
                drop(out);
                let _ = fs::remove_file(partial);
                return Err(Failure::Odd(format!(
                    "{} is longer than announced",
                    file.name
                )));
            }
            out.write_all(&chunk[..count]).map_err(fail)?;
            received(here);
        }
    }

    /// Waits until no other process fetches the same; none when told to stop.
    fn lock(&self, file: &RemoteFile) -> Result<Option<File>, Failure> {
        while !self.stop.load(Ordering::Relaxed) {
            if let Some(lock) = self.cache.lock(&file.etag).map_err(Failure::Here)? {
                return Ok(Some(lock));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(None)
    }

    fn stopped(&self, file: &RemoteFile) -> Failure {
        Failure::Here(anyhow!(
            "stopped while {} was on its way; what has arrived is kept, and the next start goes on from there",
            file.name
        ))
    }
}

/// Large files are named by their SHA-256: one that arrived damaged is thrown away.
fn demand_content(file: &RemoteFile, partial: &Path) -> Result<(), Failure> {
    let is_hash = file.etag.len() == 64 && file.etag.chars().all(|c| c.is_ascii_hexdigit());
    if !is_hash {
        return Ok(());
    }
    let hash = sha256_file(partial).map_err(|error| Failure::Here(error.into()))?;
    if hash == file.etag.to_lowercase() {
        return Ok(());
    }
    let removed = fs::remove_file(partial);
    let removed = removed.with_context(|| format!("cannot remove {}", partial.display()));
    removed.map_err(Failure::Here)?;
    Err(Failure::Here(anyhow!(
        "{} arrived damaged: its SHA-256 is {hash}, the hub says {}; start again to fetch it anew",
        file.name,
        file.etag
    )))
}
