//! One file of stored features: a header, then records of one length.
//!
//! A shard is appended to by the process that made it and by no other, and never again after a failure. So what a kill
//! or a full disk leaves half written is its last record and nothing follows it: it is passed over. Each record has a
//! checksum, since a power cut may leave holes and a disk may forget.
//!
//! Numbers lie in the machine's byte order, which is little-endian wherever Fourfold has kernels.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use fourfold_data::ImageKey;
use fourfold_tensor::{Precision, Tensor};
use half::{bf16, f16};

use super::about::{About, Shape};
use crate::checksum::checksum_words;

/// How a shard's name ends.
const EXTENSION: &str = "features";
const MAGIC: &[u8; 16] = b"fourfold shard 1";
/// The magic word, and the key of what the features are of.
const HEADER: usize = MAGIC.len() + 64;
/// Words of a checksum and of an image's key.
const CHECKSUM: usize = 2;
const KEY: usize = ImageKey::BYTES / 4;

impl Shape {
    fn numbers(self) -> usize {
        self.patches * self.width
    }

    fn words(self) -> usize {
        CHECKSUM + KEY + (self.numbers() * self.precision.bytes()).div_ceil(4)
    }

    /// Bytes that an image takes.
    pub fn record(self) -> u64 {
        4 * self.words() as u64
    }
}

/// The shards in `folder`, oldest first, with their numbers.
pub fn list(folder: &Path) -> io::Result<Vec<(u32, PathBuf)>> {
    let mut shards = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if let Some(number) = number(&path) {
            shards.push((number, path));
        }
    }
    shards.sort();
    Ok(shards)
}

/// Far below the largest, so that there is always a next one.
fn number(path: &Path) -> Option<u32> {
    let number = path.file_stem()?.to_str()?.parse().ok()?;
    (path.extension()? == EXTENSION && number < 1 << 30).then_some(number)
}

/// The images in the shard at `path`, and where their records begin. Records are not looked into.
///
/// # Errors
/// When it cannot be read, or is a file of something else.
pub fn scan(path: &Path, about: &About) -> Result<Vec<(ImageKey, u64)>> {
    let within = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(within)?;
    let length = file.metadata().with_context(within)?.len();
    if length < HEADER as u64 {
        // Another process has just made it, or was killed doing so.
        return Ok(Vec::new());
    }
    let mut header = [0; HEADER];
    file.read_exact(&mut header).with_context(within)?;
    let (magic, key) = header.split_at(MAGIC.len());
    ensure!(
        magic == MAGIC && key == about.key.as_bytes(),
        "{} holds no features of this encoder and these images; move it away, or remove it if it was damaged: its \
         images are then encoded anew",
        path.display()
    );
    let record = about.shape.record();
    let mut found = Vec::new();
    for place in 0..(length - HEADER as u64) / record {
        let begin = HEADER as u64 + place * record;
        let mut key = [0; ImageKey::BYTES];
        file.seek(SeekFrom::Start(begin + 4 * CHECKSUM as u64))
            .and_then(|_| file.read_exact(&mut key))
            .with_context(within)?;
        found.push((ImageKey::from_bytes(key), begin));
    }
    Ok(found)
}

/// The features of `image` in the record that begins at `begin`; nothing where the record is damaged.
pub fn read(path: &Path, begin: u64, shape: Shape, image: &ImageKey) -> Result<Option<Tensor>> {
    let within = || format!("cannot read {}", path.display());
    let mut words = vec![0u32; shape.words()];
    let mut file = File::open(path).with_context(within)?;
    let read = file
        .seek(SeekFrom::Start(begin))
        .and_then(|_| file.read_exact(bytemuck::cast_slice_mut(&mut words)));
    match read {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read.with_context(within)?,
    }
    let (sum, rest) = words.split_at(CHECKSUM);
    let (key, numbers) = rest.split_at(KEY);
    if sum != split(checksum_words(rest)) || bytemuck::cast_slice::<_, u8>(key) != image.to_bytes()
    {
        return Ok(None);
    }
    tensor(numbers, shape).map(Some)
}

/// Numbers as they lie in a record. Those of 16 bits go through f32, which holds every one of them.
fn tensor(words: &[u32], shape: Shape) -> Result<Tensor> {
    let count = shape.numbers();
    let values: Vec<f32> = match shape.precision {
        Precision::F32 => words[..count].iter().map(|w| f32::from_bits(*w)).collect(),
        Precision::Bf16 => halves(words)
            .map(|bits| bf16::from_bits(bits).to_f32())
            .take(count)
            .collect(),
        Precision::F16 => halves(words)
            .map(|bits| f16::from_bits(bits).to_f32())
            .take(count)
            .collect(),
    };
    let one = Tensor::from_f32(&[1, shape.patches, shape.width], &values)?;
    // Copied into memory of its own size: it may be kept for long.
    let copy = one.to_precision(shape.precision).unstack().pop();
    copy.context("a stack of one image is empty")
}

fn halves(words: &[u32]) -> impl Iterator<Item = u16> {
    bytemuck::cast_slice(words).iter().copied()
}

/// Adds the record of one image to `out`.
///
/// # Errors
/// When the features are of another size or format.
pub fn push(image: &ImageKey, features: &Tensor, shape: Shape, out: &mut Vec<u8>) -> Result<()> {
    ensure!(
        features.shape() == [shape.patches, shape.width] && features.precision() == shape.precision,
        "features of {:?} in {}, where {shape:?} were expected: a defect of Fourfold",
        features.shape(),
        features.precision().name()
    );
    let mut words = vec![0u32; shape.words()];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words[CHECKSUM..]);
    bytes[..ImageKey::BYTES].copy_from_slice(&image.to_bytes());
    let numbers = &mut bytes[ImageKey::BYTES..];
    let size = shape.precision.bytes();
    for (place, value) in numbers.chunks_exact_mut(size).zip(features.to_f32_vec()) {
        match shape.precision {
            Precision::F32 => place.copy_from_slice(&value.to_bits().to_ne_bytes()),
            Precision::Bf16 => place.copy_from_slice(&bf16::from_f32(value).to_ne_bytes()),
            Precision::F16 => place.copy_from_slice(&f16::from_f32(value).to_ne_bytes()),
        }
    }
    let sum = split(checksum_words(&words[CHECKSUM..]));
    words[..CHECKSUM].copy_from_slice(&sum);
    out.extend_from_slice(bytemuck::cast_slice(&words));
    Ok(())
}

fn split(sum: u64) -> [u32; CHECKSUM] {
    [sum as u32, (sum >> 32) as u32]
}

/// A new shard, this process's own.
pub struct NewShard {
    /// The file.
    pub path: PathBuf,
    file: File,
    end: u64,
}

impl NewShard {
    /// Makes the shard after the last one in `folder`; when two processes do so at once, each gets one.
    pub fn create(folder: &Path, about: &About) -> io::Result<Self> {
        let mut number = list(folder)?.last().map_or(1, |(last, _)| last + 1);
        loop {
            let path = folder.join(format!("{number:05}.{EXTENSION}"));
            match File::create_new(&path) {
                Ok(mut file) => {
                    file.write_all(&[&MAGIC[..], about.key.as_bytes()].concat())?;
                    let end = HEADER as u64;
                    return Ok(Self { path, file, end });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Appends whole records; gives the place of the first. After an error the shard must not be used again.
    pub fn append(&mut self, records: &[u8]) -> io::Result<u64> {
        self.file.write_all(records)?;
        let begin = self.end;
        self.end += records.len() as u64;
        Ok(begin)
    }
}
