//! Rows of a table added to the rows of a tensor: learned positions.

mod gpu;
#[cfg(test)]
mod reference;

use super::embedding::{check_ids, scatter_add};
use super::formats::{Formats, with_numbers};
use crate::device::common;
use crate::isa::multiversion;
use crate::parallel::for_rows;
use crate::tensor::Storable;
use crate::{Result, Tape, Tensor, TensorError};

/// `x: [rows, width]`, `table: [n, width]`, one id a row → f32 `[rows, width]`, row *i* being `x[i] + table[ids[i]]`.
///
/// Either operand may be in either format.
///
/// # Errors
/// When the shapes do not fit, there is not one id a row, or an id is not below `n`.
pub fn add_rows(tape: &Tape<'_>, x: &Tensor, table: &Tensor, ids: &[u32]) -> Result<Tensor> {
    check_ids("add_rows", table, ids)?;
    let width = x.width();
    if table.width() != width || ids.len() != x.rows() {
        return Err(TensorError::shape(
            "add_rows",
            format!(
                "x {:?}, table {:?}, {} ids; expected equal widths and one id a row",
                x.shape(),
                table.shape(),
                ids.len()
            ),
        ));
    }
    if let Some(gpu) = common("add_rows", [x, table])? {
        return gpu::add_rows(gpu, tape, x, table, ids);
    }
    let y = with_numbers!(x, |x_numbers| with_numbers!(table, |table| {
        forward(x_numbers, table, ids, x.shape())
    }));
    let (x_node, precision) = (x.node, x.precision());
    let (table_node, shape) = (table.node, table.shape().to_vec());
    let ids = ids.to_vec();
    Ok(tape.record(&[x, table], y, move |dy, flow| {
        let numbers = dy.f32()?;
        flow.accumulate(table_node, &shape, |out, accumulate| {
            scatter_add(out, width, &ids, numbers, 1.0, accumulate);
        });
        if x_node.is_some() {
            flow.add(x_node, dy.to_precision(precision))?;
        }
        Ok(())
    }))
}

fn forward<X: Storable, T: Storable>(x: &[X], table: &[T], ids: &[u32], shape: &[usize]) -> Tensor {
    let width = shape.last().copied().unwrap_or(1);
    Tensor::build::<f32>(shape, |out| {
        for_rows(out, width, |first, out| {
            let x = x[first * width..].chunks_exact(width);
            for ((out, x), id) in out.chunks_exact_mut(width).zip(x).zip(&ids[first..]) {
                add::<(X, T)>(x, &table[*id as usize * width..][..width], out);
            }
        });
    })
}

multiversion! {
    /// `out = x + row`.
    fn add<F: Formats>(x: &[F::In], row: &[F::Out], out: &mut [f32]) {
        use crate::Element;
        for ((out, x), row) in out.iter_mut().zip(x).zip(row) {
            *out = x.load() + row.load();
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
        for (rows, n, width) in [
            (1, 1, 1),
            (9, 4, 7),
            (392, 196, 48),
            (1, 5, 131),
            (101, 1, 37),
            (0, 4, 7),
        ] {
            let ids: Vec<u32> = (0..rows).map(|row| (row % n) as u32).collect();
            let reference = reference::AddRows {
                width,
                ids: ids.clone(),
            };
            let case = Case::new(&[&[rows, width], &[n, width]]);
            let operation =
                |tape: &Tape<'_>, inputs: &[Tensor]| add_rows(tape, &inputs[0], &inputs[1], &ids);
            testing::check_operation(&case, operation, &reference);
            testing::check_operation(&case.keep_f32(0), operation, &reference);
        }
    }

    #[test]
    fn says_what_does_not_fit() {
        let parameters = Parameters::new(Precision::F32);
        let tape = Tape::inference(&parameters);
        let error = |ids: &[u32]| {
            add_rows(&tape, &Tensor::zeros(&[2, 3]), &Tensor::zeros(&[4, 3]), ids)
                .expect_err("refused")
                .to_string()
        };
        assert!(error(&[0, 4]).contains("add_rows: id 4 at position 1"));
        assert!(error(&[0]).contains("1 ids"));
    }
}
