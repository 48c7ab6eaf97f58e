//! The models that descend from Llama: RMS norms, rotary positions, grouped queries, gated feed-forward (Touvron et al.,
//! arXiv 2302.13971).
//!
//! A block reads `x + attention(norm(x))`, then `x + feed_forward(norm(x))`; Gemma norms what a branch gives, too.

use fourfold_tensor::ops::{self, Gate, Heads, Rotary};
use fourfold_tensor::{ParameterId, Tape, Tensor};

use super::{Attend, Body, LanguageModel};
use crate::layers::{Found, Linear, Norm, find};
use crate::spec::{Init, Spec};
use crate::{Result, RotaryConfig};

const ROOT: &str = "language.model";
const TABLE: &str = "language.model.embed_tokens.weight";
const HEAD: &str = "language.lm_head.weight";

/// What a block's norms are called.
struct NormNames {
    attention: &'static str,
    feed_forward: &'static str,
    /// After the branches, where there are such.
    branches: Option<[&'static str; 2]>,
}

/// Llama calls the norm before the feed-forward part "post attention", Gemma the one after attention.
fn norm_names(config: &RotaryConfig) -> NormNames {
    if config.norms_branches() {
        NormNames {
            attention: "input_layernorm",
            feed_forward: "pre_feedforward_layernorm",
            branches: Some(["post_attention_layernorm", "post_feedforward_layernorm"]),
        }
    } else {
        NormNames {
            attention: "input_layernorm",
            feed_forward: "post_attention_layernorm",
            branches: None,
        }
    }
}

pub(super) fn specs(config: &RotaryConfig) -> Vec<Spec> {
    let (width, inner) = (config.hidden_size, config.intermediate_size);
    let heads = config.heads();
    let (queries, keys) = (heads.query * heads.width, heads.key_value * heads.width);
    let depth = 2 * config.num_hidden_layers;
    let table = [config.vocab_size, width];
    let norm = |name: String, len: usize| Spec::norm(name, len).stored_less(config.norm_offset());
    let names = norm_names(config);
    let mut specs = vec![Spec::plain(TABLE, &table, Init::Normal(0.02)).growing()];
    for layer in 0..config.num_hidden_layers {
        let at = |name: &str| format!("{ROOT}.layers.{layer}.{name}");
        // A linear layer whose weight file holds its rows in pieces.
        let linear = |specs: &mut Vec<Spec>,
                      name: &str,
                      [out, from]: [usize; 2],
                      depth: usize,
                      bias: bool,
                      pieces: &[(&str, usize)]| {
            let stored = |kind: &str| -> Vec<(String, usize)> {
                let named = |(name, rows): &(&str, usize)| (at(&format!("{name}.{kind}")), *rows);
                pieces.iter().map(named).collect()
            };
            let mut add = |spec: Spec, kind: &str| {
                specs.push(match pieces {
                    [] => spec,
                    _ => spec.stored_as(&stored(kind)),
                });
            };
            add(
                Spec::matrix(at(&format!("{name}.weight")), [out, from], depth),
                "weight",
            );
            if bias {
                add(Spec::bias(at(&format!("{name}.bias")), out), "bias");
            }
        };
        specs.push(norm(at(&format!("{}.weight", names.attention)), width));
        let pieces = [
            ("self_attn.q_proj", queries),
            ("self_attn.k_proj", keys),
            ("self_attn.v_proj", keys),
        ];
        let shape = [queries + 2 * keys, width];
        linear(
            &mut specs,
            "self_attn.qkv_proj",
            shape,
            1,
            config.qkv_bias,
            &pieces,
        );
        if config.norms_heads() {
            for name in ["self_attn.q_norm.weight", "self_attn.k_norm.weight"] {
                specs.push(norm(at(name), heads.width));
            }
        }
        let shape = [width, queries];
        linear(
            &mut specs,
            "self_attn.o_proj",
            shape,
            depth,
            config.output_bias,
            &[],
        );
        if let Some([after, _]) = names.branches {
            specs.push(norm(at(&format!("{after}.weight")), width));
        }
        specs.push(norm(at(&format!("{}.weight", names.feed_forward)), width));
        let pieces = [("mlp.gate_proj", inner), ("mlp.up_proj", inner)];
        let shape = [2 * inner, width];
        linear(
            &mut specs,
            "mlp.gate_up_proj",
            shape,
            1,
            config.mlp_bias,
            &pieces,
        );
        linear(
            &mut specs,
            "mlp.down_proj",
            [width, inner],
            depth,
            config.mlp_bias,
            &[],
        );
        if let Some([_, after]) = names.branches {
            specs.push(norm(at(&format!("{after}.weight")), width));
        }
    }
    specs.push(norm(format!("{ROOT}.norm.weight"), width));
    if !config.tie_word_embeddings {
        specs.push(Spec::plain(HEAD, &table, Init::Normal(0.02)).growing());
    }
    specs
}

pub(super) fn build(config: &RotaryConfig, found: &Found<'_>) -> Result<LanguageModel> {
    let heads = config.heads();
    let epsilon = config.rms_norm_eps;
    let names = norm_names(config);
    let (rotary, windowed_rotary) = config.rotary()?;
    let is_windowed = |layer: usize| {
        let window = config.window.as_ref();
        window.is_some_and(|window| window.layers[layer])
    };
    let block = |layer: usize| -> Result<Block> {
        let at = |name: &str| format!("{ROOT}.layers.{layer}.{name}");
        let norm = |name: &str| Norm::find(found, &at(name), epsilon);
        let head_weight = |name: &str| find(found, &at(&format!("self_attn.{name}.weight")));
        let [attention, feed_forward] =
            names.branches.map_or([None, None], |names| names.map(Some));
        Ok(Block {
            heads,
            rotary: match &windowed_rotary {
                Some(windowed) if is_windowed(layer) => windowed.clone(),
                _ => rotary.clone(),
            },
            gate: config.gate(),
            norm1: norm(names.attention)?,
            qkv: Linear::find(found, &at("self_attn.qkv_proj"))?,
            head_norm: match config.norms_heads() {
                true => Some(HeadNorm {
                    weights: [head_weight("q_norm")?, head_weight("k_norm")?],
                    epsilon,
                }),
                false => None,
            },
            out: Linear::find(found, &at("self_attn.o_proj"))?,
            after_attention: attention.map(norm).transpose()?,
            norm2: norm(names.feed_forward)?,
            gate_up: Linear::find(found, &at("mlp.gate_up_proj"))?,
            down: Linear::find(found, &at("mlp.down_proj"))?,
            after_feed_forward: feed_forward.map(norm).transpose()?,
        })
    };
    let layers = 0..config.num_hidden_layers;
    let window = config.window.as_ref();
    Ok(LanguageModel {
        heads,
        table: find(found, TABLE)?,
        table_scale: config.embedding_scale(),
        head: find(
            found,
            if config.tie_word_embeddings {
                TABLE
            } else {
                HEAD
            },
        )?,
        windows: layers
            .clone()
            .map(|layer| {
                window
                    .filter(|_| is_windowed(layer))
                    .map(|window| window.rows)
            })
            .collect(),
        body: Body::Rotary(layers.map(block).collect::<Result<_>>()?),
        norm: Norm::find(found, &format!("{ROOT}.norm"), epsilon)?,
    })
}

#[derive(Debug)]
pub(super) struct Block {
    heads: Heads,
    rotary: Rotary,
    gate: Gate,
    norm1: Norm,
    qkv: Linear,
    head_norm: Option<HeadNorm>,
    out: Linear,
    after_attention: Option<Norm>,
    norm2: Norm,
    gate_up: Linear,
    down: Linear,
    after_feed_forward: Option<Norm>,
}

#[derive(Debug)]
struct HeadNorm {
    weights: [ParameterId; 2],
    epsilon: f32,
}

impl Block {
    pub fn forward(
        &self,
        tape: &Tape<'_>,
        x: &Tensor,
        positions: &[u32],
        attend: Attend<'_>,
    ) -> Result<Tensor> {
        let mut qkv = self.qkv.forward(tape, &self.norm1.forward(tape, x)?)?;
        if let Some(norm) = &self.head_norm {
            let [queries, keys] = norm.weights.map(|weight| tape.parameter(weight));
            qkv = ops::head_norm(tape, &qkv, self.heads, [&queries, &keys], norm.epsilon)?;
        }
        let seen = attend(&ops::rope(tape, &qkv, self.heads, positions, &self.rotary)?)?;
        let x = join(tape, x, &self.out, self.after_attention.as_ref(), &seen)?;
        let inner = self.gate_up.forward(tape, &self.norm2.forward(tape, &x)?)?;
        let inner = ops::gated(tape, &inner, self.gate)?;
        join(
            tape,
            &x,
            &self.down,
            self.after_feed_forward.as_ref(),
            &inner,
        )
    }
}

/// The residual stream and what a branch's last layer makes of `inner`, normed where the family norms it.
fn join(
    tape: &Tape<'_>,
    stream: &Tensor,
    last: &Linear,
    norm: Option<&Norm>,
    inner: &Tensor,
) -> Result<Tensor> {
    match norm {
        None => last.add_to(tape, stream, inner),
        Some(norm) => {
            let branch = norm.forward(tape, &last.forward(tape, inner)?)?;
            Ok(ops::residual(tape, stream, &branch, None)?)
        }
    }
}
