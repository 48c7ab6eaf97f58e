//! Conversations: who speaks in turn, in three spellings.
//!
//! Sources of the fields: LLaVA's instruction files (`conversations`, `from`, `value`; human and gpt), the messages of
//! chat completions (`messages`, `role`, `content`), and The Cauldron's and FineVision's `texts` (`user`, `assistant`).

use serde_json::{Map, Value};

/// Who says something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaker {
    System,
    User,
    Assistant,
}

/// `conversations: [{from, value}]` becomes `prompts` and `answers`.
pub(super) fn conversations(columns: &mut Map<String, Value>) -> Result<(), String> {
    spoken(columns, "conversations", "from", "value")
}

/// `messages: [{role, content}]` becomes `prompts` and `answers`.
pub(super) fn messages(columns: &mut Map<String, Value>) -> Result<(), String> {
    spoken(columns, "messages", "role", "content")
}

/// `texts: [{user, assistant}]` becomes `prompts` and `answers`.
pub(super) fn texts(columns: &mut Map<String, Value>) -> Result<(), String> {
    let mut turns = Turns::default();
    for (index, pair) in list(columns, "texts")?.iter().enumerate() {
        let text = |key: &str| match pair.get(key) {
            Some(Value::String(text)) => Ok(text.clone()),
            _ => Err(format!("`texts` {index}: expected `{key}` with a text")),
        };
        turns.say(Speaker::User, text("user")?);
        turns.say(Speaker::Assistant, text("assistant")?);
    }
    turns.store(columns)
}

fn spoken(
    columns: &mut Map<String, Value>,
    name: &str,
    who: &str,
    what: &str,
) -> Result<(), String> {
    let mut turns = Turns::default();
    for (index, message) in list(columns, name)?.iter().enumerate() {
        let fail = |expected: &str| format!("`{name}` {index}: expected {expected}");
        let speaker = match message.get(who).and_then(Value::as_str) {
            Some("human" | "user") => Speaker::User,
            Some("gpt" | "assistant" | "model" | "chatgpt" | "bard" | "bing") => Speaker::Assistant,
            Some("system") => Speaker::System,
            Some(other) => {
                let known = "human or user, gpt or assistant, or system";
                return Err(fail(&format!("`{who}` to be {known}, got {other:?}")));
            }
            None => return Err(fail(&format!("`{who}` with who speaks"))),
        };
        let text = match message.get(what) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(parts)) => parts
                .iter()
                .map(part)
                .collect::<Option<String>>()
                .ok_or_else(|| {
                    fail(&format!(
                        "the parts of `{what}` to be of type text or image"
                    ))
                })?,
            _ => return Err(fail(&format!("`{what}` with a text"))),
        };
        turns.say(speaker, text);
    }
    turns.store(columns)
}

/// The text of one part of a message; an image is its mark.
fn part(part: &Value) -> Option<String> {
    match part.get("type").and_then(Value::as_str)? {
        "text" => Some(part.get("text")?.as_str()?.to_owned()),
        "image" | "image_url" => Some(crate::sample::IMAGE_MARK.to_owned()),
        _ => None,
    }
}

fn list(columns: &mut Map<String, Value>, name: &str) -> Result<Vec<Value>, String> {
    match columns.shift_remove(name) {
        Some(Value::Array(list)) => Ok(list),
        _ => Err(format!("expected `{name}` with a list")),
    }
}

/// Questions and answers in turn. As LLaVA reads them: what is said before the first question is no answer to anything,
/// and a question without an answer teaches nothing; both are left out.
#[derive(Default)]
struct Turns {
    system: Option<String>,
    prompts: Vec<String>,
    answers: Vec<String>,
}

impl Turns {
    fn say(&mut self, speaker: Speaker, text: String) {
        let (asked, answered) = (self.prompts.len(), self.answers.len());
        match speaker {
            Speaker::System => self.system = Some(text),
            Speaker::User if asked > answered => append(&mut self.prompts[asked - 1], &text),
            // What the conversation is to be like is read before its first question.
            Speaker::User => self.prompts.push(match self.system.take() {
                Some(system) if !system.trim().is_empty() => format!("{}\n\n{text}", system.trim()),
                _ => text,
            }),
            Speaker::Assistant if asked > answered => self.answers.push(text),
            Speaker::Assistant if answered > 0 => append(&mut self.answers[answered - 1], &text),
            Speaker::Assistant => {}
        }
    }

    fn store(mut self, columns: &mut Map<String, Value>) -> Result<(), String> {
        if self.answers.is_empty() {
            return Err("nobody answers in it: expected a question and an answer".into());
        }
        self.prompts.truncate(self.answers.len());
        columns.insert("prompts".into(), self.prompts.into());
        columns.insert("answers".into(), self.answers.into());
        Ok(())
    }
}

fn append(said: &mut String, more: &str) {
    said.push('\n');
    said.push_str(more);
}
