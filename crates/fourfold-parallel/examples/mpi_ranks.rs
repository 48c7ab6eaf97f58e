//! Holds ranks over MPI to ranks within one process: `mpirun -np 3 target/debug/examples/mpi_ranks`. Each rank makes the
//! same calls both ways and demands the same bits.

use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use fourfold_parallel::{Collective, Result, connect_mpi, threads};

fn main() -> Result<ExitCode> {
    let end = connect_mpi(|reason| eprintln!("{reason}"))?;
    let (rank, ranks) = (end.rank(), end.ranks());
    let within = threads(ranks)
        .into_iter()
        .map(|end| thread::spawn(move || results(&end)));
    let within: Vec<_> = within.collect();
    let within: Vec<_> = within.into_iter().map(|thread| thread.join()).collect();
    let same = match &within[rank] {
        Ok(Ok(within)) => results(&end)? == *within,
        _ => false,
    };
    let all = end.exchange(vec![u8::from(same)])?;
    let good = all.iter().all(|one| one == &[1]);
    if rank == 0 {
        println!(
            "{ranks} ranks over MPI: {}",
            if good { "the same bits" } else { "DIFFERENT" }
        );
    }
    Ok(ExitCode::from(u8::from(!good)))
}

/// What all collectives give for some numbers.
fn results(end: &Arc<dyn Collective>) -> Result<Vec<Vec<f32>>> {
    let mut results = Vec::new();
    for len in [0, 1, 3, 1000, 300_000] {
        let numbers = || -> Vec<f32> {
            let number = |i: usize| (1.0 + i as f32 + 7.0 * end.rank() as f32).sin();
            (0..len).map(number).collect()
        };
        let (mut sum, mut sent) = (numbers(), numbers());
        end.sum(&mut sum)?;
        end.broadcast(&mut sent)?;
        let message = format!("rank {}", end.rank()).repeat(len);
        let heard = end.exchange(message.into_bytes())?;
        results.extend([sum, sent]);
        results.extend(
            heard
                .into_iter()
                .map(|bytes| bytes.into_iter().map(f32::from).collect()),
        );
    }
    Ok(results)
}
