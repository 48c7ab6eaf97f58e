//! Every section of a recipe in `docs/data.md` is one, and reads the fixture that it names.

mod common;

use std::path::Path;

use common::{fixture, open};
use fourfold_data::{SourceConfig, sample_rng};

/// The blocks of TOML of a document.
fn blocks(text: &str) -> Vec<&str> {
    let blocks = text.split("```toml\n").skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

#[test]
fn every_section_of_the_document_reads_its_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/data.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut count = 0;
    for block in blocks(&text) {
        let recipe: toml::Table = toml::from_str(block).unwrap_or_else(|e| panic!("{e}\n{block}"));
        assert!(recipe.keys().all(|key| key == "data"), "{block}");
        for (name, section) in recipe["data"].as_table().unwrap() {
            let section = section.clone();
            let mut config: SourceConfig =
                section.try_into().unwrap_or_else(|e| panic!("{name}: {e}"));
            let paths = config.path.written_mut().iter_mut();
            let others = [&mut config.image_folder, &mut config.annotations];
            for path in paths.chain(others.into_iter().flatten()) {
                *path = fixture("layouts").join(&path);
            }
            let source = open(&config);
            let sample = source
                .sample(0, &mut sample_rng(0, 0))
                .unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(!sample.turns[0].answer.is_empty(), "{name}");
            let shown = sample
                .read_images()
                .unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(!shown.is_empty(), "{name} shows an image");
            count += 1;
        }
    }
    assert!(count >= 12, "{count} sections");
}
