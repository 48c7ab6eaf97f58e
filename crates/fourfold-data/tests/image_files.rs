//! Image files of every colour type, held to what Pillow reads of them: `fixtures/images/make.py`.

use std::fs;
use std::path::Path;

use fourfold_data::decode_rgb;

/// How far a decoder may be from Pillow's, in levels: the most, and the mean. What is not lossy has one meaning. JPEG
/// leaves the rounding of its transforms open (444), and how colours of half the resolution are enlarged (420, 422):
/// over 76 photographs that was 6 levels at most, and 0.3 on average in the worst. Allowed is twice what these differ by.
fn tolerance(name: &str) -> (u8, f64) {
    match name {
        "444.jpg" | "rgb.jpg" | "grey.jpg" | "cmyk.jpg" | "cmyk-plain.jpg" | "ycck.jpg" => {
            (4, 0.04)
        }
        _ if name.ends_with(".jpg") => (6, 0.8),
        _ => (0, 0.0),
    }
}

#[test]
fn files_show_what_pillow_shows() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images");
    let files = fs::read_dir(folder.join("files")).expect("a folder");
    let mut names: Vec<String> = files
        .map(|file| {
            file.expect("readable")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    names.sort();
    assert_eq!(names.len(), 40);
    for name in names {
        let read = |path: String| {
            let bytes = fs::read(folder.join(&path)).expect(&path);
            decode_rgb(&bytes).unwrap_or_else(|error| panic!("{path}: {error}"))
        };
        let made = read(format!("files/{name}"));
        let expected = read(format!("decoded/{name}.png"));
        assert_eq!(made.dimensions(), expected.dimensions(), "{name}");
        let pairs = made.as_raw().iter().zip(expected.as_raw());
        let differences: Vec<u8> = pairs
            .map(|(made, expected)| made.abs_diff(*expected))
            .collect();
        let most = differences.iter().copied().max().expect("pixels");
        let sum: f64 = differences.iter().copied().map(f64::from).sum();
        let mean = sum / differences.len() as f64;
        let (allowed, on_average) = tolerance(&name);
        assert!(
            most <= allowed && mean <= on_average,
            "{name}: {most} at most, {mean:.3} on average"
        );
    }
}
