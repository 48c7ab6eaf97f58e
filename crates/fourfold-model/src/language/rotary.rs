//! Llama: RMS norms, rotary positions, grouped queries, gated feed-forward (Touvron et al., arXiv 2302.13971).

use fourfold_tensor::ops::{self, Heads};
use fourfold_tensor::{Parameters, Tape, Tensor};

use super::{Body, LanguageModel};
use crate::layers::{Linear, Norm, find};
use crate::spec::{Init, Spec};
use crate::{LanguageConfig, LlamaConfig, Result};

pub(super) fn specs(config: &LlamaConfig) -> Vec<Spec> {
    let (width, inner) = (config.hidden_size, config.intermediate_size);
    let heads = LanguageConfig::Llama(config.clone()).heads();
    let (queries, keys) = (heads.query * heads.width, heads.key_value * heads.width);
    let depth = 2 * config.num_hidden_layers;
    let table = [config.vocab_size, width];
    let mut specs = vec![Spec::plain(
        "language.model.embed_tokens.weight",
        &table,
        Init::Normal(0.02),
    )];
    for layer in 0..config.num_hidden_layers {
        let at = |name: &str| format!("language.model.layers.{layer}.{name}.weight");
        specs.extend([
            Spec::norm(at("input_layernorm"), width),
            Spec::matrix(at("self_attn.qkv_proj"), [queries + 2 * keys, width], 1).stored_as(&[
                (at("self_attn.q_proj"), queries),
                (at("self_attn.k_proj"), keys),
                (at("self_attn.v_proj"), keys),
            ]),
            Spec::matrix(at("self_attn.o_proj"), [width, queries], depth),
            Spec::norm(at("post_attention_layernorm"), width),
            Spec::matrix(at("mlp.gate_up_proj"), [2 * inner, width], 1)
                .stored_as(&[(at("mlp.gate_proj"), inner), (at("mlp.up_proj"), inner)]),
            Spec::matrix(at("mlp.down_proj"), [width, inner], depth),
        ]);
    }
    specs.push(Spec::norm("language.model.norm.weight", width));
    if !config.tie_word_embeddings {
        specs.push(Spec::plain(
            "language.lm_head.weight",
            &table,
            Init::Normal(0.02),
        ));
    }
    specs
}

pub(super) fn build(config: &LlamaConfig, parameters: &Parameters) -> Result<LanguageModel> {
    let heads = LanguageConfig::Llama(config.clone()).heads();
    let epsilon = config.rms_norm_eps;
    let block = |layer: usize| -> Result<Block> {
        let at = |name: &str| format!("language.model.layers.{layer}.{name}");
        Ok(Block {
            heads,
            theta: config.rope_theta,
            norm1: Norm::find(parameters, &at("input_layernorm"), epsilon)?,
            qkv: Linear::find(parameters, &at("self_attn.qkv_proj"))?,
            out: Linear::find(parameters, &at("self_attn.o_proj"))?,
            norm2: Norm::find(parameters, &at("post_attention_layernorm"), epsilon)?,
            gate_up: Linear::find(parameters, &at("mlp.gate_up_proj"))?,
            down: Linear::find(parameters, &at("mlp.down_proj"))?,
        })
    };
    let table = "language.model.embed_tokens.weight";
    let head = if config.tie_word_embeddings {
        table
    } else {
        "language.lm_head.weight"
    };
    Ok(LanguageModel {
        heads,
        table: find(parameters, table)?,
        head: find(parameters, head)?,
        body: Body::Llama(
            (0..config.num_hidden_layers)
                .map(block)
                .collect::<Result<_>>()?,
        ),
        norm: Norm::find(parameters, "language.model.norm", epsilon)?,
    })
}

#[derive(Debug)]
pub(super) struct Block {
    heads: Heads,
    theta: f32,
    norm1: Norm,
    qkv: Linear,
    out: Linear,
    norm2: Norm,
    gate_up: Linear,
    down: Linear,
}

impl Block {
    pub fn forward(
        &self,
        tape: &Tape<'_>,
        x: &Tensor,
        positions: &[u32],
        attend: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let qkv = self.qkv.forward(tape, &self.norm1.forward(tape, x)?)?;
        let seen = attend(&ops::rope(tape, &qkv, self.heads, positions, self.theta)?)?;
        let x = self.out.add_to(tape, x, &seen)?;
        let inner = self.gate_up.forward(tape, &self.norm2.forward(tape, &x)?)?;
        self.down.add_to(tape, &x, &ops::gated_silu(tape, &inner)?)
    }
}
