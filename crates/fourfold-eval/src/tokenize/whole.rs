//! What is kept as it stands: mark-up, web addresses, names that end with a mark, smileys.

use super::{Scanner, is_word};

impl Scanner<'_> {
    /// Where what is kept as it stands ends, if `c` begins it: mark-up, a web address, a currency or language whose name
    /// ends with a mark.
    pub(super) fn whole(&self, c: char) -> Option<usize> {
        match c {
            '<' => self.markup().or_else(|| self.face()),
            '^' | '-' | '=' | '~' | '>' => self.face(),
            '&' => self.entity(),
            _ if is_word(self.before()) => None,
            _ if c.is_ascii_alphabetic() => self
                .address()
                .or_else(|| self.bare_address())
                .or_else(|| self.marked_name()),
            _ => None,
        }
    }

    /// `<b>`, `</p>`, `<a href="x">`, `<!-- … -->`.
    fn markup(&self) -> Option<usize> {
        let name = self.at + 1 + usize::from(matches!(self.get(self.at + 1), '/' | '!'));
        let named = match self.get(name) {
            '-' => self.get(self.at + 1) == '!',
            c => c.is_ascii_alphabetic(),
        };
        let close = self.run(name, |c| !matches!(c, '<' | '>' | '\n'));
        (named && self.get(close) == '>').then_some(close + 1)
    }

    /// `http://…` up to a space, a quotation mark or a bracket, less the marks at its end.
    fn address(&self) -> Option<usize> {
        let starts = |scheme: &str| {
            let letters = scheme.chars().enumerate();
            let mut letters = letters.map(|(i, c)| self.get(self.at + i).eq_ignore_ascii_case(&c));
            letters.all(|same| same)
        };
        let scheme = ["http://", "https://"]
            .into_iter()
            .find(|scheme| starts(scheme))?;
        let begin = self.at + scheme.len();
        let mut end = self.run(begin, is_of_address);
        while end > begin && matches!(self.get(end - 1), '.' | ',' | ';' | ':' | '!' | '?' | '-') {
            end -= 1;
        }
        (end > begin).then_some(end)
    }

    /// `www.a.org/b?c=d` or `a.com/b`: a page of a host that is known by its ends, up to where an address with `http` ends.
    fn bare_address(&self) -> Option<usize> {
        let inside_host = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        let host = self.run(self.at, inside_host);
        if self.get(host) != '/' || !self.chars[self.at..host].contains(&'.') {
            return None;
        }
        let text = self.slice(self.at, host);
        let (first, last) = (text.split('.').next()?, text.rsplit('.').next()?);
        let known = matches!(last, "com" | "net" | "org" | "edu")
            || (first == "www" && (2..=4).contains(&last.len()));
        if !known {
            return None;
        }
        let mut end = self.run(host + 1, is_of_address);
        while end > host && matches!(self.get(end - 1), '.' | '!' | '?' | '{' | '}' | ',' | '-') {
            end -= 1;
        }
        (end > host + 2).then_some(end)
    }

    /// `&#39;`.
    fn entity(&self) -> Option<usize> {
        let digits = self.at + 2;
        let end = self.run(digits, |c| c.is_ascii_digit());
        let numbered = self.get(self.at + 1) == '#' && end > digits;
        (numbered && self.get(end) == ';').then_some(end + 1)
    }

    /// `^_^`, `>_<`, `-_-`.
    fn face(&self) -> Option<usize> {
        let face = self.get(self.at + 1) == '_' && "-^=~<>'x".contains(self.get(self.at + 2));
        face.then_some(self.at + 3)
    }

    /// How many characters the entity of a mark takes that begins here, and the mark.
    pub(super) fn named_entity(&self) -> Option<(usize, char)> {
        let marks = [
            ("&lt;", '<'),
            ("&gt;", '>'),
            ("&quot;", '"'),
            ("&apos;", '"'),
            ("&nbsp;", ' '),
        ];
        let begins = |name: &str| {
            name.chars()
                .enumerate()
                .all(|(i, c)| self.get(self.at + i) == c)
        };
        let (name, mark) = marks.into_iter().find(|(name, _)| begins(name))?;
        Some((name.len(), mark))
    }

    /// `US$`, `C++`, `F#`.
    fn marked_name(&self) -> Option<usize> {
        let letters = self.run(self.at, |c| c.is_ascii_alphabetic());
        let (next, after) = (self.get(letters), self.get(letters + 1));
        if !matches!(next, '$' | '+' | '#') {
            return None;
        }
        let name = self.slice(self.at, letters);
        match name.as_str() {
            "US" | "HK" | "A" | "AU" | "C" | "NT" | "NZ" | "R" if next == '$' => Some(letters + 1),
            "C" | "c" if (next, after) == ('+', '+') => Some(letters + 2),
            "C" | "c" | "F" | "f" if next == '#' && !after.is_alphanumeric() => Some(letters + 1),
            _ => None,
        }
    }

    /// Where a smiley, `:)` or `>;-D`, ends that begins here and is followed by neither letter nor digit.
    pub(super) fn smiley(&self) -> Option<usize> {
        let mut at = self.at + usize::from(matches!(self.get(self.at), '<' | '>'));
        if !matches!(self.get(at), ':' | ';' | '=') {
            return None;
        }
        at += 1;
        at += usize::from(matches!(self.get(at), '-' | 'o' | '*' | '\''));
        let mouth = "()DPdpO\\{@|[]".contains(self.get(at));
        (mouth && !self.get(at + 1).is_ascii_alphanumeric()).then_some(at + 1)
    }
}

/// Whether a character may stand in an address.
fn is_of_address(c: char) -> bool {
    !c.is_whitespace() && !matches!(c, '"' | '<' | '>' | '|' | '(' | ')')
}
