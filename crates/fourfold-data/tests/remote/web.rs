//! Files of web servers.

use std::time::Duration;

use fourfold_data::hash::file_identity;

use crate::server::{Fault, Server};
use crate::{contents, demand_same, layouts, table};

/// Every layout reads as it does here, in few requests: one for the size and one for the content of a small file, one
/// an image.
#[test]
fn published_layouts_read_as_local_files_do() {
    let server = Server::start();
    server.put_folder("", &layouts(""));
    for (file, images) in [
        ("llava/llava_v1_5_mix665k.json", Some("llava/images")),
        ("llava/mix665k.jsonl.gz", Some("llava/images")),
        ("llava/mix665k.jsonl.zst", Some("llava/images")),
        ("tables/plain.csv", None),
        ("webdataset/cc3m-train-0000.tar", None),
        ("webdataset/shard.tar.gz", None),
        (
            "vqa/v2_OpenEnded_mscoco_val2014_questions.json",
            Some("vqa"),
        ),
    ] {
        let path = format!("/{file}");
        let there = images.map(|folder| server.url(&format!("/{folder}")));
        let remote = table(&[&server.url(&path)], there.as_deref()).unwrap();
        let here = images.map(|folder| layouts(folder).display().to_string());
        let local = table(&[&layouts(file).display().to_string()], here.as_deref()).unwrap();
        demand_same(&remote, &local);
        assert_eq!(
            (server.count("HEAD", &path), server.count("GET", &path)),
            (1, 1),
            "{file}"
        );
    }
}

#[test]
fn images_lie_beside_their_file_and_cost_one_request_each() {
    let server = Server::start();
    server.put("/set/a%20b/rows.jsonl", "unused");
    server.put("/set/rows.jsonl", "{\"image\": \"in/x#1.png\", \"text\": \"a\"}\n{\"image\": \"gone.png\", \"text\": \"b\"}\n");
    server.put("/set/in/x#1.png", "pixels");
    let table = table(&[&server.url("/set/rows.jsonl")], None).unwrap();
    let row = table.row(0).unwrap();
    assert_eq!(row.images[0].name(0), server.url("/set/in/x%231.png"));
    let image = row.images[0].load(&row.origin, 0).unwrap();
    assert_eq!(&image.bytes[..], b"pixels");
    assert_eq!(server.count("GET", "/set/in/x%231.png"), 1);
    assert_eq!(server.count("HEAD", "/set/in/x%231.png"), 0);
    let row = table.row(1).unwrap();
    let error = row.images[0].load(&row.origin, 0).unwrap_err().to_string();
    assert!(
        error.contains("rows.jsonl:line 2") && error.contains("/set/gone.png"),
        "{error}"
    );
    assert!(
        error.contains("404") && error.contains("no such file"),
        "{error}"
    );
}

/// An archive of 100 samples of 100 kB, and its samples' parts.
fn archive() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |name: String, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, name, bytes).unwrap();
    };
    for number in 0..100u32 {
        add(format!("{number:04}.jpg"), &vec![number as u8; 100_000]);
        add(
            format!("{number:04}.txt"),
            format!("caption {number}").as_bytes(),
        );
    }
    builder.into_inner().unwrap()
}

#[test]
fn an_archive_is_walked_in_large_pieces() {
    let server = Server::start();
    let bytes = archive();
    let chunks = bytes.len().div_ceil(4 << 20);
    server.put("/a.tar", bytes);
    let table = table(&[&server.url("/a.tar")], None).unwrap();
    assert_eq!(table.len(), 100);
    // The first bytes, which tell what it is, are a small piece of their own.
    let walked = server.count("GET", "/a.tar");
    assert_eq!(walked, chunks + 1);
    for number in [99, 0, 50] {
        let row = table.row(number).unwrap();
        assert_eq!(row.columns["txt"], format!("caption {number}"));
        let image = row.images[0].load(&row.origin, 0).unwrap();
        assert!(
            image.bytes.len() == 100_000 && image.bytes.iter().all(|byte| *byte == number as u8)
        );
    }
}

#[test]
fn what_breaks_off_or_is_busy_is_asked_for_again() {
    let server = Server::start();
    let bytes = archive();
    server.put("/a.tar", bytes);
    server.fail("/a.tar", &[Fault::Unavailable, Fault::Cut, Fault::Cut]);
    server.put("/rows.jsonl", "{\"image\": \"x.png\", \"text\": \"a\"}\n");
    server.put("/x.png", "pixels");
    server.fail("/x.png", &[Fault::Cut, Fault::Unavailable]);
    let archive = table(&[&server.url("/a.tar")], None).unwrap();
    assert_eq!(archive.row(99).unwrap().columns["txt"], "caption 99");
    let rows = table(&[&server.url("/rows.jsonl")], None).unwrap();
    let row = rows.row(0).unwrap();
    assert_eq!(&row.images[0].load("", 0).unwrap().bytes[..], b"pixels");
    assert_eq!(server.count("GET", "/x.png"), 3);
}

#[test]
fn slow_answers_are_waited_for_together() {
    let server = Server::start();
    let names: Vec<String> = (0..4).map(|n| format!("/{n}.txt")).collect();
    let lines: String = names
        .iter()
        .map(|n| format!("{{\"image\": \"{}\", \"text\": \"a\"}}\n", &n[1..]))
        .collect();
    server.put("/rows.jsonl", lines);
    names
        .iter()
        .for_each(|name| server.put(name, name.as_bytes()));
    let table = table(&[&server.url("/rows.jsonl")], None).unwrap();
    server.slow(Duration::from_millis(200));
    std::thread::scope(|scope| {
        for (number, name) in names.iter().enumerate() {
            let table = &table;
            scope.spawn(move || {
                let row = table.row(number).unwrap();
                let image = row.images[0].load("", 0).unwrap();
                assert_eq!(&image.bytes[..], name.as_bytes());
            });
        }
    });
    assert!(server.most_busy() > 1, "one after the other");
}

#[test]
fn a_server_that_ignores_ranges_is_found_out() {
    let server = Server::start();
    server.put("/a.tar", archive());
    server.ignore_ranges("/a.tar");
    let error = table(&[&server.url("/a.tar")], None).err().unwrap();
    assert!(
        error.contains("/a.tar") && error.contains("ignores ranges"),
        "{error}"
    );
}

#[test]
fn a_refused_question_for_the_size_is_no_obstacle() {
    let server = Server::start();
    server.put("/rows.jsonl", "{\"text\": \"a\"}\n");
    server.refuse_head("/rows.jsonl");
    // As signed URLs: the query belongs to every request.
    let url = server.url("/rows.jsonl?key=1&sum=a%2Fb");
    assert_eq!(table(&[&url], None).unwrap().len(), 1);
    let gets: Vec<_> = server
        .requests()
        .into_iter()
        .filter(|r| r.method == "GET")
        .collect();
    assert!(
        gets.iter()
            .all(|r| r.target == "/rows.jsonl?key=1&sum=a%2Fb"),
        "{gets:?}"
    );
}

#[test]
fn a_file_is_known_by_size_and_tag_and_a_change_is_an_error() {
    let server = Server::start();
    let url = server.url("/rows.jsonl");
    server.put("/rows.jsonl", "{\"text\": \"a\"}\n");
    let identity = file_identity(url.as_ref()).unwrap();
    assert!(identity.starts_with("size:14 etag:\""), "{identity}");
    // What a run noted down about its data is what it has to read.
    server.put("/rows.jsonl", "{\"text\": \"b\"}\n");
    let error = table(&[&url], None).err().unwrap();
    assert!(error.contains(&url), "{error}");
    assert!(error.contains("changed in the store"), "{error}");
}

#[test]
fn urls_that_lead_nowhere_say_so() {
    let server = Server::start();
    server.fail("/secret.csv", &[Fault::Forbidden; 4]);
    server.put("/secret.csv", "image,caption\n");
    for (url, expected) in [
        (server.url("/gone.tar"), "no such file"),
        (
            server.url("/*.tar"),
            "a web server does not say which files it has",
        ),
        (server.url("/secret.csv"), "refuses access"),
        (server.url(""), "expected http://HOST/NAME"),
        ("https://[::1/a.tar".to_owned(), "https://[::1/a.tar"),
        (
            "https://}xample.org/a.jpg".to_owned(),
            "is no URL of a file",
        ),
        ("az://box/a.tar".to_owned(), "begins with s3://, gs://"),
        ("s3://bucket".to_owned(), "expected s3://BUCKET/NAME"),
    ] {
        let error = table(&[&url], None).err().unwrap();
        assert!(
            error.contains(&url) && error.contains(expected),
            "{url}: {error}"
        );
    }
}

#[test]
fn braces_count_on_web_servers() {
    let server = Server::start();
    for number in 8..11 {
        server.put(
            &format!("/{number:03}.jsonl"),
            format!("{{\"text\": \"{number}\"}}\n"),
        );
    }
    let table = table(&[&server.url("/{008..010}.jsonl")], None).unwrap();
    assert_eq!(table.len(), 3);
    assert!(contents(&table)[2].contains("010.jsonl:line 1"));
}
