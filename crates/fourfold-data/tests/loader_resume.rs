//! A run that is stopped and goes on sees what the unbroken run sees: the same samples, in the same order, none lost and
//! none twice, whatever the threads and however many processes share it.

mod common;

use std::collections::HashMap;
use std::path::Path;

use common::{encoder, open};
use fourfold_data::{
    Batch, BatchSize, End, Loader, LoaderConfig, Mixture, PackBudget, SamplerState, Shard,
    SourceConfig, TooLong,
};

const LINES: usize = 20_000;
const CELLS: usize = 4_500;
const MEMBERS: usize = 500;
const ALL: usize = LINES + CELLS + MEMBERS;

/// JSON lines and a table, of several blocks each that are shuffled one by one, and an archive with images. Of the rows of
/// the table some are broken.
fn write(folder: &Path) {
    let lines: String = (0..LINES)
        .map(|row| format!("{{\"text\": \"a {}\"}}\n", "red cat ".repeat(row % 5 + 1)))
        .collect();
    std::fs::write(folder.join("lines.jsonl"), lines).unwrap();
    let mut cells = String::from("text,number\n");
    for row in 0..CELLS {
        let text = if row % 100 == 7 { "" } else { "a red hat" };
        cells += &format!("{text},{row}\n");
    }
    std::fs::write(folder.join("cells.csv"), cells).unwrap();
    let picture = std::fs::read(common::fixture("layouts/tables/images/blue.png")).unwrap();
    let mut tar = tar::Builder::new(std::fs::File::create(folder.join("members.tar")).unwrap());
    for row in 0..MEMBERS {
        for (kind, content) in [("png", &*picture), ("txt", b"a cat")] {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, format!("{row:05}.{kind}"), content)
                .unwrap();
        }
    }
    tar.finish().unwrap();
}

fn mixture(folder: &Path) -> Mixture {
    let source = |name: &str| {
        open(&SourceConfig {
            path: folder.join(name).into(),
            images: true,
            shuffle_mib: Some(0),
            ..Default::default()
        })
    };
    let sources = ["lines.jsonl", "cells.csv", "members.tar"].map(|name| (source(name), None));
    let mixture = Mixture::new(sources.into_iter().collect()).unwrap();
    assert_eq!(mixture.len(), ALL);
    assert!(mixture.sources()[0].0.blocks().len() > 3);
    mixture
}

struct Run<'f> {
    folder: &'f Path,
    batch: BatchSize,
}

impl Run<'_> {
    fn config(&self, threads: usize, shard: Shard, from: Option<&SamplerState>) -> LoaderConfig {
        LoaderConfig {
            end: End::Never,
            batch: self.batch,
            budget: PackBudget {
                tokens: 96,
                images: 3,
            },
            too_long: TooLong::Cut,
            // A position has a seed of its own.
            seed: if from.is_some() { 1 } else { 5 },
            shard,
            prefetch: 2,
            threads,
            strict: false,
        }
    }

    fn start(&self, threads: usize, shard: Shard, from: Option<&SamplerState>) -> Loader {
        let config = self.config(threads, shard, from);
        // As a checkpoint stores it.
        let from = from.map(|state| serde_json::to_string(state).unwrap());
        let from = from.map(|state| serde_json::from_str(&state).unwrap());
        Loader::start(mixture(self.folder), encoder(None, 60), config, from).unwrap()
    }

    fn take(
        &self,
        threads: usize,
        shard: Shard,
        from: Option<&SamplerState>,
        count: usize,
    ) -> Vec<Batch> {
        let mut loader = self.start(threads, shard, from);
        (0..count).map(|_| loader.next_batch().unwrap()).collect()
    }
}

/// The samples of a batch by file and row, pack by pack, and then those that are broken.
fn ids(batch: &Batch) -> Vec<String> {
    let placed = batch.packs.iter().flat_map(|pack| &pack.documents);
    let broken = batch.skipped.iter().map(|skip| skip.origin.clone());
    placed
        .map(|placed| placed.origin.clone())
        .chain(broken)
        .collect()
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

fn runs(folder: &Path) -> [Run<'_>; 2] {
    // Of a window of packs a batch takes a part that does not divide it.
    [BatchSize::Documents(45), BatchSize::Packs(5)].map(|batch| Run { folder, batch })
}

#[test]
fn a_run_stopped_at_any_batch_goes_on_as_if_it_had_not_been() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    const COUNT: usize = 36;
    for run in runs(folder.path()) {
        let whole = run.take(1, Shard::WHOLE, None, COUNT);
        for threads in [2, 4] {
            assert_eq!(
                run.take(threads, Shard::WHOLE, None, COUNT),
                whole,
                "{threads} threads"
            );
        }
        let within = whole
            .iter()
            .filter(|batch| batch.state_after.packs > 0)
            .count();
        assert_eq!(within > 20, matches!(run.batch, BatchSize::Packs(_)));
        for stop in 1..COUNT - 3 {
            let threads = [1, 2, 4][stop % 3];
            let state = &whole[stop - 1].state_after;
            let rest = run.take(threads, Shard::WHOLE, Some(state), 3);
            for (number, (got, wanted)) in rest.iter().zip(&whole[stop..]).enumerate() {
                let place = format!("{:?}, batch {number} after {stop}", run.batch);
                assert_eq!(ids(got), ids(wanted), "{place}");
                assert_eq!(got, wanted, "{place}");
            }
        }
    }
}

#[test]
fn other_processes_share_what_one_would_have_seen() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    const COUNT: usize = 24;
    for run in runs(folder.path()) {
        let whole = run.take(2, Shard::WHOLE, None, COUNT);
        // One process stops after some batches, several go on, and at last one again.
        for (stop, ranks) in [(0_usize, 2_usize), (5, 2), (11, 2), (7, 3)] {
            let from = stop.checked_sub(1).map(|last| &whole[last].state_after);
            let shard = |rank| Shard { rank, ranks };
            let parts: Vec<Vec<Batch>> = (0..ranks)
                .map(|rank| run.take(1 + rank, shard(rank), from, 9))
                .collect();
            for (number, wanted) in whole[stop..stop + 9].iter().enumerate() {
                let place = format!(
                    "{:?}, batch {number} after {stop}, {ranks} ranks",
                    run.batch
                );
                let shared = parts.iter().flat_map(|part| ids(&part[number]));
                assert_eq!(sorted(shared.collect()), sorted(ids(wanted)), "{place}");
                for part in &parts {
                    assert_eq!(part[number].state_after, wanted.state_after, "{place}");
                }
            }
            let state = &parts[ranks - 1][8].state_after;
            let after = run.take(2, Shard::WHOLE, Some(state), 3);
            assert_eq!(
                after,
                whole[stop + 9..stop + 12],
                "{:?} after {stop}",
                run.batch
            );
        }
    }
}

#[test]
fn an_epoch_has_every_sample_once() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    // Documents: two epochs to the sample. Packs: up to the end of a window.
    for batch in [BatchSize::Documents(1000), BatchSize::Packs(64)] {
        let run = Run {
            folder: folder.path(),
            batch,
        };
        let mut loader = run.start(2, Shard::WHOLE, None);
        let mut seen: HashMap<String, u64> = HashMap::new();
        let mut first_half = Vec::new();
        let drawn = loop {
            let batch = loader.next_batch().unwrap();
            for id in ids(&batch) {
                if first_half.len() < ALL {
                    first_half.push(id.clone());
                }
                *seen.entry(id).or_default() += 1;
            }
            let state = batch.state_after;
            if state.total() >= 2 * ALL as u64 && state.packs == 0 {
                break state;
            }
        };
        assert_eq!(seen.len(), ALL, "{batch:?}");
        assert_eq!(seen.values().sum::<u64>(), drawn.total(), "{batch:?}");
        for (name, (length, drawn)) in ["lines", "cells", "members"]
            .iter()
            .zip(drawn.lengths.iter().zip(&drawn.drawn))
        {
            let of = |id: &&String| id.starts_with(name);
            let counts = seen
                .iter()
                .filter(|(id, _)| of(id))
                .map(|(_, count)| *count);
            let (least, most) = (drawn / length, drawn.div_ceil(*length));
            assert!(
                counts.clone().all(|count| least <= count && count <= most),
                "{batch:?} {name}"
            );
        }
        if let BatchSize::Documents(_) = batch {
            assert_eq!(drawn.total(), 2 * ALL as u64);
            assert!(seen.values().all(|count| *count == 2));
            let first: std::collections::HashSet<&String> = first_half.iter().collect();
            assert_eq!(first.len(), ALL, "the first epoch has every sample");
        }
    }
}

/// The end of the data is at the same batch for all, however little the last one holds.
#[test]
fn processes_end_together() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    for (batch, draws) in [
        (BatchSize::Documents(45), 91),
        (BatchSize::Documents(45), 90),
        (BatchSize::Packs(5), 300),
        (BatchSize::Packs(7), 1),
    ] {
        let count = |shard| {
            let config = LoaderConfig {
                end: End::Draws(draws),
                ..Run {
                    folder: folder.path(),
                    batch,
                }
                .config(2, shard, None)
            };
            let mixture = mixture(folder.path());
            let mut loader = Loader::start(mixture, encoder(None, 60), config, None).unwrap();
            (1..)
                .find(|_| loader.next_batch().unwrap().last)
                .expect("it ends")
        };
        let whole = count(Shard::WHOLE);
        for ranks in [2, 3] {
            for rank in 0..ranks {
                assert_eq!(count(Shard { rank, ranks }), whole, "{batch:?} {draws}");
            }
        }
    }
}
