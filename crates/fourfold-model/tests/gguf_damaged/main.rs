//! Damaged and foreign GGUF files: refused with a message that names the place, never a panic or a huge allocation.

mod builder;
mod containers;
mod models;
mod tokenizers;

use std::fs;
use std::path::Path;

use builder::{bpe, pieces};
use fourfold_model::gguf::GgufFile;
use tempfile::TempDir;

/// Writes a file anew. Some file systems write one that is cut to nothing and filled again to the disk at once.
fn write(path: &Path, bytes: &[u8]) {
    if path.exists() {
        fs::remove_file(path).unwrap();
    }
    fs::write(path, bytes).unwrap();
}

/// Opens, and reads all there is.
fn read_all(path: &Path) -> Result<(), String> {
    let file = GgufFile::open(path).map_err(|error| error.to_string())?;
    for name in file.names() {
        file.read(name).map_err(|error| error.to_string())?;
    }
    // Each may be refused on its own.
    let tokenizer = file.tokenizer().map_err(|error| error.to_string());
    let model = file.hugging_face().map_err(|error| error.to_string());
    let tensors = model.as_ref().map_err(Clone::clone).and_then(|model| {
        let read = |name: &String| model.tensor(name).map_err(|error| error.to_string());
        model
            .names()
            .iter()
            .try_for_each(|name| read(name).map(|_| ()))
    });
    tensors.and(tokenizer.map(|_| ()))
}

/// The error of a file's bytes.
fn error(
    folder: &TempDir,
    bytes: &[u8],
    read: impl FnOnce(GgufFile) -> fourfold_model::Result<()>,
) -> String {
    let path = folder.path().join("model.gguf");
    write(&path, bytes);
    let message = match GgufFile::open(&path).and_then(read) {
        Ok(()) => panic!("was read"),
        Err(error) => error.to_string(),
    };
    assert!(message.contains("model.gguf"), "{message}");
    message
}

#[test]
fn what_the_tables_start_from_is_whole() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    for builder in [pieces(), bpe("default", &["a b"])] {
        write(&path, &builder.bytes());
        assert_eq!(read_all(&path), Ok(()));
    }
}

/// Whatever is read or refused: none of these may panic, overflow or ask for memory without bounds.
#[test]
fn no_cut_or_flipped_byte_panics() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf");
    let mut refused = 0;
    // Of a small file each byte, of larger ones one in so many.
    for (whole, step) in [
        (pieces().bytes(), 1),
        (bpe("qwen2", &["a b"]).bytes(), 1),
        (fs::read(fixtures.join("quants.gguf")).unwrap(), 11),
        (fs::read(fixtures.join("gemma3/model.gguf")).unwrap(), 211),
        (fs::read(fixtures.join("gpt2/model.gguf")).unwrap(), 211),
    ] {
        for at in (0..whole.len()).step_by(step) {
            write(&path, &whole[..at]);
            refused += usize::from(read_all(&path).is_err());
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] ^= flip;
                write(&path, &damaged);
                refused += usize::from(read_all(&path).is_err());
            }
        }
    }
    assert!(refused > 2000, "{refused} were refused");
}
