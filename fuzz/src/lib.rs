//! What all targets do: write the bytes to a file and read all there is in it.

use std::cell::RefCell;
use std::io::{Seek, Write};
use std::panic;
use std::path::Path;
use std::sync::Once;

use fourfold_data::source::{self, Table};
use fourfold_data::{SourceConfig, decode_rgb, sample_rng};
use tempfile::NamedTempFile;

/// Reads `bytes` as a file whose name ends with `ending`, each row, image and sample of it. Broken ones are fine; a
/// panic, a hang or memory without bound is what the search is for.
pub fn read_everything(bytes: &[u8], ending: &str) {
    let_caught_panics_pass();
    thread_local! {
        static FILE: RefCell<Option<NamedTempFile>> = const { RefCell::new(None) };
    }
    FILE.with_borrow_mut(|kept| {
        let file = kept.get_or_insert_with(|| {
            let mut builder = tempfile::Builder::new();
            builder.suffix(ending).tempfile().expect("a temporary file")
        });
        let written = file
            .rewind()
            .and_then(|()| file.as_file().set_len(0))
            .and_then(|()| file.write_all(bytes));
        written.expect("a temporary file is written");
        read(file.path());
    });
}

/// Decodes `bytes` as an image.
pub fn decode(bytes: &[u8]) {
    let_caught_panics_pass();
    let _ = decode_rgb(bytes);
}

/// Makes the search end at panics that nobody catches alone. libFuzzer's hook ends it at any, also at those of the Parquet
/// library and the image decoders, which the readers catch and tell as damage of the file.
fn let_caught_panics_pass() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| panic::set_hook(Box::new(|_| {})));
}

fn read(path: &Path) {
    let config = SourceConfig {
        path: path.into(),
        images: true,
        ..SourceConfig::default()
    };
    let Ok(table) = Table::read(&config) else {
        return;
    };
    for number in 0..table.len() {
        let Ok(row) = table.row(number) else { continue };
        for (index, image) in row.images.iter().enumerate() {
            if let Ok(image) = image.load(&row.origin, index) {
                let _ = decode_rgb(&image.bytes);
            }
        }
    }
    let Ok(source) = source::open(&config) else {
        return;
    };
    for number in 0..source.len().min(64) {
        let _ = source.sample(number, &mut sample_rng(0, number as u64));
    }
}
