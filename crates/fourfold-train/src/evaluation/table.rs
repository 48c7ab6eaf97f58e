//! Scores as a table to read.

use super::figures::{Figures, Intervals, columns};
use super::{EvaluationScores, Scores};

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Aligned columns of plain text.
    Text,
    /// A Markdown table.
    Markdown,
}

/// Every figure of `scores`: a row a system, then one a kind of cases, a column a figure that any of them has. The model's
/// figures come with their 95 % interval.
pub fn table(scores: &Scores, layout: Layout) -> String {
    let all = scores.0.values().flat_map(EvaluationScores::systems);
    let columns = columns(all.map(|(_, figures)| figures).clone());
    let mut rows = Vec::new();
    let header = ["evaluation", "system", "samples"].map(str::to_owned);
    let titles = columns.iter().map(|(_, title, _)| (*title).to_owned());
    rows.push(header.into_iter().chain(titles).collect());
    let none = Intervals::new();
    let cells = |figures: &Figures, intervals: &Intervals| -> Vec<String> {
        let cell = |(name, _, share): &(&str, &str, bool)| {
            figures.get(name).map_or_else(String::new, |value| {
                let interval = intervals
                    .get(*name)
                    .map_or_else(String::new, |[low, high]| {
                        format!(" ({}–{})", number(*low, *share), number(*high, *share))
                    });
                format!("{}{interval}", number(value, *share))
            })
        };
        columns.iter().map(cell).collect()
    };
    for (evaluation, scores) in &scores.0 {
        for (place, (system, figures)) in scores.systems().into_iter().enumerate() {
            let (name, samples, intervals) = match place {
                0 => (
                    evaluation.clone(),
                    scores.samples.to_string(),
                    &scores.interval_95,
                ),
                _ => (String::new(), String::new(), &none),
            };
            let mut row = vec![name, system.replace('_', " "), samples];
            row.extend(cells(figures, intervals));
            rows.push(row);
        }
        for (group, scores) in &scores.groups {
            let mut row = vec![String::new(), group.clone(), scores.samples.to_string()];
            row.extend(cells(&scores.model, &scores.interval_95));
            rows.push(row);
        }
    }
    match layout {
        Layout::Text => aligned(&rows),
        Layout::Markdown => markdown(&rows),
    }
}

/// A share as percent; CIDEr, which is none, as it is.
pub(super) fn number(value: f64, share: bool) -> String {
    match share {
        true => format!("{:.1}", 100.0 * value),
        false => format!("{value:.3}"),
    }
}

/// Columns as wide as their widest cell, numbers to the right, two spaces between.
pub(super) fn aligned(rows: &[Vec<String>]) -> String {
    let widths = widths(rows);
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let gap = " ".repeat(width - cell.chars().count());
            line += if column == 0 { "" } else { "  " };
            line += &if column < 2 {
                format!("{cell}{gap}")
            } else {
                format!("{gap}{cell}")
            };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn markdown(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        text += &format!("| {} |\n", row.join(" | "));
        if number == 0 {
            let rule = (0..row.len()).map(|column| if column < 2 { "---" } else { "---:" });
            text += &format!("|{}|\n", rule.collect::<Vec<_>>().join("|"));
        }
    }
    text
}

fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter()
            .map(|row: &Vec<String>| row[column].chars().count())
            .max()
    };
    (0..columns)
        .map(|column| width(column).unwrap_or(0))
        .collect()
}
