//! Attention for the shapes that training meets. Rates count the products of visible pairs alone.

use criterion::{Criterion, Throughput};
use fourfold_tensor::ops::{Heads, Visibility, attention};

use super::support::{PRECISIONS, forward_and_back, group, numbers, parameters};

/// Causal documents of equal length.
fn causal(documents: usize, rows: usize) -> Visibility {
    let first = move |row: u32| row / rows as u32 * rows as u32;
    let all = 0..(documents * rows) as u32;
    let (start, end) = all.map(|row| (first(row), row + 1)).unzip();
    Visibility::new(start, end).expect("every row sees itself")
}

pub fn all(criterion: &mut Criterion) {
    let heads = |query, key_value| Heads {
        query,
        key_value,
        width: 64,
    };
    for (name, visibility, heads) in [
        ("8 x 256 causal, 6 heads", causal(8, 256), heads(6, 6)),
        (
            "32 x 64 full, 4 heads",
            Visibility::blocks(2048, 64),
            heads(4, 4),
        ),
        ("40 x 50 causal, 4/2 heads", causal(40, 50), heads(4, 2)),
        (
            "10 x 196 full, 6 heads",
            Visibility::blocks(1960, 196),
            heads(6, 6),
        ),
        ("1 x 2048 causal, 6 heads", causal(1, 2048), heads(6, 6)),
    ] {
        let mut group = group(criterion, "attention");
        let pairs = visibility.start().iter().zip(visibility.end());
        let pairs: u64 = pairs.map(|(start, end)| u64::from(end - start)).sum();
        let product = 2 * pairs * (heads.query * heads.width) as u64;
        // Two products forward, five more back.
        let work = [2, 7].map(|products| Throughput::Elements(products * product));
        for precision in PRECISIONS {
            let (parameters, _) = parameters(precision, &[]);
            let x = numbers(&[visibility.rows(), heads.columns()], precision);
            forward_and_back(
                &mut group,
                name,
                work.clone(),
                &parameters,
                &x,
                |tape, x| attention(tape, x, heads, &visibility),
            );
        }
    }
}
