//! A document: one sample as tokens, targets and pixels.

use std::ops::Range;
use std::sync::Arc;

use ::image::RgbImage;
use rand::RngExt;

use crate::chat::ChatLayout;
use crate::format::Markers;
use crate::pieces::{Piece, are_placed, pieces, prompts};
use crate::{
    Augment, DataError, EncodedImage, ImageFiles, ImageKey, ImageTransform, KnownImages,
    PixelArray, RowImage, Sample, SampleRng, TextFormat, Tokenizer, decode_rgb_for,
};

/// The rows of one image's visual tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VisualSpan {
    /// The first row.
    pub start: usize,
    /// How many rows.
    pub len: usize,
    /// The image, an index into the images of the document or pack the span belongs to.
    pub image: usize,
}

/// An image of a document.
#[derive(Clone, Debug, PartialEq)]
pub enum DocumentImage {
    /// Normalized, `[3, height, width]`; with the key to keep its features under, where that is asked for.
    Pixels(PixelArray, Option<ImageKey>),
    /// One of the [`KnownImages`]; its pixels were not made.
    Known(ImageKey),
}

impl DocumentImage {
    /// The pixels, where they were made.
    pub fn pixels(&self) -> Option<&PixelArray> {
        match self {
            Self::Pixels(pixels, _) => Some(pixels),
            Self::Known(_) => None,
        }
    }
}

/// One sample, ready to be packed. Row `i` holds `tokens[i]` and is to predict `targets[i]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Where it comes from.
    pub origin: String,
    /// The input. The last `end` is no input: nothing follows it.
    pub tokens: Vec<u32>,
    /// The token expected after each row, where one is learnt: the answers' tokens and the `end`
    /// after each.
    pub targets: Vec<Option<u32>>,
    /// Rows `[0, prompt_end)` are the first prompt, answer marker and images included: with
    /// prefix-LM visibility they see each other. No target lies within them but for the last row's.
    pub prompt_end: usize,
    /// Where the images' visual tokens go.
    pub visual: Vec<VisualSpan>,
    /// The images.
    pub images: Vec<DocumentImage>,
    /// Whether the answer was cut at the token limit.
    pub truncated: bool,
    /// What tells it from other documents: the number of its draw, where it was drawn.
    pub key: u64,
}

impl Document {
    /// How many rows have a target.
    pub fn target_count(&self) -> usize {
        self.targets.iter().flatten().count()
    }

    /// Cuts the document to `limit` rows at most: at the end of an answer's part, never within an image, and not later
    /// than where the last target is.
    fn cut(&mut self, limit: usize) {
        if self.tokens.len() <= limit {
            return;
        }
        self.truncated = true;
        let within = |span: &&VisualSpan| span.start + span.len > limit;
        let limit = self
            .visual
            .iter()
            .find(within)
            .map_or(limit, |span| span.start);
        let learnt = self.targets[..limit].iter().rposition(Option::is_some);
        let end = learnt.map_or(0, |last| last + 1);
        self.tokens.truncate(end);
        self.targets.truncate(end);
        self.visual.retain(|span| span.start < end);
    }
}

/// A document's tokens before images take their places in them: each image is one token still.
pub(crate) struct Layout {
    /// All tokens, the last `end` included.
    pub tokens: Vec<u32>,
    /// Which of them are learnt: each answer with its `end`.
    pub answers: Vec<Range<usize>>,
}

/// What an [`Encoder`] needs to know beside the tokenizer.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// The document layout.
    pub format: TextFormat,
    /// Resizing and normalization.
    pub transform: ImageTransform,
    /// Random variation of images, in training only.
    pub augment: Option<Augment>,
    /// How many rows an image takes: what the projector gives for one image.
    pub visual_tokens_per_image: usize,
    /// Longer documents are cut at the end of the answer.
    pub max_tokens: usize,
}

/// Turns samples into documents.
#[derive(Clone)]
pub struct Encoder {
    tokenizer: Arc<Tokenizer>,
    config: EncoderConfig,
    markers: Markers,
    chat: Option<ChatLayout>,
    known: Option<Arc<dyn KnownImages>>,
    files: ImageFiles,
}

impl Encoder {
    /// Checks that tokenizer, format and image transform fit together.
    pub fn new(tokenizer: Arc<Tokenizer>, config: EncoderConfig) -> Result<Self, DataError> {
        let markers = config.format.markers(&tokenizer)?;
        let chat = config.format.layout(&tokenizer)?;
        config.transform.check()?;
        if let Some(augment) = &config.augment {
            augment.check()?;
        }
        let zero = match &config {
            EncoderConfig { max_tokens: 0, .. } => Some("max_tokens"),
            EncoderConfig {
                visual_tokens_per_image: 0,
                ..
            } => Some("visual_tokens_per_image"),
            _ => None,
        };
        match zero {
            Some(key) => Err(DataError::config(key, "expected at least 1, got 0")),
            None => Ok(Self {
                tokenizer,
                config,
                markers,
                chat,
                known: None,
                files: ImageFiles::default(),
            }),
        }
    }

    /// The same for a user who keeps features: images get their keys, and those in `known` are not even decoded.
    /// Has no effect on images whose variations are not fixed.
    pub fn knowing(&self, known: Arc<dyn KnownImages>) -> Self {
        Self {
            known: Some(known),
            ..self.clone()
        }
    }

    /// The same with image files decoded otherwise than by default; samples with images past its limits are broken.
    #[must_use]
    pub fn decoding(self, files: ImageFiles) -> Self {
        Self { files, ..self }
    }

    /// The configuration.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// How image files are decoded.
    pub fn files(&self) -> ImageFiles {
        self.files
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// The ids of the format's tokens.
    pub fn markers(&self) -> Markers {
        self.markers
    }

    /// A training document. Prompts and answers are tokenized apart, or cut where the chat template lets an answer
    /// begin, so that what the model is asked to continue from is the same in training and in use.
    ///
    /// # Errors
    /// As [`Encoder::text`], and when an image is missing or cannot be decoded.
    pub fn document(&self, sample: &Sample, rng: &mut SampleRng) -> Result<Document, DataError> {
        let mut document = self.text(sample)?;
        self.add_images(&mut document, &sample.images, rng)?;
        Ok(document)
    }

    /// A training document without its images yet: what packing needs to know, at a fraction of the cost.
    ///
    /// # Errors
    /// When an answer is empty, images and their marks differ in number, or `max_tokens` leaves no target.
    pub fn text(&self, sample: &Sample) -> Result<Document, DataError> {
        if sample.turns.iter().any(|turn| turn.answer.is_empty()) {
            return Err(DataError::EmptyAnswer {
                origin: sample.origin.clone(),
            });
        }
        let layout = match &self.chat {
            Some(chat) => chat.document(sample, &self.tokenizer)?,
            None => self.layout(sample)?,
        };
        let mut document = self.placed(&sample.origin, &layout);
        // The last `end` is only ever predicted.
        document.tokens.pop();
        document.targets.truncate(document.tokens.len());
        document.cut(self.config.max_tokens);
        if document.target_count() == 0 {
            return Err(DataError::AllMasked {
                origin: document.origin,
                prompt_tokens: document.prompt_end,
                max_tokens: self.config.max_tokens,
            });
        }
        Ok(document)
    }

    /// Reads and decodes the images that `document` has places for, the first of `images`.
    ///
    /// # Errors
    /// When one is missing or cannot be decoded.
    pub fn add_images(
        &self,
        document: &mut Document,
        images: &[RowImage],
        rng: &mut SampleRng,
    ) -> Result<(), DataError> {
        for (index, image) in images.iter().enumerate().take(document.visual.len()) {
            let image = image.load(&document.origin, index)?;
            let image = self.image(&document.origin, index, &image, rng)?;
            document.images.push(image);
        }
        Ok(())
    }

    /// What generation starts from: images and prompt up to where the answer begins, no targets, no augmentation.
    /// `origin` is what errors call it.
    ///
    /// # Errors
    /// When an image cannot be decoded, or the prompt has another number of marks than there are images.
    pub fn prompt(
        &self,
        origin: &str,
        images: &[EncodedImage],
        prompt: &str,
    ) -> Result<Document, DataError> {
        let mut document = self.prompt_about(origin, images.len(), prompt)?;
        for (index, image) in images.iter().enumerate() {
            let pixels = self.pixels(origin, index, image)?;
            document.images.push(DocumentImage::Pixels(pixels, None));
        }
        Ok(document)
    }

    /// The same without the images, of which there are so many: [`Encoder::pixels`] reads them.
    ///
    /// # Errors
    /// When the prompt has another number of marks than there are images.
    pub fn prompt_about(
        &self,
        origin: &str,
        images: usize,
        prompt: &str,
    ) -> Result<Document, DataError> {
        let tokens = match &self.chat {
            Some(chat) => chat.prompt(origin, images, prompt, &self.tokenizer)?,
            None => {
                let placed = are_placed(origin, images, std::iter::once(prompt))?;
                let mut tokens = self.begin(if placed { 0 } else { images });
                self.ask(prompt, placed, &mut tokens)?;
                if images > 0 || !prompt.is_empty() {
                    tokens.push(self.markers.answer);
                }
                tokens
            }
        };
        let answers = Vec::new();
        let mut document = self.placed(origin, &Layout { tokens, answers });
        document.prompt_end = document.tokens.len();
        Ok(document)
    }

    /// An image as the model sees it when it is asked, without augmentation; `index` is its number in the prompt.
    ///
    /// # Errors
    /// When it cannot be decoded.
    pub fn pixels(
        &self,
        origin: &str,
        index: usize,
        image: &EncodedImage,
    ) -> Result<PixelArray, DataError> {
        self.read(origin, index, image, ImageTransform::pixels)
    }

    /// The layout by the format's four tokens.
    fn layout(&self, sample: &Sample) -> Result<Layout, DataError> {
        let plain = match sample.turns.as_slice() {
            [turn] => sample.images.is_empty() && turn.prompt.is_empty(),
            _ => false,
        };
        let placed = are_placed(&sample.origin, sample.images.len(), prompts(&sample.turns))?;
        let mut tokens = self.begin(if placed { 0 } else { sample.images.len() });
        let mut answers = Vec::with_capacity(sample.turns.len());
        for turn in &sample.turns {
            self.ask(&turn.prompt, placed, &mut tokens)?;
            if !plain {
                tokens.push(self.markers.answer);
            }
            let first = tokens.len();
            tokens.extend(self.tokenizer.encode(&turn.answer)?);
            tokens.push(self.markers.end);
            answers.push(first..tokens.len());
        }
        Ok(Layout { tokens, answers })
    }

    /// Appends a prompt, with its images where it says that they stand.
    fn ask(&self, prompt: &str, placed: bool, tokens: &mut Vec<u32>) -> Result<(), DataError> {
        if !placed {
            tokens.extend(self.tokenizer.encode(prompt)?);
            return Ok(());
        }
        for piece in pieces(prompt) {
            match piece {
                Piece::Image => tokens.push(self.markers.image),
                Piece::Text(text) => tokens.extend(self.tokenizer.encode(text)?),
            }
        }
        Ok(())
    }

    /// The beginning common to all documents: `begin` and a place for each image.
    fn begin(&self, images: usize) -> Vec<u32> {
        let mut tokens = vec![self.markers.begin];
        tokens.resize(1 + images, self.markers.image);
        tokens
    }

    /// The document of a layout: each image's token repeated as often as it has visual tokens, and in each row the
    /// token after it where that is learnt.
    fn placed(&self, origin: &str, layout: &Layout) -> Document {
        let mut learnt = vec![false; layout.tokens.len()];
        for answer in &layout.answers {
            learnt[answer.clone()].fill(true);
        }
        let mut document = Document {
            origin: origin.to_owned(),
            tokens: Vec::with_capacity(layout.tokens.len()),
            targets: Vec::new(),
            prompt_end: 0,
            visual: Vec::new(),
            images: Vec::new(),
            truncated: false,
            key: 0,
        };
        let tokens = &mut document.tokens;
        for (row, &token) in layout.tokens.iter().enumerate() {
            let start = tokens.len();
            if token == self.markers.image {
                let len = self.config.visual_tokens_per_image;
                let image = document.visual.len();
                document.visual.push(VisualSpan { start, len, image });
                tokens.resize(start + len, token);
            } else {
                tokens.push(token);
            }
            let next = layout.tokens.get(row + 1);
            let target = next.filter(|_| learnt[row + 1]).copied();
            document.targets.resize(tokens.len() - 1, None);
            document.targets.push(target);
            if layout
                .answers
                .first()
                .is_some_and(|first| first.start == row + 1)
            {
                document.prompt_end = tokens.len();
            }
        }
        document
    }

    /// Decodes, resizes, varies and normalizes one image of a training document, unless it is known.
    fn image(
        &self,
        origin: &str,
        index: usize,
        image: &EncodedImage,
        rng: &mut SampleRng,
    ) -> Result<DocumentImage, DataError> {
        let config = &self.config;
        let augment = config.augment.as_ref().filter(|a| !a.is_none());
        let view = match augment {
            None => Some(0),
            Some(augment) => augment.views.map(|views| rng.random_range(0..views)),
        };
        let wanted = self.known.is_some() || augment.is_some();
        let key = view
            .filter(|_| wanted)
            .map(|view| ImageKey::new(image, view));
        if let (Some(known), Some(key)) = (&self.known, key)
            && known.contains(&key)
        {
            return Ok(DocumentImage::Known(key));
        }
        let pixels = match augment {
            None => self.read(origin, index, image, ImageTransform::pixels)?,
            Some(augment) => {
                let mut pixels = self.read(origin, index, image, ImageTransform::resize)?;
                match key {
                    Some(key) => augment.apply(&mut pixels, &mut key.rng()),
                    None => augment.apply(&mut pixels, rng),
                }
                config.transform.normalize(&mut pixels);
                pixels
            }
        };
        let key = key.filter(|_| self.known.is_some());
        Ok(DocumentImage::Pixels(pixels, key))
    }

    /// Decodes an image and has the transform make pixels of it.
    fn read(
        &self,
        origin: &str,
        index: usize,
        image: &EncodedImage,
        make: fn(&ImageTransform, &RgbImage) -> Result<PixelArray, String>,
    ) -> Result<PixelArray, DataError> {
        decode_rgb_for(&self.config.transform, &image.bytes, &self.files)
            .and_then(|rgb| make(&self.config.transform, &rgb))
            .map_err(|message| DataError::Image {
                origin: origin.into(),
                image: image.path.clone().unwrap_or(index.to_string()),
                message,
            })
    }
}

#[cfg(test)]
mod tests;

/// Small encoders and samples for this crate's tests.
#[cfg(test)]
pub(crate) mod tests_support {
    use std::sync::Arc;

    use crate::{Encoder, EncoderConfig, Fit, ImageTransform, Sample, TextFormat, Turn, train_bpe};

    /// An encoder whose tokens are bytes, for images of 8 by 8 pixels.
    pub(crate) fn encoder(visual_tokens: usize, max_tokens: usize) -> Encoder {
        let format = TextFormat::default();
        let texts: [&str; 0] = [];
        let tokenizer = train_bpe(texts.iter(), 260, &format.tokens()).unwrap();
        let transform = ImageTransform {
            size: 8.into(),
            fit: Fit::Stretch,
            ..ImageTransform::default()
        };
        let config = EncoderConfig {
            format,
            transform,
            augment: None,
            visual_tokens_per_image: visual_tokens,
            max_tokens,
        };
        Encoder::new(Arc::new(tokenizer), config).unwrap()
    }

    /// One turn without an image.
    pub(crate) fn text_sample(prompt: &str, answer: &str) -> Sample {
        let turn = Turn {
            prompt: prompt.into(),
            answer: answer.into(),
        };
        Sample {
            origin: "test:row 0".into(),
            images: Vec::new(),
            turns: vec![turn],
        }
    }

    /// A PNG file of 8 by 8 pixels.
    pub(crate) fn picture() -> Vec<u8> {
        let image =
            image::RgbImage::from_fn(8, 8, |x, y| image::Rgb([x as u8 * 30, y as u8 * 30, 99]));
        let mut bytes = std::io::Cursor::new(Vec::new());
        image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    }
}
