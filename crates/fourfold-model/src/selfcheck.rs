//! A tiny whole model on a device, held to this processor in f32: its loss and gradients, some steps of training, its
//! logits and an answer.

use fourfold_tensor::selfcheck::{Array, Case, Extent, Failure, Operation};
use fourfold_tensor::{AdamW, Device, Gradients, Precision, Tape, Tensor, Update};

use crate::{
    DocumentSpan, GenerateOptions, ImageSize, Images, Input, LanguageConfig, LossOptions, Model,
    ModelConfig, ProjectorConfig, ProjectorKind, Prompt, PromptImage, Repetition, RopeConfig,
    RotaryConfig, RotaryFamily, VisibilityKind, VisionConfig, VisionFamily, VisualSpan,
};

/// What a whole model is checked by.
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::new("model, loss", losses),
        Operation::new("model, training", trainings),
        Operation::new("model, logits", logits),
        // Sixteen bits may prefer another of two tokens that are nearly as likely.
        Operation::new("model, answer", answers).in_f32_alone(),
    ]
}

const VISIBILITIES: [VisibilityKind; 4] = [
    VisibilityKind::ImageBidirectional,
    VisibilityKind::Causal,
    VisibilityKind::PrefixLm,
    VisibilityKind::ImageIsolated,
];

/// One case a visibility.
fn each(
    extent: Extent,
    compute: fn(&Device, Precision, VisibilityKind) -> Result<Vec<Array>, Failure>,
) -> Vec<Case> {
    let visibilities = match extent {
        Extent::Quick => &VISIBILITIES[..1],
        Extent::Whole => &VISIBILITIES[..],
    };
    let visibilities = visibilities.iter();
    visibilities
        .map(|visibility| {
            let visibility = *visibility;
            let name = format!("SigLIP and Qwen3 of width 128, visibility {visibility}");
            Case::new(name, move |device, precision| {
                compute(device, precision, visibility)
            })
        })
        .collect()
}

fn losses(extent: Extent) -> Vec<Case> {
    each(extent, |device, precision, visibility| {
        let model = model(device, precision)?;
        let (loss, gradients) = Pack::new()?.loss(&model, visibility)?;
        // One array of all: the gradient of a parameter alone may be so small that 16 bits leave little of it.
        let mut all = Vec::new();
        for (id, parameter) in model.parameters.iter() {
            let mut gradient = vec![0.0; parameter.master().len()];
            gradients.read(id, &mut gradient)?;
            all.extend(gradient.iter().map(|value| value / scale(precision)));
        }
        Ok(vec![
            Array::output("loss", vec![loss]),
            Array::gradient("all parameters", all),
        ])
    })
}

fn trainings(extent: Extent) -> Vec<Case> {
    each(extent, |device, precision, visibility| {
        let mut model = model(device, precision)?;
        let pack = Pack::new()?;
        let ids: Vec<_> = model.parameters.ids().collect();
        let mut moments = Vec::new();
        for id in &ids {
            let shape = model.parameters.get(*id).master().shape().to_vec();
            moments.push([(); 2].map(|()| Tensor::zeros_on(device, &shape)));
        }
        let (mut losses, mut norms) = (Vec::new(), Vec::new());
        for step in 1..=3 {
            let (loss, gradients) = pack.loss(&model, visibility)?;
            losses.push(loss);
            norms.push(gradients.norm() as f32 / scale(precision));
            let mut updates = Vec::new();
            for (id, [first, second]) in ids.iter().zip(&mut moments) {
                let Some(gradient) = gradients.get(*id) else {
                    continue;
                };
                updates.push(Update {
                    id: *id,
                    place: 0..gradient.len(),
                    step: AdamW::new([0.9, 0.98], step, 1e-3, 0.1),
                    gradient,
                    first,
                    second,
                });
            }
            model
                .parameters
                .step(&mut updates, 1.0 / scale(precision))?;
        }
        losses.push(pack.loss(&model, visibility)?.0);
        Ok(vec![
            Array::output("losses before and after each step", losses),
            Array::output("norms of the gradient", norms),
        ])
    })
}

fn logits(extent: Extent) -> Vec<Case> {
    each(extent, |device, precision, visibility| {
        let model = model(device, precision)?;
        let logits = model.logits(&Pack::new()?.input(), visibility)?;
        Ok(vec![Array::output(
            "logits",
            logits.to_host()?.to_f32_vec(),
        )])
    })
}

fn answers(extent: Extent) -> Vec<Case> {
    each(extent, |device, precision, visibility| {
        let model = model(device, precision)?;
        let options = GenerateOptions {
            max_tokens: 6,
            min_tokens: 6,
            end: 0,
            visibility,
            beams: 1,
            length_penalty: 1.0,
            sampling: None,
            repetition: Repetition::default(),
            sequences: 4,
            refill: true,
        };
        let answers = model.generate(&prompts()?, &options)?;
        let tokens = answers.iter().flat_map(|answer| &answer.tokens);
        let chances = answers.iter().flat_map(|answer| &answer.log_probabilities);
        Ok(vec![
            Array::output("tokens", tokens.map(|token| *token as f32).collect()),
            Array::output("log-probabilities", chances.copied().collect()),
        ])
    })
}

/// What the loss is multiplied by, as in training: gradients of a tiny model are near the smallest numbers of fp16.
fn scale(precision: Precision) -> f32 {
    match precision {
        Precision::F16 => 1024.0,
        _ => 1.0,
    }
}

/// Random weights that every format has, all of which train.
fn model(device: &Device, precision: Precision) -> Result<Model, Failure> {
    let mut model = Model::new(config(), precision, 1)?;
    let ids: Vec<_> = model.parameters.ids().collect();
    for id in ids {
        // The upper half of an f32 is a bf16.
        let short = |weight: &mut f32| *weight = f32::from_bits(weight.to_bits() & 0xffff_0000);
        model
            .parameters
            .update(id, |master| master.iter_mut().for_each(short))?;
    }
    model.parameters.set_trainable(|_| true);
    model.parameters.to_device(device)?;
    Ok(model)
}

/// Tokens that the model knows.
const VOCABULARY: usize = 97;
/// Visual tokens of an image.
const VISUAL: usize = 4;

fn config() -> ModelConfig {
    ModelConfig {
        vision: VisionConfig {
            family: VisionFamily::Siglip,
            hidden_size: 128,
            intermediate_size: 192,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            image_size: ImageSize::square(16),
            patch_size: 4,
            num_channels: 3,
            layer_norm_eps: 1e-6,
            hidden_act: "gelu_pytorch_tanh".into(),
            qkv_bias: true,
            gated: false,
            registers: 0,
            final_norm: true,
            keep_class_token: false,
        },
        projector: ProjectorConfig {
            kind: ProjectorKind::Mlp,
            pixel_shuffle: 2,
            hidden_size: None,
        },
        language: LanguageConfig::Rotary(RotaryConfig {
            family: RotaryFamily::Qwen3,
            vocab_size: VOCABULARY,
            hidden_size: 128,
            intermediate_size: 192,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            num_key_value_heads: 1,
            head_dim: 64,
            max_position_embeddings: 64,
            rms_norm_eps: 1e-5,
            rope: RopeConfig {
                theta: 10_000.0,
                scaling: None,
            },
            window: None,
            query_pre_attn_scalar: 64,
            tie_word_embeddings: true,
            qkv_bias: false,
            output_bias: false,
            mlp_bias: false,
        }),
        visibility: VisibilityKind::default(),
        tokenizer_sha256: String::new(),
        lora: None,
    }
}

fn tokens(number: usize, count: usize) -> Vec<u32> {
    let token = |at: usize| (1 + (number * 1009 + at * 31) % (VOCABULARY - 1)) as u32;
    (0..count).map(token).collect()
}

fn images(count: usize) -> Result<Tensor, Failure> {
    let shape = [count, 3, 16, 16];
    let pixel = |at: usize| (at.wrapping_mul(2_654_435_761) >> 7 & 255) as f32 / 128.0 - 1.0;
    let pixels: Vec<f32> = (0..shape.iter().product()).map(pixel).collect();
    Ok(Tensor::from_f32(&shape, &pixels)?)
}

/// A prompt about an image, and one of text alone.
fn prompts() -> Result<Vec<Prompt>, Failure> {
    let image = images(1)?.reshape(&[3, 16, 16])?;
    let span = VisualSpan {
        start: 1,
        len: VISUAL,
        image: 0,
    };
    Ok(vec![
        Prompt {
            tokens: tokens(1, VISUAL + 5),
            visual: vec![span],
            images: vec![PromptImage::new(image)],
            draw: 0,
        },
        Prompt {
            tokens: tokens(2, 3),
            visual: Vec::new(),
            images: Vec::new(),
            draw: 0,
        },
    ])
}

/// Documents with two images, one and none, of which the last is a single row.
struct Pack {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    documents: Vec<DocumentSpan>,
    images: Tensor,
    targets: Vec<(u32, u32)>,
}

impl Pack {
    fn new() -> Result<Self, Failure> {
        let mut pack = Self {
            tokens: Vec::new(),
            positions: Vec::new(),
            documents: Vec::new(),
            images: images(3)?,
            targets: Vec::new(),
        };
        let mut image = 0;
        for (number, (length, of_images)) in [(23, 2), (13, 1), (7, 0), (1, 0)].iter().enumerate() {
            let start = pack.tokens.len();
            let mut visual = Vec::new();
            for at in 0..*of_images {
                visual.push(VisualSpan {
                    start: start + 1 + at * (VISUAL + 1),
                    len: VISUAL,
                    image,
                });
                image += 1;
            }
            let end = start + length;
            let prompt_end = end - length / 3;
            pack.tokens.extend(tokens(number, *length));
            pack.positions.extend(0..*length as u32);
            // The row before each row of the answer has it for a target.
            let answer = prompt_end..end;
            let targets = answer.filter(|row| *row > start);
            let targets = targets.map(|row| (row as u32 - 1, pack.tokens[row]));
            pack.targets.extend(targets);
            pack.documents.push(DocumentSpan {
                start,
                end,
                prompt_end,
                visual,
                key: 0,
            });
        }
        Ok(pack)
    }

    fn input(&self) -> Input<'_> {
        Input {
            tokens: &self.tokens,
            positions: &self.positions,
            documents: &self.documents,
            images: Images::Pixels(&self.images),
            targets: &self.targets,
        }
    }

    /// The loss, and its gradients times [`scale`].
    fn loss(&self, model: &Model, visibility: VisibilityKind) -> Result<(f32, Gradients), Failure> {
        let parameters = &model.parameters;
        let scale = scale(parameters.precision());
        let mut gradients = Gradients::new(parameters);
        let tape = Tape::recording(parameters);
        let options = LossOptions {
            visibility,
            scale: scale / self.targets.len() as f32,
            recompute: false,
        };
        let loss = model.loss(&tape, &self.input(), options)?;
        let value = loss.to_host()?.to_f32_vec()[0] / scale;
        tape.backward(&loss, &mut gradients)?;
        Ok((value, gradients))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fourfold_tensor::DeviceChoice;
    use fourfold_tensor::selfcheck::check;

    #[test]
    fn a_whole_model_is_right_in_16_bits_and_with_the_kernels_for_gpus() {
        for choice in [DeviceChoice::Cpu, DeviceChoice::Emulated] {
            for operation in operations() {
                let report = check(&operation, Extent::Quick, &|| choice.open());
                assert!(report.is_ok(), "{choice}: {report:#?}");
            }
        }
    }

    #[test]
    fn the_pack_learns() {
        let model = model(&Device::Cpu, Precision::F32).expect("a model");
        let pack = Pack::new().expect("a pack");
        let (loss, _) = pack
            .loss(&model, VisibilityKind::default())
            .expect("a loss");
        let chance = (VOCABULARY as f32).ln();
        assert!((loss - chance).abs() < 0.5, "{loss}, by chance {chance}");
        let arrays = trainings(Extent::Quick)[0].compute(&Device::Cpu, Precision::F32);
        let losses = &arrays.expect("it trains")[0].values;
        assert!(losses[3] < losses[0], "{losses:?}");
    }
}
