//! Large sources in constant memory: a JSON array of a million conversations and 200 tar shards, made in a temporary
//! folder and gone through once by the loader. Prints rates and the most memory that was held, as JSON.
//!
//! ```text
//! cargo run --release -p fourfold-data --example scale -- [ROWS] [SHARDS]
//! ```

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use fourfold_data::{
    BatchSize, Encoder, EncoderConfig, End, ImageTransform, Loader, LoaderConfig, Mixture,
    PackBudget, Paths, Shard, SourceConfig, TextFormat, TooLong, source, train_bpe,
};
use serde_json::json;

const SAMPLES_A_SHARD: usize = 500;

fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let rows = numbers.next().transpose()?.unwrap_or(1_000_000);
    let shards = numbers.next().transpose()?.unwrap_or(200);
    let folder = tempfile::tempdir()?;
    let json = folder.path().join("rows.json");
    write_json(&json, rows)?;
    measure("json array of conversations", json.into(), rows)?;
    for shard in 0..shards {
        write_shard(&folder.path().join(format!("{shard:05}.tar")), shard)?;
    }
    let pattern = folder
        .path()
        .join(format!("{{00000..{:05}}}.tar", shards - 1));
    measure(
        "webdataset shards",
        pattern.into(),
        shards * SAMPLES_A_SHARD,
    )
}

/// Opens a source, then draws each of its `samples` once.
fn measure(name: &str, path: Paths, samples: usize) -> Result<(), Box<dyn Error>> {
    let bytes: u64 = path
        .files()?
        .iter()
        .map(|file| file.metadata().map_or(0, |about| about.len()))
        .sum();
    let config = SourceConfig {
        path,
        images: true,
        ..SourceConfig::default()
    };
    let begin = Instant::now();
    let source = source::open(&config)?;
    let opened = begin.elapsed().as_secs_f64();
    assert_eq!(source.len(), samples);
    let mixture = Mixture::new(vec![(source, None)])?;
    let config = LoaderConfig {
        batch: BatchSize::Packs(8),
        end: End::Draws(samples as u64),
        budget: PackBudget {
            tokens: 2048,
            images: 64,
        },
        too_long: TooLong::Cut,
        seed: 1,
        shard: Shard::WHOLE,
        prefetch: 2,
        threads: std::thread::available_parallelism()?.get(),
        strict: true,
    };
    let begin = Instant::now();
    let mut loader = Loader::start(mixture, encoder()?, config, None)?;
    let (mut documents, mut tokens, mut packs) = (0, 0, 0);
    loop {
        let batch = loader.next_batch()?;
        documents += batch.documents;
        tokens += batch.tokens;
        packs += batch.packs.len();
        if batch.last {
            break;
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    assert_eq!(documents, samples, "every sample is drawn once");
    let report = json!({
        "source": name,
        "samples": samples,
        "file_mib": bytes >> 20,
        "open_seconds": opened,
        "load_seconds": seconds,
        "samples_per_second": documents as f64 / seconds,
        "pack_fill": tokens as f64 / (packs * 2048) as f64,
        "peak_memory_mib": peak_memory_mib(),
    });
    println!("{report}");
    Ok(())
}

fn encoder() -> Result<Arc<Encoder>, Box<dyn Error>> {
    let format = TextFormat::default();
    let texts = [
        "what is in the picture number",
        "it is the answer to the question about the sample",
    ];
    let tokenizer = train_bpe(texts.iter(), 320, &format.tokens())?;
    let config = EncoderConfig {
        format,
        transform: ImageTransform {
            size: 32.into(),
            ..ImageTransform::default()
        },
        augment: None,
        visual_tokens_per_image: 16,
        max_tokens: 1024,
    };
    Ok(Arc::new(Encoder::new(Arc::new(tokenizer), config)?))
}

/// Conversations of one to three turns, about a kilobyte each as those of LLaVA, without images.
fn write_json(path: &Path, rows: usize) -> Result<(), Box<dyn Error>> {
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(b"[")?;
    for row in 0..rows {
        let turns = (0..1 + row % 3).flat_map(|turn| {
            let answer = "it is the answer to the question about the sample ".repeat(1 + (row * 7 + turn) % 9);
            [
                json!({"from": "human", "value": format!("what is in the picture number {row}, part {turn}?")}),
                json!({"from": "gpt", "value": answer}),
            ]
        });
        let record = json!({"id": format!("{row:09}"), "conversations": turns.collect::<Vec<_>>()});
        if row > 0 {
            file.write_all(b",\n")?;
        }
        serde_json::to_writer(&mut file, &record)?;
    }
    file.write_all(b"]")?;
    Ok(file.flush()?)
}

/// Pictures of 32 by 32 pixels with a caption and what img2dataset writes beside it.
fn write_shard(path: &Path, shard: usize) -> Result<(), Box<dyn Error>> {
    let mut archive = tar::Builder::new(BufWriter::new(File::create(path)?));
    for sample in 0..SAMPLES_A_SHARD {
        let key = format!("{shard:05}{sample:04}");
        let color = [shard, sample, shard * 3 + sample].map(|value| (value % 256) as u8);
        let picture = image::RgbImage::from_fn(32, 32, |x, y| {
            image::Rgb([color[0] ^ x as u8, color[1] ^ y as u8, color[2]])
        });
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, image::ImageFormat::Png)?;
        let caption = format!("the picture number {sample} of shard {shard}");
        let about = json!({"key": key, "caption": caption, "width": 32, "height": 32}).to_string();
        let members = [
            ("png", bytes.into_inner()),
            ("txt", caption.into_bytes()),
            ("json", about.into_bytes()),
        ];
        for (extension, content) in members {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            archive.append_data(
                &mut header,
                format!("{key}.{extension}"),
                content.as_slice(),
            )?;
        }
    }
    Ok(archive.into_inner()?.flush()?)
}

/// The most memory that this process held, where the system tells.
fn peak_memory_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? >> 10)
}
