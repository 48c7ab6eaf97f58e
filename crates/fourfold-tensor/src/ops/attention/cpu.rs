//! One output matrix that tasks fill at the same time, each its own rows and columns.

use std::marker::PhantomData;
use std::ops::Range;

/// Some rows and columns of a matrix.
pub(super) struct Rectangle {
    pub rows: Range<usize>,
    pub columns: Range<usize>,
}

/// A rectangle of a borrowed matrix, to which there is no other way.
pub(super) struct Part<'a, T> {
    /// Where the matrix begins, and how far its rows lie apart.
    start: *mut T,
    stride: usize,
    rectangle: Rectangle,
    borrowed: PhantomData<&'a mut [T]>,
}

// SAFETY: a part is a mutable borrow of numbers that no other part holds.
#[allow(unsafe_code)]
unsafe impl<T: Send> Send for Part<'_, T> {}

/// The parts of `values`, rows of `columns` numbers, that `rectangles` name, in their order.
///
/// # Panics
/// When two of them overlap or one reaches out of the matrix. Those that share a column must have the same columns.
pub(super) fn parts<T>(
    values: &mut [T],
    columns: usize,
    rectangles: Vec<Rectangle>,
) -> Vec<Part<'_, T>> {
    let rows = values.len() / columns.max(1);
    let within = |range: &Range<usize>, len| range.start <= range.end && range.end <= len;
    let apart = |a: &Rectangle, b: &Rectangle| match a.columns == b.columns {
        true => a.rows.end <= b.rows.start,
        false => a.columns.end <= b.columns.start,
    };
    let mut ordered: Vec<&Rectangle> = rectangles.iter().collect();
    ordered.sort_by_key(|part| (part.columns.start, part.rows.start));
    assert!(
        ordered
            .iter()
            .all(|part| within(&part.rows, rows) && within(&part.columns, columns))
            && ordered.is_sorted_by(|a, b| apart(a, b)),
        "tasks write the same numbers, or outside of the result"
    );
    let start = values.as_mut_ptr();
    let part = |rectangle| Part {
        start,
        stride: columns,
        rectangle,
        borrowed: PhantomData,
    };
    rectangles.into_iter().map(part).collect()
}

impl<T> Part<'_, T> {
    /// Row `row` of the matrix, the columns of this part.
    ///
    /// # Panics
    /// When the part does not have that row.
    pub(super) fn row(&mut self, row: usize) -> &mut [T] {
        let Rectangle { rows, columns } = &self.rectangle;
        assert!(rows.contains(&row));
        let first = row * self.stride + columns.start;
        // SAFETY: `parts` saw that the rectangle lies within the matrix and shares no number with another one; the
        // matrix is borrowed mutably while parts of it live, and this part while its row does.
        #[allow(unsafe_code)]
        unsafe {
            std::slice::from_raw_parts_mut(self.start.add(first), columns.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rectangles(bounds: &[[usize; 4]]) -> Vec<Rectangle> {
        let rectangle = |[top, bottom, left, right]: &[usize; 4]| Rectangle {
            rows: *top..*bottom,
            columns: *left..*right,
        };
        bounds.iter().map(rectangle).collect()
    }

    #[test]
    fn parts_are_the_rectangles_that_were_asked_for() {
        let mut values: Vec<usize> = (0..12).collect();
        let asked = rectangles(&[[1, 3, 2, 4], [0, 1, 2, 4], [3, 3, 0, 2], [0, 3, 0, 2]]);
        let mut parts = parts(&mut values, 4, asked);
        assert_eq!(parts[0].row(1), [6, 7]);
        assert_eq!(parts[0].row(2), [10, 11]);
        assert_eq!(parts[1].row(0), [2, 3]);
        assert_eq!(parts[3].row(2), [8, 9]);
    }

    #[test]
    fn parts_that_overlap_or_reach_out_are_refused() {
        for bounds in [
            [[0, 2, 0, 2], [1, 3, 0, 2]],
            [[0, 2, 0, 2], [1, 3, 1, 3]],
            [[0, 1, 0, 3], [0, 1, 0, 2]],
            [[0, 1, 0, 2], [0, 4, 2, 4]],
            [[0, 1, 0, 2], [0, 1, 2, 5]],
        ] {
            let made = std::panic::catch_unwind(|| {
                let _ = parts(&mut [0; 12], 4, rectangles(&bounds));
            });
            assert!(made.is_err(), "{bounds:?}");
        }
    }
}
