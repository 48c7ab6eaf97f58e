//! Samples shown with what sees what, and as a page.

use std::fs;

use crate::support::*;

#[test]
fn visibility_is_drawn() {
    let place = workplace();
    let arguments = [
        "data",
        "show",
        "tiny.toml",
        "--data",
        "names",
        "--count",
        "1",
        "--visibility",
    ];
    let text = good(place.path(), &arguments).out;
    assert!(text.contains("visibility image-bidirectional"), "{text}");
    // begin, four of the image, the rest: the begin and the first of the image are the first line.
    assert!(text.contains("\n  █▄▄▄▄··"), "{text}");
}

#[test]
fn a_page_has_pictures_tokens_and_no_network() {
    let place = workplace();
    let place = place.path();
    write(
        place,
        "odd.jsonl",
        "{\"image\": \"red.png\", \"name\": \"<script>x</script>\"}\n",
    );
    good(place, &["data", "show", "tiny.toml", "--html", "page.html"]);
    let page = fs::read_to_string(place.join("page.html")).expect("written");
    for part in [
        "data:image/jpeg;base64,",
        "class=\"target\"",
        "class=\"sight\"",
        "×4",
        "names",
        "held-out",
    ] {
        assert!(page.contains(part), "{part}");
    }
    good(place, &["data", "show", "odd.jsonl", "--html", "page.html"]);
    let page = fs::read_to_string(place.join("page.html")).expect("written");
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script"));
    assert!(!page.contains("http"));
    let message = refused(
        place,
        &["data", "show", "odd.jsonl", "--html", "no/such/page.html"],
        1,
    );
    assert!(message.contains("page.html"), "{message}");
}
