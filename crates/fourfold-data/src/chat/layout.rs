//! A chat template as the layout of documents: what the template writes is the document, and the answers with the
//! token that ends each are what is learnt.

use minijinja::value::Value;

use super::{ChatTemplate, Content, ContentPart, Message};
use crate::document::Layout;
use crate::pieces::{Piece, are_placed, pieces, prompts};
use crate::sample::IMAGE_MARK;
use crate::{DataError, Sample, Tokenizer};

/// Stands for a prompt and an answer where the layout tries the template.
pub(super) const TRIED: [&str; 2] = ["Apple", "Banana"];

/// A chat template that fits a tokenizer.
#[derive(Clone, Debug)]
pub(crate) struct ChatLayout {
    pub(super) template: ChatTemplate,
    pub(super) system: Option<String>,
    /// The text that keeps an image's place, and its token.
    pub(super) image: String,
    image_id: u32,
    end: u32,
    begin: Option<u32>,
    /// Whether the template takes a message in parts and writes the images itself.
    pub(super) parts: bool,
}

impl ChatLayout {
    /// Tries the template with a question about an image and its answer.
    ///
    /// # Errors
    /// When the template writes no special token after an answer, an image not as one token, or a prompt otherwise with
    /// its answer than without.
    pub fn new(
        template: ChatTemplate,
        system: Option<String>,
        image: &str,
        tokenizer: &Tokenizer,
    ) -> Result<Self, DataError> {
        let begin = template.tokens().get("bos_token");
        let mut layout = Self {
            begin: begin.and_then(|token| tokenizer.special(token).ok()),
            system,
            image: image.to_owned(),
            image_id: tokenizer.placeholder(image)?,
            end: 0,
            parts: true,
            template,
        };
        // Templates that know only texts refuse parts, or write them out as data.
        layout.parts = layout.tried(1).is_ok_and(|text| {
            text.matches(image).count() == 1 && text.contains(TRIED[0]) && !text.contains("'type'")
        });
        let text = layout.tried(1)?;
        if text.matches(image).count() != 1 {
            let message = format!(
                "it drops `{image}` from a question; expected it to write what is asked as it is"
            );
            return Err(layout.fail(message));
        }
        layout.end = layout.find_end(tokenizer)?;
        let messages = layout.messages(1, false, &[(TRIED[0], Some(TRIED[1]))]);
        layout.prefix(&messages[..messages.len() - 1], &text)?;
        Ok(layout)
    }

    /// The token that ends an answer.
    pub fn end(&self) -> u32 {
        self.end
    }

    /// The token that keeps an image's place.
    pub fn image(&self) -> u32 {
        self.image_id
    }

    /// A training document: what the template writes for all turns.
    pub fn document(&self, sample: &Sample, tokenizer: &Tokenizer) -> Result<Layout, DataError> {
        if let [turn] = sample.turns.as_slice()
            && sample.images.is_empty()
            && turn.prompt.is_empty()
        {
            return self.plain(&turn.answer, tokenizer);
        }
        let placed = are_placed(&sample.origin, sample.images.len(), prompts(&sample.turns))?;
        for turn in &sample.turns {
            self.demand_prompt(&sample.origin, &turn.prompt, placed, tokenizer)?;
            self.demand_text(&sample.origin, &turn.answer, tokenizer)?;
        }
        let turns = sample.turns.iter();
        let said: Vec<(&str, Option<&str>)> = turns
            .map(|turn| (&*turn.prompt, Some(&*turn.answer)))
            .collect();
        let ahead = if placed { 0 } else { sample.images.len() };
        let messages = self.messages(ahead, placed, &said);
        let whole = self.template.render(&messages, false, &[])?;
        let mut tokens = tokenizer.encode_markup(&whole)?;
        let before = messages.len() - 2 * said.len();
        let mut answers = Vec::with_capacity(said.len());
        for (turn, (_, answer)) in said.iter().enumerate() {
            let prompt = self.prefix(&messages[..before + 2 * turn + 1], &whole)?;
            let rest = &whole[prompt.len()..];
            if !rest.contains(answer.unwrap_or_default().trim()) {
                let message = "it does not write the answer as it is after the prompt for it";
                return Err(self.fail(message.into()));
            }
            let asked = tokenizer.encode_markup(&prompt)?;
            if !tokens.starts_with(&asked) {
                let message = "the beginning of an answer melts into one token with the end of its prompt; change how \
                    the answer begins";
                return Err(row(&sample.origin, message.into()));
            }
            let first = asked.len();
            let length = tokens[first..].iter().position(|&token| token == self.end);
            let length = length.ok_or_else(|| self.endless(tokenizer))?;
            answers.push(first..first + length + 1);
        }
        tokens.truncate(answers.last().map_or(0, |last| last.end));
        let layout = Layout { tokens, answers };
        self.demand_images(&sample.origin, &layout.tokens, sample.images.len())?;
        Ok(layout)
    }

    /// What generation starts from.
    pub fn prompt(
        &self,
        origin: &str,
        images: usize,
        prompt: &str,
        tokenizer: &Tokenizer,
    ) -> Result<Vec<u32>, DataError> {
        if images == 0 && prompt.is_empty() {
            return Ok(self.begin.into_iter().collect());
        }
        let placed = are_placed(origin, images, std::iter::once(prompt))?;
        self.demand_prompt(origin, prompt, placed, tokenizer)?;
        let ahead = if placed { 0 } else { images };
        // The prompt as it is in a document with an answer: training has seen no other.
        let answered = self.messages(ahead, placed, &[(prompt, Some(TRIED[1]))]);
        let whole = self.template.render(&answered, false, &[])?;
        let text = self.prefix(&answered[..answered.len() - 1], &whole)?;
        let tokens = tokenizer.encode_markup(&text)?;
        self.demand_images(origin, &tokens, images)?;
        Ok(tokens)
    }

    /// A text about nothing, which no one asked for: no template writes that.
    fn plain(&self, text: &str, tokenizer: &Tokenizer) -> Result<Layout, DataError> {
        let mut tokens: Vec<u32> = self.begin.into_iter().collect();
        // Something has to stand before what is first learnt.
        let first = tokens.len().max(1);
        tokens.extend(tokenizer.encode(text)?);
        tokens.push(self.end);
        let end = tokens.len();
        Ok(Layout {
            tokens,
            answers: std::iter::once(first..end).collect(),
        })
    }

    /// The text up to where the next answer begins, which `whole` has to begin with. Models that can think aloud are
    /// asked not to, where the template knows that.
    fn prefix(&self, messages: &[Message], whole: &str) -> Result<String, DataError> {
        let thinking = |aloud| [("enable_thinking", Value::from(aloud))];
        // Aloud as well: an exported template is silent unless it is told otherwise, but what it writes of earlier turns
        // may be what it writes for those that think.
        for variables in [&thinking(false)[..], &[], &thinking(true)] {
            let prompt = self.template.render(messages, true, variables)?;
            if whole.starts_with(&prompt) {
                return Ok(prompt);
            }
        }
        Err(self.fail(
            "it writes a prompt otherwise with its answer than without, so that training would not show what is asked \
             later; give a template of your own with `chat = \"FILE.jinja\"` ([format])"
                .into(),
        ))
    }

    /// The messages of a conversation: `images` stand before its first prompt, or, if they are `placed`, where the prompts
    /// say.
    pub(super) fn messages(
        &self,
        images: usize,
        placed: bool,
        turns: &[(&str, Option<&str>)],
    ) -> Vec<Message> {
        let mut messages = Vec::new();
        if let Some(system) = &self.system {
            messages.push(self.message("system", 0, system));
        }
        for (turn, (prompt, answer)) in turns.iter().enumerate() {
            let images = if turn == 0 { images } else { 0 };
            messages.push(match placed {
                true => self.placed_message("user", prompt),
                false => self.message("user", images, prompt),
            });
            if let Some(answer) = answer {
                messages.push(self.message("assistant", 0, answer));
            }
        }
        messages
    }

    pub(super) fn message(&self, role: &str, images: usize, text: &str) -> Message {
        if !self.parts {
            let images = format!("{}\n", self.image).repeat(images);
            let text = format!("{images}{text}");
            return Message::text(role, text.trim_end_matches('\n'));
        }
        let mut parts = vec![ContentPart::Image; images];
        if !text.is_empty() || images == 0 {
            parts.push(ContentPart::Text { text: text.into() });
        }
        Message {
            role: role.into(),
            content: Content::Parts(parts),
        }
    }

    /// A message that says itself where its images stand.
    fn placed_message(&self, role: &str, text: &str) -> Message {
        if !self.parts {
            return Message::text(role, text.replace(IMAGE_MARK, &self.image));
        }
        let part = |piece| match piece {
            Piece::Image => ContentPart::Image,
            Piece::Text(text) => ContentPart::Text { text: text.into() },
        };
        Message {
            role: role.into(),
            content: Content::Parts(pieces(text).into_iter().map(part).collect()),
        }
    }

    pub(super) fn tried(&self, images: usize) -> Result<String, DataError> {
        let messages = self.messages(images, false, &[(TRIED[0], Some(TRIED[1]))]);
        self.template.render(&messages, false, &[])
    }

    /// The first special token that the template writes after an answer.
    fn find_end(&self, tokenizer: &Tokenizer) -> Result<u32, DataError> {
        let text = self.tried(0)?;
        let after = text.rsplit_once(TRIED[1]).map_or("", |(_, after)| after);
        let special = tokenizer.special_tokens();
        let ids = tokenizer.encode_markup(after)?;
        let mut ends = ids
            .into_iter()
            .filter(|id| special.iter().any(|(_, known)| known == id));
        ends.next().ok_or_else(|| self.endless(tokenizer))
    }

    fn endless(&self, tokenizer: &Tokenizer) -> DataError {
        let token = self.template.tokens().get("eos_token").cloned();
        let token = token.or_else(|| tokenizer.token(self.end));
        self.fail(format!(
            "it writes no special token after an answer, so that no answer would end; write `{}` after it in a copy of \
             the template and give `chat = \"FILE.jinja\"` ([format])",
            token.as_deref().unwrap_or("{{ eos_token }}")
        ))
    }

    fn fail(&self, message: String) -> DataError {
        DataError::Chat {
            name: self.template.name().to_owned(),
            message,
        }
    }

    /// As [`ChatLayout::demand_text`] for a prompt, but for the marks of its images where those are placed.
    fn demand_prompt(
        &self,
        origin: &str,
        prompt: &str,
        placed: bool,
        tokenizer: &Tokenizer,
    ) -> Result<(), DataError> {
        match placed {
            true => self.demand_text(origin, &prompt.replace(IMAGE_MARK, " "), tokenizer),
            false => self.demand_text(origin, prompt, tokenizer),
        }
    }

    /// The template's tokens and a text's are told apart by their spelling alone.
    fn demand_text(
        &self,
        origin: &str,
        text: &str,
        tokenizer: &Tokenizer,
    ) -> Result<(), DataError> {
        match tokenizer.special_within(text) {
            None => Ok(()),
            Some(token) => Err(row(
                origin,
                format!(
                    "the text holds `{token}`, which is a special token, and the chat template would place it as one; \
                     remove it from the text (images are placed by themselves)"
                ),
            )),
        }
    }

    fn demand_images(&self, origin: &str, tokens: &[u32], images: usize) -> Result<(), DataError> {
        let found = tokens
            .iter()
            .filter(|&&token| token == self.image_id)
            .count();
        if found == images {
            return Ok(());
        }
        let message = format!("the chat template places {found} of {images} images");
        Err(row(origin, message))
    }
}

fn row(origin: &str, message: String) -> DataError {
    DataError::Row {
        origin: origin.into(),
        message,
    }
}
