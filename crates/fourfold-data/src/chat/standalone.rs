//! A chat template for programs that know nothing of `[format]`: what is done here around the template, in its own
//! language and before its first line.

use minijinja::value::Value;
use serde_json::json;

use super::layout::{ChatLayout, TRIED};
use crate::DataError;

/// Messages in parts as texts: an image is its token on a line before the text.
const AS_TEXT: &str = "\
{%- set fourfold = namespace(messages=[], text='') -%}
{%- for message in messages -%}
{%- set fourfold.text = '' -%}
{%- if message['content'] is string -%}
{%- set fourfold.text = message['content'] -%}
{%- elif message['content'] is iterable -%}
{%- for part in message['content'] if part['type'] == 'image' -%}
{%- set fourfold.text = fourfold.text + IMAGE -%}
{%- endfor -%}
{%- for part in message['content'] if part['type'] != 'image' -%}
{%- if part['type'] != 'text' -%}
{{- raise_exception('expected parts of the types text and image, got one of the type ' ~ part['type']) -}}
{%- endif -%}
{%- set fourfold.text = fourfold.text + part['text'] -%}
{%- endfor -%}
{%- endif -%}
{%- if message['content'] is string or message['content'] is iterable -%}
{%- set fourfold.messages = fourfold.messages + [dict(message, content=fourfold.text.rstrip('\\n'))] -%}
{%- else -%}
{%- set fourfold.messages = fourfold.messages + [message] -%}
{%- endif -%}
{%- endfor -%}
{%- set messages = fourfold.messages -%}
";

/// Messages that are texts as parts.
const AS_PARTS: &str = "\
{%- set fourfold = namespace(messages=[]) -%}
{%- for message in messages -%}
{%- if message['content'] is string -%}
{%- set part = {'type': 'text', 'text': message['content']} -%}
{%- set fourfold.messages = fourfold.messages + [dict(message, content=[part])] -%}
{%- else -%}
{%- set fourfold.messages = fourfold.messages + [message] -%}
{%- endif -%}
{%- endfor -%}
{%- set messages = fourfold.messages -%}
";

/// The system message of a conversation that has none.
const SYSTEM: &str = "\
{%- if not messages or messages[0]['role'] != 'system' -%}
{%- set messages = [{'role': 'system', 'content': CONTENT}] + messages -%}
{%- endif -%}
";

/// An answer without thoughts, unless they are asked for.
const SILENT: &str = "\
{%- if add_generation_prompt and enable_thinking is not defined -%}
{%- set enable_thinking = false -%}
{%- endif -%}
";

impl ChatLayout {
    /// The template that writes by itself what is written here: whether messages come as texts or in parts, with the
    /// system message of `[format]` where a conversation has none, and with a prompt that ends where answers began in
    /// training. The template as it is, where it does all that.
    ///
    /// # Errors
    /// When the template refuses what it is tried with.
    pub fn standalone(&self) -> Result<String, DataError> {
        let mut before = String::new();
        if !self.parts {
            let image = json!(format!("{}\n", self.image)).to_string();
            before += &AS_TEXT.replace("IMAGE", &image);
        } else if !self.takes_texts()? {
            before += AS_PARTS;
        }
        if let Some(system) = &self.system {
            let content = &self.message("system", 0, system).content;
            // JSON's strings, lists and tables are those of templates too.
            before += &SYSTEM.replace("CONTENT", &json!(content).to_string());
        }
        if self.is_silent()? {
            before += SILENT;
        }
        let template = self.template.source();
        if before.is_empty() {
            return Ok(template.to_owned());
        }
        // A block takes the end of its own line with it, so that the template begins as in a file of its own.
        let before = before.strip_suffix("-%}\n").unwrap_or(&before);
        Ok(format!("{before}%}}\n{template}"))
    }

    /// Whether a template that takes parts writes the same where messages are texts.
    fn takes_texts(&self) -> Result<bool, DataError> {
        let in_parts = self.tried(0)?;
        let mut texts = self.clone();
        texts.parts = false;
        Ok(texts.tried(0).is_ok_and(|text| text == in_parts))
    }

    /// Whether the prompts of training are those of a model that was asked not to think aloud, and only those.
    fn is_silent(&self) -> Result<bool, DataError> {
        let messages = self.messages(1, false, &[(TRIED[0], Some(TRIED[1]))]);
        let asked = &messages[..messages.len() - 1];
        let whole = self.tried(1)?;
        let silent = [("enable_thinking", Value::from(false))];
        let prompt = self.template.render(asked, true, &silent)?;
        Ok(whole.starts_with(&prompt) && self.template.render(asked, true, &[])? != prompt)
    }
}
