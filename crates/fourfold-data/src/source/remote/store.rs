//! Stores by URL, and waiting for their answers.

use std::collections::HashMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, resolve_bucket_region};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path as ObjectPath;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use tokio::runtime::{Builder, Runtime};

use super::super::location::scheme;
use super::failure::Failure;

/// A file's store, and where in it the file is.
pub(super) struct Place {
    pub store: Arc<dyn ObjectStore>,
    pub path: ObjectPath,
}

impl Place {
    /// Where `url` leads; the store is opened if it is not yet.
    pub fn of(url: &str) -> Result<Self, Failure> {
        let parts = Parts::of(url)?;
        let path = match parts.scheme {
            "s3" | "gs" => ObjectPath::parse(parts.path),
            _ => ObjectPath::from_url_path(parts.path),
        };
        let path =
            path.map_err(|error| Failure::Refused(format!("is no URL of a file: {error}")))?;
        let store = opened(&parts)?;
        Ok(Self { store, path })
    }
}

/// The parts of a URL.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'u> {
    pub scheme: &'u str,
    /// The bucket, or the host.
    pub root: &'u str,
    /// The key, or the path without its first `/`.
    pub path: &'u str,
    /// What follows `?`; of web servers only.
    query: Option<&'u str>,
}

impl<'u> Parts<'u> {
    pub fn of(url: &'u str) -> Result<Self, Failure> {
        let (scheme, rest) = scheme(url).unwrap_or(("", url));
        let web = matches!(scheme, "http" | "https");
        if !web && !matches!(scheme, "s3" | "gs") {
            let message = "expected a URL that begins with s3://, gs://, http:// or https://";
            return Err(Failure::Refused(message.into()));
        }
        let (rest, query) = match web {
            true => {
                let rest = rest.split('#').next().unwrap_or(rest);
                rest.split_once('?')
                    .map_or((rest, None), |(rest, query)| (rest, Some(query)))
            }
            false => (rest, None),
        };
        match rest.split_once('/') {
            Some((root, path)) if !root.is_empty() && !path.is_empty() => Ok(Self {
                scheme,
                root,
                path,
                query,
            }),
            _ => Err(Failure::Refused(format!(
                "expected {scheme}://{}/NAME",
                if web { "HOST" } else { "BUCKET" }
            ))),
        }
    }

    /// The URL of the store.
    pub fn base(&self) -> String {
        let (scheme, root) = (self.scheme, self.root);
        match self.query {
            Some(query) => format!("{scheme}://{root}/?{query}"),
            None => format!("{scheme}://{root}"),
        }
    }
}

/// The store that a URL is of; every store is opened once, so that its connections are used again.
fn opened(parts: &Parts) -> Result<Arc<dyn ObjectStore>, Failure> {
    static OPENED: OnceLock<Mutex<HashMap<String, Arc<dyn ObjectStore>>>> = OnceLock::new();
    let base = parts.base();
    let opened = OPENED.get_or_init(Mutex::default);
    let mut opened = opened.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(store) = opened.get(&base) {
        return Ok(Arc::clone(store));
    }
    let store = open(parts, &base)
        .map_err(|error| Failure::Refused(format!("the store cannot be opened: {error}")))?;
    // Of a signed URL only one file is read.
    if parts.query.is_none() {
        opened.insert(base, Arc::clone(&store));
    }
    Ok(store)
}

fn open(parts: &Parts, base: &str) -> object_store::Result<Arc<dyn ObjectStore>> {
    // The library's network code leaves the choice of cryptography to the program; an earlier choice stands.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let retry = RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: 6,
        retry_timeout: Duration::from_secs(120),
    };
    let plain = parts.scheme == "http";
    let client = ClientOptions::new()
        .with_timeout(Duration::from_secs(120))
        .with_connect_timeout(Duration::from_secs(15))
        .with_allow_http(plain);
    let _inside = runtime().enter();
    Ok(match parts.scheme {
        "s3" => {
            let mut s3 = AmazonS3Builder::from_env()
                .with_bucket_name(parts.root)
                .with_retry(retry);
            match variable(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]) {
                Some(endpoint) => {
                    // A store of one's own is often reached without encryption; who names it so says so.
                    let plain = endpoint.starts_with("http://");
                    s3 = s3.with_endpoint(endpoint).with_allow_http(plain);
                }
                None if variable(&["AWS_REGION", "AWS_DEFAULT_REGION"]).is_none() => {
                    // Where it cannot be told, the first request says what is wrong.
                    if let Ok(region) = wait(resolve_bucket_region(parts.root, &client)) {
                        s3 = s3.with_region(region);
                    }
                }
                None => {}
            }
            const KEYS: [&str; 5] = [
                "AWS_ACCESS_KEY_ID",
                "AWS_WEB_IDENTITY_TOKEN_FILE",
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "AWS_SKIP_SIGNATURE",
            ];
            if variable(&KEYS).is_none() && !machine_of("Amazon EC2") {
                s3 = s3.with_skip_signature(true);
            }
            Arc::new(s3.build()?)
        }
        "gs" => {
            let mut gs = GoogleCloudStorageBuilder::from_env()
                .with_bucket_name(parts.root)
                .with_retry(retry);
            const KEYS: [&str; 7] = [
                "GOOGLE_APPLICATION_CREDENTIALS",
                "GOOGLE_SERVICE_ACCOUNT",
                "GOOGLE_SERVICE_ACCOUNT_PATH",
                "GOOGLE_SERVICE_ACCOUNT_KEY",
                "SERVICE_ACCOUNT",
                "GOOGLE_BEARER_TOKEN",
                "GOOGLE_SKIP_SIGNATURE",
            ];
            if variable(&KEYS).is_none() && !logged_in() && !machine_of("Google") {
                gs = gs.with_skip_signature(true);
            }
            Arc::new(gs.build()?)
        }
        _ => Arc::new(
            HttpBuilder::new()
                .with_url(base)
                .with_client_options(client)
                .with_retry(retry)
                .build()?,
        ),
    })
}

fn variable(names: &[&str]) -> Option<String> {
    let mut values = names.iter().filter_map(|name| std::env::var(name).ok());
    values.find(|value| !value.is_empty())
}

/// Whether `gcloud auth application-default login` has left its file.
fn logged_in() -> bool {
    let home = variable(&["HOME", "USERPROFILE"]);
    let file = ".config/gcloud/application_default_credentials.json";
    home.is_some_and(|home| Path::new(&home).join(file).exists())
}

/// Whether this machine is one that `vendor` lends, whose own role gives keys; elsewhere asking for them would take a
/// minute and fail.
fn machine_of(vendor: &str) -> bool {
    let name = std::fs::read_to_string("/sys/class/dmi/id/sys_vendor");
    name.is_ok_and(|name| name.trim() == vendor)
}

/// Waits for what a store answers. Called by threads that read samples, never from within the runtime.
pub(super) fn wait<T>(answer: impl Future<Output = T>) -> T {
    runtime().block_on(answer)
}

/// As [`wait`] for a question to a store. The library panics on some URLs that its parser lets pass: for the caller they
/// are wrong URLs too.
pub(super) fn ask<T>(answer: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(|| wait(answer)))
        .unwrap_or_else(|_| Err(Failure::Refused("is no URL of a file".into())))
}

/// The threads that speak with stores.
pub(super) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("remote")
            .enable_all()
            .build()
            .expect("the system lets a program start two threads")
    })
}
