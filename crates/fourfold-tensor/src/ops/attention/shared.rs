//! One output matrix that tasks fill at the same time, each its own rows and columns.

use std::marker::PhantomData;

/// A borrowed row-major matrix whose parts are written by different tasks.
pub(super) struct SharedRows<'a, T> {
    start: *mut T,
    rows: usize,
    columns: usize,
    borrowed: PhantomData<&'a mut [T]>,
}

// SAFETY: it is a mutable borrow of plain numbers; who writes through it promises in `segment` that parts do not
// overlap.
#[allow(unsafe_code)]
unsafe impl<T: Send> Sync for SharedRows<'_, T> {}

impl<'a, T> SharedRows<'a, T> {
    /// `values` as rows of `columns` numbers.
    pub(super) fn new(values: &'a mut [T], columns: usize) -> Self {
        Self {
            start: values.as_mut_ptr(),
            rows: values.len() / columns.max(1),
            columns,
            borrowed: PhantomData,
        }
    }

    /// The `width` numbers of `row` from `column` on.
    ///
    /// # Safety
    /// No other segment that is alive at the same time may hold one of these numbers.
    #[allow(unsafe_code, clippy::mut_from_ref)]
    pub(super) unsafe fn segment(&self, row: usize, column: usize, width: usize) -> &mut [T] {
        assert!(row < self.rows && column + width <= self.columns);
        // SAFETY: the assertion keeps the segment inside the borrowed matrix; the caller keeps it exclusive.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.add(row * self.columns + column), width)
        }
    }
}
