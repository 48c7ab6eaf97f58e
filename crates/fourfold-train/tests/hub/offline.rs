//! The cache without a hub: as Python's package left it.

use std::fs;
use std::path::Path;

use fourfold_train::hub::{Hub, HubSettings, Need};
use fourfold_train::progress::Progress;

use super::fetching::{NEVER, fetch};
use super::server::{FIRST, Server};

/// What `huggingface_hub.snapshot_download` of a model with one branch leaves.
fn python_cache(root: &Path, files: &[(&str, &str)]) {
    let repository = root.join("models--owner--model");
    let snapshot = repository.join("snapshots").join(FIRST);
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(repository.join("blobs")).unwrap();
    fs::create_dir_all(repository.join("refs")).unwrap();
    fs::write(repository.join("refs/main"), FIRST).unwrap();
    for (number, (name, text)) in files.iter().enumerate() {
        let blob = format!("blob{number}");
        fs::write(repository.join("blobs").join(&blob), text).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(Path::new("../../blobs").join(blob), snapshot.join(name))
            .unwrap();
        #[cfg(not(unix))]
        fs::write(snapshot.join(name), text).unwrap();
    }
}

#[test]
fn what_python_fetched_is_used_offline() {
    let cache = tempfile::tempdir().unwrap();
    python_cache(
        cache.path(),
        &[
            ("config.json", "{}"),
            ("model.safetensors", "w"),
            ("tokenizer.json", "{}"),
        ],
    );
    let hub = Hub::new(HubSettings::offline(cache.path().to_owned()));
    let expected = cache
        .path()
        .join("models--owner--model/snapshots")
        .join(FIRST);
    for id in [
        "owner/model",
        "owner/model@main",
        &format!("owner/model@{FIRST}"),
    ] {
        assert_eq!(
            fetch(&hub, id, Need::Weights).unwrap().folder,
            expected,
            "{id}"
        );
    }
    for id in ["owner/model@v2", "owner/other"] {
        let error = fetch(&hub, id, Need::Weights).unwrap_err().to_string();
        assert!(
            error.contains("HF_HUB_OFFLINE") && error.contains(&format!("holds no {id}")),
            "{error}"
        );
    }
}

#[test]
fn half_a_model_is_not_used() {
    let cache = tempfile::tempdir().unwrap();
    let index = r#"{"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}"#;
    let files = [
        ("config.json", "{}"),
        ("a.safetensors", "w"),
        ("model.safetensors.index.json", index),
    ];
    python_cache(cache.path(), &files);
    let hub = Hub::new(HubSettings::offline(cache.path().to_owned()));
    assert!(fetch(&hub, "owner/model", Need::Description).is_ok());
    let error = fetch(&hub, "owner/model", Need::Weights)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("holds no b.safetensors of owner/model"),
        "{error}"
    );
}

struct Notes(String);

impl Progress for Notes {
    fn note(&mut self, text: &str) {
        self.0 += text;
    }
}

/// An address at which nobody listens.
fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn without_a_network_the_cache_serves_and_says_so() {
    let cache = tempfile::tempdir().unwrap();
    let settings = HubSettings {
        endpoint: nowhere(),
        offline: false,
        ..HubSettings::offline(cache.path().to_owned())
    };
    let hub = Hub::new(settings.clone());
    let error = fetch(&hub, "owner/model", Need::Weights)
        .unwrap_err()
        .to_string();
    for word in [
        &settings.endpoint,
        "HF_HUB_OFFLINE=1",
        "hf download owner/model",
        "local folder",
        "HF_ENDPOINT",
    ] {
        assert!(error.contains(word), "{word}: {error}");
    }
    python_cache(
        cache.path(),
        &[("config.json", "{}"), ("model.safetensors", "w")],
    );
    let mut notes = Notes(String::new());
    let id = "owner/model".parse().unwrap();
    let fetched = hub
        .fetch(&id, Need::Weights, None, &mut notes, &NEVER)
        .unwrap();
    assert_eq!(fetched.commit, FIRST);
    assert!(
        notes.0.contains("cannot be reached") && notes.0.contains(FIRST),
        "{}",
        notes.0
    );
}

/// What Python left half is completed, and what it left whole not fetched again.
#[test]
fn a_cache_of_python_is_completed() {
    let cache = tempfile::tempdir().unwrap();
    python_cache(cache.path(), &[("config.json", "{}")]);
    let server = Server::new(&[("config.json", b"{}"), ("model.safetensors", b"weights")]);
    let folder = fetch(&server.hub(cache.path()), "owner/model", Need::Weights)
        .unwrap()
        .folder;
    assert_eq!(
        fs::read(folder.join("model.safetensors")).unwrap(),
        b"weights"
    );
    let heard = server.heard();
    assert!(
        !heard
            .iter()
            .any(|r| r.starts_with("GET") && r.ends_with("config.json")),
        "{heard:?}"
    );
}

/// As Python's `hf_hub_download` does: a hub with a fault of its own stops nobody who has all of the model.
#[test]
fn a_hub_with_a_fault_is_no_obstacle_to_a_complete_cache() {
    for status in [429, 500, 503] {
        for requests in ["GET /api", "HEAD"] {
            let cache = tempfile::tempdir().unwrap();
            let server = Server::new(&[("config.json", b"{}"), ("model.safetensors", b"weights")]);
            server.set(|state| state.failing = Some((requests, status, 99)));
            let hub = server.hub(cache.path());
            let error = fetch(&hub, "owner/model", Need::Weights).unwrap_err();
            assert!(error.to_string().contains(&status.to_string()), "{error}");
            python_cache(
                cache.path(),
                &[("config.json", "{}"), ("model.safetensors", "w")],
            );
            server.heard();
            let mut notes = Notes(String::new());
            let id = "owner/model".parse().unwrap();
            let fetched = hub.fetch(&id, Need::Weights, None, &mut notes, &NEVER);
            assert_eq!(fetched.unwrap().commit, FIRST, "{requests} {status}");
            let expected =
                format!("answers with HTTP {status}; owner/model is taken from the cache");
            assert!(
                notes.0.contains(&expected) && notes.0.contains(FIRST),
                "{}",
                notes.0
            );
            let tries = server.heard();
            let tries = tries.iter().filter(|r| r.starts_with(requests)).count();
            assert_eq!(tries, 4, "{requests} {status}");
        }
    }
}

/// What a hub refuses for good is not hidden behind an older copy.
#[test]
fn a_refusal_is_told_though_the_cache_is_complete() {
    let cache = tempfile::tempdir().unwrap();
    python_cache(
        cache.path(),
        &[("config.json", "{}"), ("model.safetensors", "w")],
    );
    let server = Server::new(&[("config.json", b"{}")]);
    server.set(|state| state.failing = Some(("GET /api", 403, 1)));
    let error = fetch(&server.hub(cache.path()), "owner/model", Need::Weights).unwrap_err();
    assert!(error.to_string().contains("403"), "{error}");
}

/// A commit never changes: one that is all here needs no hub.
#[test]
fn a_pinned_commit_in_the_cache_asks_nobody() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::new(&[
        ("config.json", b"{}"),
        ("model.safetensors", b"weights"),
        ("tokenizer.json", b"{}"),
    ]);
    let hub = server.hub(cache.path());
    let id = "owner/model".parse().unwrap();
    let pinned = || {
        hub.fetch(
            &id,
            Need::Weights,
            Some(FIRST),
            &mut Notes(String::new()),
            &NEVER,
        )
    };
    let first = pinned().unwrap();
    assert!(!server.heard().is_empty());
    assert_eq!(pinned().unwrap(), first);
    assert_eq!(server.heard(), [""; 0]);
    // As Python leaves it where weights alone were asked for: what else there is comes from the hub.
    std::fs::remove_file(first.folder.join("tokenizer.json")).unwrap();
    assert_eq!(pinned().unwrap(), first);
    assert!(first.folder.join("tokenizer.json").exists());
}
