//! Talking to a hub: what a revision holds, and the contents of its files.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use ureq::http::{HeaderMap, Response, Uri};
use ureq::{Agent, Body, RequestBuilder};

use super::failure::{Failure, is_passing};
use super::id::HubId;
use super::settings::HubSettings;
use super::token::Token;

/// The longest list of a revision's files that is read, in bytes.
const LONGEST_LISTING: u64 = 32 << 20;
/// Redirects that are followed, as after a repository was renamed and to the storage of large files.
const REDIRECTS: usize = 8;
/// How often a request that the hub or the network failed is made again.
pub(super) const TRIES: u32 = 4;

/// A hub.
pub(super) struct Client<'s> {
    agent: Agent,
    /// The value of the `Authorization` header.
    authorization: Option<String>,
    settings: &'s HubSettings,
}

/// A revision as the hub has it.
pub(super) struct Listing {
    pub commit: String,
    pub files: BTreeSet<String>,
}

/// A file of a commit.
#[derive(Clone, Debug)]
pub(super) struct RemoteFile {
    pub name: String,
    /// The name of its content; the SHA-256 of a large file.
    pub etag: String,
    pub size: u64,
}

impl<'s> Client<'s> {
    /// # Errors
    /// When there is a token that cannot be sent.
    pub fn new(settings: &'s HubSettings) -> Result<Self> {
        let token = settings.token.as_ref().map(Token::secret).transpose()?;
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("fourfold/", env!("CARGO_PKG_VERSION")))
            .proxy(settings.proxy.clone())
            .timeout_connect(seconds(20))
            .timeout_recv_response(seconds(60))
            .timeout_per_read(seconds(60))
            // Redirects are followed here, where it is known to whom the token may go.
            .max_redirects(0)
            .max_redirects_will_error(false);
        Ok(Self {
            agent: config.build().into(),
            authorization: token.map(|token| format!("Bearer {token}")),
            settings,
        })
    }

    /// What a revision holds.
    pub fn listing(&self, id: &HubId) -> Result<Listing, Failure> {
        let revision = id.revision().replace('/', "%2F");
        let address = format!(
            "{}/api/models/{}/revision/{revision}",
            self.settings.endpoint,
            id.repository()
        );
        let ask =
            |address: &str| self.retried(|| Ok(self.authorized(self.agent.get(address)).call()?));
        let mut response = ask(&address)?;
        // As after a repository was renamed.
        if let Some(place) = redirect(&address, &response)?
            && same_place(&address, &place)
        {
            response = ask(&place)?;
        }
        let mut body = demand_success(response, None)?.into_body();
        let text = body.with_config().limit(LONGEST_LISTING).read_to_string()?;
        let odd = || Failure::Odd(format!("{address} gives no list of files"));
        let value: Value = serde_json::from_str(&text).map_err(|_| odd())?;
        let commit = value["sha"].as_str().ok_or_else(odd)?;
        let siblings = value["siblings"].as_array().ok_or_else(odd)?;
        let names = siblings
            .iter()
            .filter_map(|file| file["rfilename"].as_str());
        if !super::id::is_commit(commit) {
            return Err(Failure::Odd(format!(
                "{address} gives '{commit}' for a commit"
            )));
        }
        if super::id::is_commit(id.revision()) && !commit.eq_ignore_ascii_case(id.revision()) {
            return Err(Failure::Odd(format!(
                "{address} gives the commit {commit} for another one"
            )));
        }
        Ok(Listing {
            commit: commit.to_owned(),
            files: names.map(str::to_owned).collect(),
        })
    }

    /// Content and size of a file, without fetching it.
    pub fn file(&self, id: &HubId, name: &str) -> Result<RemoteFile, Failure> {
        let mut address = self.address(id, name);
        for _ in 0..REDIRECTS {
            let head = || self.authorized(self.agent.head(&address)).call();
            let response = self.retried(|| Ok(head()?))?;
            // Only within the hub: the storage of large files says nothing about commit and content.
            match redirect(&address, &response)? {
                Some(place) if same_place(&address, &place) => address = place,
                Some(_) => return described(name, &address, response.headers(), true),
                None => {
                    let response = demand_success(response, Some(name))?;
                    return described(name, &address, response.headers(), false);
                }
            }
        }
        Err(Failure::Odd(format!("{address} leads in circles")))
    }

    /// The content of a file from byte `from` on, or all of it where the hub says so in its status.
    pub fn open(&self, id: &HubId, name: &str, from: u64) -> Result<Response<Body>, Failure> {
        let hub = self.address(id, name);
        let mut address = hub.clone();
        for _ in 0..REDIRECTS {
            let mut request = self.agent.get(&address);
            if from > 0 {
                request = request.header("Range", format!("bytes={from}-"));
            }
            // The token goes to the hub alone, not to where it stores large files.
            let request = match same_place(&hub, &address) {
                true => self.authorized(request),
                false => request.header("Accept-Encoding", "identity"),
            };
            let response = request.call()?;
            match redirect(&address, &response)? {
                Some(place) => address = place,
                None => return demand_success(response, Some(name)),
            }
        }
        Err(Failure::Odd(format!("{address} leads in circles")))
    }

    fn address(&self, id: &HubId, name: &str) -> String {
        let (endpoint, revision) = (&self.settings.endpoint, id.revision().replace('/', "%2F"));
        format!("{endpoint}/{}/resolve/{revision}/{name}", id.repository())
    }

    fn authorized<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        // Bytes as they lie there: sizes and ranges count those.
        let request = request.header("Accept-Encoding", "identity");
        match &self.authorization {
            Some(value) => request.header("Authorization", value),
            None => request,
        }
    }

    /// Asks again where the hub is busy, not where it or the network refuses.
    fn retried(
        &self,
        request: impl Fn() -> Result<Response<Body>, Failure>,
    ) -> Result<Response<Body>, Failure> {
        for attempt in 1..TRIES {
            let response = request()?;
            if !is_passing(response.status().as_u16()) {
                return Ok(response);
            }
            std::thread::sleep(self.settings.pause * attempt);
        }
        request()
    }
}

fn described(
    name: &str,
    address: &str,
    headers: &HeaderMap,
    elsewhere: bool,
) -> Result<RemoteFile, Failure> {
    let odd = |what: &str| Failure::Odd(format!("{address} has no {what}"));
    let etag = header(headers, "x-linked-etag").or_else(|| header(headers, "etag"));
    let etag = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"'));
    let safe = |etag: &&str| {
        (1..=128).contains(&etag.len())
            && etag
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    };
    let etag = etag.filter(safe).ok_or_else(|| odd("usable ETag"))?;
    // The length of a redirect is that of the redirect.
    let length = header(headers, "content-length").filter(|_| !elsewhere);
    let size = header(headers, "x-linked-size").or(length);
    let size = size.and_then(|size| size.parse().ok());
    Ok(RemoteFile {
        name: name.to_owned(),
        etag: etag.to_owned(),
        size: size.ok_or_else(|| odd("size"))?,
    })
}

/// Where a response sends to, if it does; a place within the same host may leave that out.
fn redirect(address: &str, response: &Response<Body>) -> Result<Option<String>, Failure> {
    if !response.status().is_redirection() {
        return Ok(None);
    }
    let odd = || Failure::Odd(format!("{address} sends to nowhere"));
    let place = header(response.headers(), "location").ok_or_else(odd)?;
    if !place.starts_with('/') {
        return Ok(Some(place.to_owned()));
    }
    let hub: Uri = address.parse().map_err(|_| odd())?;
    let (scheme, host) = hub.scheme_str().zip(hub.authority()).ok_or_else(odd)?;
    Ok(Some(format!("{scheme}://{host}{place}")))
}

/// Whether two addresses are of one server: the same protocol, host and port.
fn same_place(one: &str, other: &str) -> bool {
    let place = |address: &str| {
        let address: Uri = address.parse().ok()?;
        Some((address.scheme()?.clone(), address.authority()?.clone()))
    };
    place(one).is_some_and(|one| place(other) == Some(one))
}

/// The text of a header.
pub(super) fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn demand_success(response: Response<Body>, file: Option<&str>) -> Result<Response<Body>, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let code = header(response.headers(), "x-error-code").map(str::to_owned);
    Err(Failure::Refused {
        status: status.as_u16(),
        code,
        file: file.map(str::to_owned),
    })
}
