//! The sizes of a model, and the operations and bytes that follow from them.

use fourfold_model::{LanguageConfig, ModelConfig, Part, ProjectorKind};
use fourfold_tensor::{Precision, ops};

use super::average::Average;
use crate::recipe::Stage;

/// The sizes of a model that its costs come from.
pub(crate) struct Shapes {
    pub vision: Stack,
    /// Rows of the vision encoder an image, tokens before the patches included.
    pub patches: f64,
    /// Numbers in the projector's matrices.
    projector: f64,
    visual_tokens: f64,
    pub language: Stack,
    pub width: f64,
    vocabulary: f64,
    /// The parts that have adapters.
    adapted: Vec<Part>,
}

/// A stack of equal blocks.
pub(crate) struct Stack {
    layers: f64,
    /// Width of the residual stream.
    pub width: f64,
    /// Numbers of all query heads in a row.
    queries: f64,
    /// Numbers in the matrices of a block.
    matrices: f64,
    /// Numbers a row, in the precision of products, that a block keeps where its weights train.
    kept: f64,
    /// The same where a gradient only passes it: what its activation and its attention read and gave.
    passed: f64,
    /// Numbers a row inside its feed-forward part: before and after the activation.
    inside: f64,
    /// Numbers in matrices before the blocks.
    stem: f64,
}

impl Stack {
    /// Forward operations a row that attends to `keys` keys.
    pub fn forward(&self, keys: f64) -> f64 {
        2.0 * self.stem + self.layers * (2.0 * self.matrices + 4.0 * keys * self.queries)
    }

    /// Bytes a row: a block keeps two f32 rows of the residual stream and what its gradients read, and on the way back
    /// the gradients of its widest part live besides. Without a gradient only that part lives, one block at a time;
    /// where blocks are computed again, one block and the input of each.
    fn bytes(&self, pass: Pass, recompute: bool, bytes: f64) -> f64 {
        let stream = 8.0 * self.width;
        let widest = stream + bytes * self.inside;
        let block = stream
            + bytes
                * match pass {
                    Pass::Forward => return widest,
                    Pass::Passed => self.passed,
                    Pass::Trained => self.kept,
                };
        let input = 4.0 * self.width;
        widest
            + match recompute {
                true => block + self.layers * input,
                false => self.layers * block,
            }
    }
}

/// What a stack of blocks takes part in.
#[derive(Clone, Copy, PartialEq)]
enum Pass {
    /// The forward pass alone.
    Forward,
    /// A gradient passes through it to what lies before.
    Passed,
    /// Its weights train.
    Trained,
}

impl Shapes {
    pub fn of(config: &ModelConfig) -> Self {
        let vision = &config.vision;
        let wide = vision.hidden_size as f64;
        let inner = vision.intermediate_size as f64;
        // Of a gated block, gate and up and their product; of a plain one, before and after the activation.
        let open = if vision.gated { 3.0 } else { 2.0 };
        let shuffled = wide * (config.projector.pixel_shuffle as f64).powi(2);
        let width = config.language.width() as f64;
        let hidden = config
            .projector
            .hidden_size
            .map_or(width, |size| size as f64);
        let heads = config.language.heads();
        let queries = (heads.query * heads.width) as f64;
        let qkv = queries + 2.0 * (heads.key_value * heads.width) as f64;
        let (inner_language, feed_forward) = match &config.language {
            LanguageConfig::Rotary(config) => (config.intermediate_size as f64, 3.0),
            LanguageConfig::Gpt2(config) => (config.inner() as f64, 2.0),
        };
        Self {
            vision: Stack {
                layers: vision.num_hidden_layers as f64,
                width: wide,
                queries: wide,
                matrices: 4.0 * wide * wide + open * wide * inner,
                kept: 6.0 * wide + open * inner,
                passed: 4.0 * wide + (open - 1.0) * inner,
                inside: open * inner,
                stem: wide * (vision.num_channels * vision.patch_size.pow(2)) as f64,
            },
            patches: (vision.prefix() + vision.patches()) as f64,
            projector: match config.projector.kind {
                ProjectorKind::Linear => shuffled * width,
                ProjectorKind::Mlp => (shuffled + width) * hidden,
                ProjectorKind::Gemma3 => wide * width,
            },
            visual_tokens: config.visual_tokens() as f64,
            language: Stack {
                layers: config.language.layers() as f64,
                width,
                queries,
                matrices: width * (qkv + queries + feed_forward * inner_language),
                kept: 2.0 * width + qkv + queries + feed_forward * inner_language,
                passed: qkv + queries + (feed_forward - 1.0) * inner_language,
                inside: feed_forward * inner_language,
                stem: 0.0,
            },
            width,
            vocabulary: config.vocabulary() as f64,
            adapted: config
                .adapter_counts()
                .unwrap_or_default()
                .into_iter()
                .filter_map(|(part, count)| (count > 0).then_some(part))
                .collect(),
        }
    }

    fn adapted(&self, part: Part) -> bool {
        self.adapted.contains(&part)
    }

    /// Operations a document, of whose images the part `encoded` passes the encoder.
    pub fn operations(&self, average: Average, encoded: f64, trains: impl Fn(Part) -> bool) -> f64 {
        let [vision, projector, language] = [Part::Vision, Part::Projector, Part::Language]
            .map(|part| trains(part) || (trains(Part::Lora) && self.adapted(part)));
        // Once forward, once if a gradient passes, once if the part itself trains.
        let passes = |flows: bool, trains: bool| 1.0 + f64::from(flows) + f64::from(trains);
        let rows = encoded * average.images * self.patches;
        let seen = self.vision.forward(self.patches) * rows * passes(vision, vision);
        let visual = average.images * self.visual_tokens;
        let flows = vision || projector;
        let projected = 2.0 * self.projector * visual * passes(flows, projector);
        let passes = passes(flows || language, language);
        // A row of text sees half of its document on average.
        let read = self.language.forward(average.tokens / 2.0) * average.tokens * passes;
        let head = 2.0 * self.width * self.vocabulary * average.targets * passes;
        seen + projected + read + head
    }

    /// Operations of the encoder for an image.
    pub fn encoding(&self) -> f64 {
        self.vision.forward(self.patches) * self.patches
    }

    /// Operations of an image's answer of `answer` tokens to a prompt of `prompt` tokens, visual ones included.
    pub fn answer(&self, prompt: usize, answer: usize) -> f64 {
        let (prompt, answer) = (prompt as f64, answer as f64);
        let projected = 2.0 * self.projector * self.visual_tokens;
        let read = self.language.forward(prompt / 2.0) * prompt;
        let written = self.language.forward(prompt + answer / 2.0) * (answer - 1.0);
        let head = 2.0 * self.width * self.vocabulary * answer;
        self.encoding() + projected + read + written + head
    }

    /// Bytes of the largest pack's activations.
    pub fn activations(&self, stage: &Stage, average: Average, precision: Precision) -> f64 {
        let trains = |part| stage.trains(part) || (stage.trains(Part::Lora) && self.adapted(part));
        let [vision, projector, language] =
            [Part::Vision, Part::Projector, Part::Language].map(trains);
        let bytes = precision.bytes() as f64;
        let batch = stage.batch as f64;
        let tokens = (batch * average.tokens).min(stage.pack_tokens as f64);
        let images = (batch * average.images).min(stage.pack_images as f64);
        let images = images.min(tokens / average.tokens.max(1.0) * average.images);
        let pass = |flows: bool, trains: bool| match (flows, trains) {
            (_, true) => Pass::Trained,
            (true, false) => Pass::Passed,
            (false, false) => Pass::Forward,
        };
        let seen = self
            .vision
            .bytes(pass(false, vision), stage.recompute, bytes);
        let seen = images * self.patches * seen;
        let language_pass = pass(vision || projector, language);
        let read = tokens * self.language.bytes(language_pass, stage.recompute, bytes);
        let kept = if language {
            4.0 * self.vocabulary * self.width
        } else {
            0.0
        };
        let targets = tokens * average.targets / average.tokens.max(1.0);
        let rows = targets.min(ops::head_loss_rows(self.vocabulary as usize) as f64);
        let logits = rows * self.vocabulary * 4.0;
        seen + read + kept + logits
    }
}

#[cfg(test)]
mod tests;
