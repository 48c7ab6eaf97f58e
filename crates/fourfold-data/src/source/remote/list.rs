//! Files whose names match a pattern, where a store can list what it has.

use object_store::ObjectStore;
use object_store::path::Path as ObjectPath;

use super::failure::Failure;
use super::store::{Parts, Place, wait};

/// The URLs that `url` matches, sorted; itself where it has no `*`. A `*` stands for any part of a name, within one
/// folder.
pub(super) fn matched(url: &str) -> Result<Vec<String>, Failure> {
    let parts = Parts::of(url)?;
    if !parts.path.contains('*') {
        return Ok(vec![url.to_owned()]);
    }
    if !matches!(parts.scheme, "s3" | "gs") {
        let message = "a web server does not say which files it has; write `{00000..00331}`, or list the files";
        return Err(Failure::Refused(message.into()));
    }
    // The store is opened by any name in it.
    let store = Place::of(&format!("{}/any", parts.base()))?.store;
    let mut found = vec![String::new()];
    let names: Vec<&str> = parts.path.split('/').collect();
    for (depth, name) in names.iter().enumerate() {
        let last = depth + 1 == names.len();
        let mut next = Vec::new();
        for folder in &found {
            match name.contains('*') {
                true => {
                    let inside = children(url, &*store, folder, last)?;
                    next.extend(inside.into_iter().filter(|path| {
                        let own = path.rsplit('/').next().unwrap_or(path);
                        matches(name, own)
                    }));
                }
                false if folder.is_empty() => next.push((*name).to_owned()),
                false => next.push(format!("{folder}/{name}")),
            }
        }
        found = next;
    }
    if found.is_empty() {
        let message = "no file of the store has a name of this pattern";
        return Err(Failure::Missing(message.into()));
    }
    found.sort();
    let base = parts.base();
    Ok(found
        .into_iter()
        .map(|path| format!("{base}/{path}"))
        .collect())
}

/// The files, or the folders, right in a folder.
fn children(
    url: &str,
    store: &dyn ObjectStore,
    folder: &str,
    files: bool,
) -> Result<Vec<String>, Failure> {
    let prefix = ObjectPath::parse(folder)
        .map_err(|error| Failure::Refused(format!("is no URL of files: {error}")))?;
    let prefix = (!folder.is_empty()).then_some(&prefix);
    let listed = wait(store.list_with_delimiter(prefix));
    let listed = listed.map_err(|error| Failure::of_store(url, error))?;
    let paths: Vec<ObjectPath> = match files {
        true => listed
            .objects
            .into_iter()
            .map(|object| object.location)
            .collect(),
        false => listed.common_prefixes,
    };
    Ok(paths.into_iter().map(|path| path.to_string()).collect())
}

/// Whether `name` is as `pattern`, whose `*` stand for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, expected) in [
            ("a.tar", "a.tar", true),
            ("a.tar", "a.tar2", false),
            ("*.tar", "a.tar", true),
            ("*.tar", ".tar", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("ab*ba", "aba", false),
            ("[0]*", "[0]1", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
