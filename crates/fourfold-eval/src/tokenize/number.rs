//! Numbers, and the signs and spaces within them.

use super::{NO_BREAK_SPACE, Scanner};

impl Scanner<'_> {
    /// Adds a number with spaces in it, up to `end`, as one token.
    pub(super) fn push_number(&mut self, end: usize) {
        let number = self.slice(self.at, end);
        let number = number.replace(' ', &NO_BREAK_SPACE.to_string());
        self.push(&number.replace('(', "-lrb-").replace(')', "-rrb-"));
        self.at = end;
    }

    /// End of the digits from `start`, with the marks that numbers have inside.
    pub(super) fn number_end(&self, start: usize) -> usize {
        let mut end = self.run(start, |c| c.is_ascii_digit());
        while matches!(self.get(end), '.' | ',' | ':') && self.get(end + 1).is_ascii_digit() {
            end = self.run(end + 1, |c| c.is_ascii_digit());
        }
        end
    }

    /// Where a whole number and its fraction end that begin at `start`, `2 1/2` or `2-1/2`; a number has up to four digits.
    pub(super) fn fraction(&self, start: usize) -> Option<usize> {
        let number = |start: usize| {
            let digits = self.run(start, |c| c.is_ascii_digit()) - start;
            (digits > 0).then_some(start + digits.min(4))
        };
        let whole = number(start)?;
        let above = match self.get(whole) {
            ' ' | '-' | NO_BREAK_SPACE => number(whole + 1)?,
            _ => return None,
        };
        match self.get(above) {
            '/' | '⁄' => number(above + 1),
            _ => None,
        }
    }

    /// Where a telephone number ends that begins at `start`, "(555) 123-4567" or "555 123 4567", or any other numbers that
    /// look like one: one or two of two to four digits, one of three or four, one of three to five, spaces or hyphens
    /// between them.
    pub(super) fn telephone(&self, start: usize) -> Option<usize> {
        let digits = |start: usize| self.run(start, |c| c.is_ascii_digit()) - start;
        let parts = |at: usize| matches!(self.get(at), ' ' | '-' | NO_BREAK_SPACE);
        let area = |start: usize| {
            let end = start + digits(start);
            ((2..=4).contains(&(end - start)) && parts(end)).then_some(end + 1)
        };
        let local = |start: usize| match digits(start) {
            count @ 3..=4 if parts(start + count) => {
                let second = start + count + 1;
                (digits(second) >= 3).then(|| second + digits(second).min(5))
            }
            count @ 6.. => Some(start + count.min(9)),
            _ => None,
        };
        if self.get(start) == '(' {
            let end = start + 1 + digits(start + 1);
            let closed = (2..=3).contains(&(end - start - 1)) && self.get(end) == ')';
            let space = usize::from(matches!(self.get(end + 1), ' ' | NO_BREAK_SPACE));
            return closed.then(|| local(end + 1 + space)).flatten();
        }
        let first = area(start)?;
        area(first).and_then(local).or_else(|| local(first))
    }
}
