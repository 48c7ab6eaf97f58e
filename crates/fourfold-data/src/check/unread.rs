//! Columns that look as if they named images, in rows of which no image is read.

use serde_json::{Map, Value};

/// What the name of an image ends with.
const ENDINGS: [&str; 6] = [".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"];

/// The columns of a row whose cells are paths or addresses of images.
pub(super) fn columns_with_images(columns: &Map<String, Value>) -> Vec<&str> {
    let found = columns.iter().filter(|(_, value)| names_image(value));
    found.map(|(name, _)| name.as_str()).collect()
}

fn names_image(value: &Value) -> bool {
    match value {
        // A text of several lines may end with a file's name, but is no path.
        Value::String(text) => {
            let text = text.trim().to_ascii_lowercase();
            !text.contains('\n') && ENDINGS.iter().any(|ending| text.ends_with(ending))
        }
        Value::Array(list) => list.first().is_some_and(names_image),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_and_addresses_of_images_are_seen() {
        let Value::Object(columns) = json!({
            "img": "a/b.JPG", "imgs": ["x.png"], "url": "https://example.org/1.webp",
            "text": "a cat.", "note": "see\nx.png", "number": 3, "none": null,
        }) else {
            panic!("an object")
        };
        assert_eq!(columns_with_images(&columns), ["img", "imgs", "url"]);
    }
}
