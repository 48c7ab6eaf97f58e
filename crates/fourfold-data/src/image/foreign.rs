//! What bytes are that are no image: what a download leaves in place of one, and formats that are not read.

/// What a file begins with, and what to call it.
const STARTS: [(&[u8], &str); 12] = [
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"\xff\x0a", "a JPEG XL"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"8BPS", "a Photoshop file"),
    (b"\0\0\x01\0", "an icon (ICO)"),
    (
        b"version https://git-lfs",
        "a pointer of Git LFS (fetch the files with `git lfs pull`)",
    ),
    (b"{", "JSON"),
];

/// What `bytes` are, as far as their beginning tells.
pub(super) fn name(bytes: &[u8]) -> Option<&'static str> {
    if let Some((_, name)) = STARTS.iter().find(|(start, _)| bytes.starts_with(start)) {
        return Some(name);
    }
    // ISO media files have their brand after a length and "ftyp".
    match bytes.get(4..12) {
        Some(b"ftypavif" | b"ftypavis") => return Some("an AVIF"),
        Some(b"ftypheic" | b"ftypheix" | b"ftypmif1" | b"ftypmsf1") => return Some("a HEIC"),
        Some([b'f', b't', b'y', b'p', ..]) => return Some("a film (MP4)"),
        _ => {}
    }
    markup(bytes)
}

/// HTML, SVG and XML, whatever stands before their first element.
fn markup(bytes: &[u8]) -> Option<&'static str> {
    let start = &bytes[..bytes.len().min(1024)];
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    let start = start.trim_ascii_start().to_ascii_lowercase();
    if !start.starts_with(b"<") {
        return None;
    }
    let has = |word: &[u8]| start.windows(word.len()).position(|part| part == word);
    match (has(b"<svg"), has(b"<!doctype html").or(has(b"<html"))) {
        // HTML may have drawings in it, and a drawing HTML.
        (Some(svg), Some(html)) if svg < html => Some("an SVG drawing"),
        (_, Some(_)) => Some("HTML"),
        (Some(_), None) => Some("an SVG drawing"),
        (None, None) => Some("XML"),
    }
}
