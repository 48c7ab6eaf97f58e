//! Reading Parquet as pyarrow writes it, and JSON lines.

mod common;

use common::{encoder, fixture, lists, names, open, questions, refusal, texts};
use fourfold_data::source::Accepted;
use fourfold_data::{
    PackBudget, Prompts, Source, SourceConfig, Tables, TurnOrder, check, decode_rgb, sample_rng,
};
use serde_json::json;

fn answer(source: &dyn Source, row: usize) -> Result<String, String> {
    let sample = source
        .sample(row, &mut sample_rng(0, 0))
        .map_err(|e| e.to_string())?;
    Ok(sample.turns[0].answer.clone())
}

#[test]
fn images_of_every_format_with_their_text() {
    let source = open(&names());
    assert_eq!((source.name(), source.len()), ("images", 10));
    let expected = [
        ("red", [255, 0, 0]),
        ("green", [0, 255, 0]),
        ("blue", [0, 0, 255]),
        ("black", [0; 3]),
        ("white", [255; 3]),
    ];
    for (row, (name, color)) in expected.into_iter().enumerate() {
        let sample = source.sample(row, &mut sample_rng(0, row as u64)).unwrap();
        assert_eq!(sample.origin, format!("images.parquet:row {row}"));
        assert_eq!(sample.turns[0].answer, name);
        let image = decode_rgb(&sample.read_images().unwrap()[0].bytes).unwrap();
        for (got, wanted) in image.get_pixel(4, 4).0.iter().zip(color) {
            assert!(got.abs_diff(wanted) <= 3, "{name}: {image:?}");
        }
    }
    let sample = source.sample(0, &mut sample_rng(0, 0)).unwrap();
    assert_eq!(sample.images[0].name(0), "red.png");
}

#[test]
fn every_broken_row_is_told_with_its_place_and_reason() {
    let report = check(&*open(&names()), &encoder(None, 100), PackBudget::UNLIMITED).unwrap();
    assert_eq!((report.samples, report.good, report.images), (10, 5, 5));
    let reasons = [
        "images.parquet:row 5: image cut.png: Png",
        "images.parquet:row 6: image page.png: is HTML, not a PNG",
        "images.parquet:row 7: image 0: the row has none",
        "images.parquet:row 8: the answer is empty",
        "images.parquet:row 9: image ",
    ];
    assert_eq!(report.broken.count, reasons.len());
    for (skip, reason) in report.broken.first.iter().zip(reasons) {
        assert!(skip.reason.starts_with(reason), "{}", skip.reason);
    }
    assert!(report.broken.first[4].reason.contains("absent.png"));
    assert!(
        report.to_string().contains("5 of 10 samples good"),
        "{report}"
    );
}

#[test]
fn a_check_lists_the_samples_that_the_limit_leaves_without_a_target() {
    // The visual tokens and the prompt alone fill the three rows.
    let report = check(&*open(&names()), &encoder(None, 3), PackBudget::UNLIMITED).unwrap();
    let masked = report.masked.count;
    assert_eq!(
        (report.good, masked + report.broken.count),
        (0, report.samples)
    );
    assert!(masked >= 5, "{report}");
    let reason = &report.masked.first[0].reason;
    assert!(reason.contains("max_tokens"), "{reason}");
}

#[test]
fn a_check_lists_what_no_pack_could_take() {
    let budget = PackBudget {
        tokens: 100,
        images: 0,
    };
    let report = check(&*open(&names()), &encoder(None, 100), budget).unwrap();
    assert_eq!((report.good, report.broken.count), (0, report.samples));
    let reason = &report.broken.first[0].reason;
    assert!(reason.contains("0 images"), "{reason}");
}

#[test]
fn lists_are_expanded_in_step() {
    let source = open(&questions());
    // 2 + 1 + 0 + 0 + 1 questions, 1 of each broken row; the last row's lists disagree: one error.
    assert_eq!(source.len(), 9);
    let sample = source.sample(1, &mut sample_rng(0, 0)).unwrap();
    assert_eq!(sample.origin, "images.parquet:row 0 element 1");
    assert_eq!(
        (&*sample.turns[0].prompt, &*sample.turns[0].answer),
        ("is it red?", "yes")
    );
    assert_eq!(sample.images.len(), 1);
    assert_eq!(source.columns(1)["question"], json!("is it red?"));
    assert_eq!(source.columns(1)["name"], json!("red"));
    let message = answer(&*source, 8).unwrap_err();
    assert!(
        message.starts_with("images.parquet:row 9: ") && message.contains("1 elem"),
        "{message}"
    );
}

#[test]
fn lists_become_turns_in_an_order_drawn_each_time() {
    let config = SourceConfig {
        each: lists(&[]),
        turns: questions().each,
        turn_order: TurnOrder::Random,
        ..questions()
    };
    let source = open(&config);
    // Of 10 rows two have no question.
    assert_eq!(source.len(), 8);
    let mut orders = std::collections::BTreeSet::new();
    for ordinal in 0..20 {
        let sample = source.sample(0, &mut sample_rng(0, ordinal)).unwrap();
        let turns: Vec<_> = sample
            .turns
            .iter()
            .map(|t| (&*t.prompt, &*t.answer))
            .collect();
        assert!(turns.contains(&("what?", "red")) && turns.contains(&("is it red?", "yes")));
        orders.insert(sample.turns[0].prompt.clone());
    }
    assert_eq!(orders.len(), 2);
}

#[test]
fn a_filter_keeps_rows_by_column_and_by_element() {
    let mut config = names();
    config
        .filter
        .insert("kind".into(), Accepted::One(json!("color")));
    assert_eq!(open(&config).len(), 3);
    config.filter.insert(
        "name".into(),
        Accepted::Any(vec![json!("red"), json!("green")]),
    );
    assert_eq!(open(&config).len(), 2);
    let mut config = questions();
    config
        .filter
        .insert("question".into(), Accepted::One(json!("is it red?")));
    let source = open(&config);
    assert_eq!(source.columns(0)["answer"], json!("yes"));
    config
        .filter
        .insert("kind".into(), Accepted::One(json!("nothing")));
    let message = refusal(&config);
    assert!(
        message.contains("images.parquet") && message.contains("`where`"),
        "{message}"
    );
}

#[test]
fn prompts_are_drawn_and_the_draw_is_repeatable() {
    let source = open(&names());
    let prompt = |ordinal| {
        source.sample(0, &mut sample_rng(3, ordinal)).unwrap().turns[0]
            .prompt
            .clone()
    };
    let drawn: Vec<String> = (0..40).map(prompt).collect();
    assert_eq!(drawn, (0..40).map(prompt).collect::<Vec<_>>());
    let first = drawn
        .iter()
        .filter(|prompt| *prompt == "What is it?")
        .count();
    assert!((8..=32).contains(&first), "{first} of 40");
}

#[test]
fn text_can_be_read_without_the_images_beside_it() {
    let source = open(&SourceConfig {
        images: false,
        ..names()
    });
    let sample = source.sample(7, &mut sample_rng(0, 0)).unwrap();
    assert!(sample.images.is_empty());
    assert_eq!(sample.turns[0].answer, "none");
    let text = open(&texts());
    assert_eq!(
        (text.len(), answer(&*text, 49).unwrap()),
        (50, "line 49 of text".into())
    );
}

#[test]
fn all_column_types_reach_templates() {
    let config = SourceConfig {
        path: fixture("types.parquet").into(),
        answer: Some("{{ number }} {{ share }} {{ yes }} {{ sizes[1] }} {{ box.y }}".into()),
        images: true,
        ..Default::default()
    };
    let source = open(&config);
    assert_eq!(answer(&*source, 0).unwrap(), "3 0.5 True 2 two");
    assert_eq!(
        source
            .sample(0, &mut sample_rng(0, 0))
            .unwrap()
            .images
            .len(),
        2
    );
    let message = answer(&*source, 1).unwrap_err();
    assert!(
        message.starts_with("types.parquet:row 1: the template"),
        "{message}"
    );
}

#[test]
fn what_a_configuration_lacks_is_named() {
    let missing = refusal(&SourceConfig {
        answer: Some("{{ nmae }}".into()),
        ..names()
    });
    assert!(
        missing.contains("`nmae`") && missing.contains("name, kind, questions"),
        "{missing}"
    );
    let list = refusal(&SourceConfig {
        each: lists(&[("q", "question")]),
        ..names()
    });
    assert!(list.contains("`question`"), "{list}");
    let mut filter = names();
    filter
        .filter
        .insert("typ".into(), Accepted::One(json!("x")));
    assert!(refusal(&filter).contains("`typ`"));
    let mut kind = names();
    kind.filter
        .insert("name".into(), Accepted::Any(vec![json!(1), json!(2)]));
    let kind = refusal(&kind);
    assert!(
        kind.contains("`name` holds texts, such as \"red\", and `where` asks for 1"),
        "{kind}"
    );
    let both = SourceConfig {
        turns: questions().each,
        ..questions()
    };
    assert!(refusal(&both).contains("turns"));
    let absent = refusal(&SourceConfig {
        path: fixture("absent.parquet").into(),
        ..names()
    });
    assert!(absent.contains("absent.parquet"), "{absent}");
    let kind = refusal(&SourceConfig {
        path: fixture("make.py").into(),
        ..names()
    });
    assert!(
        kind.contains("expected Parquet, JSON, JSON lines, CSV"),
        "{kind}"
    );
}

#[test]
fn parquet_packed_with_zstd_is_read() {
    let source = open(&SourceConfig {
        path: fixture("zstd.parquet").into(),
        ..texts()
    });
    assert!(!source.is_empty() && answer(&*source, 0).is_ok());
}

#[test]
fn json_lines_with_images_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    let sample = open(&names()).sample(0, &mut sample_rng(0, 0)).unwrap();
    write("a.png", &sample.read_images().unwrap()[0].bytes);
    let lines = concat!(
        "{\"image\": \"a.png\", \"name\": \"one\"}\n\n",
        "{\"images\": [\"a.png\", \"a.png\"], \"name\": \"two\", \"extra\": 1}\n",
        "{\"name\": \"text\"}\n",
        "{\"image\": \"b.png\", \"name\": \"lost\"}\n",
    );
    write("rows.jsonl", lines.as_bytes());
    let config = SourceConfig {
        path: folder.path().join("rows.jsonl").into(),
        prompt: Prompts::One("{{ extra }}".into()),
        ..names()
    };
    let source = open(&config);
    let images = |row| {
        source
            .sample(row, &mut sample_rng(0, 0))
            .and_then(|sample| Ok(sample.read_images()?.len()))
    };
    assert_eq!(
        (images(0).unwrap(), images(1).unwrap(), images(2).unwrap()),
        (1, 2, 0)
    );
    assert_eq!(source.origin(1), "rows.jsonl:line 3");
    let lost = images(3).unwrap_err().to_string();
    assert!(
        lost.starts_with("rows.jsonl:line 5: image") && lost.contains("b.png"),
        "{lost}"
    );

    write("bad.jsonl", b"{\"name\": \"one\"}\n{\"name\": \n");
    let bad = open(&SourceConfig {
        path: folder.path().join("bad.jsonl").into(),
        ..names()
    });
    assert_eq!(answer(&*bad, 0).unwrap(), "one");
    let message = answer(&*bad, 1).unwrap_err();
    assert!(
        message.starts_with("bad.jsonl:line 2: expected a JSON object"),
        "{message}"
    );
    write("odd.jsonl", b"{\"image\": 3, \"name\": \"x\"}\n");
    let odd = open(&SourceConfig {
        path: folder.path().join("odd.jsonl").into(),
        ..names()
    });
    let message = answer(&*odd, 0).unwrap_err();
    assert!(
        message.starts_with("odd.jsonl:line 1: `image`"),
        "{message}"
    );
    write("text.jsonl", "\"café\"\n".repeat(20).as_bytes());
    let text = refusal(&SourceConfig {
        path: folder.path().join("text.jsonl").into(),
        ..names()
    });
    assert!(
        text.contains("not one of its 20 rows") && text.contains("expected an object"),
        "{text}"
    );
}

#[test]
fn a_file_used_twice_is_read_once() {
    let tables = Tables::new();
    let (a, b) = (
        tables.table(&names()).unwrap(),
        tables.table(&questions()).unwrap(),
    );
    assert!(std::sync::Arc::ptr_eq(&a, &b));
    assert_eq!(tables.open(&names()).unwrap().len(), 10);
}

#[test]
fn a_configuration_reads_back_and_refuses_unknown_keys() {
    let mut config = questions();
    config
        .filter
        .insert("kind".into(), Accepted::Any(vec![json!("color")]));
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<SourceConfig>(&text).unwrap(), config);
    let error = serde_json::from_str::<SourceConfig>(r#"{"path":"a","answer":"b","promt":"c"}"#);
    assert!(error.unwrap_err().to_string().contains("promt"));
    let least: SourceConfig = serde_json::from_str(r#"{"path":"a","answer":"b"}"#).unwrap();
    assert!(least.images && least.prompt.is_empty());
}
