//! How the heads of attention lie side by side in a row.

use crate::{Result, TensorError};

/// The heads of one attention layer.
///
/// A row of queries, keys and values is laid out `[query heads | key heads | value heads]`, each head `width`
/// numbers. Several query heads share a key-value head when there are fewer of the latter: query head *h* reads
/// key-value head `h / (query / key_value)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// How many query heads.
    pub query: usize,
    /// How many key heads, and as many value heads; divides `query`.
    pub key_value: usize,
    /// Numbers per head.
    pub width: usize,
}

impl Heads {
    /// Numbers in a row of queries, keys and values.
    pub fn columns(self) -> usize {
        (self.query + 2 * self.key_value) * self.width
    }

    /// How many query heads share one key-value head.
    pub fn group(self) -> usize {
        self.query / self.key_value
    }

    /// Checks the counts themselves and that rows of `columns` numbers hold these heads.
    ///
    /// # Errors
    /// Naming `operation` when a count is zero, the query heads do not share the key-value heads evenly, or a
    /// row has another length.
    pub fn check(self, operation: &'static str, columns: usize) -> Result<()> {
        let Self {
            query,
            key_value,
            width,
        } = self;
        if query == 0 || key_value == 0 || width == 0 || !query.is_multiple_of(key_value) {
            return Err(TensorError::shape(
                operation,
                format!(
                    "{query} query heads and {key_value} key-value heads of width {width}; expected positive \
                     counts, that of the query heads a multiple of that of the key-value heads"
                ),
            ));
        }
        if columns != self.columns() {
            return Err(TensorError::shape(
                operation,
                format!(
                    "rows of {columns} numbers; expected ({query} query + 2 * {key_value} key-value heads) * width \
                     {width} = {}",
                    self.columns()
                ),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_does_not_fit() {
        let heads = Heads {
            query: 6,
            key_value: 2,
            width: 8,
        };
        assert_eq!((heads.columns(), heads.group()), (80, 3));
        assert!(heads.check("attention", 80).is_ok());
        let message = heads.check("attention", 81).unwrap_err().to_string();
        assert!(
            message.contains("81") && message.contains("= 80"),
            "{message}"
        );
        for (query, key_value, width) in [(0, 1, 8), (6, 0, 8), (6, 2, 0), (6, 4, 8)] {
            let heads = Heads {
                query,
                key_value,
                width,
            };
            let message = heads
                .check("rope", heads.columns())
                .unwrap_err()
                .to_string();
            assert!(message.starts_with("rope"), "{message}");
        }
    }
}
