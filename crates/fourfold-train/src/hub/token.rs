//! What private and gated models are asked for with.

use std::path::Path;

use anyhow::{Result, bail};

/// An access token, and where it comes from, which is what a person has to mend where it is none.
#[derive(Clone)]
pub struct Token {
    /// The token, or why there is none.
    text: Result<String, String>,
    /// `HF_TOKEN`, or the file that it lies in.
    origin: String,
}

impl Token {
    /// A token of `origin`; none where `text` is blank. Line ends and the blanks around it are dropped, as by the Python
    /// package `huggingface_hub`: editors and `echo` leave them.
    pub fn new(text: &str, origin: impl Into<String>) -> Option<Self> {
        let text = text.replace(['\r', '\n'], "");
        let text = text.trim();
        (!text.is_empty()).then(|| Self {
            text: Ok(text.to_owned()),
            origin: origin.into(),
        })
    }

    /// What the file says that `hf auth login` writes, if there is one.
    pub(super) fn of_file(path: &Path) -> Option<Self> {
        let origin = path.display().to_string();
        // A device or a pipe could be read without an end.
        let text = match std::fs::metadata(path) {
            Ok(found) if found.is_file() => std::fs::read_to_string(path),
            Ok(_) => Err(std::io::Error::other("it is no regular file")),
            Err(error) => Err(error),
        };
        match text {
            Ok(text) => Self::new(&text, origin),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => Some(Self {
                text: Err(format!("cannot be read ({error})")),
                origin,
            }),
        }
    }

    /// A variable whose value is no text.
    pub(super) fn unreadable(origin: &str) -> Self {
        Self {
            text: Err("is no text".into()),
            origin: origin.into(),
        }
    }

    /// The token as it can be sent.
    ///
    /// # Errors
    /// Names where it comes from, never the token itself.
    pub(super) fn secret(&self) -> Result<&str> {
        let origin = &self.origin;
        let fault = match &self.text {
            Ok(text) if text.chars().all(|c| c.is_ascii_graphic()) => return Ok(text),
            Ok(_) => "holds a character that no token has (other than ASCII, or a blank within)",
            Err(fault) => fault,
        };
        bail!(
            "the access token in {origin} {fault}; expected one like hf_AbC123: copy it again from the hub's settings, or \
             leave {origin} away where no private or gated model is asked for"
        )
    }

    /// Where it comes from.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_and_blanks_around_are_no_part_of_it() {
        let token = Token::new(" hf_\r\na\n", "HF_TOKEN").unwrap();
        assert_eq!(token.secret().unwrap(), "hf_a");
        assert!(Token::new(" \r\n", "HF_TOKEN").is_none());
    }

    #[test]
    fn what_cannot_be_sent_names_its_origin_and_stays_secret() {
        for text in ["hf_ä", "hf_a b", "hf_\u{7f}"] {
            let error = Token::new(text, "HF_TOKEN").unwrap();
            let error = error.secret().unwrap_err().to_string();
            assert!(error.contains("access token in HF_TOKEN"), "{error}");
            assert!(!error.contains(text), "{error}");
        }
        let folder = tempfile::tempdir().unwrap();
        let error = Token::of_file(folder.path()).unwrap();
        let error = error.secret().unwrap_err().to_string();
        assert!(
            error.contains(&folder.path().display().to_string()),
            "{error}"
        );
        assert!(error.contains("no regular file"), "{error}");
        assert!(Token::of_file(&folder.path().join("none")).is_none());
    }
}
