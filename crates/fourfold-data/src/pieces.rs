//! Prompts that say where their images stand.

use crate::sample::IMAGE_MARK;
use crate::{DataError, Turn};

/// A part of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'p> {
    /// Text, not empty.
    Text(&'p str),
    /// The place of an image.
    Image,
}

/// A prompt cut at its marks. White space beside a mark is dropped: an image is a boundary by itself, and `<image>\n` of
/// one data set should train what is asked later of an image and a text.
pub(crate) fn pieces(prompt: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let last = prompt.matches(IMAGE_MARK).count();
    for (number, text) in prompt.split(IMAGE_MARK).enumerate() {
        if number > 0 {
            pieces.push(Piece::Image);
        }
        let text = if number > 0 { text.trim_start() } else { text };
        let text = if number < last { text.trim_end() } else { text };
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
    }
    pieces
}

/// Whether the prompts say where the images stand; where they do not, all stand before the first prompt.
///
/// # Errors
/// When they place more or fewer images than there are.
pub(crate) fn are_placed<'p>(
    origin: &str,
    images: usize,
    prompts: impl Iterator<Item = &'p str>,
) -> Result<bool, DataError> {
    let marks: usize = prompts
        .map(|prompt| prompt.matches(IMAGE_MARK).count())
        .sum();
    match marks {
        0 => Ok(false),
        marks if marks == images => Ok(true),
        marks => Err(DataError::Row {
            origin: origin.into(),
            message: format!(
                "its prompts place {marks} images with `{IMAGE_MARK}`, and it has {images}"
            ),
        }),
    }
}

/// Demands that `answer` is something to learn: text, and no image.
///
/// # Errors
/// When it is empty, or has the mark of an image in it.
pub(crate) fn demand_answer(origin: &str, answer: &str) -> Result<(), DataError> {
    if answer.trim().is_empty() {
        return Err(DataError::EmptyAnswer {
            origin: origin.into(),
        });
    }
    if answer.contains(IMAGE_MARK) {
        return Err(DataError::Row {
            origin: origin.into(),
            message: format!("its answer has `{IMAGE_MARK}` in it, and an image is nothing to say"),
        });
    }
    Ok(())
}

/// The prompts of some turns.
pub(crate) fn prompts(turns: &[Turn]) -> impl Iterator<Item = &str> {
    turns.iter().map(|turn| turn.prompt.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_cut_at_its_marks() {
        use Piece::{Image, Text};
        assert_eq!(pieces("What? "), [Text("What? ")]);
        assert_eq!(pieces("<image>\nWhat?"), [Image, Text("What?")]);
        assert_eq!(pieces("What?\n<image>"), [Text("What?"), Image]);
        assert_eq!(
            pieces("Is <image> like <image> ?"),
            [Text("Is"), Image, Text("like"), Image, Text("?")]
        );
        assert_eq!(pieces(""), []);
    }

    #[test]
    fn marks_are_as_many_as_images_or_none() {
        let placed =
            |images, prompts: &[&str]| are_placed("a:row 1", images, prompts.iter().copied());
        assert!(!placed(2, &["What?"]).unwrap());
        assert!(placed(2, &["<image>?", "And <image>?"]).unwrap());
        let error = placed(1, &["<image> <image>"]).unwrap_err().to_string();
        assert!(
            error.contains("place 2 images") && error.contains("has 1"),
            "{error}"
        );
        assert!(placed(0, &["<image>"]).is_err());
    }
}
