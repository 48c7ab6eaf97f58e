use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::connect;
use crate::{Collective, Launch, Result, part, threads};

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}

fn launch(rank: usize, ranks: usize, port: u16) -> Launch {
    Launch {
        rank,
        ranks,
        local_rank: rank,
        local_ranks: ranks,
        host: "localhost".into(),
        port,
        by_mpi: false,
    }
}

/// Ranks over TCP, in threads of this process.
fn processes(ranks: usize) -> Vec<Arc<dyn Collective>> {
    let port = free_port();
    let join = |rank| move || connect(&launch(rank, ranks, port), PATIENCE, &mut |_| {});
    let joining: Vec<_> = (0..ranks).map(|rank| thread::spawn(join(rank))).collect();
    let joined = joining
        .into_iter()
        .map(|thread| thread.join().expect("no panic"));
    joined.map(|met| met.expect("they meet")).collect()
}

const PATIENCE: Duration = Duration::from_secs(20);

/// What each rank's `work` gives.
fn all<T: Send + 'static>(
    ends: Vec<Arc<dyn Collective>>,
    work: impl Fn(&dyn Collective) -> T + Clone + Send + 'static,
) -> Vec<T> {
    let start = |end: Arc<dyn Collective>| {
        let work = work.clone();
        thread::spawn(move || work(&*end))
    };
    let running: Vec<_> = ends.into_iter().map(start).collect();
    let ended = running.into_iter().map(|thread| thread.join());
    ended.map(|result| result.expect("no panic")).collect()
}

fn numbers(rank: usize, len: usize) -> Vec<f32> {
    (0..len)
        .map(|i| (1.0 + i as f32 + 7.0 * rank as f32).sin())
        .collect()
}

fn both(ranks: usize) -> [Vec<Arc<dyn Collective>>; 2] {
    [threads(ranks), processes(ranks)]
}

#[test]
fn collectives_are_what_they_say() {
    for ranks in 1..=5 {
        for ends in both(ranks) {
            let results = all(ends, move |end| {
                let rank = end.rank();
                let mut results = Vec::new();
                // Fewer numbers than ranks, none, one more than a broadcast sends at once.
                for len in [0, 1, 3, ranks, 1000, 262_145] {
                    let mut sum = numbers(rank, len);
                    end.sum(&mut sum).expect("all are there");
                    let mut scattered = numbers(rank, len);
                    end.reduce_scatter(&mut scattered).expect("all are there");
                    let own = part(len, rank, ranks);
                    assert_eq!(scattered[own.clone()], sum[own]);
                    let mut gathered = numbers(rank, len);
                    end.all_gather(&mut gathered).expect("all are there");
                    let mut sent = numbers(rank, len);
                    end.broadcast(&mut sent).expect("all are there");
                    assert_eq!(sent, numbers(0, len));
                    results.push((sum, gathered));
                }
                let messages = end.exchange(vec![rank as u8; rank]).expect("all are there");
                let wanted: Vec<Vec<u8>> = (0..ranks).map(|rank| vec![rank as u8; rank]).collect();
                assert_eq!(messages, wanted);
                results
            });
            assert!(
                results.iter().all(|result| *result == results[0]),
                "the same bits"
            );
            for (sum, gathered) in &results[0] {
                let len = sum.len();
                let all: Vec<Vec<f32>> = (0..ranks).map(|rank| numbers(rank, len)).collect();
                for (i, sum) in sum.iter().enumerate() {
                    let wanted: f32 = all.iter().map(|numbers| numbers[i]).sum();
                    assert!((sum - wanted).abs() < 1e-5 * ranks as f32, "{sum} {wanted}");
                }
                for rank in 0..ranks {
                    let own = part(len, rank, ranks);
                    assert_eq!(gathered[own.clone()], numbers(rank, len)[own]);
                }
            }
        }
    }
}

/// Waits for ever in a sum; gives how it ended.
fn waits(end: &dyn Collective) -> (String, Duration) {
    let begin = Instant::now();
    let result: Result<()> = end.sum(&mut [0.0; 10]);
    let message = result.expect_err("one failed").to_string();
    assert_eq!(end.check().expect_err("for good").to_string(), message);
    (message, begin.elapsed())
}

#[test]
fn the_failure_of_one_ends_all_with_its_reason() {
    for failing in 0..3 {
        for ends in both(3) {
            let results = all(ends, move |end| {
                if end.rank() == failing {
                    thread::sleep(Duration::from_millis(50));
                    end.fail("no disk");
                    end.fail("something that came of it");
                }
                waits(end)
            });
            for (message, took) in results {
                assert_eq!(message, format!("rank {failing} failed: no disk"));
                assert!(took < Duration::from_secs(3), "{took:?}");
            }
        }
    }
}

/// As when a process is killed: its connections close without a word.
#[test]
fn who_is_gone_without_a_word_is_named() {
    let port = free_port();
    let met = |rank| move || super::meeting::meet(&launch(rank, 2, port), PATIENCE, &mut |_| {});
    let killed = thread::spawn(met(1));
    let end = connect(&launch(0, 2, port), PATIENCE, &mut |_| {}).expect("they meet");
    drop(killed.join().expect("no panic").expect("they meet"));
    let (message, took) = waits(&*end);
    assert!(
        message.contains("rank 1 is gone without a word"),
        "{message}"
    );
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn who_is_done_fails_nobody() {
    for ends in both(2) {
        let results = all(ends, |end| {
            end.sum(&mut [1.0]).expect("all are there");
            end.rank() == 0
        });
        assert_eq!(results, [true, false]);
    }
    let [zero, one] = <[_; 2]>::try_from(processes(2))
        .map_err(|_| ())
        .expect("two");
    drop(one);
    thread::sleep(Duration::from_millis(100));
    zero.check().expect("rank 1 is done, not gone");
}

#[test]
fn ranks_that_do_different_things_are_told_apart() {
    for ends in both(2) {
        let results = all(ends, |end| match end.rank() {
            0 => end
                .sum(&mut [0.0; 4])
                .expect_err("another call")
                .to_string(),
            _ => end
                .broadcast(&mut [0.0; 9])
                .and_then(|()| end.sum(&mut [0.0; 9]))
                .expect_err("another call")
                .to_string(),
        });
        assert!(
            results.iter().any(|message| message.contains("defect")),
            "{results:?}"
        );
    }
}

#[test]
fn who_waits_in_vain_says_for_whom() {
    let port = free_port();
    let short = Duration::from_millis(300);
    let alone = |rank| connect(&launch(rank, 3, port), short, &mut |_| {}).map(|_| ());
    let message = alone(0).expect_err("nobody comes").to_string();
    assert!(
        message.contains("rank 1, 2 of 3") && message.contains(&port.to_string()),
        "{message}"
    );
    let message = alone(2).expect_err("nobody is there").to_string();
    assert!(
        message.contains(&format!("rank 0 at localhost:{port}")),
        "{message}"
    );
}

#[test]
fn who_does_not_belong_is_refused_on_both_sides() {
    let port = free_port();
    let other = Launch {
        ranks: 3,
        ..launch(1, 2, port)
    };
    let joining = thread::spawn(move || connect(&other, PATIENCE, &mut |_| {}).map(|_| ()));
    let here = connect(&launch(0, 2, port), PATIENCE, &mut |_| {}).map(|_| ());
    let there = joining.join().expect("no panic");
    for message in [here, there].map(|result| result.expect_err("another job").to_string()) {
        assert!(
            message.contains("rank 1 of 3") && message.contains("MASTER_PORT"),
            "{message}"
        );
    }
}

/// Connections that say nothing or nonsense stand in nobody's way, and who reaches a stranger says so.
#[test]
fn strangers_hold_nobody_up() {
    let port = free_port();
    let leader = thread::spawn(move || connect(&launch(0, 2, port), PATIENCE, &mut |_| {}));
    let stranger = || loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    };
    let (_silent, mut speaking) = (stranger(), stranger());
    speaking
        .write_all(b"GET / HTTP/1.1\r\n\r\n")
        .expect("a connection");
    let begin = Instant::now();
    let other = connect(&launch(1, 2, port), PATIENCE, &mut |_| {});
    leader.join().expect("no panic").expect("they meet");
    other.expect("they meet");
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");

    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let answer = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        answer.map(|()| stream)
    });
    let message = connect(&launch(1, 2, port), PATIENCE, &mut |_| {}).map(|_| ());
    let message = message.expect_err("no rank").to_string();
    assert!(message.contains("is no rank of Fourfold"), "{message}");
    let _ = serving.join();
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind(("0.0.0.0", 0)).expect("a port");
    let port = taken.local_addr().expect("its address").port();
    let message = connect(&launch(0, 2, port), PATIENCE, &mut |_| {}).map(|_| ());
    let message = message.expect_err("taken").to_string();
    assert!(message.contains("is taken"), "{message}");
}
