//! What the processors of `transformers` make of exported models. `scripts/transformers-parity` runs this, which writes
//! models with what Fourfold reads of conversations and images, and `compare.py` of fourfold-model, which opens them.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fourfold_data::{
    Background, Chat, EncodedImage, Encoder, EncoderConfig, Fit, ImageFiles, ImageTransform,
    Resize, Sample, Size, TextFormat, Turn, sample_rng, train_bpe,
};
use fourfold_model::{ExportFormat, Model, WeightFormat};
use fourfold_tensor::Precision;
use fourfold_train::assemble::Reading;
use fourfold_train::export;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

const SPECIAL: [&str; 20] = [
    "<|begin|>",
    "<|image|>",
    "<|answer|>",
    "<|end|>",
    "<|im_start|>",
    "<|im_end|>",
    "<image>",
    "<|image_pad|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<s>",
    "</s>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|endoftext|>",
];

/// Pictures whose transparency is an entry of a palette or a colour key, and one to be turned.
const FILES: [&str; 3] = ["palette-transparent.png", "color-key.png", "exif-6.png"];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn model() -> Model {
    let folder = crates().join("fourfold-model/tests/fixtures/siglip-qwen2");
    Model::load(&folder, Precision::F32).expect("the fixture")
}

fn reading(format: TextFormat, transform: ImageTransform) -> Reading {
    let texts: [&str; 0] = [];
    let tokenizer = train_bpe(texts.iter(), 256 + SPECIAL.len(), &SPECIAL).expect("bytes");
    Reading {
        tokenizer: Arc::new(tokenizer),
        format,
        transform,
        files: ImageFiles::default(),
    }
}

fn exported(folder: &Path, model: &Model, reading: &Reading) {
    let (format, numbers) = (ExportFormat::Native, WeightFormat::F32);
    export::whole(model, reading, folder, format, numbers).expect("expressible");
}

/// The layouts to hold to `transformers`: the plain one, and templates of models as they are and with a system message.
fn formats() -> Vec<(String, TextFormat)> {
    let file = crates().join("fourfold-data/tests/fixtures/chat/chat.json");
    let fixture: Value = serde_json::from_slice(&fs::read(file).expect("there")).expect("JSON");
    let mut formats = vec![("plain".to_owned(), TextFormat::default())];
    for name in [
        "chatml (smollm2)",
        "qwen2.5",
        "qwen2.5-vl",
        "qwen3",
        "llama-2",
        "llama-3",
        // Its end of a text, which the template names, is not what ends an answer.
        "phi-3",
    ] {
        let templates = fixture["templates"].as_array().expect("a list");
        let found = templates.iter().find(|template| template["name"] == name);
        let found = found.expect("a template");
        let image = match name {
            "qwen2.5-vl" => "<|image_pad|>",
            _ => "<image>",
        };
        for system in [
            None,
            Some("Be \"brief\".\nIt's {{ late }}, größer 🙂.".to_owned()),
        ] {
            let suffix = if system.is_some() { "-system" } else { "" };
            let format = TextFormat {
                image: image.into(),
                system,
                chat: Some(Chat::Template {
                    template: found["template"].as_str().expect("a text").into(),
                    tokens: serde_json::from_value(found["tokens"].clone()).expect("tokens"),
                }),
                ..TextFormat::default()
            };
            let name: String = name.replace(|c: char| !c.is_alphanumeric(), "-");
            formats.push((format!("{name}{suffix}"), format));
        }
    }
    formats
}

fn picture() -> EncodedImage {
    let file = crates().join("fourfold-data/tests/fixtures/images/files/rgb.png");
    EncodedImage::new(fs::read(file).expect("there"))
}

/// What the template writes at the end of a conversation: where it is the end of a text, that of the template.
fn ends(format: &TextFormat) -> Option<&str> {
    match &format.chat {
        Some(Chat::Template { template, tokens })
            if template.trim_end().ends_with("{{ eos_token }}{% endif %}") =>
        {
            tokens.get("eos_token").map(String::as_str)
        }
        _ => None,
    }
}

/// Conversations with what Fourfold reads of them.
fn cases(encoder: &Encoder) -> Value {
    let say = |role: &str, content: Value| json!({ "role": role, "content": content });
    let text = |text: &str| json!({ "type": "text", "text": text });
    let image = json!({ "type": "image" });
    let (what, cat) = ("What is <b>this</b>?", "A cat.\n\nIt sleeps.");
    let asked = |images: usize, prompt: &str| {
        let images = vec![picture(); images];
        encoder.prompt("q", &images, prompt).expect("fits").tokens
    };
    let told = Sample {
        origin: "told".into(),
        images: vec![picture().into()],
        turns: [(what, cat), (" And?", "It's a dog.")]
            .map(|(prompt, answer)| Turn {
                prompt: prompt.into(),
                answer: answer.into(),
            })
            .to_vec(),
    };
    let mut random = sample_rng(0, 0);
    let document = encoder.document(&told, &mut random).expect("fits");
    json!([
        {
            "messages": [say("user", json!([image, text(what)]))],
            "asks": true,
            "tokens": asked(1, what),
        },
        {
            "messages": [say("user", json!([image, image, text(what)]))],
            "asks": true,
            "tokens": asked(2, what),
        },
        { "messages": [say("user", what.into())], "asks": true, "tokens": asked(0, what) },
        { "messages": [say("user", json!([text(what)]))], "asks": true, "tokens": asked(0, what) },
        {
            "messages": [
                say("user", json!([image, text(what)])),
                say("assistant", json!([text(cat)])),
                say("user", " And?".into()),
                say("assistant", "It's a dog.".into()),
            ],
            "asks": false,
            "tokens": document.tokens,
            "ends": ends(&encoder.config().format),
        },
    ])
}

fn conversations(target: &Path) {
    let model = model();
    for (name, format) in formats() {
        let folder = target.join("chat").join(name);
        let transform = ImageTransform {
            size: 16.into(),
            ..ImageTransform::default()
        };
        let reading = reading(format, transform);
        exported(&folder, &model, &reading);
        let config = EncoderConfig {
            format: reading.format,
            transform: reading.transform,
            augment: None,
            visual_tokens_per_image: model.config().visual_tokens(),
            max_tokens: 10_000,
        };
        let encoder = Encoder::new(reading.tokenizer, config).expect("fits");
        let cases = cases(&encoder).to_string();
        fs::write(folder.join("cases.json"), cases).expect("written");
    }
}

/// A wide picture of soft colours, as RGB, with transparent places, and grey with such.
fn pictures() -> Vec<(&'static str, image::DynamicImage)> {
    let (width, height) = (53, 34);
    let soft = |x: u32, y: u32| [40 + x * 3, 250 - y * 4, 60 + x + 2 * y].map(|level| level as u8);
    let clear = |x: u32, y: u32| {
        if (x / 12 + y / 9).is_multiple_of(3) {
            0
        } else {
            255
        }
    };
    let rgb = image::RgbImage::from_fn(width, height, |x, y| image::Rgb(soft(x, y)));
    let rgba = image::RgbaImage::from_fn(width, height, |x, y| {
        let [red, green, blue] = soft(x, y);
        image::Rgba([red, green, blue, clear(x, y)])
    });
    let grey = image::GrayAlphaImage::from_fn(height, width, |x, y| {
        image::LumaA([soft(x, y)[0], clear(x, y)])
    });
    vec![
        ("rgb.png", rgb.into()),
        ("rgba.png", rgba.into()),
        ("high-grey-alpha.png", grey.into()),
    ]
}

fn images(target: &Path) {
    let model = model();
    let high = Size {
        height: 40,
        width: 24,
    };
    let blue = Background::Color([10, 20, 230]);
    let never = (Background::White, None);
    for (name, size, fit, (background, resize)) in [
        ("pad", 16.into(), Fit::Pad, never),
        ("pad-mean", 16.into(), Fit::Pad, (Background::Mean, None)),
        ("pad-blue-high", high, Fit::Pad, (blue, None)),
        ("stretch", 16.into(), Fit::Stretch, never),
        ("stretch-high", high, Fit::Stretch, never),
        ("crop", 16.into(), Fit::Crop, never),
        ("crop-high", high, Fit::Crop, never),
        ("center", 16.into(), Fit::Center, never),
        ("square", 16.into(), Fit::Square, never),
        (
            "square-blue",
            16.into(),
            Fit::Square,
            (blue, Some(Resize::Shortest(23))),
        ),
        (
            "square-small",
            32.into(),
            Fit::Square,
            (blue, Some(Resize::Shortest(23))),
        ),
        (
            "square-never",
            16.into(),
            Fit::Square,
            (blue, Some(Resize::Never)),
        ),
        (
            "square-high",
            high,
            Fit::Square,
            (Background::White, Some(Resize::Exact(high))),
        ),
        (
            "square-within",
            high,
            Fit::Square,
            (
                blue,
                Some(Resize::Within {
                    shortest: 29,
                    longest: 70,
                }),
            ),
        ),
        (
            "square-mean",
            16.into(),
            Fit::Square,
            (Background::Mean, Some(Resize::Shortest(20))),
        ),
    ] {
        let transform = ImageTransform {
            size,
            fit,
            background,
            resize,
            mean: [0.48, 0.45, 0.4],
            std: [0.26, 0.25, 0.27],
            ..ImageTransform::default()
        };
        transform
            .check()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let folder = target.join("images").join(name);
        exported(
            &folder,
            &model,
            &reading(TextFormat::default(), transform.clone()),
        );
        fs::create_dir_all(folder.join("pictures")).expect("a folder");
        let mut tensors = HashMap::new();
        let mut files: Vec<(String, Vec<u8>)> = Vec::new();
        for (name, picture) in pictures() {
            let mut bytes = std::io::Cursor::new(Vec::new());
            picture
                .write_to(&mut bytes, image::ImageFormat::Png)
                .expect("encoded");
            files.push((name.into(), bytes.into_inner()));
        }
        for name in FILES {
            let file = crates()
                .join("fourfold-data/tests/fixtures/images/files")
                .join(name);
            files.push((name.into(), fs::read(file).expect("there")));
        }
        for (name, bytes) in files {
            let pixels = transform.apply(&bytes).expect("an image");
            let floats: Vec<u8> = pixels.data.iter().flat_map(|v| v.to_le_bytes()).collect();
            tensors.insert(name.clone(), (vec![3, pixels.height, pixels.width], floats));
            fs::write(folder.join("pictures").join(name), bytes).expect("written");
        }
        let views = tensors.iter().map(|(name, (shape, bytes))| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
            (name, view.expect("as many bytes as numbers"))
        });
        let file = folder.join("expected.safetensors");
        safetensors::serialize_to_file(views, None, &file).expect("written");
    }
}

#[test]
#[ignore = "writes models for scripts/transformers-parity"]
fn write_readings_for_transformers() {
    let folder = std::env::var_os("FOURFOLD_PARITY").expect("FOURFOLD_PARITY names a folder");
    let target = PathBuf::from(folder);
    conversations(&target);
    images(&target);
}
