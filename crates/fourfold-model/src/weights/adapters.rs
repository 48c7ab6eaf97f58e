//! Adapters in the layout of `peft` (Hugging Face): `adapter_config.json` and `adapter_model.safetensors`.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use fourfold_tensor::Parameters;
use safetensors::{Dtype, View};
use serde_json::json;

use super::{WeightFormat, write_safetensors};
use crate::lora::{layer, names};
use crate::spec::Spec;
use crate::{LanguageConfig, LoraConfig, ModelConfig, ModelError, Part, Result, VisionFamily};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// Writes the adapters of each part that has some to `folder/PART`.
pub(crate) fn write_adapters(
    folder: &Path,
    config: &ModelConfig,
    parameters: &Parameters,
    specs: &[Spec],
    format: WeightFormat,
) -> Result<()> {
    let lora = config.lora.as_ref().ok_or_else(|| {
        ModelError::Input("the model has no adapters to write; give it [model.lora]".into())
    })?;
    for part in [Part::Vision, Part::Projector, Part::Language] {
        let of_part = specs
            .iter()
            .filter(|spec| spec.linear && Part::of(&spec.name) == Some(part));
        let (mut modules, mut tensors) = (Vec::new(), Vec::new());
        for stored in of_part.flat_map(|spec| &spec.stored) {
            let layer = layer(stored);
            let ids = names(layer).map(|name| parameters.find(&name));
            let [Some(a), Some(b)] = ids else {
                continue;
            };
            let [a, b] = [a, b].map(|id| parameters.get(id).master());
            let (a, b, rank) = (a.f32()?, b.f32()?, lora.rank);
            let named = modules_of(config, part, layer);
            let each = b.len() / named.len();
            for (module, b) in named.into_iter().zip(b.chunks_exact(each.max(1))) {
                for (values, matrix, shape) in [
                    (a, "lora_A", [rank, a.len() / rank]),
                    (b, "lora_B", [each / rank, rank]),
                ] {
                    let name = format!("base_model.model.{module}.{matrix}.weight");
                    let values = Matrix {
                        values,
                        shape,
                        format,
                    };
                    tensors.push((name, values));
                }
                modules.push(module);
            }
        }
        if modules.is_empty() {
            continue;
        }
        let folder = folder.join(part.name());
        fs::create_dir_all(&folder).map_err(ModelError::io(&folder))?;
        write_safetensors(&folder.join(WEIGHTS), tensors, None)?;
        write_config(&folder.join(CONFIG), config, lora, part, &modules)?;
    }
    Ok(())
}

/// What `transformers` 5 calls a layer within the part's own model, where that is not its name in files. What is one
/// layer in files may be several there, whose outputs lie one after the other in its own.
fn modules_of(config: &ModelConfig, part: Part, layer: &str) -> Vec<String> {
    let of_part = layer.strip_prefix(part.name()).unwrap_or(layer);
    let of_part = of_part.strip_prefix('.').unwrap_or(of_part);
    if part != Part::Vision {
        return vec![of_part.to_owned()];
    }
    let renamed: &[(&str, &str)] = match config.vision.family {
        VisionFamily::Siglip | VisionFamily::Clip => &[("vision_model.", "")],
        VisionFamily::Vit | VisionFamily::Deit => &VIT,
        VisionFamily::Dinov2 | VisionFamily::Dinov2Registers => &DINO,
    };
    let rename = |name: String, (from, to): &(&str, &str)| name.replace(from, to);
    let name = renamed.iter().fold(of_part.to_owned(), rename);
    match name.strip_suffix("weights_in") {
        Some(mlp) => ["gate_proj", "up_proj"]
            .map(|half| format!("{mlp}{half}"))
            .to_vec(),
        None => vec![name],
    }
}

/// The names of ViT's modules in files and in memory.
const VIT: [(&str, &str); 7] = [
    ("attention.attention.query", "attention.q_proj"),
    ("attention.attention.key", "attention.k_proj"),
    ("attention.attention.value", "attention.v_proj"),
    ("attention.output.dense", "attention.o_proj"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
    ("encoder.layer.", "layers."),
];

/// Those of DINOv2.
const DINO: [(&str, &str); 5] = [
    ("attention.attention.query", "attention.q_proj"),
    ("attention.attention.key", "attention.k_proj"),
    ("attention.attention.value", "attention.v_proj"),
    ("attention.output.dense", "attention.o_proj"),
    ("mlp.weights_out", "mlp.down_proj"),
];

fn write_config(
    path: &Path,
    config: &ModelConfig,
    lora: &LoraConfig,
    part: Part,
    modules: &[String],
) -> Result<()> {
    let language = part == Part::Language;
    let gpt2 = language && matches!(config.language, LanguageConfig::Gpt2(_));
    let value = json!({
        "peft_type": "LORA",
        "task_type": language.then_some("CAUSAL_LM"),
        "base_model_name_or_path": null,
        "r": lora.rank,
        "lora_alpha": lora.alpha.unwrap_or(lora.rank as f32),
        "lora_dropout": lora.dropout,
        "target_modules": modules,
        "bias": "none",
        // GPT-2's layers hold `[in, out]`.
        "fan_in_fan_out": gpt2,
        "inference_mode": true,
    });
    let text = serde_json::to_string_pretty(&value)
        .map_err(|error| ModelError::config(path.display(), error.to_string()))?;
    fs::write(path, text + "\n").map_err(ModelError::io(path))
}

/// One of an adapter's two matrices.
struct Matrix<'a> {
    values: &'a [f32],
    shape: [usize; 2],
    format: WeightFormat,
}

impl View for Matrix<'_> {
    fn dtype(&self) -> Dtype {
        self.format.dtype()
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.format.bytes(self.values.iter().copied()))
    }

    fn data_len(&self) -> usize {
        self.values.len() * self.dtype().bitsize() / 8
    }
}
