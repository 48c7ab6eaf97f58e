//! Conversations: who speaks in turn, in three spellings.
//!
//! Sources of the fields: LLaVA's instruction files (`conversations`, `from`, `value`; human and gpt), the messages of
//! chat completions (`messages`, `role`, `content`), and The Cauldron's and FineVision's `texts` (`user`, `assistant`).

use serde_json::{Map, Value};

use crate::sample::IMAGE_MARK;

/// The columns that conversations are found in, with what a message calls its speaker and its text.
pub(super) const LISTS: [&str; 3] = ["conversations", "conversation", "messages"];
const KEYS: [(&str, &str); 2] = [("from", "value"), ("role", "content")];

/// Where a row has its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) struct Spelling {
    /// The column.
    list: &'static str,
    who: &'static str,
    what: &'static str,
}

impl Spelling {
    /// That of a row with these columns, if it has a conversation.
    pub fn of(columns: &Map<String, Value>) -> Option<Self> {
        LISTS.into_iter().find_map(|list| {
            let messages = columns.get(list)?.as_array()?;
            let first = messages.iter().find_map(Value::as_object)?;
            let has =
                |(who, what): &(&str, &str)| first.contains_key(*who) && first.contains_key(*what);
            let (who, what) = KEYS.into_iter().find(has)?;
            Some(Self { list, who, what })
        })
    }

    /// Whether a row with these columns has a conversation with such messages.
    pub fn finds_parts(columns: &Map<String, Value>) -> bool {
        Self::of(columns).is_some_and(|spelling| spelling.has_parts(columns))
    }

    /// Whether messages of this spelling may be made of parts.
    pub fn may_have_parts(self) -> bool {
        self.what == "content"
    }

    /// Whether the messages of a row with these columns are made of parts, which may name images.
    pub fn has_parts(self, columns: &Map<String, Value>) -> bool {
        let messages = columns.get(self.list).and_then(Value::as_array);
        let parts = |message: &Value| message.get(self.what).is_some_and(Value::is_array);
        messages.is_some_and(|messages| messages.iter().any(parts))
    }
}

/// Who says something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaker {
    System,
    User,
    Assistant,
}

/// `texts: [{user, assistant}]` becomes `prompts` and `answers`.
pub(super) fn texts(columns: &mut Map<String, Value>) -> Result<(), String> {
    let mut turns = Turns::default();
    for (index, pair) in list(columns, "texts")?.iter().enumerate() {
        let text = |key: &str| match pair.get(key) {
            Some(Value::String(text)) => Ok(text.clone()),
            _ => Err(format!("`texts` {index}: expected `{key}` with a text")),
        };
        turns.say(Speaker::User, text("user")?)?;
        turns.say(Speaker::Assistant, text("assistant")?)?;
    }
    turns.store(columns)
}

/// A list of messages becomes `prompts` and `answers`; images that its parts name, `images`.
pub(super) fn spoken(
    columns: &mut Map<String, Value>,
    Spelling {
        list: name,
        who,
        what,
    }: Spelling,
) -> Result<(), String> {
    let mut turns = Turns::default();
    // Its prompts would ask of what the model is not shown.
    let unread = ["video", "videos", "audio", "audios"]
        .into_iter()
        .find(|name| filled(columns, name));
    if let Some(column) = unread {
        return Err(format!("has `{column}`; only images are read"));
    }
    if let Some(Value::String(system)) = columns.get("system") {
        turns.system = Some(system.clone());
    }
    let mut images = Vec::new();
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
                .map(|part| text_of(part, &mut images))
                .collect::<Option<String>>()
                .ok_or_else(|| {
                    fail(&format!(
                        "the parts of `{what}` to be of type text or image"
                    ))
                })?,
            _ => return Err(fail(&format!("`{what}` with a text"))),
        };
        turns
            .say(speaker, text)
            .map_err(|expected| fail(&expected))?;
    }
    if !images.is_empty() {
        if ["image", "images"]
            .into_iter()
            .any(|name| filled(columns, name))
        {
            let message =
                "names images both in a column of theirs and in its parts; expected one of the two";
            return Err(format!("`{name}` {message}"));
        }
        columns.insert("images".into(), images.into());
    }
    turns.store(columns)
}

fn filled(columns: &Map<String, Value>, name: &str) -> bool {
    match columns.get(name) {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(list)) => !list.is_empty(),
        Some(_) => true,
    }
}

/// The text of one part of a message; an image is its mark, and its name, if it has one, is kept in `images`.
fn text_of(part: &Value, images: &mut Vec<Value>) -> Option<String> {
    match part.get("type").and_then(Value::as_str)? {
        "text" => Some(part.get("text")?.as_str()?.to_owned()),
        kind @ ("image" | "image_url") => {
            let named = match part.get(kind) {
                Some(Value::Object(object)) => object.get("url").or_else(|| object.get("path")),
                named => named,
            };
            images.extend(named.filter(|named| !named.is_null()).cloned());
            Some(IMAGE_MARK.to_owned())
        }
        _ => None,
    }
}

fn list(columns: &mut Map<String, Value>, name: &str) -> Result<Vec<Value>, String> {
    match columns.shift_remove(name) {
        Some(Value::Array(list)) => Ok(list),
        _ => Err(format!("expected `{name}` with a list")),
    }
}

/// Questions and answers in turn. What is said before the first question is no answer to anything, and the last question
/// without an answer teaches nothing: both are left out, as LLaVA does.
#[derive(Default)]
struct Turns {
    system: Option<String>,
    prompts: Vec<String>,
    answers: Vec<String>,
}

impl Turns {
    fn say(&mut self, speaker: Speaker, text: String) -> Result<(), String> {
        let (asked, answered) = (self.prompts.len(), self.answers.len());
        match speaker {
            Speaker::System => self.system = Some(text),
            Speaker::User if asked > answered => {
                return Err("an answer, got a second question in a row".into());
            }
            // What the conversation is to be like is read before its first question.
            Speaker::User => self.prompts.push(match self.system.take() {
                Some(system) if !system.trim().is_empty() => format!("{}\n\n{text}", system.trim()),
                _ => text,
            }),
            Speaker::Assistant if asked > answered => self.answers.push(text),
            Speaker::Assistant if answered > 0 => {
                return Err("a question, got a second answer in a row".into());
            }
            Speaker::Assistant => {}
        }
        Ok(())
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
