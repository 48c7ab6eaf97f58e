//! Damaged files of every layout: whatever is in them is an error or rows, never a panic, a hang or memory without
//! bound.
//!
//! Each case is a fixture with a few seeded changes. `FOURFOLD_FUZZ_SECONDS=60` searches for that long in each kind of
//! file instead of a fixed number of cases; `FOURFOLD_FUZZ_SEED` begins elsewhere. What a case did wrong is told with
//! its seed, and its file is kept. The targets in `fuzz/` search with coverage.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fourfold_data::source::Table;
use fourfold_data::{SourceConfig, decode_rgb};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Cases of each kind where no time is given.
const CASES: u64 = 150;
/// A longer case hangs: the fixtures have a few rows.
const LONGEST: Duration = Duration::from_secs(5);
/// Mebibytes that all cases together may take beyond what the process began with.
const MOST_MEMORY: u64 = 512;
/// Mebibytes of addresses: what is reserved counts, though it is never written.
const MOST_RESERVED: u64 = 2048;

/// The kinds of file, by what their names end with.
const KINDS: [(&str, &[&str]); 6] = [
    ("json", &[".json"]),
    ("lines", &[".jsonl"]),
    ("csv", &[".csv", ".tsv", ".token", "captions.txt"]),
    ("tar", &[".tar"]),
    ("parquet", &[".parquet"]),
    ("packed", &[".gz", ".zst"]),
];

#[test]
fn damaged_files_are_errors_or_rows() {
    let seconds = variable("FOURFOLD_FUZZ_SECONDS");
    let first = variable("FOURFOLD_FUZZ_SEED").unwrap_or(1);
    // The Parquet library's panics are caught within the reader; their messages would only be noise.
    std::panic::set_hook(Box::new(|_| {}));
    let folder = tempfile::tempdir().unwrap();
    watch_for_hangs();
    let before = memory();
    for (kind, endings) in KINDS {
        let files = fixtures(endings);
        assert!(!files.is_empty(), "no fixture of {kind}");
        let begin = Instant::now();
        let mut seed = first;
        while match seconds {
            Some(seconds) => begin.elapsed() < Duration::from_secs(seconds),
            None => seed < first + CASES,
        } {
            one_case(kind, &files, seed, folder.path());
            seed += 1;
        }
        println!("{kind}: {} cases in {:.1?}", seed - first, begin.elapsed());
    }
    let _ = std::panic::take_hook();
    if let (Some(before), Some(after)) = (before, memory()) {
        let grown = [after[0] - before[0], after[1] - before[1]];
        println!("grown by {} MiB, reserved {} MiB", grown[0], grown[1]);
        assert!(grown[0] < MOST_MEMORY, "took {} MiB", grown[0]);
        assert!(grown[1] < MOST_RESERVED, "reserved {} MiB", grown[1]);
    }
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text}: expected a number")),
    )
}

fn one_case(kind: &str, files: &[(PathBuf, Vec<u8>)], seed: u64, folder: &Path) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (origin, bytes) = &files[rng.random_range(0..files.len())];
    let bytes = changed(bytes, files, &mut rng);
    // Readers look at names as well.
    let path = folder.join(origin.file_name().unwrap());
    std::fs::write(&path, &bytes).unwrap();
    CASE.store(seed, Ordering::SeqCst);
    let begin = Instant::now();
    STARTED.store(millis(), Ordering::SeqCst);
    let read = catch_unwind(AssertUnwindSafe(|| read_everything(&path)));
    STARTED.store(0, Ordering::SeqCst);
    let what = match read {
        Err(_) => "panics",
        Ok(()) if begin.elapsed() > LONGEST => "takes too long",
        Ok(()) => return,
    };
    let kept = std::env::temp_dir().join(format!(
        "fuzz-{kind}-{seed}-{}",
        origin.file_name().unwrap().display()
    ));
    std::fs::write(&kept, &bytes).unwrap();
    let _ = std::panic::take_hook();
    panic!(
        "{kind} case {seed}, from {}: {what} ({:.1?}); its file is {}",
        origin.display(),
        begin.elapsed(),
        kept.display()
    );
}

/// Opens a file and reads all there is.
fn read_everything(path: &Path) {
    let config = SourceConfig {
        path: path.into(),
        images: true,
        ..SourceConfig::default()
    };
    let Ok(table) = Table::read(&config) else {
        return;
    };
    for number in 0..table.len() {
        let Ok(row) = table.row(number) else { continue };
        for (index, image) in row.images.iter().enumerate() {
            if let Ok(image) = image.load(&row.origin, index) {
                let _ = decode_rgb(&image.bytes);
            }
        }
    }
    // Samples, with the templates that the layout proposes.
    let Ok(source) = fourfold_data::source::open(&config) else {
        return;
    };
    for number in 0..source.len().min(64) {
        let _ = source.sample(number, &mut fourfold_data::sample_rng(0, number as u64));
    }
}

/// `bytes` with a few changes.
fn changed(bytes: &[u8], files: &[(PathBuf, Vec<u8>)], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..rng.random_range(1..6) {
        if bytes.is_empty() {
            break;
        }
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..9) {
            // A bit.
            0 | 1 => bytes[at] ^= 1 << rng.random_range(0..8),
            // A byte, of those that mean something somewhere.
            2 => {
                let known = b"\"\\{}[],:\n\r\t;|'#0-9.eE\x00\xff\x80\x7f";
                bytes[at] = known[rng.random_range(0..known.len())];
            }
            // A number in binary: lengths and offsets.
            3 => {
                let number: u64 = match rng.random_range(0..5) {
                    0 => 0,
                    1 => u64::MAX,
                    2 => u64::from(u32::MAX),
                    3 => i64::MAX as u64,
                    _ => 1 << rng.random_range(0..63),
                };
                let width = [2, 4, 8][rng.random_range(0..3)];
                for (byte, new) in bytes[at..].iter_mut().zip(number.to_le_bytes()).take(width) {
                    *byte = new;
                }
            }
            // A number in octal, where the header of a tar member has its size.
            4 => {
                let field = at / 512 * 512 + 124;
                let bits = rng.random_range(1..33);
                let number = rng.random_range(0..1u64 << bits);
                let digits = format!("{number:011o}");
                if let Some(place) = bytes.get_mut(field..field + 11) {
                    place.copy_from_slice(digits.as_bytes());
                }
                checksum(&mut bytes, at / 512 * 512);
            }
            // The end is missing.
            5 => bytes.truncate(at),
            // A stretch is missing, or there twice.
            6 => {
                let end = (at + rng.random_range(1..600)).min(bytes.len());
                match rng.random_range(0..2) {
                    0 => drop(bytes.drain(at..end)),
                    _ => {
                        let stretch = bytes[at..end].to_vec();
                        bytes.splice(at..at, stretch);
                    }
                }
            }
            // A stretch of another file.
            7 => {
                let other = &files[rng.random_range(0..files.len())].1;
                let from = rng.random_range(0..other.len().max(1)).min(other.len());
                let to = (from + rng.random_range(1..2000)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            // Deep nesting.
            _ => {
                let open = [b'[', b'{', b'"'][rng.random_range(0..3)];
                let many = vec![open; 1 << rng.random_range(1..16)];
                bytes.splice(at..at, many);
            }
        }
    }
    bytes
}

/// Makes the checksum of the tar header at `place` right again, or damage to it would hide all other damage.
fn checksum(bytes: &mut [u8], place: usize) {
    if let Some(header) = bytes.get_mut(place..place + 512) {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

/// The fixtures whose names end so, with their content.
fn fixtures(endings: &[&str]) -> Vec<(PathBuf, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut folders = vec![root.join("layouts")];
    let mut found = Vec::new();
    for name in [
        "images.parquet",
        "text.parquet",
        "types.parquet",
        "zstd.parquet",
    ] {
        found.push(root.join(name));
    }
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            match entry.path().is_dir() {
                true => folders.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    found.retain(|path| {
        let name = path.to_string_lossy();
        // The list of what readers should find is no data.
        !name.ends_with("expected.json") && endings.iter().any(|ending| name.ends_with(ending))
    });
    found.sort();
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).unwrap();
        (path, bytes)
    };
    found.into_iter().map(read).collect()
}

/// The seed of the case at hand, and when it began; 0 between cases.
static CASE: AtomicU64 = AtomicU64::new(0);
static STARTED: AtomicU64 = AtomicU64::new(0);

fn millis() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(1, |now| now.as_millis() as u64)
}

/// Ends the test where a case never does: nothing else could tell which one it was.
fn watch_for_hangs() {
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let started = STARTED.load(Ordering::SeqCst);
            if started > 0 && millis().saturating_sub(started) > 12 * LONGEST.as_millis() as u64 {
                eprintln!("case {} does not end", CASE.load(Ordering::SeqCst));
                std::process::abort();
            }
        }
    });
}

/// The most mebibytes that this process had in memory, and had reserved; where the system tells.
fn memory() -> Option<[u64; 2]> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let value = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        let number: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(number / 1024)
    };
    Some([value("VmHWM:")?, value("VmPeak:")?])
}
