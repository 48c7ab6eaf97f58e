//! How attention is cut into pieces of work: by the visibility and fixed sizes, never by the number of threads.

use std::ops::Range;

use crate::ops::Visibility;

/// Rows that see each other directly or through others and see no row outside: a document, or several that one
/// interval spans.
pub(super) type Document = Range<usize>;

/// The documents of `visibility`, in order.
pub(super) fn documents(visibility: &Visibility) -> Vec<Document> {
    let (start, end) = (visibility.start(), visibility.end());
    // The lowest key that this row or a later one sees.
    let mut lowest = start.to_vec();
    for row in (1..lowest.len()).rev() {
        lowest[row - 1] = lowest[row - 1].min(lowest[row]);
    }
    let (mut documents, mut first, mut reach) = (Vec::new(), 0, 0);
    for (row, end) in end.iter().enumerate() {
        reach = reach.max(*end as usize);
        let next = row + 1;
        if reach == next
            && lowest
                .get(next)
                .is_none_or(|lowest| *lowest as usize >= next)
        {
            documents.push(first..next);
            first = next;
        }
    }
    documents
}

/// `range` cut every `step` rows.
pub(super) fn cut(range: Range<usize>, step: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let end = range.end;
    range
        .step_by(step)
        .map(move |first| first..(first + step).min(end))
}

/// The smallest range that holds every key that `rows` see.
pub(super) fn keys_seen_by(visibility: &Visibility, rows: Range<usize>) -> Range<usize> {
    let first = visibility.start()[rows.clone()].iter().min();
    let last = visibility.end()[rows].iter().max();
    first.map_or(0, |first| *first as usize)..last.map_or(0, |last| *last as usize)
}

/// The smallest range that holds every row of `document` that sees one of `keys`.
pub(super) fn rows_that_see(
    visibility: &Visibility,
    document: Document,
    keys: Range<usize>,
) -> Range<usize> {
    let sees = |row: &usize| {
        let (start, end) = (visibility.start()[*row], visibility.end()[*row]);
        (start as usize) < keys.end && keys.start < end as usize
    };
    let first = document.clone().find(sees).unwrap_or(document.start);
    let last = document.rev().find(sees).map_or(first, |last| last + 1);
    first..last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_what_no_interval_crosses() {
        let visibility = Visibility::new(
            // Causal rows 0..3; 3 and 4 alone; 5..9 where 5 sees ahead and 8 sees only 7 and itself.
            vec![0, 0, 0, 3, 4, 5, 5, 6, 7],
            vec![1, 2, 3, 4, 5, 8, 7, 8, 9],
        )
        .expect("rows see themselves");
        assert_eq!(documents(&visibility), [0..3, 3..4, 4..5, 5..9]);
        assert_eq!(keys_seen_by(&visibility, 6..8), 5..8);
        assert_eq!(rows_that_see(&visibility, 5..9, 8..9), 8..9);
        assert_eq!(rows_that_see(&visibility, 5..9, 7..8), 5..9);
        let empty = Visibility::new(Vec::new(), Vec::new()).expect("no rows");
        assert!(documents(&empty).is_empty());
    }

    #[test]
    fn cuts_cover_the_range() {
        assert_eq!(cut(3..10, 3).collect::<Vec<_>>(), [3..6, 6..9, 9..10]);
        assert_eq!(cut(3..3, 3).count(), 0);
    }
}
