//! Tokens that a tokenizer gets beside those it was trained with.

use tokenizers::AddedToken;

use crate::{DataError, Tokenizer};

impl Tokenizer {
    /// This tokenizer with further special tokens. They get the next ids after [`Tokenizer::vocabulary`], so that they
    /// fall on rows which many models have to spare in their embedding; those that are there already stay as they are.
    ///
    /// # Errors
    /// When a token is empty, or spelt as one that is not special.
    pub fn with_added(&self, tokens: &[String]) -> Result<Self, DataError> {
        let mut new: Vec<&String> = Vec::new();
        for token in tokens {
            if token.trim().is_empty() {
                return Err(self.refused("an added token has to have a text".into()));
            }
            match self.id(token) {
                // A special token or none.
                Some(_) => drop(self.special(token)?),
                None if !new.contains(&token) => new.push(token),
                None => {}
            }
        }
        let mut inner = self.inner().clone();
        let first = self.vocabulary();
        let added: Vec<AddedToken> = new
            .iter()
            .map(|t| AddedToken::from(t.as_str(), true))
            .collect();
        inner.add_special_tokens(&added);
        for (token, id) in new.iter().zip(first..) {
            if inner.token_to_id(token).map(|id| id as usize) != Some(id) {
                return Err(self.refused(format!(
                    "its ids have gaps, and `{token}` would get one within them instead of {id}; renumber its \
                     vocabulary"
                )));
            }
        }
        if new.is_empty() {
            return Self::from_json(self.json().to_owned(), self.name());
        }
        let json = inner
            .to_string(true)
            .map_err(|error| self.refused(error.to_string()))?;
        let grown = Self::from_json(json, self.name())?;
        Ok(grown.grown_from(self))
    }

    /// The id of a token that keeps an image's place: a special one, and a single one.
    ///
    /// # Errors
    /// Says what the token becomes instead, and how to add it.
    pub fn placeholder(&self, token: &str) -> Result<u32, DataError> {
        let way_out = format!("add it to the recipe: [tokenizer] add = [\"{token}\"]");
        if self.id(token).is_none() {
            let pieces = self.encode(token)?;
            let names: Vec<String> = pieces.iter().filter_map(|id| self.token(*id)).collect();
            return Err(self.refused(format!(
                "`{token}` has to keep an image's place as one token, but it becomes {} (`{}`); {way_out}, or name \
                 another one with [format] image",
                names.len(),
                names.join("`, `")
            )));
        }
        let id = self.special(token)?;
        match self.encode_markup(token)?.as_slice() {
            [one] if *one == id => Ok(id),
            others => Err(self.refused(format!(
                "`{token}` has to keep an image's place as one token, but in a text it becomes {others:?}; name another \
                 one with [format] image, and {way_out}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train_bpe;

    fn tokenizer() -> Tokenizer {
        train_bpe(
            ["a red cat, a red hat"].iter(),
            270,
            &["<|begin|>", "<|end|>"],
        )
        .unwrap()
    }

    #[test]
    fn added_tokens_get_the_next_ids() {
        let before = tokenizer();
        let free = before.vocabulary();
        let tokens = ["<image>", "<|end|>", "<box>", "<image>"].map(String::from);
        let after = before.with_added(&tokens).unwrap();
        assert_eq!(after.special("<image>").unwrap() as usize, free);
        assert_eq!(after.special("<box>").unwrap() as usize, free + 1);
        assert_eq!(after.vocabulary(), free + 2);
        assert_eq!(
            after.special("<|end|>").unwrap(),
            before.special("<|end|>").unwrap()
        );
        assert_eq!(
            after.encode("a red hat").unwrap(),
            before.encode("a red hat").unwrap()
        );
        assert_ne!(after.hash(), before.hash());
        assert_eq!(after.original_hash(), before.hash());
        let again = after.with_added(&tokens).unwrap();
        assert_eq!(
            (again.hash(), again.vocabulary()),
            (after.hash(), after.vocabulary())
        );
        // A saved one is whole.
        let read = Tokenizer::from_json(after.json().to_owned(), "read").unwrap();
        assert_eq!(read.special("<box>").unwrap() as usize, free + 1);
    }

    #[test]
    fn rows_are_for_added_tokens_alone() {
        let before = tokenizer();
        let rows = before.vocabulary();
        assert_eq!(before.beyond(rows), None);
        let (_, id) = before.beyond(rows - 1).unwrap();
        assert_eq!(id as usize, rows - 1);
        let after = before.with_added(&["<image>".into()]).unwrap();
        assert_eq!(after.beyond(rows), None);
        assert_eq!(after.beyond(rows - 1).unwrap().1 as usize, rows - 1);
        let mut json: serde_json::Value = serde_json::from_str(before.json()).unwrap();
        json["model"]["vocab"]["far"] = 16_000_000.into();
        let far = Tokenizer::from_json(json.to_string(), "far").unwrap();
        assert_eq!(far.beyond(rows), Some(("far".into(), 16_000_000)));
    }

    #[test]
    fn a_placeholder_is_one_special_token() {
        let tokenizer = tokenizer();
        let error = tokenizer.placeholder("<image>").unwrap_err().to_string();
        for word in [
            "`<image>`",
            "becomes 7",
            "`<`, `i`",
            "[tokenizer] add = [\"<image>\"]",
        ] {
            assert!(error.contains(word), "{word}: {error}");
        }
        let grown = tokenizer.with_added(&["<image>".into()]).unwrap();
        assert_eq!(
            grown.placeholder("<image>").unwrap() as usize,
            tokenizer.vocabulary()
        );
        assert!(
            tokenizer
                .with_added(&["a".into()])
                .unwrap_err()
                .to_string()
                .contains("ordinary")
        );
        assert!(tokenizer.with_added(&[" ".into()]).is_err());
    }
}
