//! A hub on this machine: lists revisions, gives files in full or from a byte on, and sends for large ones to a second
//! address, as the real one does. It can be gated, and it can break off.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fourfold_data::hash::sha256;
use fourfold_train::hub::{Hub, HubSettings};

pub const FIRST: &str = "1111111111111111111111111111111111111111";
pub const SECOND: &str = "2222222222222222222222222222222222222222";

type Files = BTreeMap<String, Vec<u8>>;

/// What the server does; changed through [`Server::set`] while it runs.
#[derive(Default)]
pub struct State {
    /// Files by commit, of the one repository `owner/model`.
    pub commits: BTreeMap<String, Files>,
    /// The commit of each branch.
    pub branches: BTreeMap<String, String>,
    /// What has to be sent along.
    pub token: Option<String>,
    /// After how many bytes each of the next contents breaks off.
    pub breaks: Vec<usize>,
    /// Whether a range is ignored.
    pub no_ranges: bool,
    /// Whether the last byte of a content is another one.
    pub damaged: bool,
    /// How many requests are answered with 503 first.
    pub busy: usize,
    /// A status that requests which begin so are answered with, so many times: `GET /api`, 429, 4.
    pub failing: Option<(&'static str, u16, usize)>,
    /// The commit that listings give, whatever was asked for.
    pub sha: Option<String>,
    /// Every request: method and path, then `range` and `token` if they were sent.
    pub heard: Vec<String>,
}

pub struct Server {
    state: Arc<Mutex<State>>,
    pub endpoint: String,
}

impl Server {
    /// A hub whose `owner/model` holds `files` at commit [`FIRST`], its `main`.
    pub fn new(files: &[(&str, &[u8])]) -> Self {
        let files = files
            .iter()
            .map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()));
        let state = State {
            commits: [(FIRST.to_owned(), files.collect())].into(),
            branches: [("main".to_owned(), FIRST.to_owned())].into(),
            ..State::default()
        };
        let state = Arc::new(Mutex::new(state));
        // The storage's address is known to the hub before it answers anything.
        let storage = serve(state.clone(), None);
        let endpoint = serve(state.clone(), Some(storage));
        Self { state, endpoint }
    }

    pub fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    /// The requests since the last call.
    pub fn heard(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().heard)
    }

    pub fn settings(&self, cache: &std::path::Path) -> HubSettings {
        HubSettings {
            endpoint: self.endpoint.clone(),
            offline: false,
            pause: Duration::ZERO,
            ..HubSettings::offline(cache.to_owned())
        }
    }

    pub fn hub(&self, cache: &std::path::Path) -> Hub {
        Hub::new(self.settings(cache))
    }
}

/// Answers on a port of its own until the test ends; gives the address.
fn serve(state: Arc<Mutex<State>>, storage: Option<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (state, storage) = (state.clone(), storage.clone());
            std::thread::spawn(move || answer(&stream, &state, storage.as_deref()));
        }
    });
    address
}

struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn reply(status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8>) -> Reply {
    Reply {
        status,
        headers,
        body,
    }
}

fn answer(stream: &TcpStream, state: &Mutex<State>, storage: Option<&str>) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let mut words = first.split(' ');
    let (method, path) = (
        words.next().unwrap().to_owned(),
        words.next().unwrap().to_owned(),
    );
    let mut headers = BTreeMap::new();
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap();
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let mut state = state.lock().unwrap();
    let range = headers.get("range").cloned();
    let token = headers.get("authorization").cloned();
    let mut heard = format!("{method} {path}");
    heard += &range
        .as_ref()
        .map_or(String::new(), |range| format!(" range {range}"));
    heard += &token
        .as_ref()
        .map_or(String::new(), |token| format!(" token {token}"));
    state.heard.push(heard);
    let failing = state
        .failing
        .as_mut()
        .filter(|(begin, _, times)| *times > 0 && format!("{method} {path}").starts_with(*begin));
    let failing = failing.map(|(_, status, times)| {
        *times -= 1;
        *status
    });
    let reply = match storage {
        _ if failing.is_some() => reply(failing.unwrap_or_default(), vec![], vec![]),
        _ if state.busy > 0 => {
            state.busy -= 1;
            reply(503, vec![], vec![])
        }
        Some(_)
            if state.token.as_ref().map(|t| format!("Bearer {t}")) != token
                && state.token.is_some() =>
        {
            reply(401, vec![("X-Error-Code", "GatedRepo".into())], vec![])
        }
        Some(storage) => hub(&state, &method, &path, range.as_deref(), storage),
        None => stored(&state, &path, range.as_deref()),
    };
    let mut bytes = reply.body;
    let length = bytes.len();
    let content = method == "GET"
        && (reply.status == 200 || reply.status == 206)
        && !path.starts_with("/api/");
    if content
        && state.damaged
        && let Some(last) = bytes.last_mut()
    {
        *last ^= 1;
    }
    if content && length > 0 && !state.breaks.is_empty() {
        let at = state.breaks.remove(0);
        bytes.truncate(at);
    }
    drop(state);
    let mut text = format!("HTTP/1.1 {} x\r\nConnection: close\r\n", reply.status);
    if method == "GET" {
        text += &format!("Content-Length: {length}\r\n");
        bytes.truncate(length);
    } else {
        bytes.clear();
    }
    for (name, value) in reply.headers {
        text += &format!("{name}: {value}\r\n");
    }
    let mut stream = stream;
    let _ = stream.write_all(format!("{text}\r\n").as_bytes());
    let _ = stream.write_all(&bytes);
    let _ = stream.flush();
}

fn hub(state: &State, method: &str, path: &str, range: Option<&str>, storage: &str) -> Reply {
    if path.contains("/owner/old/") {
        let place = path.replace("/owner/old/", "/owner/model/");
        return reply(307, vec![("Location", place)], vec![]);
    }
    let missing = |code: &str| reply(404, vec![("X-Error-Code", code.into())], vec![]);
    if let Some(revision) = path.strip_prefix("/api/models/owner/model/revision/") {
        let revision = revision.replace("%2F", "/");
        let commit = state.branches.get(&revision).unwrap_or(&revision);
        let Some(files) = state.commits.get(commit) else {
            return missing("RevisionNotFound");
        };
        let names: Vec<String> = files
            .keys()
            .map(|name| format!("{{\"rfilename\": \"{name}\"}}"))
            .collect();
        let commit = state.sha.as_ref().unwrap_or(commit);
        let text = format!(
            "{{\"sha\": \"{commit}\", \"siblings\": [{}]}}",
            names.join(", ")
        );
        return reply(200, vec![], text.into_bytes());
    }
    let Some((commit, name)) = path
        .strip_prefix("/owner/model/resolve/")
        .and_then(|rest| rest.split_once('/'))
    else {
        return missing("RepoNotFound");
    };
    let Some(bytes) = state.commits.get(commit).and_then(|files| files.get(name)) else {
        return missing("EntryNotFound");
    };
    let commit = ("X-Repo-Commit", commit.to_owned());
    if name.ends_with(".safetensors") {
        let headers = vec![
            commit,
            ("X-Linked-Etag", format!("\"{}\"", sha256(bytes))),
            ("X-Linked-Size", bytes.len().to_string()),
            ("Location", format!("{storage}{path}")),
        ];
        return reply(302, headers, vec![]);
    }
    let etag = format!("W/\"git-{}\"", &sha256(bytes)[..40]);
    let mut whole = part(state, bytes, range);
    whole.headers.extend([commit, ("ETag", etag)]);
    if method == "HEAD" {
        whole
            .headers
            .push(("Content-Length", bytes.len().to_string()));
    }
    whole
}

/// The storage of large files knows paths alone.
fn stored(state: &State, path: &str, range: Option<&str>) -> Reply {
    let rest = path.strip_prefix("/owner/model/resolve/").unwrap();
    let (commit, name) = rest.split_once('/').unwrap();
    part(state, &state.commits[commit][name], range)
}

fn part(state: &State, bytes: &[u8], range: Option<&str>) -> Reply {
    let from = range.filter(|_| !state.no_ranges);
    let from = from.and_then(|range| {
        range
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse()
            .ok()
    });
    match from {
        None => reply(200, vec![], bytes.to_vec()),
        Some(from) => {
            let from: usize = from;
            let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
            reply(206, vec![("Content-Range", range)], bytes[from..].to_vec())
        }
    }
}
