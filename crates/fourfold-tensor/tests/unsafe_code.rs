//! Where unsafe code is: the workspace denies it, so it is where that is allowed.

use std::fs;
use std::path::{Path, PathBuf};

/// Whether unsafe code may be in this file: in the kernels, where an operation has to do with raw memory, where
/// instruction sets are found and chosen, where a file is mapped into memory, and where devices are driven through
/// libraries that are not written in Rust.
fn is_allowed(file: &Path) -> bool {
    file.starts_with("fourfold-tensor/src/gemm")
        || (file.starts_with("fourfold-tensor/src/ops") && file.ends_with("cpu.rs"))
        || file == Path::new("fourfold-tensor/src/isa.rs")
        || file == Path::new("fourfold-tensor/src/mapped.rs")
        || file.starts_with("fourfold-tensor/src/device/cuda")
        || file == Path::new("fourfold-tensor/src/device/emulated.rs")
        || file == Path::new("fourfold-tensor/src/device/nvrtc.rs")
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn unsafe_code_is_allowed_in_the_kernels_alone() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let crates = crates.canonicalize().expect("the folder of all crates");
    let mut found = Vec::new();
    for entry in fs::read_dir(&crates).expect("readable") {
        let folder = entry.expect("readable").path();
        if !folder.is_dir() {
            continue;
        }
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("a crate");
        let manifest: Vec<&str> = manifest.lines().collect();
        assert!(
            manifest
                .windows(2)
                .any(|lines| lines == ["[lints]", "workspace = true"]),
            "{} takes over the lints of the workspace",
            folder.display()
        );
        files(&folder.join("src"), &mut found);
    }
    let (mut kernels, mut others) = (0, Vec::new());
    for file in found {
        let text = fs::read_to_string(&file).expect("readable");
        if text.contains("unsafe_code") {
            let within = file.strip_prefix(&crates).expect("found there");
            match is_allowed(within) {
                true => kernels += 1,
                false => others.push(file),
            }
        }
    }
    assert!(kernels > 0, "the kernels were looked at");
    assert!(others.is_empty(), "unsafe code is allowed in {others:?}");
}
