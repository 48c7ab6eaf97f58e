//! The whole model: encoder, projector, language model.

use std::path::Path;
use std::sync::Arc;

use fourfold_tensor::ops::{self, Visibility};
use fourfold_tensor::{Parameters, Precision, Tape, Tensor, mixed};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::language::LanguageModel;
use crate::layers::Found;
use crate::pretrained::{self, Pretrained};
use crate::projector::Projector;
use crate::spec::Spec;
use crate::visibility::Sight;
use crate::vision::{self, VisionEncoder};
use crate::weights::{Constant, StoredFor};
use crate::{
    DocumentSpan, ModelConfig, ModelError, Part, Result, VisibilityKind, WeightFormat, weights,
};

/// A vision-language model and its parameters.
#[derive(Debug)]
pub struct Model {
    /// All parameters; their names begin with their [`Part`].
    pub parameters: Parameters,
    config: ModelConfig,
    specs: Vec<Spec>,
    vision: VisionEncoder,
    projector: Projector,
    pub(crate) language: LanguageModel,
}

/// Images as the model takes them; there may be none.
#[derive(Clone, Copy, Debug)]
pub enum Images<'a> {
    /// f32 `[images, channels, height, width]`, normalised.
    Pixels(&'a Tensor),
    /// What [`Model::encode`] gave for them, `[images, features, vision_width]`; no gradient reaches the encoder.
    Features(&'a Tensor),
}

impl Images<'_> {
    fn count(self) -> usize {
        let (Self::Pixels(tensor) | Self::Features(tensor)) = self;
        tensor.shape().first().copied().unwrap_or(0)
    }
}

/// One pack as the model reads it.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Token ids, `[tokens]`; the ids in visual rows are placeholders that image features replace.
    pub tokens: &'a [u32],
    /// Place of each token in its document.
    pub positions: &'a [u32],
    /// The documents, without overlap.
    pub documents: &'a [DocumentSpan],
    /// The images that visual tokens are made of.
    pub images: Images<'a>,
    /// Rows and the token that each should predict.
    pub targets: &'a [(u32, u32)],
}

/// How a loss is computed.
#[derive(Clone, Copy, Debug)]
pub struct LossOptions {
    /// Who sees whom.
    pub visibility: VisibilityKind,
    /// Factor of the sum over the targets: one over those of the whole update.
    pub scale: f32,
    /// Whether blocks keep only their input for the way back and are computed a second time there.
    pub recompute: bool,
}

impl Model {
    /// A model with random weights.
    ///
    /// # Errors
    /// When the configuration makes no model; the key is named.
    pub fn new(config: ModelConfig, precision: Precision, seed: u64) -> Result<Self> {
        Self::begin(config, precision, seed, Pretrained::default())
    }

    /// A model whose parts begin with pretrained weights where there are such, and with random ones elsewhere, which
    /// do not depend on what is pretrained.
    ///
    /// Weights are read tensor by tensor: beside the model itself, memory holds one of them at a time. Pretrained
    /// weights may know fewer tokens than `config`, whose rows are then the mean of the known ones, and their encoder
    /// may take images of another size and have more blocks at its end.
    ///
    /// # Errors
    /// When the configuration makes no model, describes another one than a folder's, or a tensor is missing or of
    /// another shape; key, file and tensor are named.
    pub fn begin(
        config: ModelConfig,
        precision: Precision,
        seed: u64,
        pretrained: Pretrained<'_>,
    ) -> Result<Self> {
        // Before anything is as large as a configuration says.
        config.validate()?;
        let vision = pretrained
            .vision
            .map(|folder| pretrained::vision(&config, folder))
            .transpose()?;
        let language = pretrained
            .language
            .map(|folder| pretrained::language(&config, folder))
            .transpose()?;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        Self::build(config, precision, |spec| {
            let source = match Part::of(&spec.name) {
                Some(Part::Vision) => &vision,
                Some(Part::Language) => &language,
                _ => &None,
            };
            match source {
                Some(source) => {
                    spec.skip(&mut random);
                    source.read(spec)
                }
                None => spec.initial(&mut random),
            }
        })
    }

    /// A model from a folder that [`Model::save`] wrote.
    ///
    /// # Errors
    /// When a file is missing or does not fit; file and tensor are named.
    pub fn load(folder: &Path, precision: Precision) -> Result<Self> {
        Self::resume(Self::read_config(folder)?, folder, precision, 0)
    }

    /// The configuration of a folder that [`Model::save`] wrote.
    ///
    /// # Errors
    /// When the file is missing or malformed.
    pub fn read_config(folder: &Path) -> Result<ModelConfig> {
        weights::read_whole(folder)
    }

    /// As [`Model::load`] with a configuration that knows more tokens than the folder's, whose rows are then the mean of
    /// the known ones, or that has adapters, whose first values `seed` decides.
    ///
    /// # Errors
    /// As [`Model::load`], and when a target of the adapters fits no layer.
    pub fn resume(
        config: ModelConfig,
        folder: &Path,
        precision: Precision,
        seed: u64,
    ) -> Result<Self> {
        let stored = StoredFor {
            grid: config.vision.grid(),
            vocabulary: Self::read_config(folder)?.language.vocabulary(),
        };
        let source = weights::WeightSource::whole(folder, stored)?;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let model = Self::build(config, precision, |spec| match Part::of(&spec.name) {
            Some(Part::Lora) => spec.initial(&mut random),
            _ => source.read(spec),
        })?;
        let unread = vision::unread(&model.config.vision, "vision.");
        source.demand_no_other(&model.specs, &unread)?;
        Ok(model)
    }

    pub(crate) fn build(
        config: ModelConfig,
        precision: Precision,
        mut values: impl FnMut(&Spec) -> Result<Vec<f32>>,
    ) -> Result<Self> {
        let specs = config.specs()?;
        let mut parameters = Parameters::new(precision);
        for spec in &specs {
            parameters.add(&spec.name, Tensor::from_f32(&spec.shape, &values(spec)?)?)?;
        }
        let found = Found::new(&parameters, &specs, config.lora.as_ref());
        Ok(Self {
            vision: VisionEncoder::new(&config.vision, &found)?,
            projector: Projector::new(&config, &found)?,
            language: LanguageModel::new(&config.language, &found)?,
            parameters,
            config,
            specs,
        })
    }

    /// Writes `config.json` and `model.safetensors`; adapters are added to the weights that they stand beside.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path, format: WeightFormat) -> Result<()> {
        weights::write_config(folder, &self.config)?;
        self.write(folder, self.saved_specs(), &[], str::to_owned, format)
    }

    /// Writes one part: a backbone as a plain Hugging Face folder with its adapters added, or the adapters alone, for
    /// each part that has some a folder of its name in `peft`'s layout.
    ///
    /// # Errors
    /// When `part` is the projector, which is no model of its own, or a file cannot be written.
    pub fn save_part(&self, part: Part, folder: &Path, format: WeightFormat) -> Result<()> {
        if part == Part::Lora {
            return weights::write_adapters(
                folder,
                &self.config,
                &self.parameters.on_host()?,
                &self.specs,
                format,
            );
        }
        weights::write_part_config(&self.config, part, folder)?;
        let of_part = self
            .specs
            .iter()
            .filter(|spec| Part::of(&spec.name) == Some(part));
        let unread = match part {
            Part::Vision => vision::unread(&self.config.vision, ""),
            _ => Vec::new(),
        };
        let prefix = format!("{part}.");
        let name = |name: &str| name.strip_prefix(&prefix).unwrap_or(name).to_owned();
        self.write(folder, of_part, &unread, name, format)
    }

    /// Writes the weights of `specs`, and `constants`, to a folder.
    pub(crate) fn write<'a>(
        &self,
        folder: &Path,
        specs: impl Iterator<Item = &'a Spec>,
        constants: &[Constant],
        name: impl Fn(&str) -> String,
        format: WeightFormat,
    ) -> Result<()> {
        let lora = self.config.lora.as_ref();
        let parameters = self.parameters.on_host()?;
        weights::write(folder, &parameters, lora, specs, constants, name, format)
    }

    /// Every parameter of a saved model: all but those of adapters, which are added to the others.
    pub(crate) fn saved_specs(&self) -> impl Iterator<Item = &Spec> {
        let adapter = |spec: &&Spec| Part::of(&spec.name) == Some(Part::Lora);
        self.specs.iter().filter(move |spec| !adapter(spec))
    }

    /// What the model is made of.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Notes the visibility that the model was trained with, for prefill and for its saved configuration.
    pub fn set_visibility(&mut self, visibility: VisibilityKind) {
        self.config.visibility = visibility;
    }

    /// `scale · Σ cross-entropy` over the targets of a pack, f32 `[1]`.
    ///
    /// # Errors
    /// When a row sees its own target, image rows and features differ in number, or a token is unknown.
    pub fn loss<'p>(
        &'p self,
        tape: &Tape<'p>,
        input: &Input<'_>,
        options: LossOptions,
    ) -> Result<Tensor> {
        let sight = self.sight(input, options.visibility)?;
        // A window takes nothing but what lies behind a row, so the full sight decides.
        check_targets(input, &sight.full, options.visibility)?;
        let features = self.features(tape, input, &sight, options.recompute)?;
        let (rows, targets): (Vec<u32>, Vec<u32>) = input.targets.iter().copied().unzip();
        Ok(ops::head_loss(
            tape,
            &features,
            &self.language.head(tape),
            &rows,
            &targets,
            options.scale,
        )?)
    }

    /// The vision encoder's features of `images: [images, channels, height, width]`, normalised:
    /// `[images, features, vision_width]` in the precision of products.
    ///
    /// # Errors
    /// When the images are of another size than the encoder takes.
    pub fn encode(&self, images: &Tensor) -> Result<Tensor> {
        let features = self
            .vision
            .forward(&Tape::inference(&self.parameters), images, false)?;
        let count = images.shape()[0];
        Ok(features.reshape(&[count, self.config.vision.features(), features.width()])?)
    }

    /// Logits of the next token after every row, f32 `[tokens, vocabulary]`.
    ///
    /// # Errors
    /// When the input does not fit the model.
    pub fn logits(&self, input: &Input<'_>, visibility: VisibilityKind) -> Result<Tensor> {
        let tape = Tape::inference(&self.parameters);
        let sight = self.sight(input, visibility)?;
        let features = self.features(&tape, input, &sight, false)?;
        Ok(ops::head_logits(
            &tape,
            &features,
            &self.language.head(&tape),
        )?)
    }

    /// Normed features after the last block, `[tokens, width]`: what the head reads.
    ///
    /// # Errors
    /// When the input does not fit the model.
    pub fn hidden(&self, input: &Input<'_>, visibility: VisibilityKind) -> Result<Tensor> {
        let sight = self.sight(input, visibility)?;
        self.features(&Tape::inference(&self.parameters), input, &sight, false)
    }

    /// What the rows of a pack see.
    pub(crate) fn sight(&self, input: &Input<'_>, visibility: VisibilityKind) -> Result<Sight> {
        let window = (0..self.language.layers()).find_map(|layer| self.language.window(layer));
        visibility.sight(input.tokens.len(), input.documents, window)
    }

    /// The same on a tape.
    fn features<'p>(
        &'p self,
        tape: &Tape<'p>,
        input: &Input<'_>,
        sight: &Sight,
        recompute: bool,
    ) -> Result<Tensor> {
        let embedded = self.embed(tape, input, recompute)?;
        tape.draw_by(Part::Language as u64, || row_keys(input));
        self.language
            .read(tape, &embedded, input.positions, sight, recompute)
    }

    /// The rows that the language model reads: embedded text with visual tokens in their places, f32.
    pub(crate) fn embed<'p>(
        &'p self,
        tape: &Tape<'p>,
        input: &Input<'_>,
        recompute: bool,
    ) -> Result<Tensor> {
        let text = self.language.embed(tape, input.tokens)?;
        if input.images.count() == 0 {
            return match input
                .documents
                .iter()
                .flat_map(|document| &document.visual)
                .next()
            {
                Some(span) => Err(ModelError::Input(format!(
                    "{span:?} has no image: the stack is empty"
                ))),
                None => Ok(text),
            };
        }
        let rows = self.visual_rows(input)?;
        let features = match input.images {
            Images::Pixels(images) => {
                tape.draw_by(Part::Vision as u64, || image_keys(input));
                self.vision.forward(tape, images, recompute)?
            }
            Images::Features(features) => features.to_device(tape.device())?,
        };
        tape.draw_by(Part::Projector as u64, || image_keys(input));
        let visual = self.projector.forward(tape, &features)?;
        Ok(ops::place(tape, &text, &visual, &rows)?)
    }

    /// The row of every visual token, in the order of the image stack.
    fn visual_rows(&self, input: &Input<'_>) -> Result<Vec<u32>> {
        let (images, each) = (input.images.count(), self.config.visual_tokens());
        let mut starts = vec![None; images];
        for span in input.documents.iter().flat_map(|document| &document.visual) {
            if span.len != each {
                return Err(ModelError::Input(format!(
                    "an image has {} rows in the text but becomes {each} visual tokens; \
                     the data was encoded for another projector or image size",
                    span.len
                )));
            }
            match starts.get_mut(span.image) {
                Some(start @ None) => *start = Some(span.start),
                Some(_) => {
                    return Err(ModelError::Input(format!(
                        "image {} has two places",
                        span.image
                    )));
                }
                None => {
                    return Err(ModelError::Input(format!(
                        "{span:?}: the stack holds {images} images"
                    )));
                }
            }
        }
        let mut rows = Vec::with_capacity(images * each);
        for (image, start) in starts.into_iter().enumerate() {
            let Some(start) = start else {
                return Err(ModelError::Input(format!(
                    "image {image} of the stack has no place in the text"
                )));
            };
            rows.extend((start..start + each).map(|row| row as u32));
        }
        Ok(rows)
    }
}

/// What tells each row of the language model from others, in whatever pack it is.
fn row_keys(input: &Input<'_>) -> Arc<[u64]> {
    let documents = input.documents.iter();
    let keys = documents.flat_map(|document| {
        (0..(document.end - document.start) as u64).map(|row| mixed(document.key, row))
    });
    keys.collect()
}

/// The same for each image of the stack.
fn image_keys(input: &Input<'_>) -> Arc<[u64]> {
    let mut keys = vec![0; input.images.count()];
    for document in input.documents {
        for (place, span) in document.visual.iter().enumerate() {
            if let Some(key) = keys.get_mut(span.image) {
                *key = mixed(document.key, place as u64);
            }
        }
    }
    keys.into()
}

/// A loss is taken only where a row cannot see its own target, the next row.
fn check_targets(input: &Input<'_>, visibility: &Visibility, kind: VisibilityKind) -> Result<()> {
    for (row, _) in input.targets {
        let row = *row as usize;
        let (Some(start), Some(end)) = (visibility.start().get(row), visibility.end().get(row))
        else {
            return Err(ModelError::Input(format!(
                "a target at row {row} of {}",
                input.tokens.len()
            )));
        };
        if *end as usize > row + 1 {
            let visibility = kind.name().to_owned();
            return Err(ModelError::VisibleTarget {
                row,
                start: *start,
                end: *end,
                visibility,
            });
        }
    }
    Ok(())
}
