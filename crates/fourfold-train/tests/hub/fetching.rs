//! What is fetched, where it lies, and what an interruption leaves.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use fourfold_data::hash::sha256;
use fourfold_train::hub::{Fetched, Hub, Need, Token};
use fourfold_train::progress::{Arrival, Progress, Silent};

use super::server::{FIRST, SECOND, Server};

pub static NEVER: AtomicBool = AtomicBool::new(false);

pub fn weights() -> Vec<u8> {
    (0..300_000_u32)
        .map(|number| (number % 251) as u8)
        .collect()
}

pub fn fetch(hub: &Hub, id: &str, need: Need) -> anyhow::Result<Fetched> {
    hub.fetch(&id.parse().unwrap(), need, None, &mut Silent, &NEVER)
}

fn server() -> Server {
    let weights = weights();
    Server::new(&[
        ("README.md", b"about it"),
        ("config.json", b"{}"),
        ("model.safetensors", &weights),
        ("onnx/model.onnx", b"not needed"),
        ("pytorch_model.bin", b"not needed"),
        ("tokenizer.json", b"{\"a\": 1}"),
    ])
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// The layout is that of Python's package: its own reader finds everything.
#[test]
fn the_cache_is_laid_out_as_pythons() {
    let cache = tempfile::tempdir().unwrap();
    let server = server();
    let fetched = fetch(&server.hub(cache.path()), "owner/model", Need::Weights).unwrap();
    let root = cache.path().join("models--owner--model");
    assert_eq!(fetched.folder, root.join("snapshots").join(FIRST));
    assert_eq!(fetched.commit, FIRST);
    assert_eq!(fs::read_to_string(root.join("refs/main")).unwrap(), FIRST);
    let expected = ["config.json", "model.safetensors", "tokenizer.json"].map(str::to_owned);
    assert_eq!(names(&fetched.folder), expected.into());
    assert_eq!(
        fs::read(fetched.folder.join("model.safetensors")).unwrap(),
        weights()
    );
    let etag = sha256(&weights());
    assert_eq!(names(&root.join("blobs")).len(), 3);
    assert!(root.join("blobs").join(&etag).is_file());
    #[cfg(unix)]
    assert_eq!(
        fs::read_link(fetched.folder.join("model.safetensors")).unwrap(),
        Path::new("../../blobs").join(etag)
    );

    // A second time, one question and no content.
    server.heard();
    let again = fetch(&server.hub(cache.path()), "owner/model@main", Need::Weights).unwrap();
    assert_eq!(again, fetched);
    let heard = server.heard();
    assert!(
        heard
            .iter()
            .all(|request| !request.starts_with("GET /owner")),
        "{heard:?}"
    );
}

#[test]
fn only_what_is_needed_is_fetched() {
    let cache = tempfile::tempdir().unwrap();
    let server = server();
    let hub = server.hub(cache.path());
    let folder = fetch(&hub, "owner/model", Need::Tokenizer).unwrap().folder;
    assert_eq!(names(&folder), ["tokenizer.json".to_owned()].into());
    fetch(&hub, "owner/model", Need::Description).unwrap();
    assert!(folder.join("config.json").exists() && !folder.join("model.safetensors").exists());
    fetch(&hub, "owner/model", Need::Weights).unwrap();
    assert!(folder.join("model.safetensors").exists());
}

#[test]
fn shards_come_with_their_index_and_lead_nowhere_else() {
    let cache = tempfile::tempdir().unwrap();
    let index = |second: &str| {
        format!(
            "{{\"weight_map\": {{\"a\": \"model-00001-of-00002.safetensors\", \"b\": \"{second}\"}}}}"
        )
    };
    let good = index("model-00002-of-00002.safetensors");
    let server = Server::new(&[
        ("config.json", b"{}"),
        ("model-00001-of-00002.safetensors", b"one"),
        ("model-00002-of-00002.safetensors", b"two"),
        ("model.safetensors.index.json", good.as_bytes()),
    ]);
    let folder = fetch(&server.hub(cache.path()), "owner/model", Need::Weights)
        .unwrap()
        .folder;
    assert_eq!(
        fs::read(folder.join("model-00002-of-00002.safetensors")).unwrap(),
        b"two"
    );
    for (bad, word) in [
        ("../../x.safetensors", "beside it"),
        ("x.safetensors", "incomplete"),
    ] {
        let cache = tempfile::tempdir().unwrap();
        server.set(|state| {
            let files = state.commits.get_mut(FIRST).unwrap();
            files.insert(
                "model.safetensors.index.json".into(),
                index(bad).into_bytes(),
            );
        });
        let error = fetch(&server.hub(cache.path()), "owner/model", Need::Weights).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}

/// The content that two commits share is there once.
#[test]
fn a_new_commit_shares_what_is_the_same() {
    let cache = tempfile::tempdir().unwrap();
    let server = server();
    let hub = server.hub(cache.path());
    let first = fetch(&hub, "owner/model", Need::Weights).unwrap();
    server.set(|state| {
        let mut files = state.commits[FIRST].clone();
        files.insert("config.json".into(), b"{\"new\": true}".to_vec());
        state.commits.insert(SECOND.into(), files);
        state.branches.insert("main".into(), SECOND.into());
        state.branches.insert("feature/x".into(), FIRST.into());
    });
    server.heard();
    let second = fetch(&hub, "owner/model", Need::Weights).unwrap();
    let contents = server
        .heard()
        .iter()
        .filter(|request| request.starts_with("GET /owner"))
        .count();
    assert_eq!((second.commit.as_str(), contents), (SECOND, 1));
    assert_eq!(
        fs::read(second.folder.join("config.json")).unwrap(),
        b"{\"new\": true}"
    );
    assert_eq!(fs::read(first.folder.join("config.json")).unwrap(), b"{}");
    // By commit, by branch with a slash, and pinned.
    assert_eq!(
        fetch(&hub, &format!("owner/model@{FIRST}"), Need::Weights).unwrap(),
        first
    );
    assert_eq!(
        fetch(&hub, "owner/model@feature/x", Need::Weights).unwrap(),
        first
    );
    let id = "owner/model".parse().unwrap();
    let pinned = hub
        .fetch(&id, Need::Weights, Some(FIRST), &mut Silent, &NEVER)
        .unwrap();
    assert_eq!(pinned, first);
    let main = cache.path().join("models--owner--model/refs/main");
    assert_eq!(
        fs::read_to_string(main).unwrap(),
        SECOND,
        "a pin moves no branch"
    );
}

#[test]
fn what_breaks_off_is_gone_on_with() {
    let cache = tempfile::tempdir().unwrap();
    let server = server();
    server.set(|state| state.breaks = vec![usize::MAX, usize::MAX, 100_000, 100_000]);
    let folder = fetch(&server.hub(cache.path()), "owner/model", Need::Weights)
        .unwrap()
        .folder;
    assert_eq!(
        fs::read(folder.join("model.safetensors")).unwrap(),
        weights()
    );
    let heard = server.heard();
    assert!(
        heard
            .iter()
            .any(|request| request.ends_with("range bytes=100000-")),
        "{heard:?}"
    );
    assert!(
        heard
            .iter()
            .any(|request| request.ends_with("range bytes=200000-")),
        "{heard:?}"
    );
}

/// Half a file is never taken for whole, and the next start goes on from it.
#[test]
fn half_a_file_stays_half() {
    let cache = tempfile::tempdir().unwrap();
    let server = server();
    server.set(|state| {
        state.breaks = vec![usize::MAX, usize::MAX, 70_000, 0, 0, 0, 0];
    });
    let error = fetch(&server.hub(cache.path()), "owner/model", Need::Weights).unwrap_err();
    assert!(error.to_string().contains("cannot reach"), "{error}");
    let root = cache.path().join("models--owner--model");
    assert!(
        !root
            .join("snapshots")
            .join(FIRST)
            .join("model.safetensors")
            .exists()
    );
    assert!(!root.join("refs/main").exists());
    assert!(!root.join("blobs").join(sha256(&weights())).exists());
    server.heard();
    let folder = fetch(&server.hub(cache.path()), "owner/model", Need::Weights)
        .unwrap()
        .folder;
    assert_eq!(
        fs::read(folder.join("model.safetensors")).unwrap(),
        weights()
    );
    assert!(
        server
            .heard()
            .iter()
            .any(|request| request.ends_with("range bytes=70000-"))
    );
}

#[test]
fn a_hub_without_ranges_sends_all_again() {
    let cache = tempfile::tempdir().unwrap();
    let server = server();
    server.set(|state| {
        state.breaks = vec![usize::MAX, usize::MAX, 70_000];
        state.no_ranges = true;
    });
    let folder = fetch(&server.hub(cache.path()), "owner/model", Need::Weights)
        .unwrap()
        .folder;
    assert_eq!(
        fs::read(folder.join("model.safetensors")).unwrap(),
        weights()
    );
}

#[test]
fn what_arrives_damaged_is_thrown_away() {
    let cache = tempfile::tempdir().unwrap();
    let server = server();
    server.set(|state| state.damaged = true);
    let error = fetch(&server.hub(cache.path()), "owner/model", Need::Weights).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("model.safetensors arrived damaged"),
        "{error}"
    );
    let blobs = cache.path().join("models--owner--model/blobs");
    assert!(
        names(&blobs)
            .iter()
            .all(|name| !name.ends_with("incomplete"))
    );
    server.set(|state| state.damaged = false);
    fetch(&server.hub(cache.path()), "owner/model", Need::Weights).unwrap();
}

#[test]
fn a_busy_hub_is_asked_again() {
    let cache = tempfile::tempdir().unwrap();
    let server = server();
    server.set(|state| state.busy = 2);
    fetch(&server.hub(cache.path()), "owner/model", Need::Weights).unwrap();
    server.set(|state| state.busy = 100);
    let cache = tempfile::tempdir().unwrap();
    let error = fetch(&server.hub(cache.path()), "owner/model", Need::Weights).unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
}

/// A content is asked for again as its description is, and what had arrived is kept.
#[test]
fn a_busy_moment_amid_a_content_is_gone_over() {
    for status in [429, 503] {
        let cache = tempfile::tempdir().unwrap();
        let server = server();
        let path = "GET /owner/model/resolve/1111111111111111111111111111111111111111/model.safe";
        server.set(|state| state.failing = Some((path, status, 3)));
        let folder = fetch(&server.hub(cache.path()), "owner/model", Need::Weights);
        let folder = folder.unwrap().folder;
        assert_eq!(
            fs::read(folder.join("model.safetensors")).unwrap(),
            weights()
        );
        server.set(|state| {
            state.failing = Some((path, status, 99));
            state.commits.get_mut(FIRST).unwrap().insert(
                "model.safetensors".into(),
                weights().into_iter().rev().collect(),
            );
        });
        fs::remove_dir_all(cache.path().join("models--owner--model")).unwrap();
        server.heard();
        let error = fetch(&server.hub(cache.path()), "owner/model", Need::Weights).unwrap_err();
        assert!(error.to_string().contains(&status.to_string()), "{error}");
        let tries = server.heard();
        let tries = tries.iter().filter(|request| request.starts_with(path));
        assert_eq!(tries.count(), 4, "{status}");
    }
}

/// The token opens the hub and is not shown to where large files lie.
#[test]
fn the_token_goes_to_the_hub_alone() {
    let cache = tempfile::tempdir().unwrap();
    let server = server();
    server.set(|state| state.token = Some("hf_secret".into()));
    let mut settings = server.settings(cache.path());
    settings.token = Token::new("hf_secret", "HF_TOKEN");
    fetch(&Hub::new(settings), "owner/model", Need::Weights).unwrap();
    let heard = server.heard();
    let weights: Vec<&String> = heard
        .iter()
        .filter(|r| r.starts_with("GET") && r.contains("model.safetensors"))
        .collect();
    assert_eq!(weights.len(), 2, "the hub, then its storage: {heard:?}");
    assert!(
        weights[0].ends_with("token Bearer hf_secret") && !weights[1].contains("token"),
        "{weights:?}"
    );
}

#[test]
fn a_renamed_repository_is_found() {
    let cache = tempfile::tempdir().unwrap();
    let server = server();
    let fetched = fetch(&server.hub(cache.path()), "owner/old", Need::Weights).unwrap();
    assert!(
        fetched
            .folder
            .starts_with(cache.path().join("models--owner--old"))
    );
    assert_eq!(
        fs::read(fetched.folder.join("model.safetensors")).unwrap(),
        weights()
    );
}

struct Heard(Vec<(u64, u64)>);

impl Progress for Heard {
    fn arriving(&mut self, arrival: &Arrival<'_>) {
        self.0.push((arrival.received, arrival.total));
    }
}

#[test]
fn progress_counts_all_bytes_and_a_stop_is_heard() {
    let cache = tempfile::tempdir().unwrap();
    let server = server();
    let hub = server.hub(cache.path());
    let id = "owner/model".parse().unwrap();
    let raised = AtomicBool::new(true);
    let error = hub
        .fetch(&id, Need::Weights, None, &mut Silent, &raised)
        .unwrap_err();
    assert!(error.to_string().contains("stopped"), "{error}");
    let mut heard = Heard(Vec::new());
    hub.fetch(&id, Need::Weights, None, &mut heard, &NEVER)
        .unwrap();
    let total = 300_000 + 2 + 8;
    assert!(
        heard.0.iter().all(|(_, all)| *all == total),
        "{:?}",
        heard.0
    );
    assert!(heard.0.is_sorted(), "{:?}", heard.0);
    assert_eq!(heard.0.last(), Some(&(total, total)));
}
