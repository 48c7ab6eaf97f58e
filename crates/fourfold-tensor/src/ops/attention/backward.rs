//! The gradient of attention: how it is cut into tasks, and what is added up after them.

use std::ops::Range;

use rayon::prelude::*;

use super::backward_task::{Scratch, Written, run};
use super::cpu::{Part, Rectangle, parts};
use super::forward::Problem;
use super::plan::{cut, documents, rows_that_see};
use super::tile::{TILE, padded, store_row};
use crate::Element;
use crate::gemm::SmallProducts;
use crate::tensor::View;

/// Keys that one task takes, at least; a longer document is cut into at most [`MOST_CUTS`] tasks for each head.
const TASK_KEYS: usize = 512;

/// Bounds the gradients of queries that wait to be added up: one copy for each cut of a document.
const MOST_CUTS: usize = 8;

/// What the forward pass left and what came back.
pub(super) struct Received<'a> {
    /// `[tokens, query * width]`, the result.
    pub output: View<'a>,
    /// `[tokens, query * width]`, the gradient of the result.
    pub gradient: View<'a>,
    /// `[tokens, query]`.
    pub log_sums: &'a [f32],
}

/// Some keys of one key-value head and the rows that see them.
pub(super) struct Task {
    pub key_value: usize,
    pub keys: Range<usize>,
    pub rows: Range<usize>,
    /// Whether the rows see keys of no other task: their gradient is then complete.
    pub alone: bool,
}

/// Writes the gradient of `qkv` to `out: [tokens, heads.columns()]`.
pub(super) fn backward<T: Element>(problem: &Problem<'_>, received: &Received<'_>, out: &mut [T]) {
    let columns = problem.heads.columns();
    let tasks = tasks(problem);
    let partials: Vec<Vec<f32>> = tasks
        .par_iter()
        .zip(written(problem, &tasks, out))
        .map_init(Scratch::default, |scratch, (task, mut out)| {
            let mut work = |session| run(problem, received, task, session, scratch, &mut out);
            match SmallProducts::find(problem.precision) {
                Some(small) => small.session(|session| work(Some(session))),
                None => work(None),
            }
        })
        .collect();

    // Cut documents: the tasks of one head lie side by side; their gradients of queries are added in order.
    let together = |a: &Task, b: &Task| {
        !a.alone && !b.alone && a.key_value == b.key_value && a.keys.end == b.keys.start
    };
    let mut first = 0;
    let mut sums = Vec::new();
    for tasks in tasks.chunk_by(together) {
        let partials = &partials[first..first + tasks.len()];
        first += tasks.len();
        if let (false, Some(start), Some(end)) = (
            tasks[0].alone,
            tasks.iter().map(|task| task.rows.start).min(),
            tasks.iter().map(|task| task.rows.end).max(),
        ) {
            sums.extend(cut(start..end, TASK_KEYS).map(|rows| (tasks, partials, rows)));
        }
    }
    let rectangles = sums.iter().map(|(tasks, _, rows)| Rectangle {
        rows: rows.clone(),
        columns: query_columns(problem, tasks[0].key_value),
    });
    let out = parts(out, columns, rectangles.collect());
    sums.into_par_iter()
        .zip(out)
        .for_each(|((tasks, partials, rows), mut out)| {
            add_partials(problem, tasks, partials, rows, &mut out);
        });
}

/// The columns of the query heads that share `key_value`.
fn query_columns(problem: &Problem<'_>, key_value: usize) -> Range<usize> {
    let group = problem.heads.group();
    problem.column(key_value * group)..problem.column((key_value + 1) * group)
}

/// What each task writes of `out`: its keys and values, and its queries where no other task adds to them.
fn written<'a, T>(problem: &Problem<'_>, tasks: &[Task], out: &'a mut [T]) -> Vec<Written<'a, T>> {
    let mut rectangles = Vec::new();
    for task in tasks {
        let columns = [
            problem.key_column(task.key_value),
            problem.value_column(task.key_value),
        ];
        rectangles.extend(columns.map(|column| Rectangle {
            rows: task.keys.clone(),
            columns: column..column + problem.heads.width,
        }));
        rectangles.extend(task.alone.then(|| Rectangle {
            rows: task.rows.clone(),
            columns: query_columns(problem, task.key_value),
        }));
    }
    let mut parts = parts(out, problem.heads.columns(), rectangles).into_iter();
    let mut next = || parts.next().expect("a part for each rectangle");
    let written = |task: &Task| Written {
        keys: next(),
        values: next(),
        queries: task.alone.then(&mut next),
    };
    tasks.iter().map(written).collect()
}

fn tasks(problem: &Problem<'_>) -> Vec<Task> {
    let mut tasks = Vec::new();
    for document in documents(problem.visibility) {
        let step = TASK_KEYS.max(document.len().div_ceil(MOST_CUTS).next_multiple_of(TILE));
        let alone = document.len() <= step;
        for key_value in 0..problem.heads.key_value {
            tasks.extend(cut(document.clone(), step).map(|keys| Task {
                key_value,
                rows: rows_that_see(problem.visibility, document.clone(), keys.clone()),
                keys,
                alone,
            }));
        }
    }
    tasks
}

/// Adds what the tasks of one head found for the queries in `rows`, in the order of their keys.
fn add_partials<T: Element>(
    problem: &Problem<'_>,
    tasks: &[Task],
    partials: &[Vec<f32>],
    rows: Range<usize>,
    out: &mut Part<'_, T>,
) {
    let (group, width) = (problem.heads.group(), problem.heads.width);
    let lanes = padded(width);
    let mut sum = vec![0.0; lanes];
    for member in 0..group {
        for row in rows.clone() {
            sum.fill(0.0);
            for (task, partial) in tasks.iter().zip(partials) {
                if task.rows.contains(&row) {
                    let index = member * task.rows.len() + row - task.rows.start;
                    let part = &partial[index * lanes..][..lanes];
                    sum.iter_mut()
                        .zip(part)
                        .for_each(|(sum, part)| *sum += part);
                }
            }
            let out = &mut out.row(row)[member * width..][..width];
            store_row(&sum[..width], problem.scale(), out);
        }
    }
}
