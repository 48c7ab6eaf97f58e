//! Rows of a table, by their number.

mod gpu;
#[cfg(test)]
mod reference;
mod scatter;

pub(super) use gpu::{Scatter, gather};
pub(super) use scatter::scatter_add;

use super::formats::{convert, with_numbers};
use crate::device::common;
use crate::parallel::for_rows;
use crate::{Result, Tape, Tensor, TensorError};

/// `table: [n, width]`, `ids` → f32 `[ids, width]`, row *i* being `table[ids[i]]`.
///
/// The gradient of the table sums, in the order of `ids`, what reached each of its rows.
///
/// # Errors
/// When the table is no matrix or an id is not below `n`.
pub fn embedding(tape: &Tape<'_>, table: &Tensor, ids: &[u32]) -> Result<Tensor> {
    check_ids("embedding", table, ids)?;
    if let Some(gpu) = common("embedding", [table])? {
        return gpu::embedding(gpu, tape, table, ids);
    }
    let width = table.width();
    let y = Tensor::build::<f32>(&[ids.len(), width], |out| {
        with_numbers!(table, |table| for_rows(out, width, |first, out| {
            for (out, id) in out.chunks_exact_mut(width).zip(&ids[first..]) {
                convert::<(_, _)>(&table[*id as usize * width..][..width], out);
            }
        }));
    });
    let (node, shape) = (table.node, table.shape().to_vec());
    let ids = if node.is_some() {
        ids.to_vec()
    } else {
        Vec::new()
    };
    Ok(tape.record(&[table], y, move |dy, flow| {
        let dy = dy.f32()?;
        flow.accumulate(node, &shape, |out, accumulate| {
            scatter_add(out, width, &ids, dy, 1.0, accumulate);
        });
        Ok(())
    }))
}

/// Demands a table of two dimensions that has a row for each id.
pub(super) fn check_ids(operation: &'static str, table: &Tensor, ids: &[u32]) -> Result<()> {
    if table.shape().len() != 2 {
        return Err(TensorError::shape(
            operation,
            format!("a table of shape {:?}; expected [n, width]", table.shape()),
        ));
    }
    let rows = table.rows();
    match ids.iter().position(|id| *id as usize >= rows) {
        None => Ok(()),
        Some(at) => Err(TensorError::shape(
            operation,
            format!(
                "id {} at position {at} for a table of {rows} rows; expected ids below {rows}",
                ids[at]
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Case};
    use crate::{Parameters, Precision};

    #[test]
    fn agrees_with_its_reference() {
        for (n, width, count) in [
            (1, 1, 1),
            (5, 7, 9),
            (40, 33, 70),
            (700, 64, 300),
            (131, 31, 1),
            (1, 37, 101),
            (5, 7, 0),
        ] {
            let ids: Vec<u32> = (0..count).map(|i| (i * i * 7 + i) % n as u32).collect();
            testing::check_operation(
                &Case::new(&[&[n, width]]),
                |tape, inputs| embedding(tape, &inputs[0], &ids),
                &reference::Embedding {
                    n,
                    width,
                    ids: ids.clone(),
                },
            );
        }
    }

    #[test]
    fn sums_do_not_depend_on_the_number_of_threads() {
        let (n, width) = (1000, 48);
        let mut random = testing::Random(5);
        let ids: Vec<u32> = (0..5000)
            .map(|_| ((random.next() + 1.0) * 20.0) as u32 * 24)
            .collect();
        let rows: Vec<f32> = (0..ids.len() * width)
            .map(|_| random.next() as f32)
            .collect();
        let sums = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("a pool");
            let mut table = vec![f32::NAN; n * width];
            pool.install(|| scatter_add(&mut table, width, &ids, &rows, 0.5, false));
            table
        };
        let one = sums(1);
        assert!(one.iter().all(|sum| sum.is_finite()));
        assert_eq!(one, sums(3));
    }

    #[test]
    fn an_id_without_a_row_is_named() {
        let parameters = Parameters::new(Precision::F32);
        let tape = Tape::inference(&parameters);
        let message = embedding(&tape, &Tensor::zeros(&[4, 3]), &[1, 9])
            .expect_err("no row 9")
            .to_string();
        assert!(
            message.contains("id 9")
                && message.contains("position 1")
                && message.contains("4 rows")
        );
    }
}
