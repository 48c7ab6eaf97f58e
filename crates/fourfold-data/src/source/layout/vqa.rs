//! VQA and VQAv2: questions in one file, annotations in another, joined by `question_id`.
//!
//! Sources of the fields are in `tests/fixtures/layouts/README.md` of this crate.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::blob::{self, Blob, BlobReader};
use super::super::json::{Shape, Text, Walk};
use super::super::location;
use super::spool::Joined;
use crate::DataError;

#[derive(Deserialize)]
struct Question {
    question_id: u64,
    image_id: u64,
    question: String,
}

#[derive(Deserialize)]
struct Annotation {
    question_id: u64,
    multiple_choice_answer: String,
    answers: Vec<Answer>,
    #[serde(default)]
    question_type: String,
    #[serde(default)]
    answer_type: String,
}

#[derive(Deserialize)]
struct Answer {
    answer: String,
}

/// What is known of a question's answers, each text kept once: few are different.
struct Answers {
    answer: u32,
    answers: Vec<u32>,
    question_type: u32,
    answer_type: u32,
}

/// Texts by number.
#[derive(Default)]
struct Texts {
    numbers: HashMap<String, u32>,
    texts: Vec<String>,
}

impl Texts {
    fn number(&mut self, text: String) -> u32 {
        let texts = &mut self.texts;
        *self.numbers.entry(text).or_insert_with_key(|text| {
            texts.push(text.clone());
            (texts.len() - 1) as u32
        })
    }
}

/// The annotations that are published with a file of questions, if they lie beside it:
/// `v2_OpenEnded_mscoco_val2014_questions.json`, `v2_mscoco_val2014_annotations.json`.
pub(in crate::source) fn annotations_beside(questions: &Path) -> Option<PathBuf> {
    let name = location::name(questions);
    let name = name
        .replace("OpenEnded_", "")
        .replace("MultipleChoice_", "");
    let beside = location::beside(questions, &name.replace("_questions.", "_annotations."));
    (beside != questions && location::exists(&beside)).then_some(beside)
}

/// One row a question, in their order: `image`, `image_id`, `question_id`, `question`, and with annotations `answer` (the
/// most frequent one), `answers` (of all annotators), `question_type`, `answer_type`.
pub(in crate::source) fn join(
    path: &Path,
    questions: Arc<dyn Blob>,
    annotations: Option<&Path>,
) -> Result<Arc<dyn Blob>, DataError> {
    let mut joined = Joined::new(path)?;
    let mut texts = Texts::default();
    let mut answers: HashMap<u64, Answers> = HashMap::new();
    if let Some(path) = annotations {
        let blob = blob::open(path)?;
        each(
            path,
            blob,
            "annotations",
            |text, annotation: Result<Annotation, String>| match annotation {
                Ok(annotation) => {
                    let all = annotation
                        .answers
                        .into_iter()
                        .map(|answer| texts.number(answer.answer));
                    let known = Answers {
                        answers: all.collect(),
                        answer: texts.number(annotation.multiple_choice_answer),
                        question_type: texts.number(annotation.question_type),
                        answer_type: texts.number(annotation.answer_type),
                    };
                    answers.insert(annotation.question_id, known);
                    Ok(())
                }
                Err(message) => joined.broken(&format!("annotation {}", text.number), message),
            },
        )?;
        if answers.is_empty() {
            return Err(DataError::file(path, "has no `annotations` of questions"));
        }
    }
    let mut all: Vec<Question> = Vec::new();
    let split = each(
        path,
        questions,
        "questions",
        |text, question: Result<Question, String>| match question {
            Ok(question) => {
                all.push(question);
                Ok(())
            }
            Err(message) => joined.broken(&format!("question {}", text.number), message),
        },
    )?;
    let split = split.ok_or_else(|| {
        let message =
            "expected `data_subtype`, such as \"val2014\": it makes the names of the images";
        DataError::file(path, message)
    })?;
    // The images of test-dev2015 are those of test2015.
    let split = split.replace("-dev", "").replace("-std", "");
    for question in all {
        let place = format!("question {}", question.question_id);
        let known = answers.remove(&question.question_id);
        if known.is_none() && annotations.is_some() {
            joined.broken(&place, "has no annotation".into())?;
            continue;
        }
        let text = |number: u32| texts.texts[number as usize].as_str();
        let mut row = Map::new();
        let mut put = |name: &str, value: Value| row.insert(name.to_owned(), value);
        put(
            "image",
            format!("COCO_{split}_{:012}.jpg", question.image_id).into(),
        );
        put("image_id", question.image_id.into());
        put("question_id", question.question_id.into());
        put("question", question.question.into());
        if let Some(known) = known {
            let all: Vec<&str> = known.answers.iter().map(|number| text(*number)).collect();
            put("answer", text(known.answer).into());
            put("answers", all.into());
            put("question_type", text(known.question_type).into());
            put("answer_type", text(known.answer_type).into());
        }
        joined.row(&place, row)?;
    }
    joined.finish()
}

/// Reads the elements of the member `key`; gives what the file calls its split.
fn each<T: for<'de> Deserialize<'de>>(
    path: &Path,
    blob: Arc<dyn Blob>,
    key: &str,
    mut take: impl FnMut(&Text, Result<T, String>) -> Result<(), DataError>,
) -> Result<Option<String>, DataError> {
    let mut walk = Walk::new(BlobReader::new(blob, 0), Shape::Document);
    while let Some(text) = walk.next().map_err(|fault| fault.of(path))? {
        if text.key.as_deref() == Some(key) {
            let read = match &text.bytes {
                Ok(bytes) => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
                Err(message) => Err(message.clone()),
            };
            take(&text, read)?;
        }
    }
    Ok(walk.text("data_subtype").map(str::to_owned))
}
