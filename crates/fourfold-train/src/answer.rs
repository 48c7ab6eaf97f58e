//! Asking a model: images and a prompt in, text out.

use std::sync::Arc;

use anyhow::Result;
use fourfold_data::{DataError, Document, EncodedImage, Encoder, EncoderConfig, ImageFiles};
use fourfold_model::{GenerateOptions, Model};
use rayon::prelude::*;

use crate::assemble::Reading;
use crate::input;
use crate::threads::in_pool;

/// One thing to ask.
#[derive(Clone, Debug)]
pub struct Question {
    /// What errors call it, such as a file's name.
    pub origin: String,
    /// The images, still encoded; may be none.
    pub images: Vec<EncodedImage>,
    /// The prompt; may be empty.
    pub prompt: String,
}

/// How answers are searched for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Search {
    /// The longest answer, in tokens.
    pub max_new_tokens: usize,
    /// 1 takes the likeliest token each time; more keeps that many hypotheses.
    pub beams: usize,
    /// Above 0 favours longer answers among the beams.
    pub length_penalty: f32,
}

impl Default for Search {
    fn default() -> Self {
        Self {
            max_new_tokens: 32,
            beams: 1,
            length_penalty: 1.0,
        }
    }
}

/// What a model says.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The text, without white space around it.
    pub text: String,
    /// Sum of the natural logarithms of the probabilities of its tokens, the end included.
    pub log_probability: f32,
    /// Whether the model ended it, rather than the limit.
    pub finished: bool,
}

/// Questions that are held as pixels at a time.
const GROUP: usize = 256;

/// Prepares questions and answers them in groups.
pub struct Answerer {
    encoder: Encoder,
}

impl Answerer {
    /// For `model`, read as `reading` says.
    ///
    /// # Errors
    /// When the tokenizer does not fit the text format.
    pub fn new(model: &Model, reading: &Reading) -> Result<Self> {
        let config = EncoderConfig {
            format: reading.format.clone(),
            transform: reading.transform.clone(),
            augment: None,
            visual_tokens_per_image: model.config().visual_tokens(),
            max_tokens: model.config().max_positions(),
        };
        // Scores are to be those of the images as they are.
        let files = ImageFiles {
            shrink: false,
            ..reading.files
        };
        Ok(Self {
            encoder: Encoder::new(Arc::clone(&reading.tokenizer), config)?.decoding(files),
        })
    }

    /// The answer to each question, in their order; `model` has to be the one given to [`Answerer::new`].
    ///
    /// # Errors
    /// Names the question whose image cannot be read or whose prompt is too long.
    pub fn answer(
        &self,
        model: &Model,
        questions: &[Question],
        search: Search,
    ) -> Result<Vec<String>> {
        let answers = self.answer_each(model, questions, search)?.into_iter();
        answers.map(|answer| Ok(answer?.text)).collect()
    }

    /// As [`Answerer::answer`], but a question that cannot be read keeps no other from its answer.
    ///
    /// # Errors
    /// When the model itself fails.
    pub fn answer_each(
        &self,
        model: &Model,
        questions: &[Question],
        search: Search,
    ) -> Result<Vec<Result<Answer, DataError>>> {
        let options = GenerateOptions {
            max_tokens: search.max_new_tokens,
            end: self.encoder.markers().end,
            visibility: model.config().visibility,
            beams: search.beams,
            length_penalty: search.length_penalty,
        };
        let mut answers = Vec::with_capacity(questions.len());
        for group in questions.chunks(GROUP) {
            let documents: Vec<Result<Document, DataError>> = group
                .par_iter()
                .map(|question| self.document(question))
                .collect();
            let prompts = documents
                .iter()
                .flatten()
                .map(input::prompt)
                .collect::<Result<Vec<_>>>()?;
            let generated = in_pool(None, || Ok(model.generate(&prompts, &options)?))?;
            let mut generated = generated.into_iter();
            for document in documents {
                let answer = document.map(|_| generated.next());
                answers.push(match answer {
                    Ok(Some(answer)) => {
                        self.encoder
                            .tokenizer()
                            .decode(&answer.tokens)
                            .map(|text| Answer {
                                text: text.trim().to_owned(),
                                log_probability: answer.log_probability,
                                finished: answer.finished,
                            })
                    }
                    Ok(None) => anyhow::bail!("an answer is missing; this is a defect of Fourfold"),
                    Err(error) => Err(error),
                });
            }
        }
        Ok(answers)
    }

    fn document(&self, question: &Question) -> Result<Document, DataError> {
        let document = self
            .encoder
            .prompt(&question.origin, &question.images, &question.prompt)?;
        let (tokens, limit) = (document.tokens.len(), self.encoder.config().max_tokens);
        if tokens >= limit {
            let message = format!(
                "images and prompt take {tokens} tokens; the model reads {limit} and needs one for the \
                 answer: shorten the prompt"
            );
            return Err(DataError::Row {
                origin: document.origin,
                message,
            });
        }
        Ok(document)
    }
}
