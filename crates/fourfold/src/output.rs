//! Writing to the terminal, and numbers as people read them.

use std::fmt::{Arguments, Display};
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, Result};

/// Writes one line to the standard output.
///
/// # Errors
/// When the output is closed; the command ends there without a word.
pub fn say(text: impl Display) -> Result<()> {
    let mut out = io::stdout().lock();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    written.context("cannot write to the standard output")
}

/// Writes one line to the standard error; a closed one is nobody's to hear.
pub fn note(text: Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether someone watches, so that bars can move.
pub fn watched() -> bool {
    io::stdout().is_terminal() && io::stderr().is_terminal()
}

/// Text of others with what would steer the terminal, or turn the direction of writing, made visible.
pub fn printable(text: &str) -> String {
    let steers = |c: char| {
        c.is_control() && c != '\n' && c != '\t'
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match steers(c) {
            true => shown.extend(c.escape_unicode()),
            false => shown.push(c),
        }
    }
    shown
}

/// `1234567` as `1.23 M`.
pub fn count(number: usize) -> String {
    let value = number as f64;
    match number {
        0..10_000 => number.to_string(),
        10_000..1_000_000 => format!("{:.1} k", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} M", value / 1e6),
        _ => format!("{:.2} G", value / 1e9),
    }
}

/// A time as `41 s`, `3 min 20 s` or `2 h 5 min`.
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    match seconds {
        0..90 => format!("{seconds} s"),
        90..5400 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Bytes as `1.21 GiB`.
pub fn bytes(number: u64) -> String {
    let value = number as f64;
    match number {
        0..1024 => format!("{number} B"),
        1024..1_048_576 => format!("{:.0} KiB", value / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.0} MiB", value / 1_048_576.0),
        _ => format!("{:.2} GiB", value / 1_073_741_824.0),
    }
}

/// A path as seen from here where that is shorter.
pub fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let inside = here
        .as_deref()
        .and_then(|here| path.strip_prefix(here).ok());
    let path = inside.unwrap_or(path);
    if path.as_os_str().is_empty() {
        ".".into()
    } else {
        path.display().to_string()
    }
}

/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// How this program was called: what a command to repeat begins with.
pub fn program() -> String {
    std::env::args()
        .next()
        .map_or_else(|| "fourfold".into(), |word| quoted(&word))
}

/// Columns as wide as their widest cell, two spaces between; the first to the left, the others to the right.
pub fn columns(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let gap = " ".repeat(
                width(column)
                    .unwrap_or(0)
                    .saturating_sub(cell.chars().count()),
            );
            line += &if column == 0 {
                format!("{cell}{gap}")
            } else {
                format!("  {gap}{cell}")
            };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(count(9_999), "9999");
        assert_eq!(count(12_345), "12.3 k");
        assert_eq!(count(1_234_567), "1.23 M");
        assert_eq!(count(4_300_000_000), "4.30 G");
        assert_eq!(duration(41.4), "41 s");
        assert_eq!(duration(200.0), "3 min 20 s");
        assert_eq!(duration(7500.0), "2 h 05 min");
        assert_eq!(bytes(3 << 29), "1.50 GiB");
    }

    #[test]
    fn what_steers_a_terminal_is_shown() {
        assert_eq!(printable("a\u{1b}[31mb\tc\n"), "a\\u{1b}[31mb\tc\n");
        assert_eq!(printable("x\u{202e}y é"), "x\\u{202e}y é");
    }

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quoted("runs/a-b"), "runs/a-b");
        assert_eq!(quoted("my run"), "'my run'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn columns_line_up() {
        let rows = [["a", "long"], ["abc", "x"]].map(|row| row.map(String::from).to_vec());
        assert_eq!(columns(&rows), "a    long\nabc     x");
    }
}
