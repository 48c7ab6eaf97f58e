//! Published benchmarks as tasks, and comparisons of what they gave.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::*;

/// COCO's annotations of three pictures with two captions each, in folders as they are published.
fn coco(place: &Path) {
    let folder = place.join("coco");
    fs::create_dir_all(folder.join("annotations")).expect("made");
    fs::create_dir_all(folder.join("val2017")).expect("made");
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    for (id, name) in ["red", "green", "blue"].into_iter().enumerate() {
        let file = format!("{name}.png");
        fs::copy(trained().join(&file), folder.join("val2017").join(&file)).expect("copied");
        images.push(json!({"id": id + 7, "file_name": file}));
        for caption in [name.to_owned(), format!("a {name} picture")] {
            annotations.push(json!({"image_id": id + 7, "id": 0, "caption": caption}));
        }
    }
    let file = json!({"images": images, "annotations": annotations});
    write(
        &folder,
        "annotations/captions_val2017.json",
        &file.to_string(),
    );
}

/// `eval` of the trained run on a task, into `out`.
fn arguments<'a>(run: &'a str, task: &'a str, data: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["eval", run, "--task", task, "--data", data];
    let short = ["--beams", "1", "--max-tokens", "8"];
    [&fixed[..], &short, more].concat()
}

fn run_folder() -> String {
    trained().join("runs/tiny").display().to_string()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn json_file(path: &Path) -> Value {
    serde_json::from_str(&read(path)).expect("JSON")
}

#[test]
fn a_task_is_asked_once_and_scored() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let place = place.path();
    coco(place);
    let run = run_folder();
    let ask = ["--prompt", "What colour?", "--out", "out"];
    let Ended { out, err, .. } = good(place, &arguments(&run, "coco-val2017", "coco", &ask));
    assert!(
        out.contains("coco-val2017-val was asked \"What colour?\""),
        "{out}"
    );
    assert!(
        err.contains("5000 cases as it is published, and 3 were measured"),
        "{err}"
    );
    let scores = json_file(&place.join("out/scores.json"));
    let scores = &scores["coco-val2017-val"];
    assert_eq!(scores["samples"], 3);
    // What the model says of each is the first of its captions.
    assert_eq!(scores["model"]["rouge_l"], 1.0, "{scores}");
    let submission = json_file(&place.join("out/submission.json"));
    assert_eq!(submission[1], json!({"image_id": 8, "caption": "green"}));
    let predictions = json_lines(&read(&place.join("out/predictions.jsonl")));
    assert_eq!(
        predictions[0]["references"],
        json!(["red", "a red picture"])
    );
    assert_eq!(
        predictions[0]["scores"]["bleu1"].as_f64().map(f64::round),
        Some(1.0)
    );
    // The metrics alone give the same of the submission.
    let again = [
        "score",
        "--predictions",
        "out/submission.json",
        "--references",
        "coco/annotations/captions_val2017.json",
        "--json",
    ];
    let again: Value = serde_json::from_str(&good(place, &again).out).expect("JSON");
    assert_eq!(again["captions"]["model"], scores["model"]);

    // Nothing is asked again, other questions are not mixed in, and --force begins anew.
    let answers = place.join("out/answers.jsonl");
    let before = read(&answers);
    good(place, &arguments(&run, "coco-val2017", "coco", &ask));
    assert_eq!(read(&answers), before);
    // Nor are the scores replaced by those of a part.
    let part = [&ask[..], &["--limit", "2"]].concat();
    let message = refused(place, &arguments(&run, "coco-val2017", "coco", &part), 1);
    assert!(
        message.contains("has 3 cases, and 9 is none of the 2 now"),
        "{message}"
    );
    let other = ["--prompt", "Colour?", "--out", "out"];
    let other = arguments(&run, "coco-val2017", "coco", &other);
    let message = refused(place, &other, 1);
    assert!(
        message.contains("prompt was [\"What colour?\"]"),
        "{message}"
    );
    good(place, &[&other[..], &["--force"]].concat());
}

#[test]
fn an_interrupted_task_goes_on_where_it_was() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let place = place.path();
    coco(place);
    let run = run_folder();
    let ask = ["--prompt", "What colour?", "--out", "out"];
    let whole = arguments(&run, "coco-val2017", "coco", &ask);
    good(place, &whole);
    let scores = read(&place.join("out/scores.json"));
    // As a kill leaves it: one answer, and a part of the next.
    let answers = place.join("out/answers.jsonl");
    let first = read(&answers).lines().next().expect("a line").to_owned();
    fs::write(&answers, format!("{first}\n{{\"id\": \"8\", \"te")).expect("written");
    fs::remove_file(place.join("out/scores.json")).expect("removed");
    good(place, &whole);
    assert!(read(&answers).starts_with(&first));
    assert_eq!(read(&answers).lines().count(), 3);
    assert_eq!(read(&place.join("out/scores.json")), scores);
}

#[test]
fn shards_give_the_scores_of_the_whole() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let place = place.path();
    coco(place);
    let run = run_folder();
    let into = |out: &'static str, more: &[&'static str]| {
        let ask = ["--prompt", "What colour?", "--out", out];
        let all = arguments(&run, "coco-val2017", "coco", &[&ask[..], more].concat());
        all.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let call = |arguments: Vec<String>| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        super::support::run(place, &arguments)
    };
    assert_eq!(call(into("whole", &[])).code, 0);
    assert_eq!(call(into("parts", &["--shard", "1/2"])).code, 0);
    assert!(!place.join("parts/scores.json").exists());
    let early = call(into("parts", &["--merge"]));
    assert_eq!(early.code, 1);
    assert!(
        early
            .err
            .contains("there is no answer to 1 of the cases in parts, the first is 8"),
        "{}",
        early.err
    );
    assert_eq!(call(into("parts", &["--shard", "2/2"])).code, 0);
    assert_eq!(call(into("parts", &["--merge"])).code, 0);
    for file in ["scores.json", "submission.json"] {
        assert_eq!(
            read(&place.join("parts").join(file)),
            read(&place.join("whole").join(file)),
            "{file}"
        );
    }
    assert_eq!(call(into("parts", &["--shard", "3/2"])).code, 2);
}

/// Every published layout that a task reads, from the fixtures of the data layouts.
#[test]
fn tasks_find_their_files_in_published_layouts() {
    let layouts =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fourfold-data/tests/fixtures/layouts");
    let place = tempfile::tempdir().expect("a temporary folder");
    let run = run_folder();
    for (task, split, folder, samples, figure) in [
        ("coco-karpathy", "test", "karpathy", 1, "cider_d"),
        ("coco-val2014", "val", "coco", 2, "bleu4"),
        ("coco-val2017", "val", "coco", 3, "rouge_l"),
        ("flickr30k", "test", "karpathy", 1, "cider_d"),
        ("vqav2", "val", "vqa", 4, "vqa_accuracy"),
    ] {
        let data = layouts.join(folder).display().to_string();
        let more = ["--split", split, "--prompt", "Q?", "--out", task, "--json"];
        let out = good(place.path(), &arguments(&run, task, &data, &more)).out;
        let scores: Value = serde_json::from_str(&out).expect("JSON");
        let scores = &scores[format!("{task}-{split}")];
        assert_eq!(scores["samples"], samples, "{task}: {scores}");
        assert!(scores["model"][figure].is_number(), "{task}: {scores}");
        assert!(scores["interval_95"][figure].is_array(), "{task}");
        assert_eq!(scores["asked"]["prompt"], json!(["Q?"]));
    }
    let file = layouts.join("huggingface/path-vqa/data/train-00000-of-00001.parquet");
    let file = file.display().to_string();
    let more = ["--prompt", "Q?", "--out", "path", "--json"];
    let out = good(place.path(), &arguments(&run, "pathvqa", &file, &more)).out;
    assert!(out.contains("\"overall_accuracy\": 0.0"), "{out}");
    // Answers that are not published: what the challenge takes, and no score.
    let data = layouts.join("vqa").display().to_string();
    let more = ["--split", "test-dev", "--prompt", "Q?", "--out", "dev"];
    good(place.path(), &arguments(&run, "vqav2", &data, &more));
    let submission = json_file(&place.path().join("dev/submission.json"));
    assert!(submission[0]["question_id"].is_u64(), "{submission}");
    assert!(submission[0]["answer"].is_string(), "{submission}");
    let scores = json_file(&place.path().join("dev/scores.json"));
    assert_eq!(scores["vqav2-test-dev"]["model"], json!({}));
}

#[test]
fn domains_and_yes_or_no_have_their_figures() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let place = place.path();
    coco(place);
    let run = run_folder();
    let mut annotations = json_file(&place.join("coco/annotations/captions_val2017.json"));
    for (image, domain) in [(0, "in-domain"), (1, "out-domain"), (2, "in-domain")] {
        annotations["images"][image]["domain"] = domain.into();
    }
    write(
        place,
        "coco/nocaps_val_4500_captions.json",
        &annotations.to_string(),
    );
    let more = [
        "--prompt",
        "What colour?",
        "--images",
        "coco/val2017",
        "--out",
        "n",
        "--json",
    ];
    let out = good(place, &arguments(&run, "nocaps", "coco", &more)).out;
    let scores: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(scores["nocaps-val"]["groups"]["in-domain"]["samples"], 2);

    let question = |id: usize, image: &str, label: &str| {
        let line = json!({"question_id": id, "image": image, "text": "Is it?", "label": label});
        format!("{line}\n")
    };
    let lines = question(1, "red.png", "yes") + &question(1, "green.png", "no");
    write(place, "coco/coco_pope_random.json", &lines);
    let more = [
        "--split",
        "random",
        "--prompt",
        "Q?",
        "--images",
        "coco/val2017",
        "--out",
        "p",
        "--json",
    ];
    let out = good(place, &arguments(&run, "pope", "coco", &more)).out;
    let scores: Value = serde_json::from_str(&out).expect("JSON");
    // It says no "no", and so always yes.
    assert_eq!(scores["pope-random"]["model"]["yes_share"], 1.0);
    assert_eq!(scores["pope-random"]["model"]["yes_precision"], 0.5);
}

#[test]
fn a_task_of_ones_own_needs_no_code() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let place = place.path();
    coco(place);
    let task = "about = \"colours\"\nsplit = \"all\"\nprompt = \"What colour?\"\nmetrics = [\"accuracy\"]\n\
                max_new_tokens = 8\n[splits.all]\nfiles = [\"annotations/captions_val2017.json\"]\n\
                image_folders = [\"val2017\"]\n";
    write(place, "colours.toml", task);
    let run = run_folder();
    let out = good(
        place,
        &[
            "eval",
            &run,
            "--task",
            "colours.toml",
            "--data",
            "coco",
            "--out",
            "o",
            "--json",
        ],
    )
    .out;
    let scores: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(scores["colours-all"]["model"]["accuracy"], 1.0);
    let message = refused(
        place,
        &["eval", &run, "--task", "coco-karpaty", "--data", "coco"],
        1,
    );
    assert!(message.contains("coco-karpathy"), "{message}");
    let message = refused(
        place,
        &[
            "eval",
            &run,
            "--task",
            "coco-karpathy",
            "--data",
            "coco",
            "--out",
            "o2",
        ],
        1,
    );
    assert!(message.contains("dataset_coco.json"), "{message}");
    let list = good(place, &["eval", "--list-tasks"]).out;
    assert!(
        list.contains("nocaps") && list.contains("test*, val"),
        "{list}"
    );
}

#[test]
fn two_models_are_compared_on_the_same_cases() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let place = place.path();
    coco(place);
    let run = run_folder();
    for (out, tokens) in [("whole", "8"), ("cut", "2")] {
        let ask = [
            "--prompt",
            "What colour?",
            "--out",
            out,
            "--max-tokens",
            tokens,
        ];
        let fixed = [
            "eval",
            &run,
            "--task",
            "coco-val2017",
            "--data",
            "coco",
            "--beams",
            "1",
        ];
        good(place, &[&fixed[..], &ask].concat());
    }
    let both = ["eval", "--compare", "cut", "whole"];
    let done = good(place, &both);
    assert!(
        done.out.contains("ROUGE-L %") && done.out.contains("difference"),
        "{}",
        done.out
    );
    assert!(
        done.err.contains("asked otherwise: search") && done.err.contains("\"max_new_tokens\":2"),
        "{}",
        done.err
    );
    let more = ["--json", "--html", "page.html"];
    let out = good(place, &[&both[..], &more].concat()).out;
    let figures: Value = serde_json::from_str(&out).expect("JSON");
    let rouge = &figures["coco-val2017-val"]["rouge_l"];
    assert_eq!(rouge["second"], 1.0, "{figures}");
    let (first, difference) = (rouge["first"].as_f64(), rouge["difference"].as_f64());
    assert!((first.expect("a number") + difference.expect("a number") - 1.0).abs() < 1e-12);
    let page = read(&place.join("page.html"));
    assert!(page.contains("Asked otherwise: search"), "{page}");
    assert!(page.contains("data:image/png;base64,") && page.contains("a green picture"));
    let message = refused(place, &[&both[..], &["--html", "page.html"]].concat(), 1);
    assert!(message.contains("exists already"), "{message}");
    // A run with itself: its recipe's evaluations, and no difference.
    let text = good(place, &["eval", "--compare", &run, &run, "--json"]).out;
    let figures: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(figures["held-out"]["exact_match"]["difference"], 0.0);
    // Not the same cases.
    let lines = read(&place.join("cut/predictions.jsonl"));
    let fewer: String = lines
        .lines()
        .take(2)
        .map(|line| format!("{line}\n"))
        .collect();
    write(place, "fewer.jsonl", &fewer);
    let message = refused(place, &["eval", "--compare", "fewer.jsonl", "whole"], 1);
    assert!(
        message.contains("9 is in") && message.contains("0 others of 3"),
        "{message}"
    );
    let common = [
        "eval",
        "--compare",
        "fewer.jsonl",
        "whole",
        "--common",
        "--json",
    ];
    let figures: Value = serde_json::from_str(&good(place, &common).out).expect("JSON");
    assert_eq!(
        figures["predictions"]["rouge_l"]["second"], 1.0,
        "{figures}"
    );
    // What can be compared is, beside what cannot.
    for (folder, evaluation, lines) in [
        ("a", "x", &lines),
        ("a", "y", &lines),
        ("b", "x", &fewer),
        ("b", "y", &lines),
    ] {
        let folder = place.join(folder).join("predictions");
        fs::create_dir_all(&folder).expect("a folder");
        write(&folder, &format!("{evaluation}.jsonl"), lines);
    }
    let done = super::support::run(place, &["eval", "--compare", "a", "b"]);
    assert_eq!(done.code, 1);
    assert!(
        done.out.contains("\ny ") && !done.out.contains("\nx "),
        "{}",
        done.out
    );
    assert!(
        done.err.contains("x cannot be compared: 9 is in"),
        "{}",
        done.err
    );
    assert!(
        done.err.contains("1 of 2 evaluations cannot be compared"),
        "{}",
        done.err
    );
    // A page elsewhere lacks pictures, and says so.
    let elsewhere = place.join("elsewhere");
    fs::create_dir_all(&elsewhere).expect("a folder");
    let far = [
        "eval",
        "--compare",
        "../cut",
        "../whole",
        "--html",
        "page.html",
    ];
    let done = good(&elsewhere, &far);
    assert!(done.err.contains("is without 3 pictures"), "{}", done.err);
}

/// What was answered of one data set is no answer to another, and nothing of others is removed.
#[test]
fn answers_belong_to_their_questions() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let place = place.path();
    coco(place);
    let run = run_folder();
    let ask = ["--prompt", "What colour?", "--out", "out", "--json"];
    let task = arguments(&run, "coco-val2017", "coco", &ask);
    let rouge = |out: &str| {
        let scores: Value = serde_json::from_str(out).expect("JSON");
        scores["coco-val2017-val"]["model"]["rouge_l"]
            .as_f64()
            .expect("a number")
    };
    assert_eq!(rouge(&good(place, &task).out), 1.0);
    // Other pictures under the same names are asked about again.
    let pictures = place.join("coco/val2017");
    let large = image::RgbImage::from_pixel(40, 40, image::Rgb([0, 0, 255]));
    large.save(pictures.join("red.png")).expect("written");
    assert!(rouge(&good(place, &task).out) < 1.0);
    // Even those of the same size.
    let still = fs::read(pictures.join("red.png")).expect("read");
    let green = fs::read(pictures.join("green.png")).expect("read");
    let files = [("red.png", &green), ("green.png", &still)];
    for (name, bytes) in files {
        let mut bytes = bytes.clone();
        bytes.resize(2000, 0);
        fs::write(pictures.join(name), bytes).expect("written");
    }
    let before = rouge(&good(place, &task).out);
    let (red, green) = (pictures.join("red.png"), pictures.join("green.png"));
    fs::rename(&red, place.join("other.png")).expect("moved");
    fs::rename(&green, &red).expect("moved");
    fs::rename(place.join("other.png"), &green).expect("moved");
    assert_ne!(rouge(&good(place, &task).out), before);
    // Merging is of answers to what is asked now.
    let other = ["--prompt", "Else?", "--out", "out", "--merge"];
    let message = refused(place, &arguments(&run, "coco-val2017", "coco", &other), 1);
    assert!(message.contains("prompt was"), "{message}");
    // A folder of other things is left alone.
    fs::create_dir(place.join("mine")).expect("made");
    write(place, "mine/predictions.jsonl", "mine\n");
    let mine = ["--prompt", "What colour?", "--out", "mine", "--force"];
    let message = refused(place, &arguments(&run, "coco-val2017", "coco", &mine), 1);
    assert!(message.contains("holds other things"), "{message}");
    assert_eq!(read(&place.join("mine/predictions.jsonl")), "mine\n");
    // Names that come twice are told before anything is asked.
    let task = "about = \"x\"\nsplit = \"all\"\nprompt = \"{{ q }}\"\nanswer = \"{{ a }}\"\nid = \"qid\"\n\
                metrics = [\"accuracy\"]\n[splits.all]\nfiles = []\n";
    write(place, "twice.toml", task);
    let row = |q: &str| {
        format!(
            "{}\n",
            json!({"image": "coco/val2017/red.png", "q": q, "a": "x", "qid": 1})
        )
    };
    write(place, "twice.jsonl", &(row("One?") + &row("Two?")));
    let message = refused(
        place,
        &[
            "eval",
            &run,
            "--task",
            "twice.toml",
            "--data",
            "twice.jsonl",
            "--out",
            "t",
        ],
        1,
    );
    assert!(
        message.contains("two questions") && message.contains("called 1"),
        "{message}"
    );
    assert!(!place.join("t").exists());
}

#[test]
fn options_that_would_do_nothing_are_refused() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let place = place.path();
    let run = run_folder();
    for (arguments, expected) in [
        (
            vec!["eval", &run, "--data", "held-out", "--html", "x.html"],
            "--html is for --compare",
        ),
        (
            vec!["eval", &run, "--beams", "1", "--force"],
            "are for --data",
        ),
        (
            vec!["eval", "--compare", &run, &run, "--limit", "3"],
            "it asks nothing",
        ),
        (
            vec!["eval", "--compare", &run, &run, "--metrics", "bleu"],
            "it asks nothing",
        ),
    ] {
        let message = refused(place, &arguments, 1);
        assert!(message.contains(expected), "{message}");
    }
    let file = trained().join("runs/tiny/predictions/held-out.jsonl");
    let file = file.display().to_string();
    let over = [
        "eval",
        "--compare",
        &file,
        &file,
        "--html",
        &file,
        "--force",
    ];
    let message = refused(place, &over, 1);
    assert!(message.contains("does not end in .html"), "{message}");
    let threads = [
        "caption",
        "--model",
        &run,
        "--threads",
        "1",
        "--jsonl",
        "c.jsonl",
    ];
    let picture = trained().join("red.png").display().to_string();
    write(
        place,
        "c.jsonl",
        &format!("{}\n", json!({"image": picture})),
    );
    good(place, &threads);
}
