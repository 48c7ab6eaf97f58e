//! Sources on web servers and in object stores, against a server in this process.
#![cfg(feature = "remote")]

mod server;
mod stores;
mod web;

use std::path::{Path, PathBuf};

use fourfold_data::source::{Row, Table};
use fourfold_data::{Paths, SourceConfig};

/// A file of the fixtures in published layouts.
fn layouts(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/layouts")
        .join(name)
}

fn table(paths: &[&str], image_folder: Option<&str>) -> Result<Table, String> {
    let config = SourceConfig {
        path: Paths::Several(paths.iter().map(PathBuf::from).collect()),
        image_folder: image_folder.map(PathBuf::from),
        images: true,
        ..SourceConfig::default()
    };
    Table::read(&config).map_err(|error| error.to_string())
}

/// Rows with their images' bytes, or what is wrong with them; without names, which say where a table is.
fn contents(table: &Table) -> Vec<String> {
    let images = |row: &Row| -> Vec<Vec<u8>> {
        let images = row.images.iter().enumerate();
        let bytes = images.map(|(index, image)| image.load(&row.origin, index));
        bytes
            .map(|image| image.map_or_else(|_| Vec::new(), |image| image.bytes.to_vec()))
            .collect()
    };
    let row = |number: usize| match table.row(number) {
        Ok(row) => format!("{} {:?} {:?}", row.origin, row.columns, images(&row)),
        Err(error) => error.to_string(),
    };
    (0..table.len()).map(row).collect()
}

/// Demands that a table in a store is what the same files are here.
fn demand_same(remote: &Table, local: &Table) {
    assert_eq!(remote.columns(), local.columns());
    let (remote, local) = (contents(remote), contents(local));
    assert_eq!(remote.len(), local.len());
    for (remote, local) in remote.iter().zip(&local) {
        assert_eq!(remote, local);
    }
}
