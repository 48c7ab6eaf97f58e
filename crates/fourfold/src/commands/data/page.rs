//! Samples on one page of HTML, which opens without a network.

use std::fmt::Write;

use fourfold_data::show::{Part, PartKind, parts, summary};
use fourfold_data::{Document, EncodedImage, Sample, Tokenizer, decode_rgb, image_file};
use fourfold_train::report::STYLE;
use fourfold_train::report::encode::{base64, escape};
use serde_json::{Map, Value};

use super::sight::Sight;

/// Pixels of the longer side of a picture.
const SIDE: u32 = 192;
const QUALITY: u8 = 85;

const OWN_STYLE: &str = "\
article{margin:2rem 0;padding-top:1rem;border-top:1px solid #8884}\
article img{max-height:12rem;background:#fff;border-radius:6px;margin-right:.5rem}\
.origin{opacity:.7;overflow-wrap:anywhere}\
.turn{margin:.4rem 0;white-space:pre-wrap;overflow-wrap:anywhere}\
.turn b{opacity:.6;font-weight:normal}\
.tokens{font:13px/2 ui-monospace,monospace;overflow-wrap:anywhere}\
.tokens span{padding:.15em .25em;margin:0 .1em;border-radius:4px;background:#8882}\
.tokens .visual{background:#2a6fdb33}\
.tokens .target{background:#1a9e4b44;outline:1px solid #1a9e4b88}\
.sight{width:12rem;height:12rem;border:1px solid #8886}\
.sight path{fill:currentColor;opacity:.75}\
.sight .prompt{fill:#8883}\
.sight .image{fill:#2a6fdb55}\
.broken{color:#c33}";

/// A page as it grows.
pub struct Page {
    html: String,
}

impl Page {
    /// A page called `title`.
    pub fn new(title: &str) -> Self {
        let title = escape(title);
        Self {
            html: format!(
                "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
                 <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
                 <style>{STYLE}{OWN_STYLE}</style></head><body>\n<h1>{title}</h1>\n"
            ),
        }
    }

    /// Begins the samples of one source.
    pub fn section(&mut self, name: &str, about: &str) {
        let _ = writeln!(
            self.html,
            "<h2>{}</h2>\n<p class=\"facts\">{}</p>",
            escape(name),
            escape(about)
        );
    }

    /// A sample: its pictures, turns, and what training sees of it.
    pub fn sample(&mut self, sample: &Sample, seen: Option<(&Document, &Tokenizer, &Sight)>) {
        self.html.push_str("<article>\n");
        self.origin(&sample.origin);
        self.images(sample.images.iter().enumerate().map(|(index, image)| {
            image
                .load(&sample.origin, index)
                .map_err(|error| error.to_string())
        }));
        for turn in &sample.turns {
            for (who, text) in [("prompt", &turn.prompt), ("answer", &turn.answer)] {
                if !text.is_empty() {
                    let _ = writeln!(
                        self.html,
                        "<div class=\"turn\"><b>{who}</b> {}</div>",
                        escape(text)
                    );
                }
            }
        }
        if let Some((document, tokenizer, sight)) = seen {
            let _ = writeln!(
                self.html,
                "<p class=\"facts\">{}</p>\n<div class=\"tokens\">",
                escape(&summary(document))
            );
            for part in parts(document, tokenizer) {
                self.part(&part);
            }
            let _ = writeln!(
                self.html,
                "</div>\n<figure><figcaption class=\"facts\">{}: who sees (down) whom (across)</figcaption>{}</figure>",
                sight.kind(),
                sight.svg()
            );
        }
        self.html.push_str("</article>\n");
    }

    /// A row without a template: its pictures and columns.
    pub fn row(
        &mut self,
        origin: &str,
        images: impl Iterator<Item = Result<EncodedImage, String>>,
        columns: &Map<String, Value>,
    ) {
        self.html.push_str("<article>\n");
        self.origin(origin);
        self.images(images);
        for (name, value) in columns {
            let value = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let _ = writeln!(
                self.html,
                "<div class=\"turn\"><b>{}</b> {}</div>",
                escape(name),
                escape(&value)
            );
        }
        self.html.push_str("</article>\n");
    }

    /// A sample that cannot be read.
    pub fn broken(&mut self, reason: &str) {
        let _ = writeln!(
            self.html,
            "<article><p class=\"broken\">broken: {}</p></article>",
            escape(reason)
        );
    }

    /// The whole page.
    pub fn finish(mut self) -> String {
        self.html.push_str("</body></html>\n");
        self.html
    }

    fn origin(&mut self, origin: &str) {
        let _ = writeln!(self.html, "<div class=\"origin\">{}</div>", escape(origin));
    }

    fn images(&mut self, images: impl Iterator<Item = Result<EncodedImage, String>>) {
        for image in images {
            let picture = image.and_then(|image| {
                let rgb = decode_rgb(&image.bytes)?;
                let (width, height) = rgb.dimensions();
                let small = image_file::shrunk(rgb, SIDE)?;
                let path = image.path.unwrap_or_default();
                let title = format!("{path} {width} × {height}, {} bytes", image.bytes.len());
                Ok((image_file::jpeg(&small, QUALITY)?, title))
            });
            let _ = match picture {
                Ok((jpeg, title)) => writeln!(
                    self.html,
                    "<img alt=\"\" title=\"{}\" src=\"data:image/jpeg;base64,{}\">",
                    escape(title.trim()),
                    base64(&jpeg)
                ),
                Err(reason) => writeln!(
                    self.html,
                    "<p class=\"broken\">image: {}</p>",
                    escape(&reason)
                ),
            };
        }
    }

    fn part(&mut self, part: &Part) {
        let text = escape(&part.text);
        let _ = match part.kind {
            PartKind::Token => writeln!(self.html, "<span>{text}</span>"),
            PartKind::Visual(count) => {
                writeln!(self.html, "<span class=\"visual\">{text}×{count}</span>")
            }
            PartKind::Target => {
                writeln!(
                    self.html,
                    "<span class=\"target\" title=\"target\">{text}</span>"
                )
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fourfold_data::Turn;
    use serde_json::json;

    #[test]
    fn what_samples_say_is_escaped_and_nothing_is_fetched() {
        let mut page = Page::new("a<b");
        let hostile = "<script>alert(1)</script>\" onload='x";
        page.section(hostile, hostile);
        let turn = Turn {
            prompt: hostile.into(),
            answer: hostile.into(),
        };
        let image = EncodedImage {
            bytes: b"no image".as_slice().into(),
            path: Some(hostile.into()),
        };
        let sample = Sample {
            origin: hostile.into(),
            images: vec![image.into()],
            turns: vec![turn],
        };
        page.sample(&sample, None);
        let columns = json!({ hostile: hostile });
        page.row(hostile, std::iter::empty(), columns.as_object().unwrap());
        page.broken(hostile);
        let html = page.finish();
        assert!(
            !html.contains("<script") && !html.contains("onload='x"),
            "{html}"
        );
        assert!(html.contains(&escape(hostile)) && html.ends_with("</body></html>\n"));
        assert!(!html.contains("http") && !html.contains("@import"));
    }
}
