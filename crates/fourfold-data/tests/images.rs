//! Pixels, held to those of Hugging Face's image processors with Pillow: `fixtures/images/make.py`.

use std::fs;
use std::path::{Path, PathBuf};

use fourfold_data::hash::sha256;
use fourfold_data::{Filter, Fit, ImageTransform, decode_rgb};
use serde_json::{Map, Value, json};

/// As `PHOTOS` in `make.py`.
const PHOTOS: [&str; 9] = [
    "square",
    "landscape",
    "portrait",
    "wide",
    "tall",
    "fitting",
    "tiny",
    "strip",
    "line",
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images")
}

fn read(path: impl AsRef<Path>) -> Vec<u8> {
    let path = fixtures().join(path);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn object(path: impl AsRef<Path>) -> Map<String, Value> {
    serde_json::from_slice(&read(path)).expect("an object")
}

fn transform(config: &Value) -> ImageTransform {
    ImageTransform::from_preprocessor_config(Path::new("p.json"), &config.to_string())
        .unwrap_or_else(|error| panic!("{error}"))
}

/// The names of the configurations in a folder, of which there are `count`.
fn names(folder: &str, count: usize) -> Vec<String> {
    let files = fs::read_dir(fixtures().join(folder)).expect("a folder");
    let mut names: Vec<String> = files
        .map(|file| {
            file.expect("readable")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
        .collect();
    names.sort();
    assert_eq!(names.len(), count, "{folder}");
    names
}

#[test]
fn pixels_are_those_of_transformers() {
    for name in names("configs", 16) {
        let transform = transform(&object(format!("configs/{name}.json")).into());
        demand_pixels(&name, &transform, format!("expected/{name}.png"));
    }
}

/// Whose configuration it is says the `config.json` beside it, as to AutoImageProcessor.
#[test]
fn pixels_of_unnamed_configurations_are_those_of_the_models() {
    let folders = fs::read_dir(fixtures().join("silent")).expect("a folder");
    let mut compared = 0;
    for folder in folders {
        let folder = folder.expect("readable").path();
        let name = folder.display().to_string();
        let transform = ImageTransform::from_folder(&folder);
        let transform = transform.unwrap_or_else(|error| panic!("{error}"));
        let transform = transform.unwrap_or_else(|| panic!("{name} says nothing"));
        demand_pixels(&name, &transform, folder.join("expected.png"));
        let black: Vec<f32> = serde_json::from_slice(&read(folder.join("black.json"))).expect("3");
        let pixel = ImageTransform {
            size: 1.into(),
            fit: Fit::Stretch,
            resize: None,
            ..transform
        };
        let image = ::image::RgbImage::from_pixel(1, 1, ::image::Rgb([0; 3]));
        let mut made = pixel.resize(&image).expect("resized");
        pixel.normalize(&mut made);
        assert_eq!(made.data, black, "{name}");
        compared += 1;
    }
    assert_eq!(compared, 10);
}

/// Holds what `transform` makes of each photograph to the one above the other in `expected`.
fn demand_pixels(name: &str, transform: &ImageTransform, expected: impl AsRef<Path>) {
    let (height, width) = (transform.size.height, transform.size.width);
    let expected = decode_rgb(&read(expected)).expect("a PNG");
    assert_eq!(expected.width() as usize, width, "{name}");
    assert_eq!(expected.height() as usize, PHOTOS.len() * height, "{name}");
    for (place, photo) in PHOTOS.iter().enumerate() {
        let image = decode_rgb(&read(format!("photos/{photo}.png"))).expect("a photograph");
        let made = transform.resize(&image).expect("resized");
        assert_eq!((made.height, made.width), (height, width), "{name} {photo}");
        for (at, made) in made.data.iter().enumerate() {
            let (channel, at) = (at / (height * width), at % (height * width));
            let (x, y) = (at % width, place * height + at / width);
            let expected = expected.get_pixel(x as u32, y as u32)[channel];
            // To the bit, although one level would do.
            assert_eq!(
                *made,
                f32::from(expected) / 255.0,
                "{name} {photo}: channel {channel}, column {x}, row {}",
                at / width
            );
        }
    }
}

/// To the bit as well: the same operations in the same precision.
#[test]
fn levels_are_normalized_as_by_transformers() {
    let levels = ::image::RgbImage::from_fn(256, 1, |x, _| ::image::Rgb([x as u8; 3]));
    for name in names("levels", 7) {
        let mut transform = transform(&object(format!("levels/{name}.json")).into());
        transform.size.height = 1;
        transform.resize = Some(fourfold_data::Resize::Exact(transform.size));
        let mut made = transform.resize(&levels).expect("resized");
        transform.normalize(&mut made);
        let expected = read(format!("levels/{name}.f32"));
        let (expected, _) = expected.as_chunks::<4>();
        assert_eq!(made.data.len(), expected.len(), "{name}");
        for (level, (made, expected)) in made.data.iter().zip(expected).enumerate() {
            let expected = f32::from_le_bytes(*expected);
            assert_eq!(*made, expected, "{name}: level {}", level % 256);
        }
    }
}

/// A configuration that names no more than the processor is one with all its defaults written out.
#[test]
fn silence_means_what_it_means_to_transformers() {
    let defaults = object("defaults.json");
    assert_eq!(defaults.len(), 7);
    for (kind, full) in &defaults {
        let silent = transform(&json!({ "image_processor_type": kind }));
        assert_eq!(silent, transform(full), "{kind}");
        for key in full.as_object().expect("an object").keys() {
            let mut without = full.as_object().expect("an object").clone();
            without.remove(key);
            if key != "image_processor_type" {
                assert_eq!(transform(&without.into()), silent, "{kind}: {key}");
            }
        }
    }
}

/// A `null` is no silence: a step that is null is left out, and a value that is needed is refused.
#[test]
fn null_means_what_it_means_to_transformers() {
    let read = |config: &Value| {
        let read =
            ImageTransform::from_preprocessor_config(Path::new("p.json"), &config.to_string());
        read.map_err(|error| error.to_string())
    };
    let defaults = object("defaults.json");
    for (kind, keys) in &object("nulls.json") {
        for (key, meaning) in keys.as_object().expect("an object") {
            let with = |value: Value| {
                let mut config = defaults[kind].clone();
                config[key] = value;
                read(&config)
            };
            let made = with(Value::Null);
            match meaning.as_str() {
                Some("refused") => {
                    let error = made.unwrap_err();
                    assert!(error.contains(&format!("`{key}`: is null")), "{error}");
                }
                Some("false") => assert_eq!(made, with(false.into()), "{kind}: {key}"),
                _ => assert_eq!(made, read(&defaults[kind]), "{kind}: {key}"),
            }
        }
    }
}

/// `make.py` has transformers read what is written, and finds the same pixels.
#[test]
fn what_is_written_is_read_by_transformers_and_here() {
    for name in names("configs", 16) {
        let transform = transform(&object(format!("configs/{name}.json")).into());
        let written = transform.to_preprocessor_config();
        let expected: Value = object(format!("written/{name}.json")).into();
        assert_eq!(
            written, expected,
            "{name}: put what is written into written/{name}.json and run make.py"
        );
        assert_eq!(self::transform(&written), transform, "{name}");
    }
}

/// Models were trained with these pixels, `unchanged.json` was made before there were others.
#[test]
fn trained_pixels_stay() {
    let unchanged = object("unchanged.json");
    let mut compared = 0;
    for photo in PHOTOS {
        let bytes = read(format!("photos/{photo}.png"));
        for (fit_name, fit) in [
            ("pad", Fit::Pad),
            ("stretch", Fit::Stretch),
            ("crop", Fit::Crop),
        ] {
            for (filter_name, filter) in
                [("bilinear", Filter::Bilinear), ("bicubic", Filter::Bicubic)]
            {
                for size in [33, 64] {
                    let transform = ImageTransform {
                        size: size.into(),
                        fit,
                        filter,
                        ..ImageTransform::default()
                    };
                    let made = transform.apply(&bytes).expect("pixels");
                    let raw: Vec<u8> = made.data.iter().flat_map(|v| v.to_le_bytes()).collect();
                    let key = format!("{photo} {fit_name} {filter_name} {size}");
                    assert_eq!(unchanged[&key], sha256(&raw), "{key}");
                    compared += 1;
                }
            }
        }
    }
    assert_eq!(compared, unchanged.len());
}
