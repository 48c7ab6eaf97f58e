//! A small web server with the faults of real ones, which also answers as an S3 or Google store does.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is wrong with the next answer to a GET of a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// 503.
    Unavailable,
    /// Half of the body, then the connection ends.
    Cut,
    /// 403.
    Forbidden,
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: HashMap<String, String>,
}

#[derive(Default)]
struct State {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    faults: Mutex<HashMap<String, Vec<Fault>>>,
    requests: Mutex<Vec<Request>>,
    /// Files of which a range cannot be asked for.
    whole: Mutex<BTreeSet<String>>,
    /// Files that HEAD is refused for.
    no_head: Mutex<BTreeSet<String>>,
    delay: Mutex<Duration>,
    busy: AtomicUsize,
    most_busy: AtomicUsize,
}

/// Files by path, served until the test ends.
pub struct Server {
    pub address: String,
    state: Arc<State>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || state.serve(stream));
            }
        });
        Self { address, state }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    pub fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        let mut files = self.state.files.lock().unwrap();
        files.insert(path.into(), bytes.into());
    }

    /// Serves the files of a folder, and of those within it, under `path`.
    pub fn put_folder(&self, path: &str, folder: &std::path::Path) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let name = format!("{path}/{}", entry.file_name().to_string_lossy());
            match entry.path().is_dir() {
                true => self.put_folder(&name, &entry.path()),
                false => self.put(&name, std::fs::read(entry.path()).unwrap()),
            }
        }
    }

    pub fn fail(&self, path: &str, faults: &[Fault]) {
        let mut all = self.state.faults.lock().unwrap();
        all.insert(path.into(), faults.to_vec());
    }

    pub fn ignore_ranges(&self, path: &str) {
        self.state.whole.lock().unwrap().insert(path.into());
    }

    pub fn refuse_head(&self, path: &str) {
        self.state.no_head.lock().unwrap().insert(path.into());
    }

    pub fn slow(&self, delay: Duration) {
        *self.state.delay.lock().unwrap() = delay;
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }

    /// How often the file at `path` was asked for with `method`.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let requests = self.requests();
        let same = requests
            .iter()
            .filter(|r| r.method == method && r.target == path);
        same.count()
    }

    /// The most requests that were answered at the same time.
    pub fn most_busy(&self) -> usize {
        self.state.most_busy.load(Ordering::SeqCst)
    }
}

impl State {
    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        while let Some(request) = read(&mut reader) {
            let busy = self.busy.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_busy.fetch_max(busy, Ordering::SeqCst);
            std::thread::sleep(*self.delay.lock().unwrap());
            self.requests.lock().unwrap().push(request.clone());
            let kept = self.answer(&request, &mut stream);
            self.busy.fetch_sub(1, Ordering::SeqCst);
            if !kept {
                return;
            }
        }
    }

    /// Answers; gives whether the connection goes on.
    fn answer(&self, request: &Request, stream: &mut TcpStream) -> bool {
        let (path, query) = request
            .target
            .split_once('?')
            .unwrap_or((&request.target, ""));
        let path = decoded(path);
        let head = request.method == "HEAD";
        let fault = match head {
            true => None,
            false => {
                let mut faults = self.faults.lock().unwrap();
                let list = faults.get_mut(&path).filter(|list| !list.is_empty());
                list.map(|list| list.remove(0))
            }
        };
        match fault {
            Some(Fault::Unavailable) => {
                return send(stream, "503 Service Unavailable", &[], b"", head);
            }
            Some(Fault::Forbidden) => return send(stream, "403 Forbidden", &[], b"no key", head),
            _ => {}
        }
        if query.contains("list-type=2") {
            return send(
                stream,
                "200 OK",
                &[],
                self.list(&path, query).as_bytes(),
                head,
            );
        }
        if head && self.no_head.lock().unwrap().contains(&path) {
            return send(stream, "405 Method Not Allowed", &[], b"", true);
        }
        let Some(bytes) = self.files.lock().unwrap().get(&path).cloned() else {
            return send(stream, "404 Not Found", &[], b"nothing here", head);
        };
        // A different content has a different tag.
        let sum: u64 = bytes
            .iter()
            .fold(7, |sum, byte| (sum * 31 + u64::from(*byte)) % 1_000_003);
        let mut headers = vec![
            ("ETag", format!("\"{sum}\"")),
            ("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT".to_owned()),
        ];
        let whole = self.whole.lock().unwrap().contains(&path);
        let range = request.headers.get("range").filter(|_| !whole && !head);
        let range = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let (status, body) = match range {
            None => ("200 OK", &bytes[..]),
            Some((from, to)) => {
                let from: usize = from.parse().unwrap();
                let to: usize = to.parse::<usize>().unwrap().min(bytes.len() - 1);
                headers.push((
                    "Content-Range",
                    format!("bytes {from}-{to}/{}", bytes.len()),
                ));
                ("206 Partial Content", &bytes[from..=to])
            }
        };
        if fault == Some(Fault::Cut) {
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
            let headers: String = headers
                .iter()
                .map(|(n, v)| format!("{n}: {v}\r\n"))
                .collect();
            let _ = write!(stream, "{head}{headers}\r\n");
            let _ = stream.write_all(&body[..body.len() / 2]);
            let _ = stream.shutdown(std::net::Shutdown::Both);
            return false;
        }
        send(stream, status, &headers, body, head)
    }

    /// The answer to `ListObjectsV2`, for one folder.
    fn list(&self, bucket: &str, query: &str) -> String {
        let value = |key: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .find(|(name, _)| *name == key)
                .map(|(_, value)| decoded(value))
        };
        let prefix = value("prefix").unwrap_or_default();
        let root = format!("{}/", bucket.trim_end_matches('/'));
        let (mut contents, mut folders) = (String::new(), BTreeSet::new());
        for (path, bytes) in self.files.lock().unwrap().iter() {
            let Some(key) = path.strip_prefix(&root) else {
                continue;
            };
            let Some(rest) = key.strip_prefix(&prefix) else {
                continue;
            };
            match rest.split_once('/') {
                Some((folder, _)) => {
                    folders.insert(format!("{prefix}{folder}/"));
                }
                None => contents.push_str(&format!(
                    "<Contents><Key>{key}</Key><LastModified>2015-10-21T07:28:00.000Z</LastModified><ETag>\"1\"</ETag>\
                     <Size>{}</Size></Contents>",
                    bytes.len()
                )),
            }
        }
        let folders: String = folders
            .iter()
            .map(|folder| format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>"))
            .collect();
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><IsTruncated>false</IsTruncated>{contents}{folders}\
             </ListBucketResult>"
        )
    }
}

fn send(
    stream: &mut TcpStream,
    status: &str,
    headers: &[(&str, String)],
    body: &[u8],
    head: bool,
) -> bool {
    let mut text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    let body = if head { &[] } else { body };
    stream
        .write_all(text.as_bytes())
        .and_then(|()| stream.write_all(body))
        .is_ok()
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader
        .read_line(&mut line)
        .ok()
        .filter(|count| *count > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned())
            }
            None => break,
        };
    }
    if let Some(length) = headers.get("content-length").and_then(|n| n.parse().ok()) {
        reader.read_exact(&mut vec![0; length]).ok()?;
    }
    Some(Request {
        method,
        target,
        headers,
    })
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap()
}
