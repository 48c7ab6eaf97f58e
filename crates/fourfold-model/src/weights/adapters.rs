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
use crate::{LanguageConfig, LoraConfig, ModelConfig, ModelError, Part, Result};

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
            let module = module(part, layer);
            for (id, matrix) in [(a, "lora_A"), (b, "lora_B")] {
                let master = parameters.get(id).master();
                let name = format!("base_model.model.{module}.{matrix}.weight");
                let values = Matrix {
                    values: master.f32()?,
                    shape: master.shape(),
                    format,
                };
                tensors.push((name, values));
            }
            modules.push(module);
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

/// What `transformers` calls a layer within the part's own model.
fn module(part: Part, layer: &str) -> &str {
    let of_part = layer.strip_prefix(part.name()).unwrap_or(layer);
    let of_part = of_part.strip_prefix('.').unwrap_or(of_part);
    // Newer versions have no module of this name around CLIP's and SigLIP's encoders.
    of_part.strip_prefix("vision_model.").unwrap_or(of_part)
}

fn write_config(
    path: &Path,
    config: &ModelConfig,
    lora: &LoraConfig,
    part: Part,
    modules: &[&str],
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
    shape: &'a [usize],
    format: WeightFormat,
}

impl View for Matrix<'_> {
    fn dtype(&self) -> Dtype {
        self.format.dtype()
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.format.bytes(self.values.iter().copied()))
    }

    fn data_len(&self) -> usize {
        self.values.len() * self.dtype().bitsize() / 8
    }
}
