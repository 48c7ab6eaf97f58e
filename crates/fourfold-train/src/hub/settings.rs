//! Where the hub and its cache are, from the variables that Hugging Face's own tools read.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::Proxy;

use super::token::Token;

/// The hub that is asked unless `HF_ENDPOINT` names another.
const ENDPOINT: &str = "https://huggingface.co";

/// How the hub is reached. Nothing else of this crate reads the environment for it.
#[derive(Clone)]
pub struct HubSettings {
    /// The hub's address, without a slash at its end.
    pub endpoint: String,
    /// The folder of the cache, in the layout of the Python package `huggingface_hub`; none where there is no home.
    pub cache: Option<PathBuf>,
    /// What private and gated models are asked for with.
    pub token: Option<Token>,
    /// Whether only the cache is used.
    pub offline: bool,
    /// What requests go through.
    pub proxy: Option<Proxy>,
    /// Wait before the first new try of a failed request; it grows with each.
    pub pause: Duration,
}

impl HubSettings {
    /// From `HF_ENDPOINT`; `HF_HUB_CACHE`, `HF_HOME` or `XDG_CACHE_HOME`; `HF_TOKEN` or the file that `hf auth login`
    /// writes; `HF_HUB_OFFLINE`; and the usual `HTTPS_PROXY` and its kin.
    pub fn from_env() -> Self {
        Self {
            proxy: Proxy::try_from_env(),
            ..Self::read(|name| std::env::var_os(name), std::env::home_dir())
        }
    }

    /// A hub that is not asked: models are found in `cache` or not at all.
    pub fn offline(cache: PathBuf) -> Self {
        Self {
            endpoint: ENDPOINT.into(),
            cache: Some(cache),
            token: None,
            offline: true,
            proxy: None,
            pause: Duration::from_secs(1),
        }
    }

    fn read(variable: impl Fn(&str) -> Option<OsString>, user: Option<PathBuf>) -> Self {
        let set = |names: &[&str]| {
            let mut values = names.iter().filter_map(|name| variable(name));
            values.find(|value| !value.is_empty())
        };
        let text = |names: &[&str]| set(names)?.into_string().ok();
        let path = |names: &[&str]| Some(under_home(Path::new(&set(names)?), user.as_deref()));
        let home = path(&["HF_HOME"]).or_else(|| {
            let caches = path(&["XDG_CACHE_HOME"]);
            let caches = caches.or_else(|| Some(user.as_ref()?.join(".cache")))?;
            Some(caches.join("huggingface"))
        });
        let cache = path(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"])
            .or_else(|| Some(home.as_ref()?.join("hub")));
        let in_variable = |name: &str| match set(&[name])?.into_string() {
            Ok(text) => Token::new(&text, name),
            Err(_) => Some(Token::unreadable(name)),
        };
        let token = in_variable("HF_TOKEN").or_else(|| in_variable("HUGGING_FACE_HUB_TOKEN"));
        let token = token.or_else(|| {
            let file = path(&["HF_TOKEN_PATH"]).or_else(|| Some(home.as_ref()?.join("token")))?;
            Token::of_file(&file)
        });
        let is_true =
            |value: String| ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str());
        let endpoint = text(&["HF_ENDPOINT"]).unwrap_or_else(|| ENDPOINT.into());
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            cache,
            token,
            offline: text(&["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]).is_some_and(is_true),
            proxy: None,
            pause: Duration::from_secs(1),
        }
    }
}

impl fmt::Debug for HubSettings {
    /// Without the token, and without the proxy, whose address may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubSettings")
            .field("endpoint", &self.endpoint)
            .field("cache", &self.cache)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

/// `~/x` as `x` in the user's folder.
fn under_home(path: &Path, user: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), user) {
        (Ok(rest), Some(user)) => user.join(rest),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::testing::Scratch;

    fn read(variables: &[(&str, &str)]) -> HubSettings {
        let lookup = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        HubSettings::read(lookup, Some("/home/me".into()))
    }

    #[test]
    fn the_cache_is_where_python_has_it() {
        let cache = |variables: &[(&str, &str)]| read(variables).cache.unwrap();
        assert_eq!(cache(&[]), Path::new("/home/me/.cache/huggingface/hub"));
        let variables = [
            ("XDG_CACHE_HOME", "/c"),
            ("HF_HOME", "~/h"),
            ("HF_HUB_CACHE", "/x"),
        ];
        assert_eq!(cache(&variables), Path::new("/x"));
        assert_eq!(cache(&variables[..2]), Path::new("/home/me/h/hub"));
        assert_eq!(cache(&variables[..1]), Path::new("/c/huggingface/hub"));
        assert_eq!(HubSettings::read(|_| None, None).cache, None);
    }

    #[test]
    fn the_token_is_a_variable_or_a_file_and_never_shown() {
        let scratch = Scratch::new("token");
        let home = scratch.path().display().to_string();
        let token = |variables: &[(&str, &str)]| {
            let token = read(variables).token?;
            Some(token.secret().unwrap().to_owned())
        };
        assert_eq!(token(&[("HF_HOME", &home)]), None);
        std::fs::write(scratch.path().join("token"), "hf_file\n").unwrap();
        let found = token(&[("HF_HOME", &home)]);
        assert_eq!(found.as_deref(), Some("hf_file"));
        let settings = read(&[("HF_HOME", &home)]);
        assert!(!format!("{settings:?}").contains("hf_file"));
        let found = token(&[("HF_HOME", &home), ("HF_TOKEN", " hf_set\n")]);
        assert_eq!(found.as_deref(), Some("hf_set"));
        let found = token(&[("HF_HOME", &home), ("HF_TOKEN", "\n")]);
        assert_eq!(
            found.as_deref(),
            Some("hf_file"),
            "a blank variable is none"
        );
    }

    #[test]
    fn endpoint_and_offline() {
        let settings = read(&[
            ("HF_ENDPOINT", "https://mirror.example/"),
            ("HF_HUB_OFFLINE", "yes"),
        ]);
        assert_eq!(settings.endpoint, "https://mirror.example");
        assert!(settings.offline);
        let settings = read(&[("HF_ENDPOINT", ""), ("HF_HUB_OFFLINE", "0")]);
        assert_eq!(settings.endpoint, ENDPOINT);
        assert!(!settings.offline);
    }
}
