//! The tokenizer in the words of `transformers`, and the layout of a document as a chat template.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use fourfold_data::{Chat, TextFormat};
use fourfold_model::Model;
use serde_json::{Value, json};

use crate::assemble::Reading;
use crate::files;

/// Writes `tokenizer_config.json` and `chat_template.jinja`.
pub(super) fn write(model: &Model, reading: &Reading, folder: &Path) -> Result<()> {
    let format = &reading.format;
    let (begin, end, mut others) = match &format.chat {
        // The template names the tokens that it begins with, and ends an answer by one that it writes itself.
        Some(Chat::Template { tokens, .. }) => {
            let markers = format.markers(&reading.tokenizer)?;
            let end = reading.tokenizer.token(markers.end);
            (tokens.get("bos_token").cloned(), end, vec![&format.image])
        }
        _ => (
            Some(format.begin.clone()),
            Some(format.end.clone()),
            vec![&format.image, &format.answer],
        ),
    };
    others.retain(|token| ![&begin, &end].contains(&&Some((*token).clone())));
    let config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": begin,
        "eos_token": end,
        "pad_token": end,
        "additional_special_tokens": others,
        "model_max_length": model.config().max_positions(),
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": false,
        // What is generated goes on behind the prompt.
        "padding_side": "left",
    });
    files::write_json(&folder.join("tokenizer_config.json"), &config)?;
    let template = match (
        format.standalone_template(&reading.tokenizer)?,
        &format.chat,
    ) {
        (Some(template), Some(Chat::Template { tokens, .. })) => {
            with_tokens(tokens, &config, template)
        }
        _ => own_template(format),
    };
    files::write_atomic(&folder.join("chat_template.jinja"), template.as_bytes())
}

/// The template with the `tokens` that it may name, where they are others than those of the tokenizer's `config`: its end
/// of a text need not be what ends an answer.
fn with_tokens(tokens: &BTreeMap<String, String>, config: &Value, template: String) -> String {
    let other = tokens.iter().filter(|(name, token)| {
        template.contains(name.as_str()) && config[*name] != token.as_str()
    });
    let set =
        |(name, token): (&String, &String)| format!("{{%- set {name} = {} -%}}\n", json!(token));
    let mut before: String = other.map(set).collect();
    // The last block takes the end of its line with it, and nothing of the template.
    if before.ends_with("-%}\n") {
        before.truncate(before.len() - "-%}\n".len());
        before += "%}\n";
    }
    before + &template
}

/// The layout of [`TextFormat`]: begin, an image token for each image, then turns of prompt and answer.
fn own_template(format: &TextFormat) -> String {
    // JSON's strings are strings of templates too.
    let [begin, image, answer, end] = format.tokens().map(|token| json!(token).to_string());
    let lines = [
        format!("{{{{- {begin} -}}}}"),
        "{%- for message in messages if message['content'] is not string -%}".into(),
        "{%- for part in message['content'] if part['type'] == 'image' -%}".into(),
        format!("{{{{- {image} -}}}}"),
        "{%- endfor -%}{%- endfor -%}".into(),
        "{%- for message in messages -%}".into(),
        "{%- if message['role'] not in ['user', 'assistant'] -%}".into(),
        "{{- raise_exception('expected messages of user and assistant, not of ' + message['role']) -}}".into(),
        "{%- endif -%}".into(),
        "{%- if message['content'] is string -%}{{- message['content'] -}}{%- else -%}".into(),
        "{%- for part in message['content'] if part['type'] == 'text' -%}{{- part['text'] -}}{%- endfor -%}".into(),
        "{%- endif -%}".into(),
        format!("{{{{- {answer} if message['role'] == 'user' else {end} -}}}}"),
        "{%- endfor -%}".into(),
    ];
    lines.join("\n") + "\n"
}
