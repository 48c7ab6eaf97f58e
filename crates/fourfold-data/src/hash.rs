//! SHA-256 of files, so that a run can say which data it saw.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::DataError;
use crate::regular::demand_file;
use crate::source::{location, remote};

/// Larger files are not read as a whole.
const WHOLE: u64 = 256 << 20;
/// What is read of them: so many pieces
const PIECES: u64 = 64;
/// of so many bytes.
const PIECE: u64 = 1 << 20;

/// What tells one content of a file from another:
///
/// - up to 256 MiB its SHA-256, in hexadecimal;
/// - of a larger one `sampled-sha256:` and the SHA-256 over its size (8 bytes, little-endian), its first MiB, its last,
///   and 62 between them at equal distances. A change that leaves the size and all of these as they were is not seen;
/// - of a URL what its store says: `size:N etag:TAG`, or `last-modified:TIME` where there is no entity tag.
///
/// # Errors
/// When the file cannot be read, or its store not be asked.
pub fn file_identity(path: &Path) -> Result<String, DataError> {
    if location::is_url(path) {
        return remote::identity(path);
    }
    let fail = |source| DataError::Io {
        action: "read",
        path: path.into(),
        source,
    };
    let size = demand_file(path)?.len();
    if size <= WHOLE {
        return sha256_file(path);
    }
    let file = std::fs::File::open(path).map_err(fail)?;
    let hash = sampled(file, size, PIECE).map_err(fail)?;
    Ok(format!("sampled-sha256:{hash}"))
}

/// SHA-256 over the size and pieces of `piece` bytes at equal distances, the first and the last among them.
fn sampled(mut file: impl Read + Seek, size: u64, piece: u64) -> io::Result<String> {
    let mut hasher = Sha256::new();
    hasher.update(size.to_le_bytes());
    let mut buffer = vec![0; piece as usize];
    for number in 0..PIECES {
        let place = u128::from(size - piece) * u128::from(number) / u128::from(PIECES - 1);
        file.seek(SeekFrom::Start(place as u64))?;
        file.read_exact(&mut buffer)?;
        hasher.update(&buffer);
    }
    Ok(hex(&hasher.finalize()))
}

/// The SHA-256 of a file's content, in lower-case hexadecimal.
pub fn sha256_file(path: &Path) -> Result<String, DataError> {
    let fail = |source| DataError::Io {
        action: "read",
        path: path.into(),
        source,
    };
    let mut file = std::fs::File::open(path).map_err(fail)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(fail)? {
            0 => return Ok(hex(&hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// The SHA-256 of some bytes, in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sampled_hash_sees_size_beginning_end_and_what_is_between() {
        let hash = |bytes: &[u8]| {
            let size = bytes.len() as u64;
            sampled(io::Cursor::new(bytes), size, 4).unwrap()
        };
        let mut bytes: Vec<u8> = (0..6304u32).map(|n| (n % 251) as u8).collect();
        let whole = hash(&bytes);
        // 64 pieces of 4 bytes begin at the multiples of 100: (6304 - 4) / 63.
        let mut expected = 6304u64.to_le_bytes().to_vec();
        for number in 0..64 {
            expected.extend_from_slice(&bytes[100 * number..100 * number + 4]);
        }
        assert_eq!(whole, sha256(&expected));
        for (place, seen) in [(0, true), (6303, true), (1203, true), (1204, false)] {
            bytes[place] ^= 1;
            assert_eq!(hash(&bytes) != whole, seen, "{place}");
            bytes[place] ^= 1;
        }
        assert_ne!(hash(&bytes[..6303]), whole);
    }

    #[test]
    fn only_large_files_are_sampled() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, b"abc").unwrap();
        assert_eq!(file_identity(file.path()).unwrap(), sha256(b"abc"));
        // A file of holes: it takes no room and reads as zeros.
        file.as_file().set_len(WHOLE + 1).unwrap();
        let sampled = file_identity(file.path()).unwrap();
        let mut expected = Sha256::new();
        expected.update((WHOLE + 1).to_le_bytes());
        expected.update(b"abc");
        expected.update(vec![0; (PIECES * PIECE - 3) as usize]);
        let expected = hex(&expected.finalize());
        assert_eq!(sampled, format!("sampled-sha256:{expected}"));
    }

    #[test]
    fn known_digest() {
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), abc);
        let file = std::env::temp_dir().join(format!("fourfold-hash-{}", std::process::id()));
        std::fs::write(&file, b"abc").unwrap();
        assert_eq!(sha256_file(&file).unwrap(), abc);
        std::fs::remove_file(&file).unwrap();
        assert!(
            sha256_file(&file)
                .unwrap_err()
                .to_string()
                .contains("fourfold-hash")
        );
    }
}
