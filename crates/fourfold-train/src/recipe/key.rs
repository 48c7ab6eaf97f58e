//! Where in a recipe something stands, and what is wrong with it there.

use std::fmt;

use fourfold_model::type_in_words;

/// One step from a table or list to what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into a table, by key.
    Key(String),
    /// Into a list, by place.
    Index(usize),
}

/// The way from the root of a recipe to a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPath(pub Vec<Step>);

impl KeyPath {
    /// The root of the recipe.
    pub fn root() -> Self {
        Self::default()
    }

    /// This path and one key further.
    pub fn key(&self, key: impl Into<String>) -> Self {
        self.step(Step::Key(key.into()))
    }

    /// This path and one list element further.
    pub fn index(&self, index: usize) -> Self {
        self.step(Step::Index(index))
    }

    fn step(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// The path as a reader writes it; the stage at `index` is called by its name.
    pub fn display(&self, stage_name: impl Fn(usize) -> Option<String>) -> String {
        let mut text = String::new();
        for (place, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if place == 0 => text.push_str(key),
                Step::Key(key) => text.push_str(&format!(".{key}")),
                Step::Index(index) => {
                    let in_stage = place == 1 && self.0[0] == Step::Key("stage".into());
                    match stage_name(*index).filter(|_| in_stage) {
                        Some(name) => text.push_str(&format!(".{name}")),
                        None => text.push_str(&format!("[{index}]")),
                    }
                }
            }
        }
        text
    }
}

impl From<&str> for KeyPath {
    /// Splits plain dotted keys.
    fn from(dotted: &str) -> Self {
        Self(
            dotted
                .split('.')
                .map(|key| Step::Key(key.to_owned()))
                .collect(),
        )
    }
}

/// What is wrong with the value at `path`.
#[derive(Debug)]
pub struct KeyError {
    /// Where; `None` until the value is known that a message is about.
    pub path: Option<KeyPath>,
    /// What was expected, what was found and what to do.
    pub message: String,
}

impl KeyError {
    /// An error at `path`.
    pub fn at(path: KeyPath, message: impl Into<String>) -> Self {
        Self {
            path: Some(path),
            message: message.into(),
        }
    }

    /// An unknown word where one of `known` was expected; proposes the nearest.
    pub fn unknown<S: AsRef<str>>(path: KeyPath, what: &str, word: &str, known: &[S]) -> Self {
        Self::at(path, unknown_word(what, word, known))
    }

    /// The same error, placed at `path` if it has no place yet.
    pub fn placed(mut self, path: &KeyPath) -> Self {
        self.path.get_or_insert_with(|| path.clone());
        self
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{}: {}", path.display(|_| None), self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for KeyError {}

impl serde::de::Error for KeyError {
    fn invalid_type(found: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        let expected = type_in_words(expected);
        Self::custom(format!("expected {expected}, found {found}"))
    }

    fn invalid_value(found: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            path: None,
            message: message.to_string(),
        }
    }
}

/// What other programs call a key, and what it is called here.
const ELSEWHERE: [(&str, &str); 8] = [
    ("learning_rate", "lr"),
    ("batch_size", "batch"),
    ("num_epochs", "epochs"),
    ("num_train_epochs", "epochs"),
    ("warmup_steps", "warmup"),
    ("r", "rank"),
    ("lora_alpha", "alpha"),
    ("target_modules", "targets"),
];

/// `unknown WHAT 'WORD'`, the nearest known word, and all known words.
pub fn unknown_word<S: AsRef<str>>(what: &str, word: &str, known: &[S]) -> String {
    let elsewhere = ELSEWHERE.iter().find(|(name, _)| *name == word);
    let same = elsewhere.and_then(|(_, here)| known.iter().find(|known| known.as_ref() == *here));
    let lower = word.to_lowercase();
    let near = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(known.as_ref(), &lower), known))
        .filter(|(distance, known)| *distance <= 1 + known.as_ref().len().max(word.len()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known);
    let proposal = same.or(near).map_or(String::new(), |known| {
        format!("; did you mean '{}'?", known.as_ref())
    });
    let known: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
    let all = match known.is_empty() {
        true => "there is none".to_owned(),
        false => format!("expected one of: {}", known.join(", ")),
    };
    format!("unknown {what} '{word}'{proposal} ({all})")
}
