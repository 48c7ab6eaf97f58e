//! Files of object stores (`s3://`, `gs://`) and web servers (`http://`, `https://`), read in ranges of bytes.
//!
//! Regions, endpoints and keys come from the variables that the stores' own tools use (`AWS_*`, `GOOGLE_*`); without
//! keys a store is asked anonymously.

mod blob;
mod chunks;
mod failure;
mod list;
mod store;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStoreExt};

use super::blob::Blob;
use crate::{DataError, EncodedImage};
use failure::Failure;
use store::{Place, ask};

/// Opens a file: asks for its size, reads nothing yet.
pub(super) fn open(url: &Path) -> Result<Arc<dyn Blob>, DataError> {
    let text = text(url);
    let open = || {
        let place = Place::of(&text)?;
        let about = about(&text, &place)?;
        Ok(Arc::new(blob::RemoteBlob::new(&text, place, about)) as Arc<dyn Blob>)
    };
    open().map_err(|failure: Failure| failure.of(url))
}

/// The files that a URL with `*` matches, by name; the URL itself where it has none.
pub(super) fn matched(url: &Path) -> Result<Vec<PathBuf>, DataError> {
    let text = text(url);
    let found = list::matched(&text).map_err(|failure| failure.of(url))?;
    Ok(found.into_iter().map(PathBuf::from).collect())
}

/// What tells one content of a file from another without reading it: its size and entity tag, or where the store gives
/// none, when it was last written.
///
/// # Errors
/// When the store cannot be asked, has no such file, or gives neither.
pub(crate) fn identity(url: &Path) -> Result<String, DataError> {
    let text = text(url);
    let look = || about(&text, &Place::of(&text)?);
    let about = look().map_err(|failure: Failure| failure.of(url))?;
    let size = about.size;
    match &about.e_tag {
        Some(tag) => Ok(format!("size:{size} etag:{tag}")),
        None if about.last_modified.timestamp() > 0 => {
            let time = about.last_modified.to_rfc3339();
            Ok(format!("size:{size} last-modified:{time}"))
        }
        None => Ok(format!("size:{size}")),
    }
}

/// Reads the image that is at one of `urls`, in one request where it is at the first; one of more than `most` bytes is
/// refused before it is read.
pub(super) fn image(urls: &[String], most: u64) -> Result<EncodedImage, String> {
    let mut missing = None;
    for url in urls {
        match fetch(url, most) {
            Ok(image) => return Ok(image),
            Err(failure) if failure.is_missing() => {
                missing.get_or_insert(failure);
            }
            Err(failure) => return Err(failure.to_string()),
        }
    }
    Err(missing.map_or_else(|| "has no URL".into(), |failure| failure.to_string()))
}

fn fetch(url: &str, most: u64) -> Result<EncodedImage, Failure> {
    let place = Place::of(url)?;
    let bytes = ask(blob::persistent(|| async {
        let found = place.store.get(&place.path).await;
        let found = found.map_err(|error| Failure::of_store(url, error))?;
        if found.meta.size > most {
            let length = found.meta.size;
            let message = format!("has {length} bytes; expected at most {most}");
            return Err(Failure::Refused(message));
        }
        let bytes = found.bytes().await;
        bytes.map_err(|error| Failure::of_body(url, error))
    }))?;
    Ok(EncodedImage {
        bytes,
        path: Some(url.to_owned()),
    })
}

/// Whether a store has the file.
pub(super) fn exists(url: &Path) -> bool {
    let text = text(url);
    Place::of(&text).is_ok_and(|place| about(&text, &place).is_ok())
}

fn text(url: &Path) -> String {
    url.to_string_lossy().into_owned()
}

/// What a store says about a file. It is asked once: what a run notes down about its data is then what it reads.
fn about(url: &str, place: &Place) -> Result<ObjectMeta, Failure> {
    static KNOWN: OnceLock<Mutex<HashMap<String, ObjectMeta>>> = OnceLock::new();
    let known = KNOWN.get_or_init(Mutex::default);
    let lock = || known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(about) = lock().get(url) {
        return Ok(about.clone());
    }
    let about = ask(async {
        match place.store.head(&place.path).await {
            Ok(about) => Ok(about),
            Err(error) if failure::is_missing(&error) => Err(Failure::of_store(url, error)),
            // Some servers, and URLs that were signed for reading alone, refuse the question and answer a range.
            Err(error) => {
                let options = GetOptions {
                    range: Some(GetRange::Bounded(0..1)),
                    ..GetOptions::default()
                };
                let found = place.store.get_opts(&place.path, options).await;
                found
                    .map(|found| found.meta)
                    .map_err(|_| Failure::of_store(url, error))
            }
        }
    })?;
    lock().insert(url.to_owned(), about.clone());
    Ok(about)
}
