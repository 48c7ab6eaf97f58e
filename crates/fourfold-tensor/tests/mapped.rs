//! Files as slices of bytes.

use fourfold_tensor::MappedFile;

#[test]
fn a_file_is_read_as_it_is() {
    let path = std::env::temp_dir().join(format!("fourfold-mapped-{}", std::process::id()));
    for content in [&b"four"[..], b""] {
        std::fs::write(&path, content).expect("a writable folder");
        assert_eq!(&*MappedFile::open(&path).expect("opens"), content);
    }
    std::fs::remove_file(&path).expect("it was written");
    assert!(MappedFile::open(&path).is_err());
    let folder = MappedFile::open(&std::env::temp_dir()).unwrap_err();
    assert!(folder.to_string().contains("regular file"), "{folder}");
}

/// Opening it would wait for somebody who writes to it.
#[cfg(unix)]
#[test]
fn a_pipe_is_refused_at_once() {
    let path = std::env::temp_dir().join(format!("fourfold-pipe-{}", std::process::id()));
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.expect("mkfifo").success());
    let error = MappedFile::open(&path).unwrap_err();
    std::fs::remove_file(&path).expect("it was made");
    assert!(error.to_string().contains("regular file"), "{error}");
}
