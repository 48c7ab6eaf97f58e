//! GPT-2: layer norms, learned positions, GELU feed-forward.

use fourfold_tensor::ops::Gelu;
use fourfold_tensor::{Tape, Tensor};

use super::{Attend, Body, LanguageModel};
use crate::config::gelu_named;
use crate::layers::{Found, Linear, Norm, find};
use crate::spec::{Init, Spec};
use crate::{Gpt2Config, LanguageConfig, Result};

const ROOT: &str = "language.transformer";
const TABLE: &str = "language.transformer.wte.weight";
const HEAD: &str = "language.lm_head.weight";

pub(super) fn specs(config: &Gpt2Config) -> Vec<Spec> {
    let width = config.n_embd;
    let inner = config.inner();
    let depth = 2 * config.n_layer;
    let table = [config.vocab_size, width];
    let mut specs = vec![
        Spec::plain(TABLE, &table, Init::Normal(0.02)).growing(),
        Spec::plain(
            format!("{ROOT}.wpe.weight"),
            &[config.n_positions, width],
            Init::Normal(0.02),
        ),
    ];
    for layer in 0..config.n_layer {
        let at = |name: &str| format!("{ROOT}.h.{layer}.{name}");
        let linear = |name: &str, out: usize, inner: usize, depth: usize| {
            [
                // GPT-2's weight files hold `[in, out]`.
                Spec::matrix(at(&format!("{name}.weight")), [out, inner], depth).transposed(),
                Spec::bias(at(&format!("{name}.bias")), out),
            ]
        };
        let norm = |name: &str| {
            [
                Spec::norm(at(&format!("{name}.weight")), width),
                Spec::bias(at(&format!("{name}.bias")), width),
            ]
        };
        specs.extend(norm("ln_1"));
        specs.extend(linear("attn.c_attn", 3 * width, width, 1));
        specs.extend(linear("attn.c_proj", width, width, depth));
        specs.extend(norm("ln_2"));
        specs.extend(linear("mlp.c_fc", inner, width, 1));
        specs.extend(linear("mlp.c_proj", width, inner, depth));
    }
    specs.push(Spec::norm(format!("{ROOT}.ln_f.weight"), width));
    specs.push(Spec::bias(format!("{ROOT}.ln_f.bias"), width));
    if !config.tie_word_embeddings {
        specs.push(Spec::plain(HEAD, &table, Init::Normal(0.02)).growing());
    }
    specs
}

pub(super) fn build(config: &Gpt2Config, found: &Found<'_>) -> Result<LanguageModel> {
    let epsilon = config.layer_norm_epsilon;
    let gelu = gelu_named("language.activation_function", &config.activation_function)?;
    let block = |layer: usize| -> Result<Block> {
        let at = |name: &str| format!("{ROOT}.h.{layer}.{name}");
        Ok(Block {
            gelu,
            norm1: Norm::find(found, &at("ln_1"), epsilon)?,
            qkv: Linear::find(found, &at("attn.c_attn"))?,
            out: Linear::find(found, &at("attn.c_proj"))?,
            norm2: Norm::find(found, &at("ln_2"), epsilon)?,
            fc: Linear::find(found, &at("mlp.c_fc"))?,
            down: Linear::find(found, &at("mlp.c_proj"))?,
        })
    };
    let head = if config.tie_word_embeddings {
        TABLE
    } else {
        HEAD
    };
    Ok(LanguageModel {
        heads: LanguageConfig::Gpt2(config.clone()).heads(),
        table: find(found, TABLE)?,
        table_scale: 1.0,
        head: find(found, head)?,
        windows: vec![None; config.n_layer],
        body: Body::Gpt2 {
            positions: find(found, &format!("{ROOT}.wpe.weight"))?,
            blocks: (0..config.n_layer).map(block).collect::<Result<_>>()?,
        },
        norm: Norm::find(found, &format!("{ROOT}.ln_f"), epsilon)?,
    })
}

#[derive(Debug)]
pub(super) struct Block {
    gelu: Gelu,
    norm1: Norm,
    qkv: Linear,
    out: Linear,
    norm2: Norm,
    fc: Linear,
    down: Linear,
}

impl Block {
    pub fn forward(&self, tape: &Tape<'_>, x: &Tensor, attend: Attend<'_>) -> Result<Tensor> {
        let qkv = self.qkv.forward(tape, &self.norm1.forward(tape, x)?)?;
        let x = self.out.add_to(tape, x, &attend(&qkv)?)?;
        let normed = self.norm2.forward(tape, &x)?;
        let inner = self.fc.gelu(tape, &normed, self.gelu)?;
        self.down.add_to(tape, &x, &inner)
    }
}
