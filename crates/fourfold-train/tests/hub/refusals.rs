//! What a person reads when a model cannot be had.

use fourfold_train::hub::{Hub, Need, Token};

use super::fetching::fetch;
use super::server::{FIRST, SECOND, Server};

fn refusal(server: &Server, id: &str, need: Need) -> String {
    let cache = tempfile::tempdir().unwrap();
    fetch(&server.hub(cache.path()), id, need)
        .unwrap_err()
        .to_string()
}

fn demand(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "'{word}' is not in: {message}");
    }
}

#[test]
fn unknown_models_and_revisions() {
    let server = Server::new(&[("config.json", b"{}")]);
    demand(
        &refusal(&server, "owner/other", Need::Weights),
        &["no model owner/other"],
    );
    let message = refusal(&server, "owner/model@v2", Need::Weights);
    demand(&message, &["owner/model has no revision 'v2'"]);
}

#[test]
fn gated_models() {
    let server = Server::new(&[("config.json", b"{}")]);
    server.set(|state| state.token = Some("hf_right".into()));
    let message = refusal(&server, "owner/model", Need::Weights);
    demand(
        &message,
        &[
            "401",
            "accept its licence",
            "/owner/model",
            "HF_TOKEN",
            "no token was sent",
        ],
    );
    let cache = tempfile::tempdir().unwrap();
    let mut settings = server.settings(cache.path());
    settings.token = Token::new("hf_wrong", "HF_TOKEN");
    let message = fetch(&Hub::new(settings), "owner/model", Need::Weights)
        .unwrap_err()
        .to_string();
    demand(&message, &["the token of HF_TOKEN does not open it"]);
    assert!(!message.contains("hf_wrong"), "{message}");
}

#[test]
fn repositories_without_what_is_needed() {
    let server = Server::new(&[("config.json", b"{}"), ("pytorch_model.bin", b"x")]);
    let message = refusal(&server, "owner/model", Need::Weights);
    demand(
        &message,
        &[
            "pytorch_model.bin",
            "save_pretrained",
            "from_pretrained(\"owner/model\")",
        ],
    );
    let server = Server::new(&[("config.json", b"{}"), ("model.gguf", b"x")]);
    demand(
        &refusal(&server, "owner/model", Need::Weights),
        &["no model.safetensors", "model.gguf"],
    );
    demand(
        &refusal(&server, "owner/model", Need::Tokenizer),
        &["no tokenizer.json", "AutoTokenizer"],
    );
    let server = Server::new(&[("model.safetensors", b"x")]);
    demand(
        &refusal(&server, "owner/model", Need::Description),
        &["no config.json"],
    );
}

#[test]
fn what_is_no_hub() {
    let server = Server::new(&[]);
    let cache = tempfile::tempdir().unwrap();
    let mut settings = server.settings(cache.path());
    settings.endpoint = "not an address".into();
    let message = fetch(&Hub::new(settings), "owner/model", Need::Weights)
        .unwrap_err()
        .to_string();
    demand(&message, &["HF_ENDPOINT"]);
}

#[test]
fn a_file_that_is_listed_and_not_there_is_named() {
    let server = Server::new(&[("config.json", b"{}"), ("model.safetensors", b"w")]);
    server.set(|state| state.failing = Some(("HEAD /owner/model/resolve", 404, 1)));
    let message = refusal(&server, "owner/model", Need::Weights);
    demand(&message, &["lists config.json of owner/model", "404"]);
    assert!(!message.contains("no revision"), "{message}");
}

#[test]
fn another_commit_than_the_one_asked_for() {
    let server = Server::new(&[("config.json", b"{}"), ("model.safetensors", b"w")]);
    server.set(|state| state.sha = Some(SECOND.into()));
    let message = refusal(&server, &format!("owner/model@{FIRST}"), Need::Weights);
    demand(&message, &[SECOND, FIRST, "for another one"]);
}

#[test]
fn tokens_that_cannot_be_sent() {
    let server = Server::new(&[("config.json", b"{}")]);
    let cache = tempfile::tempdir().unwrap();
    let mut settings = server.settings(cache.path());
    settings.token = Token::new("hf_\u{e4}", "HF_TOKEN");
    let message = fetch(&Hub::new(settings), "owner/model", Need::Description)
        .unwrap_err()
        .to_string();
    demand(&message, &["access token in HF_TOKEN", "copy it again"]);
    assert_eq!(
        server.heard(),
        [""; 0],
        "nothing is asked with such a token"
    );
}

/// A file is where the folder of the cache should be, which no user may write to.
#[test]
fn a_cache_that_cannot_be_written() {
    let server = Server::new(&[("config.json", b"{}"), ("model.safetensors", b"w")]);
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("hub");
    std::fs::write(&root, "in the way").unwrap();
    let error = fetch(&server.hub(&root), "owner/model", Need::Weights).unwrap_err();
    let message = format!("{error:#}");
    demand(&message, &["cannot write to", "HF_HOME", "HF_HUB_CACHE"]);
    demand(&message, &[&root.display().to_string()]);
}
