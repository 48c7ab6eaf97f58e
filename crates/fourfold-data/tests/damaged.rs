//! Damaged Parquet files. In a file of its own, since it silences the messages of panics.

mod common;

use common::{fixture, names, refusal};
use fourfold_data::SourceConfig;

#[test]
fn damaged_parquet_is_an_error_not_a_panic() {
    // The library's panics are caught; here their messages would only be noise.
    std::panic::set_hook(Box::new(|_| {}));
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(fixture("images.parquet")).unwrap();
    let path = folder.path().join("damaged.parquet");
    for length in (0..whole.len()).step_by(97) {
        std::fs::write(&path, &whole[..length]).unwrap();
        let message = refusal(&SourceConfig {
            path: path.clone().into(),
            ..names()
        });
        assert!(message.contains("damaged.parquet"), "{message}");
    }
    for position in (0..whole.len()).step_by(13) {
        let mut bytes = whole.clone();
        bytes[position] ^= 0x55;
        std::fs::write(&path, &bytes).unwrap();
        // Whatever it says, it must say it as a value.
        let _ = fourfold_data::source::open(&SourceConfig {
            path: path.clone().into(),
            ..names()
        });
    }
    let _ = std::panic::take_hook();
}
