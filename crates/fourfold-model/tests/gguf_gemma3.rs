//! Gemma 3 270M as a GGUF file of the field has it: 236 tensors in five formats, a vocabulary of 262,144 tokens.
//!
//! The file may not be part of this project. `scripts/fetch-gemma3-270m.py` brings it; the environment variable
//! `FOURFOLD_GEMMA3_GGUF` names it. Without it the test is skipped and says so.

use std::path::Path;

use fourfold_model::gguf::{GgufFile, HuggingFace};
use fourfold_model::{
    GenerateOptions, LanguageConfig, Model, ModelConfig, Pretrained, ProjectorConfig, Prompt,
    VisibilityKind, VisionConfig,
};
use fourfold_tensor::Precision;
use serde_json::json;

/// Texts and their tokens as `llama-cpp-python` 0.3.36 has them.
const TOKENS: [(&str, &[u32]); 14] = [
    (
        "The quick brown fox jumps over the lazy dog.",
        &[
            818, 3823, 8864, 37423, 38167, 1024, 506, 31770, 4799, 236761,
        ],
    ),
    (
        "two  three   four    five     x",
        &[13498, 138, 19891, 139, 19025, 140, 21716, 141, 236781],
    ),
    (
        "line\nbreaks\n\nand\n\n\nmore\r\n",
        &[1257, 107, 54018, 108, 624, 109, 5576, 251, 107],
    ),
    (
        "def f(x):\n    return x ** 2  # square\n\n\nprint(f(3))",
        &[
            2063, 517, 236769, 236781, 1473, 107, 140, 2060, 1123, 5213, 236743, 236778, 138,
            236865, 6281, 109, 1995, 236769, 236760, 236769, 236800, 1223,
        ],
    ),
    (
        "Привет, мир! Γειά σου Κόσμε",
        &[
            116130, 236764, 58562, 236888, 33911, 6986, 237385, 127035, 24272, 237386, 237121,
            16115,
        ],
    ),
    (
        "你好，世界。今天天气很好",
        &[144626, 236900, 12811, 236924, 22601, 122362, 55824],
    ),
    (
        "😀😃 👩\u{200d}👩\u{200d}👧 🇩🇪 ✨",
        &[
            242398, 243065, 236743, 243767, 237243, 243767, 237243, 244814, 236743, 246841, 245562,
            73687,
        ],
    ),
    (
        "<start_of_turn>user\nhi<end_of_turn>\n",
        &[
            236820, 3041, 236779, 1340, 236779, 887, 236813, 2364, 107, 2202, 236820, 643, 236779,
            1340, 236779, 887, 236813, 107,
        ],
    ),
    (
        "<b>bold</b> and <i>it</i>",
        &[200, 15640, 209, 532, 236743, 201, 509, 210],
    ),
    ("▁under▁bars▁", &[1208, 13163, 236743]),
    (
        "𓀀𓁐 cuneiform 𒀀𒁀",
        &[
            478, 385, 366, 366, 478, 385, 367, 382, 505, 2253, 6653, 236743, 247364, 250392,
        ],
    ),
    (
        "a_b-c/d\\e|f{g}[h](i)<j>",
        &[
            236746, 236779, 236763, 236772, 236755, 236786, 236753, 236785, 236744, 236909, 236760,
            236782, 236759, 11880, 236754, 5457, 236747, 33798, 236804, 236813,
        ],
    ),
    (" ", &[236743]),
    // llama.cpp takes this for a control token by its looks; the file says that it is none, as SentencePiece does.
    ("<s></s>", &[203, 212]),
];

/// Prompts, their tokens, and the first twenty of the greedy continuation by `llama-cpp-python` 0.3.36. It multiplies in
/// eight bits, so that of eight prompts three part from what f32 gives, where two tokens are nearly as likely; these are
/// the others.
const CONTINUATIONS: [(&str, &[u32], &[u32]); 5] = [
    (
        "The quick brown fox jumps over the lazy dog and then",
        &[
            2, 818, 3823, 8864, 37423, 38167, 1024, 506, 31770, 4799, 532, 1299,
        ],
        &[
            506, 31770, 4799, 38167, 1024, 506, 3823, 8864, 37423, 236761, 108, 818, 3823, 8864,
            37423, 38167, 1024, 506, 31770, 4799,
        ],
    ),
    (
        "A photograph of a red bicycle leaning against the old brick",
        &[
            2, 236776, 10807, 529, 496, 2604, 30979, 52060, 2342, 506, 2255, 17572,
        ],
        &[
            3549, 255999, 255999, 255999, 255999, 255999, 255999, 255999, 255999, 255999, 255999,
            255999, 255999, 255999, 255999, 255999, 255999, 255999, 255999, 255999,
        ],
    ),
    (
        "The capital of France is Paris, and the capital of Germany",
        &[
            2, 818, 5279, 529, 7001, 563, 9079, 236764, 532, 506, 5279, 529, 9405,
        ],
        &[
            563, 15687, 236761, 108, 818, 5279, 529, 506, 3640, 4184, 563, 7693, 236764, 622,
            236761, 236780, 236761, 108, 818, 5279,
        ],
    ),
    (
        "Water boils at one hundred degrees Celsius and freezes at zero",
        &[
            2, 17390, 104264, 657, 886, 7549, 10674, 57356, 532, 126521, 657, 5743,
        ],
        &[
            10674, 57356, 236761, 108, 818, 31476, 1523, 529, 1813, 563, 236743, 236770, 236771,
            236771, 10674, 57356, 236761, 108, 818, 36993,
        ],
    ),
    (
        "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday. January, February, March,",
        &[
            2, 49381, 236764, 9863, 236764, 10119, 236764, 9853, 236764, 7672, 236764, 8224,
            236764, 8174, 236761, 6027, 236764, 7250, 236764, 5261, 236764,
        ],
        &[
            5365, 236764, 3353, 236764, 5142, 236764, 5505, 236764, 5729, 236764, 5857, 236764,
            6198, 236764, 6243, 236764, 6384, 236761, 108, 818,
        ],
    ),
];

#[test]
fn gemma_3_270m() {
    let Some(path) = std::env::var_os("FOURFOLD_GEMMA3_GGUF") else {
        println!(
            "skipped: FOURFOLD_GEMMA3_GGUF is not set; run scripts/fetch-gemma3-270m.py and set it to the file"
        );
        return;
    };
    let file = GgufFile::open(Path::new(&path)).unwrap();
    check_tokenizer(&file);
    let model = file.hugging_face().unwrap();
    check_config(model.config());
    check_tensors(&model);
    check_continuations(Path::new(&path));
}

fn check_config(config: &serde_json::Value) {
    // What google/gemma-3-270m has in its config.json.
    for (key, value) in [
        ("model_type", json!("gemma3_text")),
        ("architectures", json!(["Gemma3ForCausalLM"])),
        ("vocab_size", json!(262_144)),
        ("hidden_size", json!(640)),
        ("intermediate_size", json!(2048)),
        ("num_hidden_layers", json!(18)),
        ("num_attention_heads", json!(4)),
        ("num_key_value_heads", json!(1)),
        ("head_dim", json!(256)),
        ("query_pre_attn_scalar", json!(256)),
        ("max_position_embeddings", json!(32_768)),
        ("rms_norm_eps", json!(1e-6)),
        ("rope_theta", json!(1_000_000.0)),
        ("rope_local_base_freq", json!(10_000.0)),
        ("sliding_window", json!(512)),
        ("hidden_activation", json!("gelu_pytorch_tanh")),
        ("tie_word_embeddings", json!(true)),
        ("final_logit_softcapping", json!(null)),
        ("bos_token_id", json!(2)),
    ] {
        assert_eq!(config[key], value, "{key}");
    }
    let kinds = config["layer_types"].as_array().unwrap();
    for (layer, kind) in kinds.iter().enumerate() {
        let full = matches!(layer, 5 | 11 | 17);
        assert_eq!(kind == "full_attention", full, "layer {layer}");
    }
    assert!(config.get("rope_scaling").is_none());
}

fn check_tensors(model: &HuggingFace) {
    let names = model.names();
    assert_eq!((names.len(), model.file().names().len()), (236, 236));
    let mut elements = 0;
    for name in names {
        let (shape, values) = model.tensor(&name).unwrap().unwrap();
        assert_eq!(values.len(), shape.iter().product::<usize>(), "{name}");
        elements += values.len();
    }
    assert_eq!(elements, 268_098_176);
    assert_eq!(
        model.shape("model.layers.0.self_attn.q_proj.weight"),
        Some(vec![1024, 640])
    );
    assert_eq!(model.shape("lm_head.weight"), None);
}

fn check_tokenizer(file: &GgufFile) {
    let tokenizer = file.tokenizer().unwrap();
    assert_eq!(
        (tokenizer.begin, tokenizer.end, tokenizer.add_begin),
        (Some(2), Some(1), true)
    );
    let mut inner: tokenizers::Tokenizer = tokenizer.json.parse().unwrap();
    inner.set_encode_special_tokens(true);
    for (text, tokens) in TOKENS {
        let encoding = inner.encode_fast(text, false).unwrap();
        assert_eq!(encoding.get_ids(), tokens, "{text:?}");
    }
}

/// The model in f32, beside an encoder that sees nothing here.
fn check_continuations(path: &Path) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/backbones/siglip");
    let config = ModelConfig {
        vision: VisionConfig::of_folder(&folder).unwrap(),
        projector: ProjectorConfig::default(),
        language: LanguageConfig::of_folder(path).unwrap(),
        visibility: VisibilityKind::Causal,
        tokenizer_sha256: String::new(),
        lora: None,
    };
    let pretrained = Pretrained {
        vision: None,
        language: Some(path),
    };
    let model = Model::begin(config, Precision::F32, 1, pretrained).unwrap();
    let prompts = CONTINUATIONS.map(|(_, tokens, _)| Prompt {
        tokens: tokens.to_vec(),
        visual: vec![],
        images: vec![],
        draw: 0,
    });
    let options = GenerateOptions::greedy(20, u32::MAX, VisibilityKind::Causal);
    let answers = model.generate(&prompts, &options).unwrap();
    for (answer, (prompt, _, wanted)) in answers.iter().zip(CONTINUATIONS) {
        assert_eq!(answer.tokens, wanted, "{prompt}");
    }
}
