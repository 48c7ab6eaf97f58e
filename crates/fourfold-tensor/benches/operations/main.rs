//! How fast each operation runs here: `cargo bench -p fourfold-tensor [-- part of a name]`.
//!
//! Everything runs as within a training step, its threads kept awake. Rates of products and attention count an operation
//! (a multiplication, an addition) as an element; the others count the bytes of their operands and results.

mod attention;
mod optimizer;
mod products;
mod rows;
mod support;

use std::time::Duration;

use criterion::Criterion;
use fourfold_tensor::{Isa, Precision, awake, peak};

fn main() {
    for precision in [Precision::F32, Precision::Bf16] {
        let peak = peak::operations_per_second(precision) / 1e9;
        let (isa, name) = (Isa::current().name(), precision.name());
        println!("{isa}: at most {peak:.0} GFLOP/s of {name} products");
    }
    awake(|| {
        let mut criterion = Criterion::default()
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1))
            .sample_size(20)
            .configure_from_args();
        products::all(&mut criterion);
        attention::all(&mut criterion);
        rows::all(&mut criterion);
        optimizer::all(&mut criterion);
        criterion.final_summary();
    });
}
