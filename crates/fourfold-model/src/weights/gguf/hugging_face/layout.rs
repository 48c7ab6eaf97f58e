//! What llama.cpp's converters do to tensors, undone.

use super::architecture::Architecture;

/// How a tensor of a GGUF file differs from Hugging Face's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    Same,
    /// Rows of a projection to so many heads, of which rotary positions turn pairs. Hugging Face pairs row `i` of a head
    /// with row `i + half`; llama.cpp's Llama has the two next to each other.
    Paired(usize),
    /// `[in, out]` at Hugging Face.
    Transposed,
    /// A norm that multiplies by `1 + w`: Hugging Face has `w`, llama.cpp `1 + w`.
    PlusOne,
}

impl Layout {
    /// The layout of a stored tensor; `heads` are those of queries and of keys.
    pub fn of(architecture: Architecture, stored: &str, heads: (usize, usize)) -> Self {
        let (stem, ending) = stored.rsplit_once('.').unwrap_or((stored, ""));
        let part = stem.rsplit('.').next().unwrap_or(stem);
        match architecture {
            Architecture::Llama if part == "attn_q" => Self::Paired(heads.0),
            Architecture::Llama if part == "attn_k" => Self::Paired(heads.1),
            Architecture::Gemma3 if part.ends_with("norm") => Self::PlusOne,
            Architecture::Gpt2
                if ending == "weight"
                    && matches!(part, "attn_qkv" | "attn_output" | "ffn_up" | "ffn_down") =>
            {
                Self::Transposed
            }
            _ => Self::Same,
        }
    }

    /// The shape at Hugging Face of a tensor of the stored shape.
    pub fn shape(self, mut stored: Vec<usize>) -> Vec<usize> {
        if self == Self::Transposed {
            stored.reverse();
        }
        stored
    }

    /// The numbers in Hugging Face's order.
    pub fn undo(self, shape: &[usize], mut values: Vec<f32>) -> Result<Vec<f32>, String> {
        match (self, shape) {
            (Self::Same, _) => Ok(values),
            (Self::PlusOne, _) => {
                values.iter_mut().for_each(|value| *value -= 1.0);
                Ok(values)
            }
            (Self::Transposed, [rows, columns]) => {
                let by_column = |column| (0..*rows).map(move |row| row * columns + column);
                Ok((0..*columns)
                    .flat_map(by_column)
                    .map(|at| values[at])
                    .collect())
            }
            (Self::Paired(heads), [rows, ..]) if heads > 0 && rows % (2 * heads) == 0 => {
                let (width, head) = (values.len() / rows, rows / heads);
                let from = |row: usize| {
                    let (half, pair) = (row % head / (head / 2), row % (head / 2));
                    row / head * head + 2 * pair + half
                };
                let row = |row| &values[from(row) * width..][..width];
                Ok((0..*rows).flat_map(row).copied().collect())
            }
            (Self::Paired(heads), _) => Err(format!(
                "is {shape:?}, whose rows are no pairs in each of {heads} heads; convert the model again"
            )),
            (Self::Transposed, _) => Err(format!(
                "is {shape:?}; expected a matrix: convert the model again"
            )),
        }
    }
}
