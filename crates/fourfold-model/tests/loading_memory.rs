//! Loading takes the memory of the model and of one tensor. Alone in its process, so that nobody else's memory counts.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fourfold_model::{
    LanguageConfig, Model, ModelConfig, Pretrained, ProjectorConfig, VisibilityKind, VisionConfig,
    write_safetensors,
};
use fourfold_tensor::Precision;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;

const VOCABULARY: usize = 16_000;
const WIDTH: usize = 512;
const INNER: usize = 1536;
const LAYERS: usize = 8;

/// Memory of this process that is no file's, in bytes.
fn memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("readable");
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kib = line
        .expect("there")
        .split_whitespace()
        .nth(1)
        .expect("a number");
    kib.parse::<usize>().expect("whole") << 10
}

/// A language model of 34 million 16-bit numbers, all zero.
fn write_model(folder: &Path) {
    let config = json!({
        "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": WIDTH, "intermediate_size": INNER,
        "num_hidden_layers": LAYERS, "num_attention_heads": 8, "max_position_embeddings": 64,
        "tie_word_embeddings": true,
    });
    fs::write(folder.join("config.json"), config.to_string()).expect("written");
    let mut shapes = vec![
        (
            "model.embed_tokens.weight".to_owned(),
            vec![VOCABULARY, WIDTH],
        ),
        ("model.norm.weight".to_owned(), vec![WIDTH]),
    ];
    for layer in 0..LAYERS {
        let mut add = |name: &str, shape: &[usize]| {
            shapes.push((
                format!("model.layers.{layer}.{name}.weight"),
                shape.to_vec(),
            ));
        };
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            add(norm, &[WIDTH]);
        }
        for matrix in ["q_proj", "k_proj", "v_proj", "o_proj"] {
            add(&format!("self_attn.{matrix}"), &[WIDTH, WIDTH]);
        }
        add("mlp.gate_proj", &[INNER, WIDTH]);
        add("mlp.up_proj", &[INNER, WIDTH]);
        add("mlp.down_proj", &[WIDTH, INNER]);
    }
    let zeros = vec![0; 2 * VOCABULARY * WIDTH];
    let views = shapes.iter().map(|(name, shape)| {
        let bytes = &zeros[..2 * shape.iter().product::<usize>()];
        (
            name,
            TensorView::new(Dtype::BF16, shape.clone(), bytes).expect("as many"),
        )
    });
    write_safetensors(&folder.join("model.safetensors"), views, None).expect("written");
}

#[test]
fn loading_takes_the_memory_of_the_model_and_of_one_tensor() {
    let folder = tempfile::tempdir().expect("a folder");
    write_model(folder.path());
    let vision = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/backbones/siglip");
    let config = ModelConfig {
        vision: VisionConfig::of_folder(&vision).expect("committed"),
        projector: ProjectorConfig::default(),
        language: LanguageConfig::of_folder(folder.path()).expect("written"),
        visibility: VisibilityKind::Causal,
        tokenizer_sha256: String::new(),
        lora: None,
    };
    let pretrained = Pretrained {
        vision: None,
        language: Some(folder.path()),
    };
    let before = memory();
    let done = Arc::new(AtomicBool::new(false));
    let watch = {
        let done = done.clone();
        std::thread::spawn(move || {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(memory());
                std::thread::sleep(Duration::from_micros(200));
            }
            most
        })
    };
    let model = Model::begin(config, Precision::F32, 1, pretrained).expect("loads");
    done.store(true, Ordering::Relaxed);
    let most = watch.join().expect("it watched") - before;
    let numbers: usize = model.parameters.iter().map(|(_, p)| p.master().len()).sum();
    let (final_size, largest) = (4 * numbers, 4 * VOCABULARY * WIDTH);
    // A tenth for pages that begin before a tensor and end behind it.
    assert!(
        most >= final_size && most <= final_size + largest + final_size / 10,
        "{most} bytes at most for a model of {final_size} whose largest tensor has {largest}"
    );
}
