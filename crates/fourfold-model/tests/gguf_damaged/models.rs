//! Whole files of models that are not read.

use fourfold_model::gguf::GgufFile;
use tempfile::TempDir;

use super::builder::*;
use super::error;

#[test]
fn foreign_models_are_refused() {
    let folder = TempDir::new().unwrap();
    let plain = |key: &str| without(llama(), key);
    let nan = |mut builder: Builder| {
        builder.data[4..8].copy_from_slice(&f32::NAN.to_le_bytes());
        builder
    };
    let cases: Vec<(Builder, &[&str])> = vec![
        (
            plain("general.architecture"),
            &["general.architecture", "missing"],
        ),
        (
            plain("general.architecture").text("general.architecture", "phi3"),
            &[
                "general.architecture",
                "'phi3'",
                "llama, qwen2, qwen3, gemma3, gpt2",
            ],
        ),
        (
            plain("llama.block_count"),
            &["llama.block_count", "missing"],
        ),
        (
            plain("llama.block_count").number("llama.block_count", 1 << 30),
            &["llama.block_count", "more than the 1 tensors"],
        ),
        (
            plain("llama.attention.head_count").number("llama.attention.head_count", 0),
            &["llama.attention.head_count", "is 0", "1 to"],
        ),
        (
            llama().pair(
                "llama.attention.head_count_kv",
                ARRAY,
                &array(U32, 1, &[2, 0, 0, 0]),
            ),
            &["head_count_kv", "an array of integers", "an integer"],
        ),
        (
            llama().number("llama.rope.dimension_count", 1),
            &["rope.dimension_count", "expected 2"],
        ),
        (
            llama().number("llama.attention.value_length", 3),
            &["value_length", "expected 2"],
        ),
        (
            llama().number("llama.expert_count", 8),
            &["llama.expert_count", "experts"],
        ),
        (
            llama().float("llama.logit_scale", 2.0),
            &["llama.logit_scale", "not known"],
        ),
        (
            llama().text("llama.rope.scaling.type", "yarn"),
            &["rope.scaling.type", "'yarn'"],
        ),
        (
            llama().text("llama.rope.scaling.type", "linear"),
            &["rope.scaling.factor", "missing"],
        ),
        (
            llama().float("llama.rope.freq_base", f32::NAN),
            &["rope.freq_base", "NaN", "finite"],
        ),
        (
            llama().tensor("rope_freqs.weight", &[1], 0, 0),
            &["rope_freqs.weight", "Llama 3"],
        ),
        (
            llama().number("split.count", 2),
            &["split.count", "--merge"],
        ),
        (
            llama().tensor("blk.0.ffn_gate_exps.weight", &[1], 0, 0),
            &["blk.0.ffn_gate_exps.weight", "'llama'"],
        ),
        (
            llama().tensor("blk.0.attn_q.weight", &[4, 3], 0, 0),
            &["blk.0.attn_q.weight", "[3, 4]", "2 heads"],
        ),
        (nan(llama()), &["token_embd.weight", "NaN at 1"]),
    ];
    for (builder, parts) in cases {
        let message = error(&folder, &builder.bytes(), |file| {
            let model = file.hugging_face()?;
            model
                .names()
                .iter()
                .try_for_each(|name| model.tensor(name).map(|_| ()))
        });
        assert!(
            parts.iter().all(|part| message.contains(part)),
            "{message}: {parts:?}"
        );
    }
}

#[test]
fn a_head_of_the_same_bytes_is_the_embedding_table() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    let mut builder = llama();
    builder.data = (0u8..96).collect();
    // At the same place, at another one, and not at all.
    for (offset, tied) in [(Some(0), true), (Some(32), false), (None, true)] {
        let builder = match offset {
            Some(offset) => builder.clone().tensor("output.weight", &[4, 3], 0, offset),
            None => builder.clone(),
        };
        super::write(&path, &builder.bytes());
        let file = GgufFile::open(&path).unwrap();
        let model = file.hugging_face().unwrap();
        assert_eq!(model.config()["tie_word_embeddings"], tied);
        assert_eq!(model.names().len(), if tied { 1 } else { 2 });
        assert_eq!(model.tensor("lm_head.weight").unwrap().is_none(), tied);
    }
}

/// llama.cpp's loader takes a factor for one of all frequencies where no type stands beside it, and a factor of 0 for
/// none; a type of none counts for more than a factor.
#[test]
fn a_factor_of_positions_without_a_type_is_linear() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    let scaled = |factor| llama().float("llama.rope.scaling.factor", factor);
    let typed = |kind| scaled(4.0).text("llama.rope.scaling.type", kind);
    let linear = serde_json::json!({ "rope_type": "linear", "factor": 4.0 });
    for (builder, expected) in [
        (scaled(4.0), Some(&linear)),
        (typed("linear"), Some(&linear)),
        (typed("none"), None),
        (scaled(0.0), None),
        (llama(), None),
    ] {
        super::write(&path, &builder.bytes());
        let file = GgufFile::open(&path).unwrap();
        let model = file.hugging_face().unwrap();
        assert_eq!(model.config().get("rope_scaling"), expected);
    }
}
