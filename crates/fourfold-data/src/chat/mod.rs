//! Chat templates as `tokenizer_config.json` brings them: from messages to the text that a model was taught to go on
//! from.

mod environment;
mod layout;
mod python;
mod read;
mod standalone;

use std::collections::BTreeMap;

use minijinja::Environment;
use minijinja::value::{Serde, Value};
use serde::{Deserialize, Serialize};

use crate::DataError;
pub(crate) use layout::ChatLayout;

use environment::{environment, without_generation};

/// The name under which the template is compiled.
const NAME: &str = "chat";

/// Who says something, and what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: Content,
}

/// What is said: a text, or parts of several kinds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// A text.
    Text(String),
    /// Images and texts in their order.
    Parts(Vec<ContentPart>),
}

/// A part of what is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ContentPart {
    /// An image; which one is no matter of the text.
    Image,
    /// A text.
    Text {
        /// The text.
        text: String,
    },
}

impl Message {
    /// A message of text alone.
    pub fn text(role: &str, text: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            content: Content::Text(text.into()),
        }
    }
}

/// A chat template with the tokens that it may name.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    tokens: BTreeMap<String, String>,
    name: String,
}

impl ChatTemplate {
    /// Compiles the text of a template. `tokens` are `bos_token` and its like with their texts; `name` is what errors
    /// call the template.
    ///
    /// # Errors
    /// When the text is no template; names line and reason.
    pub fn new(
        source: &str,
        tokens: BTreeMap<String, String>,
        name: impl Into<String>,
    ) -> Result<Self, DataError> {
        let name = name.into();
        // As Python's Jinja reads it, on whichever system the file was written.
        let source = source.replace("\r\n", "\n").replace('\r', "\n");
        let compiled = || {
            let mut environment = environment()?;
            environment.add_template_owned(NAME, without_generation(&source))?;
            Ok(environment)
        };
        let environment = compiled().map_err(|error| failure(&name, &error))?;
        Ok(Self {
            environment,
            source,
            tokens,
            name,
        })
    }

    /// The text of the template.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// `bos_token` and its like.
    pub fn tokens(&self) -> &BTreeMap<String, String> {
        &self.tokens
    }

    /// What errors call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of a conversation; with `generation` up to where the assistant's next answer begins. `variables` are
    /// further ones, such as `enable_thinking`.
    ///
    /// # Errors
    /// When the template refuses the conversation; gives its words.
    pub fn render(
        &self,
        messages: &[Message],
        generation: bool,
        variables: &[(&str, Value)],
    ) -> Result<String, DataError> {
        let mut context: BTreeMap<&str, Value> = variables.iter().cloned().collect();
        context.insert("messages", Value::from(Serde(messages)));
        context.insert("add_generation_prompt", generation.into());
        // Python's renderer gives these as well, as `None`; templates ask for them by that.
        context.insert("tools", ().into());
        context.insert("documents", ().into());
        for (name, token) in &self.tokens {
            context.insert(name, token.into());
        }
        let template = self.environment.get_template(NAME);
        let rendered = template.and_then(|template| template.render(Value::from(context)));
        rendered.map_err(|error| failure(&self.name, &error))
    }
}

fn failure(name: &str, error: &minijinja::Error) -> DataError {
    let place = error
        .line()
        .map_or_else(String::new, |line| format!(", line {line}"));
    let kind = error.kind();
    let message = error
        .detail()
        .map_or_else(|| kind.to_string(), str::to_owned);
    DataError::Chat {
        name: format!("{name}{place}"),
        message,
    }
}
