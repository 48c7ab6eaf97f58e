//! Visual tokens put among the text tokens.

mod gpu;
#[cfg(test)]
mod reference;

use rayon::prelude::*;

use super::formats::{build_in, check_f32, convert, with_numbers};
use crate::device::common;
use crate::parallel::for_rows;
use crate::{Precision, Result, Tape, Tensor, TensorError};

/// `rows: [tokens, width]` in f32 with row `at[i]` replaced by `values[i]`, `values: [n, width]` in either format →
/// f32 `[tokens, width]`.
///
/// The gradient of a row goes to whichever of the two supplied it.
///
/// # Errors
/// When the widths differ, `at` does not name one row for each value, names a row twice, or one that is not there.
pub fn place(tape: &Tape<'_>, rows: &Tensor, values: &Tensor, at: &[u32]) -> Result<Tensor> {
    let source = sources(rows, values, at)?;
    let width = rows.width();
    if let Some(gpu) = common("place", [rows, values])? {
        check_f32("place", [rows])?;
        return gpu::place(gpu, tape, rows, values, at, &source);
    }
    let numbers = rows.f32()?;
    let y = Tensor::build::<f32>(rows.shape(), |out| {
        with_numbers!(values, |values| for_rows(out, width, |first, out| {
            for (row, out) in out.chunks_exact_mut(width).enumerate() {
                match source[first + row] {
                    ROWS => out.copy_from_slice(&numbers[(first + row) * width..][..width]),
                    value => {
                        convert::<(_, _)>(&values[value as usize * width..][..width], out);
                    }
                }
            }
        }));
    });
    let (rows_node, values_node) = (rows.node, values.node);
    let (shape, precision) = (values.shape().to_vec(), values.precision());
    let at = at.to_vec();
    Ok(tape.record(&[rows, values], y, move |mut dy, flow| {
        if values_node.is_some() {
            flow.add(values_node, gather(dy.f32()?, &at, &shape, precision))?;
        }
        if rows_node.is_some() {
            if dy.unique_mut::<f32>().is_none() {
                dy = Tensor::from_f32(dy.shape(), dy.f32()?)?;
            }
            if let Some(dy) = dy.unique_mut::<f32>().filter(|_| width > 0) {
                dy.par_chunks_exact_mut(width)
                    .zip(&source)
                    .filter(|(_, source)| **source != ROWS)
                    .for_each(|(row, _)| row.fill(0.0));
            }
            flow.add(rows_node, dy)?;
        }
        Ok(())
    }))
}

/// Marks a row that no value replaces.
const ROWS: u32 = u32::MAX;

/// For each row the value that replaces it, or [`ROWS`].
fn sources(rows: &Tensor, values: &Tensor, at: &[u32]) -> Result<Vec<u32>> {
    let error = |message| Err(TensorError::shape("place", message));
    if rows.width() != values.width() || values.rows() != at.len() {
        return error(format!(
            "rows {:?}, values {:?}, {} places; expected equal widths and one place a value",
            rows.shape(),
            values.shape(),
            at.len()
        ));
    }
    let mut source = vec![ROWS; rows.rows()];
    for (value, row) in at.iter().enumerate() {
        match source.get_mut(*row as usize) {
            Some(source) if *source == ROWS => *source = value as u32,
            Some(first) => {
                return error(format!("values {first} and {value} are both for row {row}"));
            }
            None => {
                return error(format!(
                    "value {value} is for row {row}; expected rows below {}",
                    rows.rows()
                ));
            }
        }
    }
    Ok(source)
}

/// The rows `at` of `numbers`, in the shape and precision of the values.
fn gather(numbers: &[f32], at: &[u32], shape: &[usize], precision: Precision) -> Tensor {
    let width = shape.last().copied().unwrap_or(1);
    build_in!(precision, shape, |out| {
        for_rows(out, width, |first, out| {
            for (out, row) in out.chunks_exact_mut(width).zip(&at[first..]) {
                convert::<(_, _)>(&numbers[*row as usize * width..][..width], out);
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Parameters;
    use crate::testing::{self, Case};

    #[test]
    fn agrees_with_its_reference() {
        for (tokens, width, at) in [
            (1, 1, vec![0]),
            (6, 7, vec![4, 1, 2]),
            (300, 50, (20..260).step_by(3).collect()),
            (131, 37, vec![130]),
            (5, 7, vec![4, 3, 2, 1, 0]),
            (5, 7, vec![]),
            (0, 7, vec![]),
        ] {
            testing::check_operation(
                &Case::new(&[&[tokens, width], &[at.len(), width]]).keep_f32(0),
                |tape, inputs| place(tape, &inputs[0], &inputs[1], &at),
                &reference::Place {
                    width,
                    at: at.clone(),
                },
            );
        }
    }

    #[test]
    fn a_row_that_is_taken_or_missing_is_named() {
        let parameters = Parameters::new(Precision::F32);
        let tape = Tape::inference(&parameters);
        let error = |at: &[u32]| {
            place(&tape, &Tensor::zeros(&[4, 3]), &Tensor::zeros(&[2, 3]), at)
                .expect_err("refused")
                .to_string()
        };
        assert!(error(&[2, 2]).contains("values 0 and 1 are both for row 2"));
        assert!(error(&[0, 4]).contains("value 1 is for row 4"));
        assert!(error(&[0]).contains("1 places"));
    }
}
