//! Where files are: a path of this machine, or the URL of an object store or web server. A URL is kept in a path, as it
//! was written; the functions here are what may take it apart, since those of paths would fold its `//`.

use std::path::{Path, PathBuf};

use super::remote;

/// Whether this program was built to read URLs (Cargo feature `remote`).
pub const REMOTE: bool = cfg!(feature = "remote");

/// What to say where it was not.
pub const NOT_BUILT: &str = "this program was built without access to object stores and web servers; build it with \
                             `--features remote`, or fetch the file and give its path";

/// Whether `path` is a URL, `scheme://…`, of whatever scheme.
pub fn is_url(path: &Path) -> bool {
    path.to_str().is_some_and(|text| scheme(text).is_some())
}

/// The scheme of a URL and what follows `://`.
pub(super) fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let mut letters = scheme.bytes();
    let letter = letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic());
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    (letter && letters.all(known)).then_some((scheme, rest))
}

/// Whether it is the URL of a web server, where `%` escapes, and a query and a fragment may follow the path.
pub(super) fn is_web(text: &str) -> bool {
    matches!(scheme(text), Some(("http" | "https", _)))
}

/// A URL without its query and fragment, which only those of web servers have.
fn without_query(text: &str) -> &str {
    match is_web(text) {
        true => text.split(['?', '#']).next().unwrap_or(text),
        false => text,
    }
}

/// The last part of a path or URL.
pub(super) fn name(path: &Path) -> String {
    match path.to_str().filter(|_| is_url(path)) {
        Some(text) => {
            let text = without_query(text);
            text.rsplit('/').next().unwrap_or(text).to_owned()
        }
        None => {
            let name = path.file_name().unwrap_or(path.as_os_str());
            name.to_string_lossy().into_owned()
        }
    }
}

/// The folder that a file is in.
pub(super) fn folder(path: &Path) -> PathBuf {
    match path.to_str().filter(|_| is_url(path)) {
        Some(text) => {
            let text = without_query(text);
            let (scheme, rest) = scheme(text).unwrap_or(("", text));
            let rest = rest.rsplit_once('/').map_or(rest, |(folder, _)| folder);
            format!("{scheme}://{rest}").into()
        }
        None => path.parent().unwrap_or(Path::new("")).to_owned(),
    }
}

/// The file called `name` within `folder`: a URL where the folder is one; the name may then be another. A name never
/// leads out of a store's bucket or host, nor from there to a file of this machine, nor from a folder of this machine
/// to the network: a file that is read here does not decide what is asked of others.
pub(super) fn within(folder: &Path, name: &str) -> PathBuf {
    let Some(text) = folder.to_str().filter(|_| is_url(folder)) else {
        return folder.join(name);
    };
    if is_url(Path::new(name)) {
        return name.into();
    }
    let (scheme, rest) = scheme(without_query(text)).unwrap_or(("", text));
    let mut rest = rest.trim_end_matches('/').split('/');
    let place = rest.next().unwrap_or_default();
    let mut parts: Vec<String> = rest.map(str::to_owned).collect();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part if is_web(text) => parts.push(escaped(part)),
            part => parts.push(part.to_owned()),
        }
    }
    format!("{scheme}://{place}/{}", parts.join("/")).into()
}

/// A file's name as part of the path of a web server's URL.
fn escaped(name: &str) -> String {
    name.replace('%', "%25")
        .replace('?', "%3F")
        .replace('#', "%23")
}

/// Another name in the same folder.
pub(super) fn beside(path: &Path, name: &str) -> PathBuf {
    match is_url(path) {
        true => within(&folder(path), name),
        false => path.with_file_name(name),
    }
}

/// Whether there is a file. One that cannot be asked for counts as missing; who needs it is told why when it is opened.
pub(super) fn exists(path: &Path) -> bool {
    match is_url(path) {
        true => remote::exists(path),
        false => path.exists(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(folder: &str, name: &str) -> String {
        within(Path::new(folder), name).display().to_string()
    }

    #[test]
    fn urls_are_told_from_paths() {
        for url in ["s3://b/k", "https://h/x.tar?a=b", "az://c/k"] {
            assert!(is_url(Path::new(url)), "{url}");
        }
        for path in [
            "/data/a.tar",
            "C:\\a.tar",
            "a://",
            "s3:/b/k",
            "://x",
            "a b://c",
        ] {
            let expected = path == "a://";
            assert_eq!(is_url(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn names_within_a_store_stay_there() {
        assert_eq!(
            joined("s3://b/data/", "a/./x y.jpg"),
            "s3://b/data/a/x y.jpg"
        );
        assert_eq!(joined("s3://b/data", "../../../x.jpg"), "s3://b/x.jpg");
        assert_eq!(joined("s3://b", "/etc/passwd"), "s3://b/etc/passwd");
        assert_eq!(
            joined("https://h/d?key=1", "50%#1.jpg"),
            "https://h/d/50%25%231.jpg"
        );
        assert_eq!(joined("s3://b", "https://h/x.jpg"), "https://h/x.jpg");
        let here = joined("/data", "https://h/x.jpg");
        assert!(!is_url(Path::new(&here)), "{here}");
        assert_eq!(
            joined("/data", "x.jpg"),
            Path::new("/data").join("x.jpg").display().to_string()
        );
    }

    #[test]
    fn a_url_is_taken_apart_without_its_query() {
        let url = Path::new("https://h/d/a.csv?x=/y");
        assert_eq!(
            (name(url), folder(url)),
            ("a.csv".into(), "https://h/d".into())
        );
        assert_eq!(beside(url, "b.csv"), Path::new("https://h/d/b.csv"));
        let key = Path::new("s3://b/a?.csv");
        assert_eq!((name(key), folder(key)), ("a?.csv".into(), "s3://b".into()));
    }
}
