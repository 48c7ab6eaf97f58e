//! Files as bytes that are read at any place, by several threads at once.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use super::{location, remote};
use crate::DataError;
use crate::regular::demand_file;

/// A file, wherever its bytes are.
pub trait Blob: Send + Sync {
    /// The file's name, for messages.
    fn name(&self) -> &str;

    /// How many bytes it has.
    fn len(&self) -> u64;

    /// Whether it has none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buffer` with the bytes from `start` on.
    ///
    /// # Errors
    /// When the file ends before, or cannot be read.
    fn read_at(&self, start: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// As [`Blob::read_at`], for who will read on from there: of a file that is far away, more is fetched than asked for.
    ///
    /// # Errors
    /// As [`Blob::read_at`].
    fn read_on(&self, start: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_at(start, buffer)
    }
}

/// A file of this machine.
struct FileBlob {
    name: String,
    file: File,
    length: u64,
}

impl Blob for FileBlob {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.length
    }

    #[cfg(unix)]
    fn read_at(&self, start: u64, buffer: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, buffer, start)
    }

    #[cfg(windows)]
    fn read_at(&self, mut start: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(&self.file, buffer, start)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => {
                    buffer = &mut buffer[count..];
                    start += count as u64;
                }
            }
        }
        Ok(())
    }
}

impl FileBlob {
    fn open(path: &Path) -> Result<Self, DataError> {
        let about = demand_file(path)?;
        let file = File::open(path).map_err(|source| DataError::Io {
            action: "read",
            path: path.into(),
            source,
        })?;
        Ok(Self {
            name: location::name(path),
            file,
            length: about.len(),
        })
    }
}

/// Opens a file, here or in a store; what is compressed with gzip or zstd is unpacked, since rows are read at any place. What it unpacks to
/// lies in a nameless temporary file, gone with the last that reads it.
///
/// # Errors
/// Names the file that cannot be read or unpacked.
pub fn open(path: &Path) -> Result<Arc<dyn Blob>, DataError> {
    let plain: Arc<dyn Blob> = match location::is_url(path) {
        true => remote::open(path)?,
        false => Arc::new(FileBlob::open(path)?),
    };
    let mut start = [0; 4];
    let known = plain.len().min(4) as usize;
    plain
        .read_at(0, &mut start[..known])
        .map_err(|source| DataError::Io {
            action: "read",
            path: path.into(),
            source,
        })?;
    let packed = || BufReader::with_capacity(1 << 18, BlobReader::new(Arc::clone(&plain), 0));
    let unpacked = match start {
        [0x1f, 0x8b, ..] => spool(plain.name(), flate2::bufread::MultiGzDecoder::new(packed())),
        [0x28, 0xb5, 0x2f, 0xfd] => zstd::stream::read::Decoder::with_buffer(packed())
            .and_then(|content| spool(plain.name(), content)),
        _ => return Ok(plain),
    };
    let unpacked = unpacked.map_err(|error| {
        // Errors of the system are of the temporary file; of those who unpack, of what they read.
        let remedy = match error.raw_os_error() {
            Some(_) => "what it unpacks to goes to the folder that TMPDIR names, which has to exist and have room for it",
            None => "fetch it anew, or unpack it by hand",
        };
        let message = format!("cannot be unpacked: {error}; {remedy}");
        DataError::file(path, message)
    })?;
    Ok(Arc::new(unpacked))
}

/// A nameless temporary file that holds what `content` gives.
fn spool(name: &str, mut content: impl Read) -> io::Result<FileBlob> {
    let mut spool = Spool::new()?;
    io::copy(&mut content, &mut spool.file)?;
    spool.finish(name)
}

/// A temporary file that is written from beginning to end, then read at any place. It is in the system's temporary
/// folder (`TMPDIR`), has no name there, and is gone with its last reader.
pub(super) struct Spool {
    file: io::BufWriter<File>,
}

impl Spool {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            file: io::BufWriter::new(tempfile::tempfile()?),
        })
    }

    fn finish(self, name: &str) -> io::Result<FileBlob> {
        let file = self
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        let length = file.metadata()?.len();
        Ok(FileBlob {
            name: name.into(),
            file,
            length,
        })
    }

    /// What was written, called `name`.
    pub(super) fn into_blob(self, name: &str) -> io::Result<Arc<dyn Blob>> {
        Ok(Arc::new(self.finish(name)?))
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A blob as a stream.
pub(super) struct BlobReader {
    blob: Arc<dyn Blob>,
    place: u64,
}

impl BlobReader {
    pub(super) fn new(blob: Arc<dyn Blob>, place: u64) -> Self {
        Self { blob, place }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.blob.len().saturating_sub(self.place);
        let count = left.min(buffer.len() as u64) as usize;
        self.blob.read_on(self.place, &mut buffer[..count])?;
        self.place += count as u64;
        Ok(count)
    }
}

impl Seek for BlobReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::End(offset) => self.blob.len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.place.checked_add_signed(offset),
        };
        let before = "a place before the file's beginning";
        self.place = place.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, before))?;
        Ok(self.place)
    }
}
