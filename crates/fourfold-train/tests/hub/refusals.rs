//! What a person reads when a model cannot be had.

use fourfold_train::hub::{Hub, Need};

use super::fetching::fetch;
use super::server::Server;

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
    settings.token = Some("hf_wrong".into());
    let message = fetch(&Hub::new(settings), "owner/model", Need::Weights)
        .unwrap_err()
        .to_string();
    demand(&message, &["the token that was sent does not open it"]);
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
