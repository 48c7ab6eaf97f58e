//! How far addresses reach, so that kernels can assert in builds with debug assertions what they are promised.

/// How many numbers may be touched from an address on. In other builds it knows nothing and takes no room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    #[cfg(debug_assertions)]
    numbers: usize,
}

impl Extent {
    #[inline(always)]
    pub(super) fn of<T>(values: &[T]) -> Self {
        let _ = values;
        Self {
            #[cfg(debug_assertions)]
            numbers: values.len(),
        }
    }

    /// What is left of it `count` numbers further on.
    #[inline(always)]
    pub(super) fn after(self, count: usize) -> Self {
        let _ = count;
        Self {
            #[cfg(debug_assertions)]
            numbers: self.numbers.saturating_sub(count),
        }
    }

    /// Whether `count` numbers may be touched, as far as is known.
    #[inline(always)]
    pub(super) fn holds(self, count: usize) -> bool {
        let _ = count;
        #[cfg(debug_assertions)]
        return count <= self.numbers;
        #[cfg(not(debug_assertions))]
        true
    }
}
