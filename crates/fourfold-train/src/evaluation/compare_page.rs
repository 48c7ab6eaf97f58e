//! Comparisons as text and as a page with both systems' answers side by side.

use std::collections::HashMap;
use std::fmt::Write;

use fourfold_data::EncodedImage;
use fourfold_data::source::RowImage;

use super::Prediction;
use super::compare::{AnswerPair, Comparison, FigurePair};
use super::table::{aligned, number};
use crate::report::STYLE;
use crate::report::encode::{base64, escape, media_type};
use crate::samples::extension;

/// Answers that a page shows of each evaluation.
const SHOWN: usize = 200;

/// What two systems are called.
pub type Names<'a> = [&'a str; 2];

/// The figures of comparisons as a table to read.
pub fn comparison_text(comparisons: &[Comparison], names: Names<'_>) -> String {
    let header = [
        "evaluation",
        "figure",
        names[0],
        names[1],
        "difference (95 %)",
        "p",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for comparison in comparisons {
        for (place, figure) in comparison.figures.iter().enumerate() {
            let name = match place {
                0 => comparison.name.clone(),
                _ => String::new(),
            };
            let mut row = vec![name];
            row.extend(cells(figure));
            rows.push(row);
        }
    }
    aligned(&rows)
}

/// Title, both totals, difference with its interval, p.
fn cells(figure: &FigurePair) -> Vec<String> {
    let number = |value: f64| number(value, figure.share);
    let signed = |value: f64| match value > 0.0 {
        true => format!("+{}", number(value)),
        false => number(value),
    };
    let difference = figure.difference;
    let (low, high) = (difference.interval.low, difference.interval.high);
    vec![
        figure.title.to_owned(),
        number(figure.totals[0]),
        number(figure.totals[1]),
        format!(
            "{} ({} to {})",
            signed(difference.difference),
            signed(low),
            signed(high)
        ),
        match difference.p {
            p if p < 0.001 => "<0.001".into(),
            p => format!("{p:.3}"),
        },
    ]
}

/// A page of comparisons; `images` are those of cases by their ids, where they are at hand. Beside it, how many of the
/// files that predictions name were not found.
pub fn comparison_page(
    comparisons: &[Comparison],
    names: Names<'_>,
    images: &HashMap<String, RowImage>,
) -> (String, usize) {
    let mut lost = 0;
    let title = escape(&format!("{} and {}", names[0], names[1]));
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}\
         table{{border-collapse:collapse}}td,th{{padding:.3rem .8rem;text-align:left;vertical-align:top}}\
         .pairs td{{border-top:1px solid #8884}}.pairs img{{max-width:9rem;max-height:9rem;border-radius:6px}}\
         .better{{font-weight:bold}}</style></head><body>\n<h1>{title}</h1>\n"
    );
    for comparison in comparisons {
        let _ = writeln!(html, "<h2>{}</h2>\n<table>", escape(&comparison.name));
        if let Some(how) = &comparison.asked_otherwise {
            let _ = write!(html, "<caption>Asked otherwise: {}</caption>", escape(how));
        }
        let header = ["figure", names[0], names[1], "difference (95 %)", "p"];
        html.push_str("<tr>");
        for cell in header {
            let _ = write!(html, "<th>{}</th>", escape(cell));
        }
        html.push_str("</tr>\n");
        for figure in &comparison.figures {
            html.push_str("<tr>");
            for cell in cells(figure) {
                let _ = write!(html, "<td>{}</td>", escape(&cell));
            }
            html.push_str("</tr>\n");
        }
        let shown = comparison.answers.len().min(SHOWN);
        let _ = writeln!(
            html,
            "</table>\n<p class=\"facts\">The paired bootstrap draws cases anew; p is how often, twice, a draw turns the \
             difference round. Below, {shown} of {} cases, those first that the two differ most in.</p>\n\
             <table class=\"pairs\"><tr><th></th><th>asked</th><th>{}</th><th>{}</th><th>references</th></tr>",
            comparison.answers.len(),
            escape(names[0]),
            escape(names[1])
        );
        for pair in comparison.answers.iter().take(SHOWN) {
            let image = image(&pair.first, images);
            lost += usize::from(image.is_none() && pair.first.image.is_some());
            html.push_str(&row(pair, image));
        }
        html.push_str("</table>\n");
    }
    html.push_str("</body></html>\n");
    (html, lost)
}

fn row(pair: &AnswerPair, image: Option<EncodedImage>) -> String {
    let case = &pair.first;
    let said = |text: &str, better: bool| {
        let class = if better { " class=\"better\"" } else { "" };
        format!("<td{class}>{}</td>", escape(text))
    };
    let picture = image.map_or_else(String::new, |image| {
        let kind = media_type(extension(&image.bytes));
        format!(
            "<img alt=\"\" src=\"data:{kind};base64,{}\">",
            base64(&image.bytes)
        )
    });
    format!(
        "<tr title=\"{}\"><td>{picture}</td><td class=\"reference\">{}</td>{}{}<td class=\"reference\">{}</td></tr>\n",
        escape(&case.id),
        escape(&case.prompt),
        said(&case.prediction, pair.difference < 0.0),
        said(&pair.second.prediction, pair.difference > 0.0),
        case.references
            .iter()
            .map(|text| escape(text))
            .collect::<Vec<_>>()
            .join("<br>")
    )
}

/// A case's image: the file that predictions name, or what its source has.
fn image(case: &Prediction, images: &HashMap<String, RowImage>) -> Option<EncodedImage> {
    let named = case.image.as_deref();
    let file = named.and_then(|name| RowImage::at(name.into()).load("", 0).ok());
    file.or_else(|| images.get(&case.id)?.load("", 0).ok())
}
