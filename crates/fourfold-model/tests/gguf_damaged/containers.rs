//! Files that are no whole GGUF files.

use tempfile::TempDir;

use super::builder::*;
use super::error;

#[test]
fn damaged_containers_are_refused() {
    let folder = TempDir::new().unwrap();
    let nested = (0..20).fold(array(U8, 0, &[]), |inner, _| array(ARRAY, 1, &inner));
    let whole = small().bytes();
    let cases: Vec<(Vec<u8>, &[&str])> = vec![
        (Vec::new(), &["no GGUF file"]),
        (b"GGML".repeat(20), &["no GGUF file", "llama.cpp"]),
        (whole[..6].to_vec(), &["ends within the version"]),
        (
            small().bytes_with(1, 1, 0),
            &["version 1", "2 and 3", "convert"],
        ),
        (
            small().bytes_with(3u32.swap_bytes(), 1, 0),
            &["big endian", "--bigendian"],
        ),
        (
            small().bytes_with(3, u64::MAX, 0),
            &["number of tensors", "too few"],
        ),
        (
            small().bytes_with(3, 1, 1 << 60),
            &["number of metadata pairs", "too few"],
        ),
        (
            small().pair("k", 13, &[]).bytes(),
            &["'k'", "unknown type 13"],
        ),
        (
            small().pair("k", BOOL, &[2]).bytes(),
            &["'k'", "boolean of 2"],
        ),
        (
            small().pair("k", STRING, &u64::MAX.to_le_bytes()).bytes(),
            &["'k'", "too few"],
        ),
        (
            small()
                .pair("k", STRING, &[1, 0, 0, 0, 0, 0, 0, 0, 255])
                .bytes(),
            &["'k'", "UTF-8"],
        ),
        (
            small().pair("k", ARRAY, &array(U32, 1 << 62, &[])).bytes(),
            &["'k'", "too few"],
        ),
        (
            small().pair("k", ARRAY, &array(77, 0, &[])).bytes(),
            &["'k'", "unknown type 77"],
        ),
        (
            small().pair("k", ARRAY, &nested).bytes(),
            &["'k'", "within 8 arrays"],
        ),
        (
            small().number("k", 1).number("k", 2).bytes(),
            &["'k'", "twice"],
        ),
        (
            small().number("general.alignment", 48).bytes(),
            &["general.alignment", "48", "power of two"],
        ),
        (
            small().text("general.alignment", "x").bytes(),
            &["general.alignment", "a string", "an integer"],
        ),
        (
            small().tensor("a", &[1], 0, 0).bytes(),
            &["tensor 'a'", "twice"],
        ),
        (
            small().tensor("b", &[1], 0, 4).bytes(),
            &["tensor 'b'", "no multiple of the alignment 32"],
        ),
        (
            small().tensor("b", &[8], 0, 32).bytes(),
            &["tensor 'b'", "past the end"],
        ),
        (
            small().tensor("b", &[1], 0, u64::MAX - 31).bytes(),
            &["tensor 'b'", "past the end"],
        ),
        (
            small().tensor("b", &[1 << 40], 0, 0).bytes(),
            &["tensor 'b'", "past the end"],
        ),
        (
            small().tensor("b", &[1 << 40, 1 << 40], 0, 0).bytes(),
            &["tensor 'b'", "no memory holds"],
        ),
        (
            small().tensor("b", &[4, 0], 0, 0).bytes(),
            &["tensor 'b'", "no memory holds"],
        ),
        (
            small().tensor("b", &[], 0, 0).bytes(),
            &["tensor 'b'", "0 dimensions"],
        ),
        (
            small().tensor("b", &[1; 5], 0, 0).bytes(),
            &["tensor 'b'", "5 dimensions"],
        ),
        (
            small().tensor("b", &[33], 8, 0).bytes(),
            &["tensor 'b'", "33", "Q8_0 blocks of 32"],
        ),
        (
            small().tensor("b", &[256], 23, 0).bytes(),
            &["tensor 'b'", "IQ4_XS", "Q4_K_M"],
        ),
        (
            small().tensor("b", &[1], 999, 0).bytes(),
            &["tensor 'b'", "code 999"],
        ),
    ];
    for (bytes, parts) in cases {
        let message = error(&folder, &bytes, |_| Ok(()));
        assert!(
            parts.iter().all(|part| message.contains(part)),
            "{message}: {parts:?}"
        );
    }
}
