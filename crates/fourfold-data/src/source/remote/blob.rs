//! A file of a store as bytes at any place.

use std::future::Future;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use object_store::{GetOptions, GetRange, ObjectMeta};

use super::super::blob::Blob;
use super::super::location;
use super::chunks::{Chunks, Key};
use super::failure::Failure;
use super::store::{Place, runtime, wait};

/// What is fetched at once for those who read on.
const CHUNK: usize = 4 << 20;
/// What is fetched at once for those who read here and there: what belongs to a sample lies close together.
const PAGE: usize = 256 << 10;
/// Longer reads are fetched as they are, and not kept.
const LONG: usize = 2 * PAGE;
/// How often an answer that breaks off is asked for.
const TRIES: u32 = 4;

/// A file, with what its store said about it when it was opened.
pub(super) struct RemoteBlob {
    name: String,
    remote: Arc<Remote>,
}

struct Remote {
    /// Tells files apart.
    number: u64,
    url: String,
    place: Place,
    about: ObjectMeta,
}

impl RemoteBlob {
    pub fn new(url: &str, place: Place, about: ObjectMeta) -> Self {
        static OPENED: AtomicU64 = AtomicU64::new(0);
        let remote = Remote {
            number: OPENED.fetch_add(1, Ordering::Relaxed),
            url: url.to_owned(),
            place,
            about,
        };
        Self {
            name: location::name(url.as_ref()),
            remote: Arc::new(remote),
        }
    }
}

impl Remote {
    fn size(&self) -> u64 {
        self.about.size
    }

    fn key(&self, start: u64, length: usize) -> Key {
        (self.number, start, length)
    }

    /// A range of bytes, asked for anew where an answer breaks off.
    async fn fetch(&self, range: Range<u64>) -> Result<Bytes, Failure> {
        persistent(|| async {
            let options = GetOptions {
                range: Some(GetRange::Bounded(range.clone())),
                ..GetOptions::default()
            };
            let found = self.place.store.get_opts(&self.place.path, options).await;
            let found = found.map_err(|error| Failure::of_store(&self.url, error))?;
            let tags = (&self.about.e_tag, &found.meta.e_tag);
            let other = matches!(tags, (Some(then), Some(now)) if then != now);
            if other || found.meta.size != self.size() {
                let message = "it changed in the store while it was read; begin anew";
                return Err(Failure::Refused(message.into()));
            }
            let bytes = found.bytes().await;
            let bytes = bytes.map_err(|error| Failure::of_body(&self.url, error))?;
            let (got, expected) = (bytes.len() as u64, range.end - range.start);
            match got == expected {
                true => Ok(bytes),
                false => Err(Failure::Broken(format!(
                    "the server sent {got} bytes where {expected} were asked for"
                ))),
            }
        })
        .await
    }

    /// The piece of `length` bytes, or what the file has of it, that begins at `start`, a multiple of that.
    async fn piece(self: Arc<Self>, start: u64, length: usize) -> Result<Bytes, Failure> {
        let range = start..(start + length as u64).min(self.size());
        let fetch = || self.fetch(range);
        Chunks::all().get(self.key(start, length), fetch).await
    }

    /// Fills `buffer` from pieces of `length` bytes, all of them asked for at once.
    fn fill(self: &Arc<Self>, start: u64, buffer: &mut [u8], length: usize) -> Result<(), Failure> {
        let end = start + buffer.len() as u64;
        let first = start - start % length as u64;
        let starts = (first..end).step_by(length);
        let pieces: Vec<_> = starts
            .map(|start| {
                (
                    start,
                    runtime().spawn(Arc::clone(self).piece(start, length)),
                )
            })
            .collect();
        for (place, piece) in pieces {
            let piece = wait(piece).map_err(|error| Failure::Broken(error.to_string()))??;
            let from = start.max(place);
            let to = end.min(place + piece.len() as u64);
            let target = (from - start) as usize..(to - start) as usize;
            let source = (from - place) as usize..(to - place) as usize;
            buffer[target].copy_from_slice(&piece[source]);
        }
        Ok(())
    }

    /// Fills `buffer` if the chunk that it lies in is here.
    fn fill_ready(&self, start: u64, buffer: &mut [u8]) -> bool {
        let place = start - start % CHUNK as u64;
        let Some(chunk) = Chunks::all().ready(self.key(place, CHUNK)) else {
            return false;
        };
        let from = (start - place) as usize;
        match chunk.get(from..from + buffer.len()) {
            Some(bytes) => {
                buffer.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }

    /// Has the chunk after that at `place` fetched, for who has read the one before: it is read from the beginning to
    /// the end.
    fn look_ahead(self: &Arc<Self>, place: u64) {
        let (chunks, next) = (Chunks::all(), place + CHUNK as u64);
        let read_before = place
            .checked_sub(CHUNK as u64)
            .is_some_and(|before| chunks.knows(self.key(before, CHUNK)));
        if read_before && next < self.size() && !chunks.knows(self.key(next, CHUNK)) {
            // Who comes to it and does not find it asks again, and is told what is wrong.
            runtime().spawn(Arc::clone(self).piece(next, CHUNK));
        }
    }

    fn demand_within(&self, start: u64, length: usize) -> io::Result<()> {
        let end = start.checked_add(length as u64);
        match end.is_some_and(|end| end <= self.size()) {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Blob for RemoteBlob {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.remote.size()
    }

    fn read_at(&self, start: u64, buffer: &mut [u8]) -> io::Result<()> {
        let remote = &self.remote;
        remote.demand_within(start, buffer.len())?;
        if buffer.is_empty() || remote.fill_ready(start, buffer) {
            return Ok(());
        }
        if remote.size() <= CHUNK as u64 {
            return Ok(remote.fill(start, buffer, CHUNK)?);
        }
        if buffer.len() < LONG {
            return Ok(remote.fill(start, buffer, PAGE)?);
        }
        let bytes = wait(remote.fetch(start..start + buffer.len() as u64))?;
        buffer.copy_from_slice(&bytes);
        Ok(())
    }

    fn read_on(&self, start: u64, buffer: &mut [u8]) -> io::Result<()> {
        let remote = &self.remote;
        remote.demand_within(start, buffer.len())?;
        if buffer.is_empty() {
            return Ok(());
        }
        remote.look_ahead(start - start % CHUNK as u64);
        match remote.fill_ready(start, buffer) {
            true => Ok(()),
            false => Ok(remote.fill(start, buffer, CHUNK)?),
        }
    }
}

/// Tries `ask` again, after a while, as long as its answers break off.
pub(super) async fn persistent<T, F: Future<Output = Result<T, Failure>>>(
    ask: impl Fn() -> F,
) -> Result<T, Failure> {
    let mut tried = 0;
    loop {
        match ask().await {
            Err(Failure::Broken(_)) if tried + 1 < TRIES => {
                tokio::time::sleep(Duration::from_millis(100 << (2 * tried))).await;
                tried += 1;
            }
            answer => return answer,
        }
    }
}
