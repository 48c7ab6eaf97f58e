//! Processes that train together, as a launcher starts them.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::*;

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}

/// One after the other, as `torchrun` would start them; each has its own view of the machine.
fn launch(place: &Path, ranks: usize, arguments: &[&str]) -> Vec<Child> {
    let port = free_port();
    let start = |rank: usize| {
        rank_command(place, rank, ranks, port, arguments)
            .spawn()
            .expect("started")
    };
    (0..ranks).map(start).collect()
}

fn rank_command(place: &Path, rank: usize, ranks: usize, port: u16, arguments: &[&str]) -> Command {
    let mut command = command(place, arguments);
    command
        .env("RANK", rank.to_string())
        .env("WORLD_SIZE", ranks.to_string())
        .env("LOCAL_RANK", rank.to_string())
        .env("LOCAL_WORLD_SIZE", ranks.to_string())
        .env("MASTER_ADDR", "127.0.0.1")
        .env("MASTER_PORT", port.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn all_ended(children: Vec<Child>) -> Vec<Ended> {
    let outputs = children.into_iter().map(|child| child.wait_with_output());
    outputs
        .map(|output| ended(&output.expect("ended")))
        .collect()
}

fn weights(place: &Path, run: &str) -> Vec<u8> {
    fs::read(place.join(run).join("model/model.safetensors")).expect("a finished run")
}

#[test]
fn processes_give_what_ranks_within_one_give() {
    let place = workplace();
    let place = place.path();
    let ended = all_ended(launch(place, 2, &["train", "tiny.toml", "--run", "apart"]));
    for rank in &ended {
        assert_eq!(rank.code, 0, "{}", rank.err);
    }
    // Rank 0 alone tells, and alone measures.
    assert!(ended[0].out.contains("held-out"), "{}", ended[0].out);
    assert!(ended[0].err.contains("the model is in"), "{}", ended[0].err);
    assert_eq!((&*ended[1].out, &*ended[1].err), ("", ""));
    let within = [
        "train",
        "tiny.toml",
        "--run",
        "within",
        "--ranks",
        "2",
        "--no-eval",
    ];
    good(place, &within);
    assert!(weights(place, "apart") == weights(place, "within"));
}

#[test]
fn a_killed_rank_ends_the_job_and_leaves_a_checkpoint() {
    let place = workplace();
    let place = place.path();
    // So long that it does not end by itself.
    let long = ["--set", "stage.unify.samples=4000000", "--no-eval"];
    for (killed, run) in [(1, "runs/first"), (0, "runs/second")] {
        let arguments = [&["train", "tiny.toml", "--run", run], &long[..]].concat();
        let mut children = launch(place, 3, &arguments);
        let checkpoint = place.join(run).join("checkpoints/step-00000010");
        let begin = Instant::now();
        while !checkpoint.exists() {
            assert!(begin.elapsed() < Duration::from_secs(60), "no checkpoint");
            std::thread::sleep(Duration::from_millis(20));
        }
        children[killed].kill().expect("killed");
        let begin = Instant::now();
        let mut dead = children.remove(killed);
        dead.wait().expect("ended");
        for rank in all_ended(children) {
            assert_ne!(rank.code, 0);
            let told = format!("rank {killed} is gone without a word");
            assert!(rank.err.contains(&told), "{}", rank.err);
        }
        assert!(begin.elapsed() < Duration::from_secs(10));
        // The last checkpoint goes on, with another number of ranks: here to its end, which is nearer now.
        let newest = fs::read_dir(place.join(run).join("checkpoints")).expect("there");
        assert!(newest.count() > 0);
        let stopped = stopped_after_resuming(place, run, &long);
        assert!(stopped.contains("go on with:"), "{stopped}");
    }
}

/// Goes on with a run for a moment; what was told when it was interrupted.
fn stopped_after_resuming(place: &Path, run: &str, long: &[&str]) -> String {
    let metrics = place.join(run).join("metrics.jsonl");
    let lines = || fs::read_to_string(&metrics).map_or(0, |text| text.lines().count());
    let arguments = [&["train", "--resume", "--run", run], long].concat();
    let child = command(place, &arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    std::thread::sleep(Duration::from_millis(500));
    let before = lines();
    let begin = Instant::now();
    while lines() <= before {
        assert!(begin.elapsed() < Duration::from_secs(60), "no update");
        std::thread::sleep(Duration::from_millis(20));
    }
    let id = child.id().to_string();
    let told = Command::new("kill").args(["-INT", &id]).status();
    assert!(told.expect("kill is there").success());
    let ended = ended(&child.wait_with_output().expect("ended"));
    assert_eq!(ended.code, 130, "{}", ended.err);
    ended.err
}

/// Two processes with these arguments, each in a place of its own; what both said in the end, which has to be an error.
fn fail_together(places: [&Path; 2], arguments: [&[&str]; 2]) -> Vec<String> {
    let port = free_port();
    let begin = Instant::now();
    let start = |rank: usize| {
        let mut command = rank_command(places[rank], rank, 2, port, arguments[rank]);
        command.spawn().expect("started")
    };
    let ended = all_ended(vec![start(0), start(1)]);
    assert!(begin.elapsed() < Duration::from_secs(30));
    ended
        .into_iter()
        .map(|rank| {
            assert_eq!(rank.code, 1, "{}", rank.err);
            rank.err
        })
        .collect()
}

#[test]
fn a_rank_that_cannot_begin_says_so_to_all() {
    let place = workplace();
    let place = place.path();
    let train = ["train", "tiny.toml"];
    let wrong = ["train", "tiny.toml", "--set", "stage.unify.batch=none"];
    let said = fail_together([place; 2], [&train, &wrong]);
    for said in &said {
        assert!(said.contains("stage.unify.batch"), "{said}");
    }
    assert!(!place.join("runs").exists());
    let elsewhere = ["train", "--resume", "--run", "none"];
    let said = fail_together([place; 2], [&train, &elsewhere]);
    for said in &said {
        assert!(said.contains("give it the recipe again"), "{said}");
    }
}

/// The same files at other places train together; others do not, whichever rank has more of them.
#[test]
fn ranks_compare_what_they_read_and_not_where_it_lies() {
    let (here, there) = (workplace(), workplace());
    let (here, there) = (here.path(), there.path());
    let several = "data.colors.path=colors*.jsonl";
    let train = ["train", "tiny.toml", "--set", several, "--no-eval"];
    let port = free_port();
    let start = |rank: usize, place: &Path| {
        let mut command = rank_command(place, rank, 2, port, &train);
        command.spawn().expect("started")
    };
    for rank in all_ended(vec![start(0, here), start(1, there)]) {
        assert_eq!(rank.code, 0, "{}", rank.err);
    }
    assert!(here.join("runs").exists() && !there.join("runs").exists());

    let again = [&train[..], &["--force"]].concat();
    let line = "{\"image\": \"red.png\", \"name\": \"red\"}\n";
    for place in [here, there] {
        write(place, "colors-more.jsonl", line);
        let said = fail_together([here, there], [&again, &again]);
        for said in &said {
            let named = said.contains("file 1 of data.colors")
                && said.contains("colors-more.jsonl with SHA-256");
            assert!(named && said.contains("rank 1"), "{said}");
        }
        fs::remove_file(place.join("colors-more.jsonl")).expect("removed");
    }
    // The same files in another order are other data.
    for place in [here, there] {
        write(place, "other.jsonl", line);
    }
    let in_order = |files: &str| -> Vec<String> {
        let path = format!("data.colors.path={files}");
        let arguments = ["train", "tiny.toml", "--no-eval", "--force", "--set", &path];
        arguments.map(str::to_owned).to_vec()
    };
    let [first, second] = [
        in_order("[\"colors.jsonl\", \"other.jsonl\"]"),
        in_order("[\"other.jsonl\", \"colors.jsonl\"]"),
    ];
    let [first, second] =
        [&first, &second].map(|v| v.iter().map(String::as_str).collect::<Vec<_>>());
    for said in fail_together([here, there], [&first, &second]) {
        assert!(said.contains("file 1 of data.colors"), "{said}");
    }
    let sharded = ["--set", "training.shard_optimizer=true"];
    let sharded = [&again[..], &sharded].concat();
    let said = fail_together([here, there], [&again, &sharded]);
    for said in &said {
        assert!(said.contains("training.shard_optimizer"), "{said}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let place = workplace();
    let place = place.path();
    let refusal = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = command(place, arguments);
        command.envs(variables.iter().copied());
        let ended = ended(&command.output().expect("started"));
        assert_eq!(ended.code, 1, "{}", ended.err);
        assert!(!place.join("runs").exists());
        ended.err
    };
    let train = ["train", "tiny.toml"];
    let said = refusal(&[("RANK", "0")], &train);
    assert!(said.contains("WORLD_SIZE"), "{said}");
    let said = refusal(&[("RANK", ""), ("WORLD_SIZE", "2")], &train);
    assert!(said.contains("expected RANK"), "{said}");
    let alone = [
        ("RANK", "1"),
        ("WORLD_SIZE", "2"),
        ("MASTER_ADDR", "127.0.0.1"),
        ("MASTER_PORT", "9"),
        ("LOCAL_WORLD_SIZE", "2"),
        ("LOCAL_RANK", "1"),
        ("FOURFOLD_MEETING_SECONDS", "1"),
    ];
    let said = refusal(&alone, &train);
    assert!(said.contains("rank 0 at 127.0.0.1:9"), "{said}");
    let said = refusal(&alone, &["quickstart"]);
    assert!(said.contains("is for one process"), "{said}");
    let said = refusal(&alone, &["train", "tiny.toml", "--ranks", "2"]);
    assert!(said.contains("--ranks 2"), "{said}");
    let said = refusal(
        &[&alone[..6], &[("FOURFOLD_MEETING_SECONDS", "soon")]].concat(),
        &train,
    );
    assert!(said.contains("whole seconds"), "{said}");
    let said = refusal(
        &[&alone[..], &[("FOURFOLD_TRANSPORT", "pigeon")]].concat(),
        &train,
    );
    assert!(said.contains("tcp or mpi"), "{said}");
}
