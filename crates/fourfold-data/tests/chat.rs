//! Chat templates against what Python's transformers renders of them (fixtures/chat/make.py).

use std::collections::BTreeMap;

use fourfold_data::{ChatTemplate, Content, ContentPart, Message};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    conversations: BTreeMap<String, Vec<Message>>,
    templates: Vec<Template>,
}

#[derive(Deserialize)]
struct Template {
    name: String,
    template: String,
    tokens: BTreeMap<String, String>,
    rendered: Vec<Rendered>,
}

#[derive(Deserialize)]
struct Rendered {
    conversation: String,
    generation: bool,
    text: Option<String>,
    error: Option<String>,
    message: Option<String>,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("fixtures/chat/chat.json")).unwrap()
}

#[test]
fn texts_are_those_of_transformers() {
    let fixture = fixture();
    let mut compared = 0;
    for template in &fixture.templates {
        let name = &template.name;
        let chat =
            ChatTemplate::new(&template.template, template.tokens.clone(), name.as_str()).unwrap();
        for case in &template.rendered {
            let place = format!("{name}, {}, {}", case.conversation, case.generation);
            let messages = &fixture.conversations[&case.conversation];
            let rendered = chat.render(messages, case.generation, &[]);
            match (&case.text, rendered) {
                (Some(text), Ok(rendered)) => assert_eq!(&rendered, text, "{place}"),
                (Some(_), Err(error)) => panic!("{place}: {error}"),
                (None, Err(_)) => {}
                (None, Ok(rendered)) => {
                    // A list in the place of a text: Python writes it out, and so it has no layout.
                    let error = case.error.as_deref();
                    assert_eq!(error, Some("Repr"), "{place}: {rendered}");
                }
            }
            compared += 1;
        }
    }
    assert!(compared > 180, "{compared}");
}

#[test]
fn a_refusal_is_told_in_the_templates_words() {
    let fixture = fixture();
    let mut told = 0;
    for template in &fixture.templates {
        let chat =
            ChatTemplate::new(&template.template, template.tokens.clone(), "a.jinja").unwrap();
        let refusals = template
            .rendered
            .iter()
            .filter(|case| case.error.as_deref() == Some("TemplateError"));
        for case in refusals {
            let messages = &fixture.conversations[&case.conversation];
            let error = chat
                .render(messages, case.generation, &[])
                .unwrap_err()
                .to_string();
            assert!(error.starts_with("chat template a.jinja, line "), "{error}");
            assert!(error.contains(case.message.as_deref().unwrap()), "{error}");
            told += 1;
        }
    }
    assert!(told >= 2, "{told}");
}

#[test]
fn a_template_that_does_not_parse_names_file_and_line() {
    let error = ChatTemplate::new("a\n{% for %}", BTreeMap::new(), "a.jinja")
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("chat template a.jinja, line 2: "),
        "{error}"
    );
}

#[test]
fn content_is_a_text_or_parts() {
    let message: Message = serde_json::from_str(
        r#"{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "x"}]}"#,
    )
    .unwrap();
    let parts = vec![ContentPart::Image, ContentPart::Text { text: "x".into() }];
    assert_eq!(message.content, Content::Parts(parts));
}

mod folders {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn source(files: &[(&str, &str)]) -> Option<String> {
        let found = ChatTemplate::from_folder(folder(files).path()).unwrap();
        found.map(|template| template.source().to_owned())
    }

    #[test]
    fn a_template_is_found_where_it_may_lie() {
        assert_eq!(source(&[]), None);
        let plain = (
            "tokenizer_config.json",
            r#"{"bos_token": "<s>", "chat_template": "config"}"#,
        );
        let named = (
            "tokenizer_config.json",
            r#"{"chat_template": [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "named"}]}"#,
        );
        let json = ("chat_template.json", r#"{"chat_template": "json"}"#);
        let jinja = ("chat_template.jinja", "jinja");
        assert_eq!(source(&[plain]).as_deref(), Some("config"));
        assert_eq!(source(&[named]).as_deref(), Some("named"));
        assert_eq!(source(&[plain, json]).as_deref(), Some("json"));
        assert_eq!(source(&[plain, json, jinja]).as_deref(), Some("jinja"));
    }

    #[test]
    fn the_tokens_come_along() {
        let files = [
            (
                "chat_template.jinja",
                "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}",
            ),
            (
                "tokenizer_config.json",
                r#"{"bos_token": {"content": "<s>"}, "eos_token": null}"#,
            ),
            (
                "special_tokens_map.json",
                r#"{"bos_token": "<other>", "eos_token": "</s>"}"#,
            ),
        ];
        let template = ChatTemplate::from_folder(folder(&files).path())
            .unwrap()
            .unwrap();
        let text = template
            .render(&[Message::text("user", "a")], false, &[])
            .unwrap();
        assert_eq!(text, "<s>a</s>");
    }

    #[test]
    fn what_cannot_be_used_is_told_with_its_file() {
        for (text, word) in [
            ("{", "expected JSON"),
            (r#"{"chat_template": 3}"#, "expected a text or a list"),
            (
                r#"{"chat_template": [{"name": "rag", "template": "x"}]}"#,
                "`default` among rag",
            ),
            (r#"{"chat_template": "x", "bos_token": 3}"#, "`bos_token`"),
        ] {
            let folder = folder(&[("tokenizer_config.json", text)]);
            let error = ChatTemplate::from_folder(folder.path())
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("tokenizer_config.json") && error.contains(word),
                "{error}"
            );
        }
    }
}

#[test]
fn a_template_that_does_not_end_is_stopped() {
    let nested = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
    let template = ChatTemplate::new(nested, BTreeMap::new(), "t.jinja").unwrap();
    let messages = [Message::text("user", "hello")];
    let error = template.render(&messages, true, &[]).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("t.jinja") && error.contains("fuel"),
        "{error}"
    );
}

#[test]
fn ends_of_lines_are_those_of_jinja() {
    let render = |source: &str| {
        let template = ChatTemplate::new(source, BTreeMap::new(), "t.jinja").unwrap();
        template.render(&[], true, &[]).unwrap()
    };
    // A block takes the end of its line with it, whichever it is.
    assert_eq!(
        render("a\r\n{% if true %}\r\nb{% endif %}\rc\rd"),
        "a\nbc\nd"
    );
}
