//! Documents laid out by a chat template, or by the tokens of a pretrained tokenizer.

use std::fs;
use std::path::Path;

use fourfold_data::Chat;
use fourfold_model::Model;
use fourfold_tensor::Precision;
use fourfold_train::answer::{Answerer, Question};
use fourfold_train::assemble::{Reading, text};
use fourfold_train::recipe::Recipe;
use fourfold_train::recipe::Search;
use fourfold_train::sources::Sources;

use super::support::{whole, workplace};

const TEMPLATE: &str = "{% for m in messages %}{{ m.role }}: {{ m.content }}<|end|>\n{% endfor %}\
    {% if add_generation_prompt %}assistant: {% endif %}";

/// The model keeps the template: nothing else is needed to ask it.
#[test]
fn a_run_with_a_chat_template_can_be_asked() {
    let place = workplace();
    fs::write(place.path().join("chat.jinja"), TEMPLATE).unwrap();
    let overrides = ["format.chat=chat.jinja", "stage.unify.samples=8"];
    let run = whole(place.path(), "chat", &overrides).unwrap();
    let written = fs::read_to_string(run.join("recipe.toml")).unwrap();
    assert!(written.contains("chat = \"../chat.jinja\""), "{written}");
    fs::remove_file(place.path().join("chat.jinja")).unwrap();
    let reading = Reading::load(&run.join("model")).unwrap();
    let Some(Chat::Template { template, .. }) = &reading.format.chat else {
        panic!("{:?}", reading.format);
    };
    assert_eq!(template, TEMPLATE);
    let model = Model::load(&run.join("model"), Precision::F32).unwrap();
    let question = Question {
        origin: "q".into(),
        images: Vec::new(),
        prompt: "What?".into(),
    };
    let search = Search {
        max_new_tokens: 4,
        ..Search::default()
    };
    let answerer = Answerer::new(&model, &reading).unwrap();
    assert_eq!(
        answerer.answer(&model, &[question], &search).unwrap().len(),
        1
    );
}

fn recipe(place: &Path, folder: &str, more: &str) -> Recipe {
    let text = format!(
        "name = \"a\"\n[model.vision]\nhidden_size = 16\nintermediate_size = 24\nnum_hidden_layers = 1\n\
         num_attention_heads = 2\nimage_size = 16\npatch_size = 4\n[model.projector]\n[model.language]\n\
         from = \"{folder}\"\n[data.d]\npath = \"colours.jsonl\"\nanswer = \"x\"\n[[stage]]\nname = \"s\"\n\
         train = [\"projector\"]\nmixture = [\"d\"]\nsamples = 8\nbatch = 8\nlr = 1e-3\n{more}"
    );
    let file = place.join("pretrained.toml");
    fs::write(&file, text).unwrap();
    Recipe::load(&file, &[]).unwrap()
}

/// A folder as others publish them, without a format of Fourfold's, gets the token that keeps an image's place.
#[test]
fn a_pretrained_tokenizer_needs_no_format() {
    let place = workplace();
    let folder = place.path().join("pretrained");
    fs::create_dir(&folder).unwrap();
    let texts: [&str; 0] = [];
    let plain = fourfold_data::train_bpe(texts.iter(), 258, &["<bos>", "<eos>"]).unwrap();
    plain.save(&folder.join("tokenizer.json")).unwrap();
    fs::write(folder.join("config.json"), "{}").unwrap();
    let tokens = r#"{"bos_token": "<bos>", "eos_token": {"content": "<eos>"}}"#;
    fs::write(folder.join("tokenizer_config.json"), tokens).unwrap();

    let asked = recipe(place.path(), "pretrained", "");
    let grown = text(&asked, &Sources::new(&asked), None).unwrap().tokenizer;
    assert_eq!(grown.special("<image>").unwrap(), 258);
    assert_eq!(
        (grown.vocabulary(), grown.original_hash()),
        (259, plain.hash())
    );

    // What the recipe adds gets its ids first; a format of its own has to name tokens that exist.
    let more = "[tokenizer]\nadd = [\"<box>\"]\n";
    let asked = recipe(place.path(), "pretrained", more);
    let grown = text(&asked, &Sources::new(&asked), None).unwrap().tokenizer;
    assert_eq!(
        (grown.id("<box>"), grown.id("<image>")),
        (Some(258), Some(259))
    );
    // What the recipe leaves unsaid is as the tokenizer has it.
    let more = "[format]\nanswer = \"<bos>\"\n";
    let asked = recipe(place.path(), "pretrained", more);
    let found = text(&asked, &Sources::new(&asked), None).unwrap().format;
    let own = ["<bos>", "<image>", "<bos>", "<eos>"];
    assert_eq!(found.tokens(), own);
    let more = "[format]\nimage = \"<picture>\"\n";
    let asked = recipe(place.path(), "pretrained", more);
    let same = text(&asked, &Sources::new(&asked), None).unwrap();
    assert_eq!(same.tokenizer.hash(), plain.hash());
    let error = same
        .format
        .markers(&same.tokenizer)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("[tokenizer] add = [\"<picture>\"]"),
        "{error}"
    );
}

/// The bytes of a GGUF file with one more text in its metadata. The text is padded with a comment, so that what follows
/// keeps its alignment.
fn with_text(file: &[u8], key: &str, text: &str) -> Vec<u8> {
    const HEADER: usize = 24; // magic, version, number of tensors, number of pairs
    const TEXT: u32 = 8; // the kind of a text
    let length = 8 + key.len() + 4 + 8 + text.len();
    let comment = format!("{text}{{#{}#}}", " ".repeat(60 - length % 32));
    let mut pair = Vec::new();
    pair.extend((key.len() as u64).to_le_bytes());
    pair.extend(key.bytes());
    pair.extend(TEXT.to_le_bytes());
    pair.extend((comment.len() as u64).to_le_bytes());
    pair.extend(comment.bytes());
    assert_eq!(pair.len() % 32, 0);
    let pairs = u64::from_le_bytes(file[16..HEADER].try_into().unwrap()) + 1;
    [&file[..16], &pairs.to_le_bytes(), &pair, &file[HEADER..]].concat()
}

/// One file of another program holds tokens and template alike.
#[test]
fn a_gguf_file_brings_its_chat_template() {
    let place = workplace();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fourfold-model/tests/fixtures/gguf/qwen2/model.gguf");
    let template =
        "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}";
    let file = fs::read(fixture).unwrap();
    fs::write(place.path().join("plain.gguf"), &file).unwrap();
    let taught = with_text(&file, "tokenizer.chat_template", template);
    fs::write(place.path().join("taught.gguf"), taught).unwrap();

    // The `<image>` of this file is an ordinary token.
    let more = "[tokenizer]\nadd = [\"<|image|>\"]\n[format]\nchat = true\n";
    let asked = recipe(place.path(), "taught.gguf", more);
    let found = text(&asked, &Sources::new(&asked), None).unwrap();
    let Some(Chat::Template {
        template: own,
        tokens,
    }) = &found.format.chat
    else {
        panic!("{:?}", found.format);
    };
    assert!(own.starts_with(template), "{own}");
    assert!(tokens.contains_key("eos_token"), "{tokens:?}");
    assert!(found.format.markers(&found.tokenizer).is_ok());

    let asked = recipe(place.path(), "plain.gguf", more);
    let missing = text(&asked, &Sources::new(&asked), None).err().unwrap();
    let error = missing.to_string();
    assert!(error.contains("tokenizer.chat_template"), "{error}");
}
