//! Some rows of a tensor, the others left behind.

mod gpu;
#[cfg(test)]
mod reference;

use super::embedding::{check_ids, scatter_add};
use super::formats::{convert, with_numbers};
use crate::device::common;
use crate::parallel::for_rows;
use crate::tensor::Storable;
use crate::{Result, Tape, Tensor};

/// `x: [n, width]`, `rows` → `[rows, width]`, row *i* being `x[rows[i]]`, in the precision of `x`.
///
/// # Errors
/// When `x` is no matrix or a row is not below `n`.
pub fn take_rows(tape: &Tape<'_>, x: &Tensor, rows: &[u32]) -> Result<Tensor> {
    check_ids("take_rows", x, rows)?;
    if let Some(gpu) = common("take_rows", [x])? {
        return gpu::take_rows(gpu, tape, x, rows);
    }
    let width = x.width();
    let y = with_numbers!(x, |numbers| take(numbers, width, rows));
    let (node, precision, shape) = (x.node, x.precision(), x.shape().to_vec());
    let rows = rows.to_vec();
    Ok(tape.record(&[x], y, move |dy, flow| {
        let dy = dy.to_precision(crate::Precision::F32);
        let dy = dy.f32()?;
        let dx = Tensor::build::<f32>(&shape, |out| {
            scatter_add(out, width, &rows, dy, 1.0, false);
        });
        flow.add(node, dx.to_precision(precision))
    }))
}

fn take<T: Storable>(numbers: &[T], width: usize, rows: &[u32]) -> Tensor {
    Tensor::build::<T>(&[rows.len(), width], |out| {
        for_rows(out, width, |first, out| {
            for (out, row) in out.chunks_exact_mut(width).zip(&rows[first..]) {
                convert::<(T, T)>(&numbers[*row as usize * width..][..width], out);
            }
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Case};
    use crate::{Parameters, Precision};

    #[test]
    fn agrees_with_its_reference() {
        for (n, width, rows) in [
            (1, 1, vec![0]),
            (6, 7, vec![4, 1, 2]),
            (300, 50, (20..260).step_by(3).collect()),
            (5, 131, vec![3, 3, 0]),
            (5, 7, vec![]),
        ] {
            testing::check_operation(
                &Case::new(&[&[n, width]]),
                |tape, inputs| take_rows(tape, &inputs[0], &rows),
                &reference::TakeRows {
                    width,
                    rows: rows.clone(),
                },
            );
        }
    }

    #[test]
    fn a_row_that_is_missing_is_named() {
        let parameters = Parameters::new(Precision::F32);
        let tape = Tape::inference(&parameters);
        let message = take_rows(&tape, &Tensor::zeros(&[3, 2]), &[0, 3])
            .expect_err("refused")
            .to_string();
        assert!(
            message.contains("take_rows: id 3 at position 1"),
            "{message}"
        );
    }
}
