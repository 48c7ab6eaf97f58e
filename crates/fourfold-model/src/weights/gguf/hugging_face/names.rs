//! Names of tensors: llama.cpp's and Hugging Face's (`gguf-py/gguf/tensor_mapping.py` of llama.cpp).

use super::architecture::Architecture;

/// Pairs of llama.cpp's and Hugging Face's name, without the ending `.weight` or `.bias`.
type Pairs = &'static [(&'static str, &'static str)];

/// The names of an architecture.
struct Names {
    /// Of tensors that are there once.
    whole: Pairs,
    /// What stands before the number of a layer at Hugging Face; llama.cpp has `blk.`
    layer: &'static str,
    /// Within a layer.
    within: Pairs,
}

const LLAMA: Names = Names {
    whole: &[
        ("token_embd", "model.embed_tokens"),
        ("output_norm", "model.norm"),
        ("output", "lm_head"),
    ],
    layer: "model.layers.",
    within: &[
        ("attn_norm", "input_layernorm"),
        ("attn_q", "self_attn.q_proj"),
        ("attn_k", "self_attn.k_proj"),
        ("attn_v", "self_attn.v_proj"),
        ("attn_output", "self_attn.o_proj"),
        ("ffn_norm", "post_attention_layernorm"),
        ("ffn_gate", "mlp.gate_proj"),
        ("ffn_up", "mlp.up_proj"),
        ("ffn_down", "mlp.down_proj"),
        // Qwen 3 alone.
        ("attn_q_norm", "self_attn.q_norm"),
        ("attn_k_norm", "self_attn.k_norm"),
    ],
};

const GEMMA3: Names = Names {
    within: &[
        ("attn_norm", "input_layernorm"),
        ("attn_q", "self_attn.q_proj"),
        ("attn_k", "self_attn.k_proj"),
        ("attn_v", "self_attn.v_proj"),
        ("attn_output", "self_attn.o_proj"),
        ("attn_q_norm", "self_attn.q_norm"),
        ("attn_k_norm", "self_attn.k_norm"),
        ("post_attention_norm", "post_attention_layernorm"),
        ("ffn_norm", "pre_feedforward_layernorm"),
        ("ffn_gate", "mlp.gate_proj"),
        ("ffn_up", "mlp.up_proj"),
        ("ffn_down", "mlp.down_proj"),
        ("post_ffw_norm", "post_feedforward_layernorm"),
    ],
    ..LLAMA
};

const GPT2: Names = Names {
    whole: &[
        ("token_embd", "transformer.wte"),
        ("position_embd", "transformer.wpe"),
        ("output_norm", "transformer.ln_f"),
        ("output", "lm_head"),
    ],
    layer: "transformer.h.",
    within: &[
        ("attn_norm", "ln_1"),
        ("attn_qkv", "attn.c_attn"),
        ("attn_output", "attn.c_proj"),
        ("ffn_norm", "ln_2"),
        ("ffn_up", "mlp.c_fc"),
        ("ffn_down", "mlp.c_proj"),
    ],
};

const LAYER: &str = "blk.";

fn names(architecture: Architecture) -> &'static Names {
    match architecture {
        Architecture::Llama | Architecture::Qwen2 | Architecture::Qwen3 => &LLAMA,
        Architecture::Gemma3 => &GEMMA3,
        Architecture::Gpt2 => &GPT2,
    }
}

/// `model.layers.3.self_attn.q_proj.weight` → `blk.3.attn_q.weight`; `None` for a name that no tensor has.
pub(super) fn to_gguf(architecture: Architecture, name: &str) -> Option<String> {
    let names = names(architecture);
    rename(name, (names.layer, LAYER), |stem, within| {
        let pairs = if within { names.within } else { names.whole };
        pairs.iter().find(|pair| pair.1 == stem).map(|pair| pair.0)
    })
}

/// `blk.3.attn_q.weight` → `model.layers.3.self_attn.q_proj.weight`; `None` for a name that no tensor has.
pub(super) fn to_hugging_face(architecture: Architecture, name: &str) -> Option<String> {
    let names = names(architecture);
    rename(name, (LAYER, names.layer), |stem, within| {
        let pairs = if within { names.within } else { names.whole };
        pairs.iter().find(|pair| pair.0 == stem).map(|pair| pair.1)
    })
}

/// Takes a name apart, looks its stem up (`true` for one within a layer) and puts the other name together.
fn rename(
    name: &str,
    (from, to): (&str, &str),
    look_up: impl Fn(&str, bool) -> Option<&'static str>,
) -> Option<String> {
    let (stem, ending) = name.rsplit_once('.')?;
    if !matches!(ending, "weight" | "bias") {
        return None;
    }
    let Some(rest) = stem.strip_prefix(from) else {
        return Some(format!("{}.{ending}", look_up(stem, false)?));
    };
    let (layer, stem) = rest.split_once('.')?;
    // The number as it is written: "03" and "+3" are other names.
    let number: usize = layer.parse().ok()?;
    if number.to_string() != layer {
        return None;
    }
    Some(format!("{to}{layer}.{}.{ending}", look_up(stem, true)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for architecture in Architecture::ALL {
            let Names {
                whole,
                layer,
                within,
            } = names(architecture);
            let mut pairs: Vec<(String, String)> = Vec::new();
            pairs.extend(
                whole
                    .iter()
                    .map(|(ours, theirs)| (format!("{ours}.weight"), format!("{theirs}.weight"))),
            );
            pairs.extend(within.iter().map(|(ours, theirs)| {
                (
                    format!("blk.17.{ours}.bias"),
                    format!("{layer}17.{theirs}.bias"),
                )
            }));
            for (stored, name) in pairs {
                assert_eq!(to_gguf(architecture, &name), Some(stored.clone()));
                assert_eq!(to_hugging_face(architecture, &stored), Some(name));
            }
        }
    }

    #[test]
    fn other_names_are_none() {
        for name in [
            "model.layers.x.self_attn.q_proj.weight",
            "model.layers.03.self_attn.q_proj.weight",
            "model.layers.3.weight",
            "model.layers.3.self_attn.q_proj.scale",
            "model.layers.3.block_sparse_moe.gate.weight",
            "self_attn.q_proj.weight",
            "",
        ] {
            assert_eq!(to_gguf(Architecture::Llama, name), None, "{name}");
        }
    }
}
