//! Files that no set is published as, but that people make.

use std::path::{Path, PathBuf};

use fourfold_data::{Sample, Source, SourceConfig, sample_rng};

use crate::common::{fixture, open, refusal};

fn tar(path: &Path, members: &[&str]) {
    let mut tar = tar::Builder::new(std::fs::File::create(path).unwrap());
    let picture = std::fs::read(fixture("layouts/tables/images/blue.png")).unwrap();
    for name in members {
        let content: &[u8] = match name.ends_with("png") {
            true => &picture,
            false => name.as_bytes(),
        };
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content).unwrap();
    }
    tar.finish().unwrap();
}

fn config(path: PathBuf) -> SourceConfig {
    SourceConfig {
        path: path.into(),
        image_folder: Some(fixture("layouts/tables/images")),
        images: true,
        ..Default::default()
    }
}

fn source(path: PathBuf) -> std::sync::Arc<dyn Source> {
    open(&config(path))
}

fn sample(source: &dyn Source, number: usize) -> Result<Sample, String> {
    let sample = source.sample(number, &mut sample_rng(0, 0));
    let read = |sample: Sample| sample.read_images().map(|_| sample);
    sample.and_then(read).map_err(|error| error.to_string())
}

#[test]
fn members_of_a_sample_follow_one_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shard.tar");
    tar(&path, &["0.png", "0.txt", "1.png", "1.txt", "0.txt"]);
    let source = source(path);
    assert_eq!(source.len(), 3);
    for number in [0, 2] {
        let error = sample(&*source, number).unwrap_err();
        assert!(error.contains("stands at several places"), "{error}");
    }
    assert_eq!(sample(&*source, 1).unwrap().turns[0].answer, "1.txt");
}

#[test]
fn an_archive_without_any_image_is_one_of_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shard.tar");
    tar(&path, &["0.txt", "1.txt"]);
    let text = source(path.clone());
    assert!(!text.shows_images() && sample(&*text, 1).unwrap().images.is_empty());
    tar(&path, &["0.txt", "1.txt", "2.png", "2.txt"]);
    let error = sample(&*source(path), 1).unwrap_err();
    assert!(error.contains("the row has none"), "{error}");
}

#[test]
fn the_first_row_does_not_decide_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.csv");
    std::fs::write(&path, "path,text\n,lost\nblue.png,found\n").unwrap();
    let table = source(path);
    assert!(sample(&*table, 0).unwrap_err().contains("the row has none"));
    assert_eq!(sample(&*table, 1).unwrap().images.len(), 1);
    let path = folder.path().join("rows.jsonl");
    let lines = concat!(
        "{\"image\": null, \"conversations\": []}\n",
        "{\"image\": \"blue.png\", \"conversations\": [{\"from\": \"human\", \"value\": \"<image>\\nWhat?\"}, ",
        "{\"from\": \"gpt\", \"value\": \"Blue.\"}]}\n",
    );
    std::fs::write(&path, lines).unwrap();
    let chats = source(path);
    assert!(sample(&*chats, 0).unwrap_err().contains("nobody answers"));
    assert_eq!(sample(&*chats, 1).unwrap().turns[0].answer, "Blue.");
}

#[test]
fn images_of_parts_are_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.jsonl");
    let line = |part: &str, more: &str| {
        format!(
            "{{{more}\"messages\": [{{\"role\": \"user\", \"content\": [{part}, {{\"type\": \"text\", \"text\": \"What?\"}}]}}, \
             {{\"role\": \"assistant\", \"content\": \"Blue.\"}}]}}\n"
        )
    };
    let named = "{\"type\": \"image\", \"image\": \"blue.png\"}";
    let encoded =
        "{\"type\": \"image_url\", \"image_url\": {\"url\": \"data:image/png;base64,AAAA\"}}";
    let lines = [
        line(named, ""),
        line(encoded, ""),
        line(named, "\"images\": [\"blue.png\"], "),
        line("{\"type\": \"image\"}", "\"images\": [\"blue.png\"], "),
        line("{\"type\": \"video\"}", ""),
    ];
    std::fs::write(&path, lines.concat()).unwrap();
    let source = source(path);
    for number in [0, 3] {
        let sample = sample(&*source, number).unwrap();
        assert_eq!(
            (sample.images.len(), &*sample.turns[0].prompt),
            (1, "<image>What?")
        );
    }
    for (number, reason) in [
        (1, "a text of 26 bytes"),
        (2, "one of the two"),
        (4, "of type text or image"),
    ] {
        let error = sample(&*source, number).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn a_caption_of_ten_megabytes_is_no_sample() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.csv");
    let text = |count: usize| "a red cat ".repeat(count);
    std::fs::write(
        &path,
        format!(
            "path,text\nblue.png,{}\nblue.png,{}\n",
            text(1 << 20),
            text(10_000)
        ),
    )
    .unwrap();
    let source = source(path);
    let error = sample(&*source, 0).unwrap_err();
    assert!(
        error.contains("rows.csv:line 2") && error.contains("10485759 bytes of text"),
        "{error}"
    );
    // A long one is cut where it is too long.
    let document = crate::common::encoder(None, 60)
        .text(&sample(&*source, 1).unwrap())
        .unwrap();
    assert!(document.truncated && document.tokens.len() <= 60);
}

/// As an editor counts them, whatever ends the lines; an empty line counts too.
#[test]
fn rows_of_a_table_have_the_number_of_their_line() {
    let folder = tempfile::tempdir().unwrap();
    for (name, end) in [("unix.csv", "\n"), ("dos.csv", "\r\n")] {
        let path = folder.path().join(name);
        let lines = [
            "path,text,n",
            "a.png,one,1",
            "",
            "a.png,\"two",
            "lines\",2",
            "a.png,,3",
        ];
        std::fs::write(&path, lines.join(end) + end).unwrap();
        let table = source(path);
        let origins: Vec<String> = (0..table.len()).map(|row| table.origin(row)).collect();
        let expected = ["2", "4", "6"].map(|line| format!("{name}:line {line}"));
        assert_eq!(origins, expected);
    }
}

#[test]
fn a_table_of_a_header_alone_has_no_rows() {
    let folder = tempfile::tempdir().unwrap();
    for text in ["path,text,n\n", "path,text,n", "hi"] {
        let path = folder.path().join("rows.csv");
        std::fs::write(&path, text).unwrap();
        let error = refusal(&config(path));
        assert!(error.contains("no rows"), "{text:?}: {error}");
    }
    let path = folder.path().join("rows.csv");
    std::fs::write(&path, "path,\"text\na.png,one\n").unwrap();
    let error = refusal(&config(path));
    assert!(error.contains("line 1: a quote is opened"), "{error}");
}

/// Two quotes that nothing closes would take all rows between them for one cell.
#[test]
fn a_cell_that_goes_on_after_its_quotes_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.csv");
    let mut lines = vec!["path,text,n".to_owned()];
    lines.extend((0..20).map(|n| match n {
        5 | 15 => format!("blue.png,\"open{n},{n}"),
        _ => format!("blue.png,\"a \"\"fine\"\", one\",{n}"),
    }));
    std::fs::write(&path, lines.join("\r\n")).unwrap();
    let table = source(path);
    let error = sample(&*table, 5).unwrap_err();
    assert!(
        error.contains("rows.csv:line 7: a cell in quotes goes on"),
        "{error}"
    );
    let answers: Vec<String> = (0..table.len())
        .filter_map(|row| Some(sample(&*table, row).ok()?.turns[0].answer.clone()))
        .collect();
    // Each takes the row after it along, whose first quote closes it.
    assert_eq!(answers, ["a \"fine\", one"; 16]);
    let path = folder.path().join("twice.csv");
    std::fs::write(&path, "path,text,text\nblue.png,a,b\n").unwrap();
    let error = refusal(&config(path));
    assert!(error.contains("`text` twice"), "{error}");
}

#[test]
fn an_image_of_a_shard_may_say_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shard.tar");
    tar(&path, &["1.image.png", "1.seg.png", "1.txt"]);
    assert_eq!(sample(&*source(path), 0).unwrap().images.len(), 1);
}
