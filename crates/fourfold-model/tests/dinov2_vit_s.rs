//! A trained DINOv2 of ViT-S shape, whose positions are interpolated from 518 to 224 pixels, against onnxruntime.
//!
//! The weights are no part of this project. `scripts/fetch-dinov2-vit-s.py` brings them; the environment variable
//! `FOURFOLD_DINOV2_VIT_S` names their folder. Without it the test is skipped and says so.

use std::fs;
use std::path::{Path, PathBuf};

use fourfold_model::{
    ImageSize, LanguageConfig, Model, ModelConfig, Pretrained, ProjectorConfig, VisibilityKind,
    VisionConfig,
};
use fourfold_tensor::{Precision, Tensor};
use safetensors::SafeTensors;

#[test]
fn a_trained_dinov2_gives_the_features_of_onnxruntime() {
    let Some(folder) = std::env::var_os("FOURFOLD_DINOV2_VIT_S").map(PathBuf::from) else {
        println!(
            "skipped: FOURFOLD_DINOV2_VIT_S is not set; run scripts/fetch-dinov2-vit-s.py and set it to the folder"
        );
        return;
    };
    let bytes = fs::read(folder.join("expected.safetensors")).expect("the script writes it");
    let file = SafeTensors::deserialize(&bytes).expect("whole");
    let floats = |name: &str| -> (Vec<usize>, Vec<f32>) {
        let tensor = file.tensor(name).expect("there");
        let (numbers, _) = tensor.data().as_chunks::<4>();
        let numbers = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes));
        (tensor.shape().to_vec(), numbers.collect())
    };
    let mut vision = VisionConfig::of_folder(&folder).expect("a DINOv2");
    vision.image_size = ImageSize::square(224);
    let gpt2 = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/backbones/gpt2");
    let config = ModelConfig {
        vision,
        projector: ProjectorConfig::default(),
        language: LanguageConfig::of_folder(&gpt2).expect("committed"),
        visibility: VisibilityKind::Causal,
        tokenizer_sha256: String::new(),
        lora: None,
    };
    let pretrained = Pretrained {
        vision: Some(&folder),
        language: None,
    };
    let model = Model::begin(config, Precision::F32, 1, pretrained).expect("loads");
    let (shape, pixels) = floats("images");
    let images = Tensor::from_f32(&shape, &pixels).expect("images");
    let found = model.encode(&images).expect("images of its size");
    let (shape, wanted) = floats("features");
    assert_eq!(found.shape(), shape);
    let mut largest = 0.0f32;
    for (found, wanted) in found.to_f32_vec().iter().zip(&wanted) {
        largest = largest.max((found - wanted).abs() / wanted.abs().max(1.0));
    }
    println!("largest difference {largest:.1e}");
    assert!(largest < 1e-4, "features are {largest} off");
}
