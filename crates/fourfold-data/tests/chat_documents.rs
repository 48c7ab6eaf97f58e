//! Documents that a chat template lays out.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use fourfold_data::{
    Chat, Content, ContentPart, DataError, Document, EncodedImage, Encoder, EncoderConfig, Fit,
    ImageTransform, Message, Sample, TextFormat, Tokenizer, Turn, sample_rng, train_bpe,
};
use serde_json::Value;

const SPECIAL: [&str; 16] = [
    "<|im_start|>",
    "<|im_end|>",
    "<image>",
    "<s>",
    "</s>",
    "<|end|>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<|endoftext|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<start_of_image>",
    "<|image_pad|>",
    "<|vision_start|>",
    "<|vision_end|>",
];
/// Rows of an image.
const EACH: usize = 3;

fn tokenizer() -> Tokenizer {
    let texts: [&str; 0] = [];
    train_bpe(texts.iter(), 256 + SPECIAL.len(), &SPECIAL).unwrap()
}

/// A template of the fixture as the layout.
fn format(name: &str) -> TextFormat {
    let fixture: Value = serde_json::from_str(include_str!("fixtures/chat/chat.json")).unwrap();
    let templates = fixture["templates"].as_array().unwrap();
    let found = templates.iter().find(|template| template["name"] == name);
    let found = found.unwrap_or_else(|| panic!("no template {name}"));
    let image = match name {
        "qwen2.5-vl" => "<|image_pad|>",
        _ => "<image>",
    };
    let format = written(
        found["template"].as_str().unwrap(),
        serde_json::from_value(found["tokens"].clone()).unwrap(),
    );
    TextFormat {
        image: image.into(),
        ..format
    }
}

fn written(template: &str, tokens: BTreeMap<String, String>) -> TextFormat {
    TextFormat {
        image: "<image>".into(),
        chat: Some(Chat::Template {
            template: template.into(),
            tokens,
        }),
        ..TextFormat::default()
    }
}

fn encoder(format: TextFormat) -> Result<Encoder, DataError> {
    let transform = ImageTransform {
        size: 8.into(),
        fit: Fit::Stretch,
        ..ImageTransform::default()
    };
    let config = EncoderConfig {
        format,
        transform,
        augment: None,
        visual_tokens_per_image: EACH,
        max_tokens: 1000,
    };
    Encoder::new(Arc::new(tokenizer()), config)
}

fn picture() -> EncodedImage {
    let mut bytes = Cursor::new(Vec::new());
    image::RgbImage::new(8, 8)
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    EncodedImage::new(bytes.into_inner())
}

fn sample(images: usize, turns: &[(&str, &str)]) -> Sample {
    let turn = |(prompt, answer): &(&str, &str)| Turn {
        prompt: (*prompt).into(),
        answer: (*answer).into(),
    };
    Sample {
        origin: "a.jsonl:line 1".into(),
        images: vec![picture().into(); images],
        turns: turns.iter().map(turn).collect(),
    }
}

/// All rows with special tokens by their names, and what is learnt, with `·` where nothing is between.
fn shown(document: &Document) -> (String, String) {
    let tokenizer = tokenizer();
    let text = |token: u32| match tokenizer
        .special_tokens()
        .iter()
        .find(|(_, id)| *id == token)
    {
        Some((name, _)) => name.clone(),
        None => tokenizer.decode(&[token]).unwrap(),
    };
    let rows = document.tokens.iter().map(|&token| text(token)).collect();
    let mut learnt = String::new();
    for target in &document.targets {
        match target {
            Some(token) => learnt += &text(*token),
            None if learnt.is_empty() || learnt.ends_with('·') => {}
            None => learnt.push('·'),
        }
    }
    (rows, learnt)
}

fn document(name: &str, sample: &Sample) -> Document {
    let encoder = encoder(format(name)).unwrap();
    let document = encoder.document(sample, &mut sample_rng(0, 0)).unwrap();
    assert_eq!(document.tokens.len(), document.targets.len());
    // The model is asked with the very rows that came before its first answer in training.
    let asked = encoder
        .prompt("q", &sample.read_images().unwrap(), &sample.turns[0].prompt)
        .unwrap();
    assert_eq!(
        asked.tokens,
        document.tokens[..document.prompt_end],
        "{name}"
    );
    assert_eq!(asked.visual, document.visual, "{name}");
    document
}

#[test]
fn answers_alone_are_learnt() {
    let two = sample(0, &[("One?", "Two."), ("Three?", "Four.")]);
    let (rows, learnt) = shown(&document("chatml (smollm2)", &two));
    assert_eq!(
        rows,
        "<|im_start|>system\nYou are a helpful AI assistant<|im_end|>\n<|im_start|>user\nOne?<|im_end|>\n\
         <|im_start|>assistant\nTwo.<|im_end|>\n<|im_start|>user\nThree?<|im_end|>\n<|im_start|>assistant\nFour."
    );
    assert_eq!(learnt, "Two.<|im_end|>·Four.<|im_end|>");
    let (rows, learnt) = shown(&document("mistral", &two));
    assert_eq!(
        rows,
        "<s>[INST] One? [/INST]Two.</s>[INST] Three? [/INST]Four."
    );
    assert_eq!(learnt, "Two.</s>·Four.</s>");
    let (_, learnt) = shown(&document("llama-2", &two));
    assert_eq!(learnt, " Two. </s>· Four. </s>");
}

/// A template for texts gets the images written into the prompt; one that knows parts places them itself.
#[test]
fn images_take_their_rows() {
    for name in ["phi-3", "qwen2.5", "qwen2.5-vl"] {
        let document = document(name, &sample(2, &[("What?", "A cat.")]));
        let (rows, learnt) = shown(&document);
        let image = format(name).image;
        assert_eq!(rows.matches(&image).count(), 2 * EACH, "{rows}");
        assert_eq!(document.visual.len(), 2);
        for (index, span) in document.visual.iter().enumerate() {
            assert_eq!((span.len, span.image), (EACH, index));
            let image = tokenizer().special(&image).unwrap();
            let rows = &document.tokens[span.start..span.start + EACH];
            assert!(rows.iter().all(|&token| token == image));
        }
        assert!(learnt.starts_with("A cat.<|"), "{name}: {learnt}");
        assert_eq!(document.images.len(), 2);
    }
    let (rows, _) = shown(&document("phi-3", &sample(1, &[("What?", "A cat.")])));
    assert_eq!(
        rows,
        "<|user|>\n<image><image><image>\nWhat?<|end|>\n<|assistant|>\nA cat."
    );
    let (rows, _) = shown(&document("qwen2.5-vl", &sample(1, &[("", "A cat.")])));
    let image = "<|image_pad|>".repeat(EACH);
    let user = format!("<|im_start|>user\n<|vision_start|>{image}<|vision_end|><|im_end|>\n");
    assert!(
        rows.ends_with(&format!("{user}<|im_start|>assistant\nA cat.")),
        "{rows}"
    );
}

/// Its own placeholder, and a system's message.
#[test]
fn gemma_with_its_own_image_token() {
    let format = TextFormat {
        image: "<start_of_image>".into(),
        system: Some("Be brief.".into()),
        ..format("gemma-3")
    };
    let encoder = encoder(format).unwrap();
    let document = encoder
        .document(&sample(1, &[("What?", "A cat.")]), &mut sample_rng(0, 0))
        .unwrap();
    let (rows, learnt) = shown(&document);
    let image = "<start_of_image>".repeat(EACH);
    assert_eq!(
        rows,
        format!(
            "<bos><start_of_turn>user\nBe brief.\n\n{image}What?<end_of_turn>\n<start_of_turn>model\nA cat."
        )
    );
    assert_eq!(learnt, "A cat.<end_of_turn>");
}

/// A model that thinks aloud is asked not to, in training as in use.
#[test]
fn qwen3_answers_without_thinking() {
    let (rows, learnt) = shown(&document("qwen3", &sample(0, &[("One?", "Two.")])));
    assert!(
        rows.ends_with("<|im_start|>assistant\n<think>\n\n</think>\n\nTwo."),
        "{rows}"
    );
    assert_eq!(learnt, "Two.<|im_end|>");
    let two = sample(0, &[("One?", "Two."), ("Three?", "Four.")]);
    let encoder = encoder(format("qwen3")).unwrap();
    let (_, learnt) = shown(&encoder.document(&two, &mut sample_rng(0, 0)).unwrap());
    assert_eq!(learnt, "Two.<|im_end|>·Four.<|im_end|>");
}

#[test]
fn a_text_about_nothing_is_learnt_whole() {
    let (rows, learnt) = shown(&document("mistral", &sample(0, &[("", "once")])));
    assert_eq!((rows.as_str(), learnt.as_str()), ("<s>once", "once</s>"));
    let encoder = encoder(format("qwen2.5")).unwrap();
    let (rows, learnt) = shown(
        &encoder
            .document(&sample(0, &[("", "once")]), &mut sample_rng(0, 0))
            .unwrap(),
    );
    assert_eq!((rows.as_str(), learnt.as_str()), ("once", "nce<|im_end|>"));
}

#[test]
fn text_that_spells_a_special_token_is_refused() {
    let encoder = encoder(format("mistral")).unwrap();
    let error = encoder
        .document(&sample(0, &[("</s>?", "x")]), &mut sample_rng(0, 0))
        .unwrap_err();
    assert!(error.concerns_sample(), "the others are trained with");
    let error = error.to_string();
    assert!(
        error.contains("a.jsonl:line 1") && error.contains("`</s>`"),
        "{error}"
    );
}

#[test]
fn templates_that_cannot_be_trained_with_say_why() {
    let refusal = |format: TextFormat| {
        let encoder = encoder(format)?;
        encoder.document(&sample(0, &[("One?", "Two.")]), &mut sample_rng(0, 0))
    };
    let error = refusal(format("llava-1.5 (vicuna)"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("no special token after an answer") && error.contains("`</s>`"),
        "{error}"
    );
    // As published, it writes "assistant " before an answer but asks for one with "assistant".
    let error = refusal(format("llava-interleave (qwen)"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("otherwise with its answer"), "{error}");
    let each = "{% for m in messages %}{{ m.content }}</s>{% endfor %}";
    let other = format!("{each}{{% if add_generation_prompt %}}now:{{% endif %}}");
    let error = refusal(written(&other, BTreeMap::new()))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("otherwise with its answer") && error.contains("FILE.jinja"),
        "{error}"
    );
    let upper = "{% for m in messages %}{{ m.content | upper }}</s>{% endfor %}";
    let error = refusal(written(upper, BTreeMap::new()))
        .unwrap_err()
        .to_string();
    assert!(error.contains("`<image>`"), "{error}");
    let unknown = TextFormat {
        image: "<picture>".into(),
        ..format("mistral")
    };
    let error = refusal(unknown).unwrap_err().to_string();
    assert!(
        error.contains("`<picture>`") && error.contains("[tokenizer] add"),
        "{error}"
    );
}

/// What a saved model keeps is enough to read it again.
#[test]
fn a_format_with_its_template_survives_saving() {
    let format = TextFormat {
        system: Some("Be brief.".into()),
        ..format("phi-3")
    };
    let text = serde_json::to_string(&format).unwrap();
    assert_eq!(serde_json::from_str::<TextFormat>(&text).unwrap(), format);
    // Files of before have neither key.
    let old = r#"{"begin": "a", "image": "b", "answer": "c", "end": "d"}"#;
    assert_eq!(serde_json::from_str::<TextFormat>(old).unwrap().chat, None);
    assert_eq!(
        serde_json::to_string(&TextFormat::default())
            .unwrap()
            .matches(':')
            .count(),
        4
    );
}

mod folders {
    use super::*;
    use fourfold_data::{ChatTemplate, SpecialTokens};

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn a_pretrained_tokenizer_lays_documents_out_with_its_own_tokens() {
        let read = |files: &[(&str, &str)]| {
            let tokens = SpecialTokens::read(folder(files).path()).unwrap();
            tokens
                .format(&tokenizer())
                .map(|f| [f.begin, f.image, f.answer, f.end].join(" "))
        };
        // Qwen2.5 has no beginning, Llama has one.
        let qwen = r#"{"bos_token": null, "eos_token": "<|endoftext|>"}"#;
        let expected = "<|endoftext|> <image> <|endoftext|> <|endoftext|>";
        assert_eq!(
            read(&[("tokenizer_config.json", qwen)]).as_deref(),
            Some(expected)
        );
        let llama = r#"{"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>"}"#;
        assert_eq!(
            read(&[("special_tokens_map.json", llama)]).as_deref(),
            Some("<s> <image> </s> </s>")
        );
        // The model's configuration names an id, or several.
        let id = tokenizer().special("</s>").unwrap();
        let several = format!("{{\"eos_token_id\": [{id}, 1]}}");
        assert_eq!(
            read(&[("generation_config.json", &several)]).as_deref(),
            Some("</s> <image> </s> </s>")
        );
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn the_template_of_a_folder_or_file_becomes_part_of_the_format() {
        let files = [
            (
                "chat_template.jinja",
                "{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}",
            ),
            ("tokenizer_config.json", r#"{"eos_token": "</s>"}"#),
        ];
        let place = folder(&files);
        let tokenizer = tokenizer();
        let special = SpecialTokens::read(place.path()).unwrap();
        let format = |chat: Chat| TextFormat {
            chat: Some(chat),
            ..special.format(&tokenizer).unwrap()
        };
        let complete = |chat: Chat, own: Option<ChatTemplate>| {
            format(chat).with_template(own, &special, &tokenizer)
        };
        let own = ChatTemplate::from_folder(place.path()).unwrap();
        let found = complete(Chat::OwnTemplate(true), own).unwrap();
        let tokens: BTreeMap<String, String> = [("eos_token".to_owned(), "</s>".to_owned())].into();
        assert_eq!(
            found.chat,
            Some(Chat::Template {
                template: files[0].1.into(),
                tokens
            })
        );
        assert_eq!(found.image, "<image>", "the tokenizer knows no <|image|>");
        let file = place.path().join("chat_template.jinja");
        assert_eq!(complete(Chat::File(file), None).unwrap(), found);
        let missing = complete(Chat::OwnTemplate(true), None).unwrap_err();
        let error = missing.to_string();
        assert!(
            error.contains("format.chat") && error.contains("FILE.jinja"),
            "{error}"
        );
        let none = format(Chat::OwnTemplate(false));
        assert!(!none.is_chat() && found.is_chat());
    }
}

/// What another program reads of an exported template is what training saw: with messages in parts or as texts, with
/// the system message of `[format]`, and in prompts that end where answers began.
#[test]
fn a_template_that_stands_alone_writes_what_its_layout_writes() {
    let tokenizer = tokenizer();
    for (name, system) in [
        ("chatml (smollm2)", true),
        ("qwen2.5", true),
        ("qwen2.5-vl", true),
        ("qwen3", true),
        ("mistral", false),
        ("llama-2", true),
        ("phi-3", true),
    ] {
        for system in [
            None,
            system.then(|| "Be \"brief\".\nIt's {{ late }}.".to_owned()),
        ] {
            let layout = TextFormat {
                system: system.clone(),
                ..format(name)
            };
            let template = layout.standalone_template(&tokenizer).unwrap().unwrap();
            let Some(Chat::Template { tokens, .. }) = layout.chat.clone() else {
                panic!("a template");
            };
            let chat = fourfold_data::ChatTemplate::new(&template, tokens.clone(), name).unwrap();
            let turns = [("What?\n", "A cat."), (" And that?", "A dog.")];
            for (images, turns) in [(2, &turns[..1]), (0, &turns[..1]), (1, &turns[..])] {
                let sample = sample(images, turns);
                let before = encoder(layout.clone()).unwrap();
                let wanted = before.document(&sample, &mut sample_rng(0, 0)).unwrap();
                let asked = before
                    .prompt("q", &sample.read_images().unwrap(), turns[0].0)
                    .unwrap();
                // Read again, without a system message of its own.
                let alone = TextFormat {
                    image: layout.image.clone(),
                    ..written(&template, tokens.clone())
                };
                let after = encoder(alone).unwrap();
                let found = after.document(&sample, &mut sample_rng(0, 0)).unwrap();
                assert_eq!(shown(&found), shown(&wanted), "{name} {images} {system:?}");
                let again = after
                    .prompt("q", &sample.read_images().unwrap(), turns[0].0)
                    .unwrap();
                assert_eq!(shown(&again), shown(&asked), "{name} {images} {system:?}");
                if images == 0 {
                    let text = chat
                        .render(&[Message::text("user", turns[0].0)], true, &[])
                        .unwrap();
                    assert_eq!(text, shown(&asked).0, "{name}: messages as texts");
                }
            }
            let other = [ContentPart::Text { text: "Hi".into() }, ContentPart::Image];
            let message = Message {
                role: "user".into(),
                content: Content::Parts(other.to_vec()),
            };
            let text = chat.render(&[message], true, &[]).unwrap();
            assert_eq!(text.matches(&layout.image).count(), 1, "{name}: {text}");
        }
    }
}

/// Who asks for thoughts gets the prompt for them.
#[test]
fn an_exported_prompt_is_silent_unless_it_is_told_otherwise() {
    let layout = format("qwen3");
    let template = layout.standalone_template(&tokenizer()).unwrap().unwrap();
    let chat = fourfold_data::ChatTemplate::new(&template, BTreeMap::new(), "a").unwrap();
    let prompt = |variables: &[(&str, minijinja::Value)]| {
        chat.render(&[Message::text("user", "Hi")], true, variables)
            .unwrap()
    };
    assert!(prompt(&[]).ends_with("<think>\n\n</think>\n\n"));
    assert!(prompt(&[("enable_thinking", true.into())]).ends_with("assistant\n"));
}

/// A template that does by itself what its layout does is left as it is.
#[test]
fn a_template_that_needs_nothing_stays_as_it_is() {
    let template = "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}\
                    {{ '<image>' if p.type == 'image' else p.text }}{% endfor %}{% endif %}<|end|>{% endfor %}";
    let layout = written(template, BTreeMap::new());
    let alone = layout.standalone_template(&tokenizer()).unwrap();
    assert_eq!(alone.as_deref(), Some(template));
    assert_eq!(
        TextFormat::default()
            .standalone_template(&tokenizer())
            .unwrap(),
        None
    );
}
