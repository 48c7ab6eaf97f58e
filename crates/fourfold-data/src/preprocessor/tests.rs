use serde_json::json;

use std::fs;

use super::*;
use crate::{Background, Filter, Fit, Resize, Size};

fn read(value: &Value) -> Result<ImageTransform, DataError> {
    ImageTransform::from_preprocessor_config(Path::new("p.json"), &value.to_string())
}

#[test]
fn what_is_written_reads_back() {
    let rectangle = Size {
        height: 48,
        width: 64,
    };
    let within = Resize::Within {
        shortest: 50,
        longest: 90,
    };
    let resizes = [
        Resize::Shortest(64),
        within,
        Resize::Exact(rectangle),
        Resize::Exact(64.into()),
        Resize::Never,
    ];
    let mut shapes = vec![];
    for size in [rectangle, 64.into()] {
        for background in [
            Background::White,
            Background::Mean,
            Background::Color([1, 2, 3]),
        ] {
            shapes.push((size, Fit::Pad, None, background));
            for resize in resizes {
                shapes.push((size, Fit::Square, Some(resize), background));
            }
        }
        shapes.push((size, Fit::Stretch, None, Background::White));
        shapes.push((size, Fit::Crop, None, Background::White));
        for resize in resizes {
            shapes.push((size, Fit::Center, Some(resize), Background::White));
        }
    }
    for (index, (size, fit, resize, background)) in shapes.into_iter().enumerate() {
        let transform = ImageTransform {
            size,
            mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
            rescale: [1.0 / 255.0, 1.0 / 127.5, 1.0][index % 3],
            fit,
            resize,
            background,
            filter: Filter::ALL[index % 6],
        };
        transform.check().unwrap();
        let config = transform.to_preprocessor_config();
        assert_eq!(read(&config).unwrap(), transform, "{config}");
        let mean = config["image_mean"][0].as_f64().unwrap();
        assert_eq!(mean as f32, transform.mean[0]);
    }
}

#[test]
fn a_kind_that_transformers_has_is_named_where_it_makes_the_pixels() {
    let of = |fit, background| {
        let transform = ImageTransform {
            fit,
            background,
            ..Default::default()
        };
        let config = transform.to_preprocessor_config();
        let ours = config.get("fourfold_fit").is_some();
        (
            config["image_processor_type"].as_str().unwrap().to_owned(),
            ours,
        )
    };
    for (fit, background, kind, ours) in [
        (Fit::Pad, Background::White, "FourfoldImageProcessor", true),
        (Fit::Pad, Background::Mean, "FourfoldImageProcessor", true),
        (
            Fit::Stretch,
            Background::White,
            "SiglipImageProcessor",
            true,
        ),
        (Fit::Crop, Background::White, "CLIPImageProcessor", true),
        (Fit::Center, Background::White, "CLIPImageProcessor", false),
        (Fit::Square, Background::Mean, "LlavaImageProcessor", false),
        (
            Fit::Square,
            Background::White,
            "FourfoldImageProcessor",
            true,
        ),
    ] {
        assert_eq!(
            of(fit, background),
            (kind.into(), ours),
            "{fit:?} {background:?}"
        );
    }
}

#[test]
fn the_committed_encoder_pads() {
    let asset = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/tiny-vit");
    let asset = ImageTransform::from_folder(&asset).unwrap().unwrap();
    assert_eq!((asset.size, asset.fit), (64.into(), Fit::Pad));
}

#[test]
fn reads_what_was_published() {
    // Field for field as published for openai/clip-vit-base-patch32.
    let clip = json!({
        "crop_size": 224, "do_center_crop": true, "do_normalize": true, "do_resize": true,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "size": 224
    });
    let transform = read(&clip).unwrap();
    assert_eq!((transform.size, transform.fit), (224.into(), Fit::Center));
    assert_eq!(transform.resize, Some(Resize::Shortest(224)));
    let siglip = json!({
        "do_normalize": true, "do_rescale": true, "do_resize": true,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
        "image_processor_type": "SiglipImageProcessor", "resample": 3,
        "rescale_factor": 0.00392156862745098, "size": {"height": 224, "width": 224}
    });
    let transform = read(&siglip).unwrap();
    assert_eq!(transform.resize, Some(Resize::Exact(224.into())));
    assert_eq!(
        (transform.filter, transform.mean),
        (Filter::Bicubic, [0.5; 3])
    );
    // As published for google/vit-base-patch16-224: everything else is what ViT means by silence.
    let vit = json!({
        "do_normalize": true, "do_resize": true, "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5], "size": 224, "feature_extractor_type": "ViTFeatureExtractor"
    });
    let transform = read(&vit).unwrap();
    assert_eq!(transform.resize, Some(Resize::Exact(224.into())));
    assert_eq!(transform.filter, Filter::Bilinear);
    // As transformers 5 nests it.
    let nested = json!({"processor_class": "CLIPProcessor", "image_processor": clip});
    assert_eq!(read(&nested).unwrap(), read(&clip).unwrap());
    for kind in ["CLIPImageProcessorFast", "CLIPImageProcessorPil"] {
        let config = json!({ "image_processor_type": kind });
        assert_eq!(read(&config).unwrap().size, 224.into());
    }
}

#[test]
fn of_two_files_the_nested_one_counts() {
    let folder = tempfile::tempdir().unwrap();
    let read = || ImageTransform::from_folder(folder.path());
    let write = |name: &str, value: Value| {
        fs::write(folder.path().join(name), value.to_string()).unwrap();
    };
    assert_eq!(read().unwrap(), None);
    write(
        PREPROCESSOR,
        json!({"image_processor_type": "ViTImageProcessor", "size": 10}),
    );
    assert_eq!(read().unwrap().unwrap().size, 10.into());
    write(PROCESSOR, json!({"image_token": "<image>"}));
    assert_eq!(read().unwrap().unwrap().size, 10.into());
    let nested = json!({"image_processor_type": "ViTImageProcessor", "size": 20});
    write(PROCESSOR, json!({"image_processor": nested}));
    assert_eq!(read().unwrap().unwrap().size, 20.into());
    write(
        PROCESSOR,
        json!({"image_processor": {"image_processor_type": "ViTImageProcessor", "size": 0}}),
    );
    let error = read().unwrap_err().to_string();
    assert!(
        error.contains("processor_config.json: `image_processor.size`"),
        "{error}"
    );
}

/// The pixels of each are held to those of transformers in `tests/images.rs`.
#[test]
fn the_model_beside_it_says_what_silence_means() {
    let folder = tempfile::tempdir().unwrap();
    let read = || ImageTransform::from_folder(folder.path());
    let write = |name: &str, value: Value| {
        fs::write(folder.path().join(name), value.to_string()).unwrap();
    };
    write(
        PREPROCESSOR,
        json!({"size": 56, "image_processor_type": null}),
    );
    let error = read().unwrap_err().to_string();
    assert!(error.contains("no config.json beside it"), "{error}");
    write("config.json", json!({"model_type": "clip"}));
    let clip = read().unwrap().unwrap();
    assert_eq!(clip.size, 224.into());
    assert_eq!(clip.resize, Some(Resize::Shortest(56)));
    write("config.json", json!({"model_type": "vit"}));
    let vit = read().unwrap().unwrap();
    assert_eq!((vit.size, vit.filter), (56.into(), Filter::Bilinear));
    let named = json!({"model_type": "vit", "image_processor_type": "CLIPImageProcessor"});
    write("config.json", named);
    assert_eq!(read().unwrap().unwrap(), clip);
    // transformers knows no processor of these either.
    for model_type in ["clip_vision_model", "dinov2_with_registers", "siglip2"] {
        write("config.json", json!({"model_type": model_type}));
        let error = read().unwrap_err().to_string();
        for words in [
            "preprocessor_config.json: `image_processor_type`: is missing",
            model_type,
            "BitImageProcessor",
            "[image]",
        ] {
            assert!(error.contains(words), "{words}: {error}");
        }
    }
    // What the configuration says itself goes before.
    let config = json!({"feature_extractor_type": "ViTFeatureExtractor", "size": 56});
    write(PREPROCESSOR, config);
    assert_eq!(read().unwrap().unwrap(), vit);
    fs::write(folder.path().join("config.json"), "{").unwrap();
    let error = read().unwrap_err().to_string();
    assert!(error.contains("config.json: expected JSON"), "{error}");
}

#[test]
fn errors_name_the_key() {
    let clip = "CLIPImageProcessor";
    let vit = "ViTImageProcessor";
    let llava = "LlavaImageProcessor";
    let absurd = u64::MAX;
    for (config, words) in [
        (
            json!({"fourfold_fit": "pad", "size": 8}),
            "`image_mean`: is missing",
        ),
        (
            json!({"fourfold_fit": "pad", "image_mean": 0.5, "image_std": 0.5}),
            "`size`: is missing",
        ),
        (
            json!({"size": 8, "image_mean": 0.5, "image_std": 0.5, "do_pad": true}),
            "`image_processor_type`: is missing, and no config.json beside it has a `model_type`",
        ),
        (
            json!({"image_processor_type": "Siglip2ImageProcessor"}),
            "`image_processor_type`: Siglip2ImageProcessor is not supported, but CLIPImageProcessor",
        ),
        (
            json!({"image_processor_type": 3}),
            "`image_processor_type`: expected a text, got 3",
        ),
        (
            json!({"feature_extractor_type": "X"}),
            "`feature_extractor_type`: X is not",
        ),
        (
            json!({"image_processor_type": "FourfoldImageProcessor"}),
            "`fourfold_fit`: expected \"pad\"",
        ),
        (
            json!({"fourfold_fit": "bend"}),
            "`fourfold_fit`: expected \"pad\"",
        ),
        (
            json!({"fourfold_fit": "pad", "size": 8, "image_mean": 0, "image_std": 1, "fourfold_background": "blue"}),
            "`fourfold_background`: expected \"white\"",
        ),
        (
            json!({"fourfold_fit": "crop", "size": 8, "image_mean": 0, "image_std": 1}),
            "`crop_size`: is missing",
        ),
        (
            json!({"image_processor_type": vit, "size": 0}),
            "`size`: expected 1 to 16384 pixels, got 0",
        ),
        (
            json!({"image_processor_type": vit, "size": absurd}),
            "`size`: expected 1 to 16384",
        ),
        (
            json!({"image_processor_type": vit, "size": 5000}),
            "`size`: expected 1 to 4096 pixels, got 5000",
        ),
        (
            json!({"image_processor_type": vit, "size": -4}),
            "`size`: expected 1 to",
        ),
        (
            json!({"image_processor_type": vit, "size": 2.5}),
            "`size`: expected 1 to",
        ),
        (
            json!({"image_processor_type": vit, "size": "224"}),
            "`size`: expected a number, {\"height\"",
        ),
        (
            json!({"image_processor_type": vit, "size": {"height": 2}}),
            "`size`: expected a number, {\"height\"",
        ),
        (
            json!({"image_processor_type": vit, "size": {"height": 2, "width": 0}}),
            "`size`: expected 1 to 16384 pixels in \"width\", got 0",
        ),
        (
            json!({"image_processor_type": vit, "size": [1, 2, 3]}),
            "`size`: expected a number, {\"height\"",
        ),
        (
            json!({"image_processor_type": vit, "size": {"max_height": 2, "max_width": 2}}),
            "`size`: expected a number, {\"height\"",
        ),
        (
            json!({"image_processor_type": vit, "size": {"longest_edge": 4}}),
            "`size`: expected a number, {\"height\"",
        ),
        (
            json!({"image_processor_type": vit, "size": {"shortest_edge": 4}}),
            "`size`: leaves images of any shape",
        ),
        (
            json!({"image_processor_type": clip, "size": {"shortest_edge": 0}}),
            "`size`: expected 1 to 16384 pixels in \"shortest_edge\", got 0",
        ),
        (
            json!({"image_processor_type": clip, "size": {"shortest_edge": 9, "longest_edge": 9}}),
            "`size`: expected \"longest_edge\" above",
        ),
        (
            json!({"image_processor_type": clip, "crop_size": 0}),
            "`crop_size`: expected 1 to 4096",
        ),
        (
            json!({"image_processor_type": clip, "crop_size": {"height": 1}}),
            "`crop_size`: expected a number, {\"height\"",
        ),
        (
            json!({"image_processor_type": clip, "do_center_crop": false, "do_resize": false}),
            "`do_resize`: is false, and so is",
        ),
        (
            json!({"image_processor_type": clip, "do_resize": 1}),
            "`do_resize`: expected true or false, got 1",
        ),
        (
            json!({"image_processor_type": clip, "do_center_crop": "yes"}),
            "`do_center_crop`: expected true or false",
        ),
        (
            json!({"image_processor_type": clip, "do_pad": true}),
            "`do_pad`: is supported with LlavaImageProcessor alone",
        ),
        (
            json!({"image_processor_type": vit, "do_center_crop": true}),
            "`crop_size`: is missing",
        ),
        (
            json!({"image_processor_type": "Gemma3ImageProcessor", "do_center_crop": true}),
            "`do_center_crop`: Gemma3ImageProcessor has no",
        ),
        (
            json!({"image_processor_type": "Gemma3ImageProcessor", "do_pan_and_scan": true}),
            "`do_pan_and_scan`: true is not supported; set it to false",
        ),
        (
            json!({"image_processor_type": vit, "do_flip_channel_order": true}),
            "`do_flip_channel_order`: true is not",
        ),
        (
            json!({"image_processor_type": vit, "size_divisor": 32}),
            "`size_divisor`: 32 is not supported; remove it",
        ),
        (
            json!({"image_processor_type": clip, "resample": 6}),
            "`resample`: expected a number of Pillow's filters, 0 to 5, got 6",
        ),
        (
            json!({"image_processor_type": clip, "resample": "bicubic"}),
            "`resample`: expected a number",
        ),
        (
            json!({"image_processor_type": clip, "rescale_factor": 0}),
            "`rescale_factor`: expected a positive number, got 0",
        ),
        (
            json!({"image_processor_type": clip, "image_std": [0.5, 0, 0.5]}),
            "`image_std`: expected three positive numbers",
        ),
        (
            json!({"image_processor_type": clip, "image_std": 0}),
            "`image_std`: expected three positive numbers",
        ),
        (
            json!({"image_processor_type": clip, "image_mean": [0.5, 0.5]}),
            "`image_mean`: expected three numbers",
        ),
        (
            json!({"image_processor_type": clip, "image_mean": 1e99}),
            "`image_mean`: expected three numbers",
        ),
        (
            json!({"image_processor_type": llava, "do_pad": true, "image_mean": 127.5}),
            "`image_mean`: expected numbers of 0 to 1",
        ),
        (
            json!({"image_processor": 3}),
            "`image_processor`: expected an object",
        ),
        (
            json!({"image_processor": {"image_processor_type": vit, "size": 0}}),
            "`image_processor.size`: expected 1 to",
        ),
    ] {
        let error = read(&config)
            .map(|made| format!("{made:?}"))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("p.json: "), "{error}");
        assert!(error.contains(words), "{config}: {error}");
    }
}

#[test]
fn a_damaged_file_is_an_error_and_no_panic() {
    let whole = ImageTransform::default()
        .to_preprocessor_config()
        .to_string();
    for cut in (0..whole.len()).step_by(3) {
        let read = ImageTransform::from_preprocessor_config(Path::new("p.json"), &whole[..cut]);
        let error = read.unwrap_err().to_string();
        assert!(error.contains("p.json"), "{error}");
    }
    for text in ["[]", "3", "null", "\"size\"", "{\"size\": 8, }"] {
        let read = ImageTransform::from_preprocessor_config(Path::new("p.json"), text);
        assert!(read.is_err(), "{text}");
    }
}
