//! What stands in for `remote` where this crate is built without it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::blob::Blob;
use super::location::NOT_BUILT;
use crate::{DataError, EncodedImage};

pub(super) fn open(url: &Path) -> Result<Arc<dyn Blob>, DataError> {
    Err(DataError::file(url, NOT_BUILT))
}

pub(super) fn matched(url: &Path) -> Result<Vec<PathBuf>, DataError> {
    Err(DataError::file(url, NOT_BUILT))
}

pub(crate) fn identity(url: &Path) -> Result<String, DataError> {
    Err(DataError::file(url, NOT_BUILT))
}

pub(super) fn image(_urls: &[String], _most: u64) -> Result<EncodedImage, String> {
    Err(NOT_BUILT.into())
}

pub(super) fn exists(_url: &Path) -> bool {
    false
}
