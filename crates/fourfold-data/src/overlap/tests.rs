//! Which images a list holds, and by what a row is recognised.

use std::io::Write;

use serde_json::{Map, Value, json};

use super::*;
use crate::hash::sha256;
use crate::{EncodedImage, PerceptualHash, RowImage};

fn list(ending: &str, text: &str) -> Result<HeldOut, String> {
    let mut file = tempfile::Builder::new().suffix(ending).tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    HeldOut::blocklist(file.path()).map_err(|error| error.to_string())
}

fn columns(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn file(path: &str) -> RowImage {
    RowImage::File(path.into())
}

#[test]
fn a_plain_list_holds_numbers_names_and_hashes() {
    let digest = sha256(b"x");
    let text =
        format!("# COCO\n391895\n\n1000092795.jpg # Flickr30k\n{digest}\n00ff00ff00ff00ff\n");
    let held = list(".txt", &text).unwrap();
    assert_eq!(held.identifiers.len(), 2);
    let found = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        held.find(&names, &[], 4).map(|(evidence, _)| evidence)
    };
    assert_eq!(
        found(&["5", "391895"]),
        Some(Evidence::Identifier("391895".into()))
    );
    assert_eq!(found(&["5"]), None);
    let facts = |bytes: &[u8], hash: u64| ImageFacts {
        digest: sha2::Digest::finalize(sha2::Digest::chain_update(
            <sha2::Sha256 as sha2::Digest>::new(),
            bytes,
        ))
        .into(),
        hash: Some(PerceptualHash(hash)),
        size: (1, 1),
    };
    let looks = |hash, distance| {
        held.find(&[], &[facts(b"y", hash)], distance)
            .map(|found| found.0)
    };
    assert_eq!(
        held.find(&[], &[facts(b"x", 1)], 0).unwrap().0,
        Evidence::Content
    );
    assert_eq!(looks(0x00ff_00ff_00ff_00f8, 4), Some(Evidence::Looks(3)));
    assert_eq!(looks(0x00ff_00ff_00ff_00f8, 2), None);
}

#[test]
fn what_is_no_list_is_refused_by_line() {
    let message = list(".txt", "5\nsome words\n").unwrap_err();
    assert!(
        message.contains("line 2") && message.contains("some words"),
        "{message}"
    );
    let message = list(".json", "[{\"caption\": \"x\"}]").unwrap_err();
    assert!(message.contains("element 0"), "{message}");
    assert!(
        list(".txt", "# nothing\n")
            .unwrap_err()
            .contains("lists no image")
    );
    assert!(
        list(".json", "{")
            .unwrap_err()
            .contains("cannot be read as a list")
    );
}

#[test]
fn published_lists_are_read() {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/layouts");
    let coco = HeldOut::blocklist(&fixtures.join("karpathy/dataset_coco.json")).unwrap();
    let text = std::fs::read_to_string(fixtures.join("karpathy/dataset_coco.json")).unwrap();
    let split: Value = serde_json::from_str(&text).unwrap();
    for image in split["images"].as_array().unwrap() {
        let held = ["test", "val"].contains(&image["split"].as_str().unwrap());
        let id = image["cocoid"].to_string();
        assert_eq!(coco.identifiers.contains(&id), held, "{image}");
    }
    let flickr = HeldOut::blocklist(&fixtures.join("karpathy/dataset_flickr30k.json")).unwrap();
    assert!(!flickr.is_empty() && flickr.identifiers.iter().all(|name| name.ends_with(".jpg")));
    let test =
        HeldOut::blocklist(&fixtures.join("coco/annotations/image_info_test2014.json")).unwrap();
    assert!(
        test.identifiers.iter().all(|id| id.parse::<u64>().is_ok()),
        "{:?}",
        test.identifiers
    );
}

#[test]
fn a_row_is_recognised_by_its_columns_and_files() {
    let of = |value: Value, images: &[RowImage]| identifiers(&columns(value), images);
    let coco = [file("x/COCO_val2014_000000391895.jpg")];
    assert_eq!(
        of(json!({"id": 7}), &coco),
        ["391895"],
        "a row's own number says nothing"
    );
    assert_eq!(of(json!({"image_id": 391895}), &[]), ["391895"]);
    assert_eq!(of(json!({"id": "000000033471"}), &[]), ["33471"]);
    assert_eq!(of(json!({"json": {"cocoid": 9}}), &[]), ["9"]);
    assert_eq!(
        of(json!({}), &[file("flickr30k-images/1000092795.jpg")]),
        ["1000092795.jpg"]
    );
    let named = RowImage::Bytes(EncodedImage {
        bytes: Vec::new().into(),
        path: Some("A.JPG".into()),
    });
    assert_eq!(of(json!({"id": "a row"}), &[named]), ["A.jpg"]);
}
