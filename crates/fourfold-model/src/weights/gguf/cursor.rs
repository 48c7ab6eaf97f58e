//! Reading little endian values one after the other, never past the end.

/// A place in the bytes of a file.
///
/// Each reading function is told what it reads, for the error of a file that ends too early.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How far it has come, in bytes.
    pub fn position(&self) -> usize {
        self.at
    }

    /// How many bytes the whole file has.
    pub fn file_length(&self) -> usize {
        self.bytes.len()
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: usize, what: &str) -> Result<&'a [u8], String> {
        let left = &self.bytes[self.at..];
        let taken = left.get(..length).ok_or_else(|| {
            format!(
                "ends within {what}: {length} bytes at {} are more than the {} that are left; \
                 the file is cut short or damaged, copy it again",
                self.at,
                left.len()
            )
        })?;
        self.at += length;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    /// All bytes that are left.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    pub fn u32(&mut self, what: &str) -> Result<u32, String> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub fn u64(&mut self, what: &str) -> Result<u64, String> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A number of things that have at least `size` bytes each: no more than the rest of the file can hold.
    pub fn count(&mut self, size: usize, what: &str) -> Result<usize, String> {
        let count = self.u64(what)?;
        self.check_count(count, size, what)
    }

    /// Refuses a number of things of at least `size` bytes that the rest of the file cannot hold.
    pub fn check_count(&self, count: u64, size: usize, what: &str) -> Result<usize, String> {
        let left = self.bytes.len() - self.at;
        usize::try_from(count)
            .ok()
            .filter(|count| count.checked_mul(size).is_some_and(|bytes| bytes <= left))
            .ok_or_else(|| {
                format!(
                    "{what} is {count}, for which the {left} bytes that are left are too few; \
                     the file is cut short or damaged, copy it again"
                )
            })
    }

    /// A string: u64 length, then UTF-8.
    pub fn string(&mut self, what: &str) -> Result<&'a str, String> {
        let length = self.count(1, what)?;
        let bytes = self.take(length, what)?;
        std::str::from_utf8(bytes).map_err(|error| {
            format!("{what} is no UTF-8 ({error}); the file is damaged, copy it again")
        })
    }
}
