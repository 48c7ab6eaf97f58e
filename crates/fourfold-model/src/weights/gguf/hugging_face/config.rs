//! Metadata to the keys of a Hugging Face `config.json`.

use serde_json::{Map, Value, json};

use super::architecture::Architecture;
use super::keys::Keys;
use super::{EMBEDDING, GgufFile, rope};
use crate::Result;

/// Gemma 3 has a layer that sees everything after so many less one that see a window; llama.cpp's converter does not
/// store what all released models have.
const GEMMA_PATTERN: usize = 6;

/// Base of the rotary frequencies of Gemma 3's layers with a window; not stored either.
const GEMMA_LOCAL_THETA: f32 = 10_000.0;

/// Layers of Gemma 3 27B, which scales its attention in a way of its own (as llama.cpp, by the number of layers).
const GEMMA_27B_LAYERS: usize = 62;

/// The configuration, and the heads of queries and of keys.
pub(super) fn build(
    file: &GgufFile,
    architecture: Architecture,
    tied: bool,
) -> Result<(Value, (usize, usize))> {
    let keys = Keys {
        metadata: file.metadata(),
        prefix: architecture.name(),
    };
    keys.demand_known(architecture)?;
    let rows = file.demand(EMBEDDING)?.shape[0];
    let (model_type, class) = architecture.hugging_face();
    let mut config = object(json!({
        "model_type": model_type,
        "architectures": [class],
        "vocab_size": rows,
        "tie_word_embeddings": tied,
    }));
    for (key, name) in [
        ("tokenizer.ggml.bos_token_id", "bos_token_id"),
        ("tokenizer.ggml.eos_token_id", "eos_token_id"),
        ("tokenizer.ggml.padding_token_id", "pad_token_id"),
    ] {
        if let Some(id) = keys.metadata.integer(key)? {
            config.insert(name.into(), id.into());
        }
    }
    let heads = match architecture {
        Architecture::Gpt2 => gpt2(&keys, &mut config)?,
        _ => decoder(file, &keys, architecture, &mut config)?,
    };
    Ok((Value::Object(config), heads))
}

fn gpt2(keys: &Keys, config: &mut Map<String, Value>) -> Result<(usize, usize)> {
    let heads = keys.size("attention.head_count")?;
    config.extend(object(json!({
        "n_embd": keys.size("embedding_length")?,
        "n_inner": keys.size("feed_forward_length")?,
        "n_layer": keys.size("block_count")?,
        "n_head": heads,
        "n_positions": keys.size("context_length")?,
        "layer_norm_epsilon": shortest(keys.float("attention.layer_norm_epsilon")?),
        "activation_function": "gelu_new",
    })));
    Ok((heads, heads))
}

/// What Llama, Qwen and Gemma share, and what each has of its own.
fn decoder(
    file: &GgufFile,
    keys: &Keys,
    architecture: Architecture,
    config: &mut Map<String, Value>,
) -> Result<(usize, usize)> {
    let (width, layers) = (keys.size("embedding_length")?, keys.size("block_count")?);
    if layers > file.tensors.len() {
        return Err(keys.metadata.fault(
            &keys.key("block_count"),
            format!(
                "is {layers}, more than the {} tensors of the file; it is damaged, copy it again",
                file.tensors.len()
            ),
        ));
    }
    let heads = keys.size("attention.head_count")?;
    let key_heads = keys.find_size("attention.head_count_kv")?.unwrap_or(heads);
    let head_dim = match keys.find_size("attention.key_length")? {
        Some(given) => given,
        None => width / heads,
    };
    for same in ["attention.value_length", "rope.dimension_count"] {
        keys.demand_same(same, head_dim, "the length of a key")?;
    }
    let theta = keys.find_float("rope.freq_base")?.unwrap_or(10_000.0);
    config.extend(object(json!({
        "hidden_size": width,
        "intermediate_size": keys.size("feed_forward_length")?,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": key_heads,
        "head_dim": head_dim,
        "max_position_embeddings": keys.size("context_length")?,
        "rms_norm_eps": shortest(keys.float("attention.layer_norm_rms_epsilon")?),
        "rope_theta": shortest(theta),
    })));
    if let Some(scaling) = rope::scaling(file, keys.prefix, theta, head_dim)? {
        config.insert("rope_scaling".into(), scaling);
    }
    let own = match architecture {
        Architecture::Gemma3 => gemma3(keys, (width, layers, heads, head_dim))?,
        // Qwen 2's biases go without saying, and it has none elsewhere.
        Architecture::Qwen2 => json!({ "hidden_act": "silu", "use_sliding_window": false }),
        _ => json!({
            "hidden_act": "silu",
            "attention_bias": file.tensor("blk.0.attn_q.bias").is_some(),
            "mlp_bias": file.tensor("blk.0.ffn_up.bias").is_some(),
        }),
    };
    config.extend(object(own));
    Ok((heads, key_heads))
}

fn gemma3(
    keys: &Keys,
    (width, layers, heads, head_dim): (usize, usize, usize, usize),
) -> Result<Value> {
    let window = keys.find_size("attention.sliding_window")?;
    let pattern = match window {
        None => 1,
        Some(_) => keys
            .find_size("attention.sliding_window_pattern")?
            .unwrap_or(GEMMA_PATTERN),
    };
    let kind = |layer: usize| match (layer + 1) % pattern {
        0 => "full_attention",
        _ => "sliding_attention",
    };
    let local = keys
        .find_float("rope.freq_base_swa")?
        .unwrap_or(GEMMA_LOCAL_THETA);
    let scalar = match layers {
        GEMMA_27B_LAYERS => width / heads,
        _ => head_dim,
    };
    Ok(json!({
        "hidden_activation": "gelu_pytorch_tanh",
        "attention_bias": false,
        "query_pre_attn_scalar": scalar,
        "sliding_window": window,
        "sliding_window_pattern": pattern,
        "layer_types": (0..layers).map(kind).collect::<Vec<_>>(),
        "rope_local_base_freq": shortest(local),
        "attn_logit_softcapping": null,
        "final_logit_softcapping": keys.find_float("final_logit_softcapping")?.filter(|cap| *cap != 0.0).map(shortest),
    }))
}

/// An f32 as the shortest decimal that gives it again: 1e-6 rather than 9.999999974752427e-7.
pub(super) fn shortest(number: f32) -> Value {
    number
        .to_string()
        .parse::<f64>()
        .map_or(Value::Null, Value::from)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
