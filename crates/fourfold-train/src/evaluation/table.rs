//! Scores as a table to read.

use super::{EvaluationScores, Figures, Scores};

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Aligned columns of plain text.
    Text,
    /// A Markdown table.
    Markdown,
}

/// Every figure of `scores`: a row a system, a column a figure that any of them has. The model's figures
/// come with their 95 % interval where they have one.
pub fn table(scores: &Scores, layout: Layout) -> String {
    let all = || scores.0.values().flat_map(EvaluationScores::systems);
    let columns: Vec<(usize, &str)> = Figures::default()
        .named()
        .iter()
        .enumerate()
        .filter(|(index, _)| all().any(|(_, figures)| figures.named()[*index].1.is_some()))
        .map(|(index, (name, _))| (index, *name))
        .collect();
    let mut rows = Vec::new();
    let header = ["evaluation", "system", "samples"].map(str::to_owned);
    rows.push(
        header
            .into_iter()
            .chain(columns.iter().map(|(_, name)| title(name)))
            .collect(),
    );
    for (evaluation, scores) in &scores.0 {
        for (place, (system, figures)) in scores.systems().into_iter().enumerate() {
            let (name, samples) = match place {
                0 => (evaluation.clone(), scores.samples.to_string()),
                _ => (String::new(), String::new()),
            };
            let mut row = vec![name, system.replace('_', " "), samples];
            for (index, name) in &columns {
                let interval = scores.interval_95.get(*name).filter(|_| system == "model");
                row.push(figures.named()[*index].1.map_or_else(String::new, |value| {
                    let interval = interval.map_or_else(String::new, |[low, high]| {
                        format!(" ({}–{})", number(name, *low), number(name, *high))
                    });
                    format!("{}{interval}", number(name, value))
                }));
            }
            rows.push(row);
        }
    }
    match layout {
        Layout::Text => text(&rows),
        Layout::Markdown => markdown(&rows),
    }
}

fn title(name: &str) -> String {
    match name {
        "exact_match" => "exact match %".into(),
        "accuracy" => "accuracy %".into(),
        "vqa_accuracy" => "VQA accuracy %".into(),
        "cider_d" => "CIDEr-D".into(),
        "rouge_l" => "ROUGE-L %".into(),
        bleu => format!("BLEU-{} %", bleu.trim_start_matches("bleu")),
    }
}

/// A share as percent; CIDEr-D, which is none, as it is.
fn number(name: &str, value: f64) -> String {
    if name == "cider_d" {
        format!("{value:.3}")
    } else {
        format!("{:.1}", 100.0 * value)
    }
}

/// Columns as wide as their widest cell, numbers to the right, two spaces between.
fn text(rows: &[Vec<String>]) -> String {
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
