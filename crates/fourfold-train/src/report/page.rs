//! The page itself.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::chart::chart;
use super::encode::{base64, escape, media_type};
use crate::metrics::StepRecord;
use crate::samples::SampleRecord;

/// How pages look.
pub const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h2{margin-top:2.5rem}\
.row{display:flex;flex-wrap:wrap;gap:1.5rem}\
.row>*{flex:1 1 20rem;margin:0}\
svg{width:100%;overflow:visible}\
svg text{font-size:11px;fill:currentColor;opacity:.7}\
svg polyline{fill:none;stroke:#2a6fdb;stroke-width:2}\
svg .raw{opacity:.3;stroke-width:1}\
svg .axis{stroke:currentColor;opacity:.3}\
.samples{display:grid;grid-template-columns:repeat(auto-fill,minmax(11rem,1fr));gap:1.2rem}\
.samples figure{margin:0}\
.samples img{width:100%;max-width:11rem;background:#fff;border-radius:6px;image-rendering:auto}\
.reference,.facts{opacity:.7}\
pre{overflow-x:auto;background:#8881;padding:1rem;border-radius:6px}";

/// What the page shows.
pub struct Content<'a> {
    pub name: &'a str,
    pub records: &'a [StepRecord],
    /// The table of scores as text.
    pub scores: Option<&'a str>,
    /// The step of the last captions, and the captions.
    pub samples: Option<&'a (usize, Vec<SampleRecord>)>,
    /// The folder that the captions' pictures lie in.
    pub pictures: &'a Path,
    /// The recipe as resolved.
    pub recipe: &'a str,
}

pub fn page(content: &Content<'_>) -> String {
    let name = escape(content.name);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{name}</title>\
         <style>{STYLE}</style></head><body>\n<h1>{name}</h1>\n"
    );
    for stage in stages(content.records) {
        html.push_str(&section(stage));
    }
    if let Some(scores) = content.scores {
        let _ = writeln!(
            html,
            "<h2>Scores</h2>\n<pre>{}</pre>",
            escape(scores.trim_end())
        );
    }
    if let Some((step, samples)) = content.samples {
        let _ = writeln!(
            html,
            "<h2>Held-out images after {step} updates</h2>\n<div class=\"samples\">"
        );
        for sample in samples {
            html.push_str(&figure(sample, content.pictures));
        }
        html.push_str("</div>\n");
    }
    let _ = writeln!(
        html,
        "<h2>Recipe</h2>\n<pre>{}</pre>",
        escape(content.recipe.trim_end())
    );
    html.push_str("</body></html>\n");
    html
}

/// The records of each stage, in their order.
fn stages(records: &[StepRecord]) -> Vec<&[StepRecord]> {
    records.chunk_by(|a, b| a.stage == b.stage).collect()
}

/// What there is to say of a stage's updates in fp16, `last` being the last of them.
fn overflowed(last: &StepRecord) -> String {
    match last.skipped_updates {
        None | Some(0) => String::new(),
        Some(skipped) => {
            format!(", {skipped} updates skipped whose gradients overflowed in fp16")
        }
    }
}

fn section(records: &[StepRecord]) -> String {
    let Some(last) = records.last() else {
        return String::new();
    };
    let of = |value: fn(&StepRecord) -> f64| records.iter().map(value).collect::<Vec<f64>>();
    let total = |value: fn(&StepRecord) -> usize| records.iter().map(value).sum::<usize>();
    let seconds: f64 = of(|record| record.seconds).iter().sum();
    let waited: f64 = of(|record| record.data_wait_seconds).iter().sum();
    let tokens = total(|record| record.tokens);
    let charts = [
        ("loss", chart("loss", &of(|record| record.loss))),
        (
            "norm of the gradients",
            chart("norm of the gradients", &of(|record| record.grad_norm)),
        ),
    ];
    let mut html = format!(
        "<h2>Stage {}</h2>\n<p class=\"facts\">{} updates, {} samples, {tokens} tokens in {seconds:.0} s \
         ({:.0} tokens/s, {:.0} % waiting for data); {} draws of broken samples, {} documents cut{}</p>\n\
         <div class=\"row\">",
        escape(&last.stage),
        records.len(),
        total(|record| record.samples),
        tokens as f64 / seconds.max(1e-9),
        100.0 * waited / seconds.max(1e-9),
        total(|record| record.skipped),
        total(|record| record.truncated),
        overflowed(last),
    );
    for (title, chart) in charts {
        let _ = write!(
            html,
            "<figure><figcaption>{title}</figcaption>{chart}</figure>"
        );
    }
    html.push_str("</div>\n");
    html
}

fn figure(sample: &SampleRecord, pictures: &Path) -> String {
    let mut html = format!("<figure title=\"{}\">", escape(&sample.origin));
    if let Some(name) = &sample.image
        && let Ok(bytes) = fs::read(pictures.join(name))
    {
        let (kind, data) = (media_type(name), base64(&bytes));
        let _ = write!(html, "<img alt=\"\" src=\"data:{kind};base64,{data}\">");
    }
    let _ = writeln!(
        html,
        "<figcaption><div class=\"reference\">{}</div><b>{}</b><div class=\"reference\">expected: {}</div>\
         </figcaption></figure>",
        escape(&sample.prompt),
        escape(&sample.answer),
        escape(&sample.reference)
    );
    html
}
