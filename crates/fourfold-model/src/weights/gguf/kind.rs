//! The formats of numbers in a GGUF file.

/// How the numbers of a tensor are stored: in blocks of [`Kind::elements`] numbers and [`Kind::bytes`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are ggml's, and all there is to say")]
pub enum Kind {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
}

/// All kinds: code in the file, name, numbers and bytes in a block (`ggml_type` and `type_traits` of ggml).
const KINDS: [(u32, Kind, &str, usize, usize); 13] = [
    (0, Kind::F32, "F32", 1, 4),
    (1, Kind::F16, "F16", 1, 2),
    (2, Kind::Q4_0, "Q4_0", 32, 18),
    (3, Kind::Q4_1, "Q4_1", 32, 20),
    (6, Kind::Q5_0, "Q5_0", 32, 22),
    (7, Kind::Q5_1, "Q5_1", 32, 24),
    (8, Kind::Q8_0, "Q8_0", 32, 34),
    (10, Kind::Q2K, "Q2_K", 256, 84),
    (11, Kind::Q3K, "Q3_K", 256, 110),
    (12, Kind::Q4K, "Q4_K", 256, 144),
    (13, Kind::Q5K, "Q5_K", 256, 176),
    (14, Kind::Q6K, "Q6_K", 256, 210),
    (30, Kind::Bf16, "BF16", 1, 2),
];

/// Codes of formats that are not read, for their names in errors.
const OTHERS: [(u32, &str); 23] = [
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
    // Removed from ggml.
    (4, "Q4_2"),
    (5, "Q4_3"),
    (31, "Q4_0_4_4"),
];

impl Kind {
    /// The kind of a code.
    ///
    /// # Errors
    /// What to do with a format that is not read.
    pub(super) fn from_code(code: u32) -> Result<Self, String> {
        if let Some((_, kind, ..)) = KINDS.iter().find(|row| row.0 == code) {
            return Ok(*kind);
        }
        let names: Vec<&str> = KINDS.iter().map(|row| row.2).collect();
        let stored = match OTHERS.iter().find(|row| row.0 == code) {
            Some((_, name)) => format!("stored as {name}"),
            None => format!("stored in a format of unknown code {code}"),
        };
        Err(format!(
            "is {stored}, which is not read here; take a file of the model in one of {}, such as its Q4_K_M or Q8_0",
            names.join(", ")
        ))
    }

    fn row(self) -> &'static (u32, Kind, &'static str, usize, usize) {
        // Every variant has a row, which a test holds.
        KINDS.iter().find(|row| row.1 == self).unwrap_or(&KINDS[0])
    }

    /// ggml's name of the format.
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// Numbers in a block.
    pub fn elements(self) -> usize {
        self.row().3
    }

    /// Bytes of a block.
    pub fn bytes(self) -> usize {
        self.row().4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_row_of_its_own() {
        for (code, kind, name, elements, bytes) in KINDS {
            assert_eq!(Kind::from_code(code), Ok(kind));
            assert_eq!(
                (kind.name(), kind.elements(), kind.bytes()),
                (name, elements, bytes)
            );
            assert!(OTHERS.iter().all(|other| other.0 != code));
        }
    }

    #[test]
    fn other_formats_are_refused_by_name() {
        let message = Kind::from_code(20).unwrap_err();
        assert!(
            message.contains("IQ4_NL") && message.contains("Q4_K_M"),
            "{message}"
        );
        assert!(Kind::from_code(12345).unwrap_err().contains("12345"));
    }
}
