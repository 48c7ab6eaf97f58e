//! What keeps a model from being fetched, and the ways out.

use std::io;

use anyhow::{Error, anyhow};

use super::id::HubId;
use super::settings::HubSettings;

/// A request that came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// The hub was not reached, or went silent.
    Network(String),
    /// The hub answered that it will not.
    Refused {
        status: u16,
        /// The hub's own word for the reason, as `RevisionNotFound`.
        code: Option<String>,
        /// The file that was asked for, if it was one.
        file: Option<String>,
    },
    /// The hub answered what no hub answers.
    Odd(String),
    /// Something on this side: the disk, or that the run is to stop.
    Here(Error),
}

impl From<ureq::Error> for Failure {
    fn from(error: ureq::Error) -> Self {
        match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                Self::Odd(format!("the address is none: {error}"))
            }
            ureq::Error::BodyExceedsLimit(_) => Self::Odd(error.to_string()),
            other => Self::Network(other.to_string()),
        }
    }
}

impl Failure {
    /// Whether it may be gone a while later: the hub was not reached, is busy or has a fault of its own.
    pub fn passes(&self) -> bool {
        match self {
            Self::Network(_) => true,
            Self::Refused { status, .. } => is_passing(*status),
            Self::Odd(_) | Self::Here(_) => false,
        }
    }

    /// The whole message, for `id`.
    pub fn explain(self, id: &HubId, settings: &HubSettings) -> Error {
        let (endpoint, repository) = (&settings.endpoint, id.repository());
        let page = format!("{endpoint}/{repository}");
        match self {
            Self::Network(cause) => anyhow!(
                "cannot reach the Hugging Face hub {endpoint} ({cause}). Without a network give a local folder as \
                 `from`, or bring the model into the cache elsewhere (`hf download {repository}`, cache folder {}) and \
                 set HF_HUB_OFFLINE=1; HF_ENDPOINT names another hub",
                cache(settings)
            ),
            Self::Refused {
                status: status @ (401 | 403),
                ..
            } => {
                let token = match &settings.token {
                    Some(token) => format!("the token of {} does not open it", token.origin()),
                    None => "no token was sent".into(),
                };
                anyhow!(
                    "the hub refuses {repository} (HTTP {status}): there is no such model, or it is private or gated, \
                     and {token}. If it is gated, accept its licence on {page}; then set HF_TOKEN to a token from \
                     {endpoint}/settings/tokens, or log in with `hf auth login`"
                )
            }
            Self::Refused {
                status: 404,
                code,
                file,
            } => match (code.as_deref(), file) {
                (Some("RevisionNotFound"), _) => anyhow!(
                    "{repository} has no revision '{}'; its branches, tags and commits are on {page}",
                    id.revision()
                ),
                (_, Some(file)) => anyhow!(
                    "the hub {endpoint} lists {file} of {repository} at '{}' but has no such file (HTTP 404); look at \
                     {page}, or name another revision: OWNER/NAME@REVISION",
                    id.revision()
                ),
                _ => anyhow!(
                    "the hub {endpoint} has no model {repository} with a revision '{}'; look at {page}",
                    id.revision()
                ),
            },
            Self::Refused { status: 429, .. } => anyhow!(
                "the hub asks to come back later (HTTP 429, too many requests); wait some minutes, or set HF_TOKEN: \
                 who is known may ask more often"
            ),
            Self::Refused { status, .. } => anyhow!(
                "the hub {endpoint} answers with an error of its own (HTTP {status}); try again later"
            ),
            Self::Odd(what) => anyhow!(
                "{what}: {endpoint} does not answer as a Hugging Face hub does; check HF_ENDPOINT"
            ),
            Self::Here(error) => error,
        }
    }
}

/// Whether a status speaks of the moment and not of what was asked for.
pub(super) fn is_passing(status: u16) -> bool {
    status >= 500 || status == 429
}

/// A failure to write to the cache.
pub(super) fn on_disk(error: io::Error, path: &std::path::Path, wanted: u64) -> Failure {
    let full = matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    );
    Failure::Here(match full {
        true => anyhow!(
            "the disk is full: {} takes {} MiB. What has arrived is kept, and the next try goes on from there; make \
             room, or set HF_HOME to a folder on another disk",
            path.display(),
            wanted.div_ceil(1 << 20)
        ),
        false => Error::new(error).context(format!(
            "cannot write {}; set HF_HOME, or HF_HUB_CACHE for the cache alone, to a folder that can be written",
            path.display()
        )),
    })
}

/// The cache's folder, to be shown.
pub(super) fn cache(settings: &HubSettings) -> String {
    let cache = settings.cache.as_ref();
    cache.map_or_else(|| "none".into(), |cache| cache.display().to_string())
}
