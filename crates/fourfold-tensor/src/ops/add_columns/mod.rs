//! What an adapter gives, added to some columns of what a layer gave.

mod gpu;
#[cfg(test)]
mod reference;

use super::formats::{Formats, build_in, with_numbers};
use crate::device::common;
use crate::isa::{fma, multiversion};
use crate::parallel::for_rows;
use crate::tensor::Storable;
use crate::{Element, Result, Tape, Tensor, TensorError};

/// `y: [rows, width]` with `factor · delta` added to its columns from `first` on, `delta: [rows, columns]` in either
/// format; in the precision of `y`.
///
/// # Errors
/// When the rows differ in number or the columns do not lie within `y`.
pub fn add_columns(
    tape: &Tape<'_>,
    y: &Tensor,
    delta: &Tensor,
    first: usize,
    factor: f32,
) -> Result<Tensor> {
    let (width, columns) = (y.width(), delta.width());
    if y.rows() != delta.rows() || first + columns > width {
        return Err(TensorError::shape(
            "add_columns",
            format!(
                "delta {:?} at column {first} of {:?}; expected as many rows and columns that lie within",
                delta.shape(),
                y.shape()
            ),
        ));
    }
    if let Some(gpu) = common("add_columns", [y, delta])? {
        return gpu::add_columns(gpu, tape, y, delta, first, factor);
    }
    let sum = with_numbers!(y, |y_numbers| with_numbers!(delta, |delta| forward(
        y_numbers,
        delta,
        y.shape(),
        columns,
        first,
        factor
    )));
    let (y_node, y_precision, delta_kept) = (y.node, y.precision(), delta.detach());
    let delta_node = delta.node;
    Ok(tape.record(&[y, delta], sum, move |dy, flow| {
        if delta_node.is_some() {
            let gradient = build_in!(delta_kept.precision(), delta_kept.shape(), |out| {
                with_numbers!(dy, |dy| for_rows(out, columns, |row, out| {
                    for (out, dy) in out
                        .chunks_exact_mut(columns)
                        .zip(dy[row * width..].chunks_exact(width))
                    {
                        scaled::<(_, _)>(&dy[first..first + columns], factor, out);
                    }
                }))
            });
            flow.add(delta_node, gradient)?;
        }
        flow.add(y_node, dy.to_precision(y_precision))
    }))
}

fn forward<Y: Storable, D: Storable>(
    y: &[Y],
    delta: &[D],
    shape: &[usize],
    columns: usize,
    first: usize,
    factor: f32,
) -> Tensor {
    let width = shape.last().copied().unwrap_or(1);
    Tensor::build::<Y>(shape, |out| {
        for_rows(out, width, |row, out| {
            out.copy_from_slice(&y[row * width..][..out.len()]);
            let deltas = delta[row * columns..].chunks_exact(columns);
            for (out, delta) in out.chunks_exact_mut(width).zip(deltas) {
                add::<(D, Y)>(delta, factor, &mut out[first..first + columns]);
            }
        });
    })
}

multiversion! {
    /// `out += factor · delta`.
    fn add<F: Formats>(delta: &[F::In], factor: f32, out: &mut [F::Out]) {
        for (out, delta) in out.iter_mut().zip(delta) {
            *out = Element::store(fma::<FMA>(delta.load(), factor, out.load()));
        }
    }
}

multiversion! {
    /// `out = factor · values`.
    fn scaled<F: Formats>(values: &[F::In], factor: f32, out: &mut [F::Out]) {
        for (out, value) in out.iter_mut().zip(values) {
            *out = Element::store(factor * value.load());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Case};
    use crate::{Parameters, Precision};

    #[test]
    fn agrees_with_its_reference() {
        for (rows, width, first, columns) in [
            (1, 1, 0, 1),
            (9, 12, 4, 5),
            (70, 131, 100, 31),
            (3, 7, 0, 7),
            (0, 7, 1, 2),
        ] {
            let reference = reference::AddColumns {
                width,
                columns,
                first,
                factor: 0.75,
            };
            let case = Case::new(&[&[rows, width], &[rows, columns]]);
            let operation = |tape: &Tape<'_>, inputs: &[Tensor]| {
                add_columns(tape, &inputs[0], &inputs[1], first, 0.75)
            };
            testing::check_operation(&case, operation, &reference);
            testing::check_operation(&case.keep_f32(0), operation, &reference);
        }
    }

    #[test]
    fn columns_outside_are_refused() {
        let parameters = Parameters::new(Precision::F32);
        let tape = Tape::inference(&parameters);
        let (y, delta) = (Tensor::zeros(&[2, 5]), Tensor::zeros(&[2, 3]));
        let message = add_columns(&tape, &y, &delta, 3, 1.0)
            .expect_err("refused")
            .to_string();
        assert!(message.contains("column 3 of [2, 5]"), "{message}");
    }
}
