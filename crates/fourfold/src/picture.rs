//! Small images as coloured half blocks: two pixels a character, one above the other.

use std::env;
use std::io::{IsTerminal, stdout};

use fourfold_data::{Fit, ImageTransform, PixelArray, decode_rgb};

/// The colours that a terminal shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colors {
    /// 24 bits a pixel.
    True,
    /// The cube of 6 × 6 × 6 colours.
    Cube,
}

/// What the standard output can show; none where pictures would be noise.
pub fn colors() -> Option<Colors> {
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let set = |name: &str| !variable(name).is_empty();
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].map(variable);
    let locale = locale
        .iter()
        .find(|value| !value.is_empty())
        .map(|value| value.to_uppercase());
    let unicode = locale.is_some_and(|value| value.contains("UTF-8") || value.contains("UTF8"));
    if !stdout().is_terminal() || set("NO_COLOR") || !unicode {
        return None;
    }
    let term = variable("TERM");
    match variable("COLORTERM").as_str() {
        "truecolor" | "24bit" => Some(Colors::True),
        _ if term.contains("direct") => Some(Colors::True),
        _ if term.contains("256color") => Some(Colors::Cube),
        _ => None,
    }
}

/// An image file as `side / 2` lines of `side` characters.
///
/// # Errors
/// What is wrong with the bytes.
pub fn draw(bytes: &[u8], side: usize, colors: Colors) -> Result<Vec<String>, String> {
    let transform = ImageTransform {
        size: side.next_multiple_of(2).into(),
        fit: Fit::Pad,
        ..ImageTransform::default()
    };
    let pixels = transform.resize(&decode_rgb(bytes)?)?;
    let line = |row: usize| {
        let mut line = String::new();
        for column in 0..pixels.width {
            let above = color(&pixels, 2 * row, column, colors);
            let below = color(&pixels, 2 * row + 1, column, colors);
            line += &format!("\x1b[38;{above};48;{below}m▀");
        }
        line + "\x1b[0m"
    };
    Ok((0..pixels.height / 2).map(line).collect())
}

/// One pixel as the parameters of an escape sequence.
fn color(pixels: &PixelArray, row: usize, column: usize, colors: Colors) -> String {
    let plane = pixels.height * pixels.width;
    let place = row * pixels.width + column;
    let value = |channel: usize| pixels.data[channel * plane + place];
    match colors {
        Colors::True => {
            let byte = |channel| (value(channel) * 255.0).round() as u8;
            format!("2;{};{};{}", byte(0), byte(1), byte(2))
        }
        Colors::Cube => {
            let level = |channel| (value(channel) * 5.0).round() as u8;
            format!("5;{}", 16 + 36 * level(0) + 6 * level(1) + level(2))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 2 × 2 bitmap: red and green above blue and white.
    fn bitmap() -> Vec<u8> {
        let mut bytes = b"BM".to_vec();
        for number in [70u32, 0, 54, 40, 2, 2, 1 | 24 << 16, 0, 16] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.resize(54, 0);
        bytes.extend([255, 0, 0, 255, 255, 255, 0, 0]);
        bytes.extend([0, 0, 255, 0, 255, 0, 0, 0]);
        bytes
    }

    #[test]
    fn two_pixels_share_a_character() {
        let lines = draw(&bitmap(), 2, Colors::True).unwrap();
        assert_eq!(
            lines,
            ["\x1b[38;2;255;0;0;48;2;0;0;255m▀\x1b[38;2;0;255;0;48;2;255;255;255m▀\x1b[0m"]
        );
        let lines = draw(&bitmap(), 2, Colors::Cube).unwrap();
        assert_eq!(
            lines,
            ["\x1b[38;5;196;48;5;21m▀\x1b[38;5;46;48;5;231m▀\x1b[0m"]
        );
    }

    #[test]
    fn a_picture_keeps_its_size_and_a_broken_one_is_told() {
        let lines = draw(&bitmap(), 24, Colors::True).unwrap();
        assert_eq!(lines.len(), 12);
        assert!(lines.iter().all(|line| line.matches('▀').count() == 24));
        assert!(draw(b"nothing", 24, Colors::True).is_err());
    }
}
