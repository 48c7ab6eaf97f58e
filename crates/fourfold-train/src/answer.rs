//! Asking a model: images and a prompt in, text out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use fourfold_data::source::RowImage;
use fourfold_data::{DataError, Encoder, EncoderConfig, ImageFiles, hash};
use fourfold_model::{Generated, Model, Prompt, PromptImage};
use rayon::prelude::*;

use crate::assemble::Reading;
use crate::input;
use crate::recipe::Search;
use crate::threads::in_pool;

/// One thing to ask.
#[derive(Clone, Debug)]
pub struct Question {
    /// What errors call it, such as a file's name.
    pub origin: String,
    /// The images, not yet read; may be none.
    pub images: Vec<RowImage>,
    /// The prompt; may be empty.
    pub prompt: String,
}

impl Question {
    /// What decides about the tokens that are drawn, where they are: the prompt and the names of the images' files, wherever
    /// these are and whatever is asked beside it.
    fn drawn_by(&self) -> String {
        let mut text = self.prompt.clone();
        for image in &self.images {
            text.push('\n');
            text += &match image {
                RowImage::Bytes(_) | RowImage::Missing => image.key(),
                named => {
                    let name = named.name(0);
                    name.rsplit(['/', '\\']).next().unwrap_or(&name).to_owned()
                }
            };
        }
        text
    }
}

/// What a model says.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The text up to where it stops, without white space around it.
    pub text: String,
    /// The natural logarithm of the probability of each token, the end included.
    pub log_probabilities: Vec<f32>,
    /// Whether the model ended it, rather than the limit.
    pub finished: bool,
}

impl Answer {
    /// The natural logarithm of the probability of the whole answer.
    pub fn log_probability(&self) -> f32 {
        self.log_probabilities.iter().sum()
    }
}

/// Hears the answer to a question, or why there is none, with the question's number.
pub type Hear<'a> = dyn FnMut(usize, Result<Answer, DataError>) -> Result<()> + Send + 'a;

/// Gets an answer, or why there is none, as it comes, with its question's number.
pub type Heard<'a> = dyn FnMut(usize, &Result<Answer, DataError>) -> Result<()> + Send + 'a;

/// What became of the questions that were prepared.
#[derive(Default)]
struct Prepared {
    /// The numbers of those that the model has, in its order.
    good: Vec<usize>,
    /// What is wrong with the others.
    faults: Vec<(usize, DataError)>,
}

impl Prepared {
    /// Notes the questions of these numbers; the prompts among them.
    fn sort(
        &mut self,
        numbers: impl Iterator<Item = usize>,
        prompts: Vec<Result<Prompt, DataError>>,
    ) -> Vec<Prompt> {
        let mut good = Vec::with_capacity(prompts.len());
        for (number, prompt) in numbers.zip(prompts) {
            match prompt {
                Ok(prompt) => {
                    self.good.push(number);
                    good.push(prompt);
                }
                Err(fault) => self.faults.push((number, fault)),
            }
        }
        good
    }
}

/// Questions that are prepared at a time, in parallel, while the model waits.
const GROUP: usize = 32;

/// Prepares questions and answers them.
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
        search: &Search,
    ) -> Result<Vec<String>> {
        let answers = self.answer_all(model, questions, search, &mut |_, _| Ok(()))?;
        answers.into_iter().map(|answer| Ok(answer?.text)).collect()
    }

    /// The answer to each question in their order, or why there is none; `heard` gets each as it comes, with its
    /// question's number.
    ///
    /// # Errors
    /// As [`Answerer::answer_each`].
    pub fn answer_all(
        &self,
        model: &Model,
        questions: &[Question],
        search: &Search,
        heard: &mut Heard<'_>,
    ) -> Result<Vec<Result<Answer, DataError>>> {
        let mut answers: Vec<Option<Result<Answer, DataError>>> = Vec::new();
        answers.resize_with(questions.len(), || None);
        self.answer_each(model, questions, search, &mut |number, answer| {
            heard(number, &answer)?;
            answers[number] = Some(answer);
            Ok(())
        })?;
        let answers: Option<Vec<_>> = answers.into_iter().collect();
        answers.context("an answer is missing; this is a defect of Fourfold")
    }

    /// Answers every question; `heard` gets each answer as soon as it is complete, which is not in their order.
    /// Questions about one image should follow one another: it is then read and encoded once.
    ///
    /// # Errors
    /// When the model itself fails, or `heard` does.
    pub fn answer_each(
        &self,
        model: &Model,
        questions: &[Question],
        search: &Search,
        heard: &mut Hear<'_>,
    ) -> Result<()> {
        let options = search.options(self.encoder.markers().end, model.config().visibility);
        let mut images = HashMap::new();
        let prepared: Mutex<Prepared> = Mutex::default();
        let note = || prepared.lock().unwrap_or_else(PoisonError::into_inner);
        let mut prompts = questions
            .chunks(GROUP)
            .enumerate()
            .flat_map(|(group, questions)| {
                let prompts = self.prepare(questions, &mut images);
                let numbers = group * GROUP..;
                note().sort(numbers, prompts)
            });
        let stop = |_: usize, tokens: &[u32]| self.stops(tokens, search);
        let mut answered = |number: usize, answer: Generated| {
            let number = note().good[number];
            heard(number, self.text(answer, search))
        };
        in_pool(None, || {
            model.generate_each(&mut prompts, &options, &stop, &mut answered)
        })?;
        let faults = std::mem::take(&mut note().faults);
        for (number, fault) in faults {
            heard(number, Err(fault))?;
        }
        Ok(())
    }

    /// The prompts of some questions; `images` holds those of the questions before them, and then theirs.
    fn prepare(
        &self,
        questions: &[Question],
        images: &mut HashMap<String, Arc<PromptImage>>,
    ) -> Vec<Result<Prompt, DataError>> {
        let mut fresh: Vec<(String, &Question, usize)> = Vec::new();
        let mut keys: Vec<Vec<String>> = Vec::with_capacity(questions.len());
        for question in questions {
            let of_question: Vec<String> = question.images.iter().map(RowImage::key).collect();
            for (index, key) in of_question.iter().enumerate() {
                if !images.contains_key(key) && fresh.iter().all(|(known, ..)| known != key) {
                    fresh.push((key.clone(), question, index));
                }
            }
            keys.push(of_question);
        }
        let read = |(key, question, index): (String, &Question, usize)| {
            let read = || {
                let origin = &question.origin;
                let file = question.images[index].load(origin, index)?;
                let pixels = self.encoder.pixels(origin, index, &file)?;
                input::prompt_image(&pixels).map_err(|error| DataError::Image {
                    origin: origin.clone(),
                    image: question.images[index].name(index),
                    message: error.to_string(),
                })
            };
            (key, read())
        };
        let mut known = std::mem::take(images);
        let mut faults = HashMap::new();
        for (key, read) in fresh.into_par_iter().map(read).collect::<Vec<_>>() {
            match read {
                Ok(image) => drop(known.insert(key, image)),
                Err(error) => drop(faults.insert(key, error)),
            }
        }
        let mut prompts = Vec::with_capacity(questions.len());
        for (question, keys) in questions.iter().zip(keys) {
            let mut found = Vec::with_capacity(keys.len());
            let mut fault = None;
            for (index, key) in keys.into_iter().enumerate() {
                match known.get(&key) {
                    Some(image) => {
                        found.push(Arc::clone(image));
                        images.insert(key, Arc::clone(image));
                    }
                    None => {
                        fault.get_or_insert_with(|| refused(question, index, faults.get(&key)));
                    }
                }
            }
            prompts.push(match fault {
                Some(fault) => Err(fault),
                None => self.prompt(question, found),
            });
        }
        prompts
    }

    fn prompt(
        &self,
        question: &Question,
        images: Vec<Arc<PromptImage>>,
    ) -> Result<Prompt, DataError> {
        let document =
            self.encoder
                .prompt_about(&question.origin, images.len(), &question.prompt)?;
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
        let digest = hash::sha256(question.drawn_by().as_bytes());
        Ok(Prompt {
            tokens: document.tokens,
            visual: input::visual(&document.visual),
            images,
            draw: u64::from_str_radix(&digest[..16], 16).unwrap_or_default(),
        })
    }

    /// Whether an answer of these tokens stops at a text of the search.
    fn stops(&self, tokens: &[u32], search: &Search) -> bool {
        let decode = |tokens: &[u32]| self.encoder.tokenizer().decode(tokens);
        !search.stop.is_empty()
            && decode(tokens).is_ok_and(|text| self.stop_at(&text, tokens, search).is_some())
    }

    /// Where the first stop of a text is that does not end within the tokens that an answer has to have.
    fn stop_at(&self, text: &str, tokens: &[u32], search: &Search) -> Option<usize> {
        let least = &tokens[..search.min_new_tokens.min(tokens.len())];
        let least = self
            .encoder
            .tokenizer()
            .decode(least)
            .map_or(0, |text| text.len());
        let ends = |stop: &String| {
            let mut places = text.match_indices(stop.as_str());
            places
                .find(|(place, stop)| place + stop.len() > least)
                .map(|(place, _)| place)
        };
        search.stop.iter().filter_map(ends).min()
    }

    fn text(&self, answer: Generated, search: &Search) -> Result<Answer, DataError> {
        let text = self.encoder.tokenizer().decode(&answer.tokens)?;
        let end = self.stop_at(&text, &answer.tokens, search);
        Ok(Answer {
            text: text[..end.unwrap_or(text.len())].trim().to_owned(),
            log_probabilities: answer.log_probabilities,
            finished: answer.finished,
        })
    }
}

/// Why image `index` of a question cannot be used, as it was told of the first question with the image.
fn refused(question: &Question, index: usize, first: Option<&DataError>) -> DataError {
    DataError::Image {
        origin: question.origin.clone(),
        image: question.images[index].name(index),
        message: match first {
            Some(DataError::Image { message, .. }) => message.clone(),
            Some(error) => error.to_string(),
            None => "was not read; this is a defect of Fourfold".into(),
        },
    }
}
