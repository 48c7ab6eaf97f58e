//! Object stores. What they are reached with comes from the environment, so each test runs in a process of its own: it
//! starts itself again with the variables set.

use std::process::Command;

use crate::server::{Fault, Server};
use crate::{contents, demand_same, layouts, table};

const INSIDE: &str = "FOURFOLD_TEST_STORE";

/// Runs the test called `name` again with `variables`, and demands that it passes there.
fn again(name: &str, server: &Server, variables: &[(&str, &str)]) {
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args([name, "--exact", "--nocapture"]);
    for (variable, _) in std::env::vars() {
        if variable.starts_with("AWS_") || variable.starts_with("GOOGLE_") {
            test.env_remove(variable);
        }
    }
    test.env(INSIDE, &server.address).env("HOME", "/nowhere");
    test.envs(variables.iter().copied());
    let output = test.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("1 passed"),
        "it did not run"
    );
}

fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// A bucket with the archives of the fixtures, two of them in folders.
fn bucket() -> Server {
    let server = Server::start();
    server.put_folder("/box/layouts", &layouts(""));
    for (name, shard) in [("a/000", "ustar"), ("a/001", "gnu"), ("b/000", "pax")] {
        let bytes = std::fs::read(layouts(&format!("webdataset/{shard}.tar"))).unwrap();
        server.put(&format!("/box/shards/{name}.tar"), bytes);
        server.put(&format!("/box/shards/{name}.txt"), "no shard");
    }
    server
}

/// What is the same in every store whose URLs begin with `root`.
fn read_everything(root: &str) {
    let shard = |name: &str| {
        layouts(&format!("webdataset/{name}.tar"))
            .display()
            .to_string()
    };
    let local = |names: &[&str]| {
        let rows = names
            .iter()
            .flat_map(|name| contents(&table(&[&shard(name)], None).unwrap()));
        rows.map(|row| row.split_once(' ').unwrap().1.to_owned())
            .collect::<Vec<_>>()
    };
    let remote = |url: &str| {
        let rows = contents(&table(&[&format!("{root}{url}")], None).unwrap());
        rows.iter()
            .map(|row| row.split_once(' ').unwrap().1.to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(remote("/shards/a/*.tar"), local(&["ustar", "gnu"]));
    assert_eq!(remote("/shards/*/000.tar"), local(&["ustar", "pax"]));
    assert_eq!(remote("/shards/a/{000..001}.tar"), local(&["ustar", "gnu"]));
    let error = table(&[&format!("{root}/shards/*.jsonl")], None)
        .err()
        .unwrap();
    assert!(
        error.contains("no file of the store has a name of this pattern"),
        "{error}"
    );
    let file = "llava/llava_v1_5_mix665k.json";
    let there = table(
        &[&format!("{root}/layouts/{file}")],
        Some(&format!("{root}/layouts/llava/images")),
    );
    let here = table(
        &[&layouts(file).display().to_string()],
        Some(&layouts("llava/images").display().to_string()),
    );
    demand_same(&there.unwrap(), &here.unwrap());
}

#[test]
fn s3_without_keys_is_asked_anonymously() {
    if is_inside() {
        return read_everything("s3://box");
    }
    let server = bucket();
    again(
        "stores::s3_without_keys_is_asked_anonymously",
        &server,
        &[("AWS_ENDPOINT_URL", &server.address)],
    );
    let requests = server.requests();
    assert!(requests.len() > 10);
    assert!(
        requests
            .iter()
            .all(|request| !request.headers.contains_key("authorization"))
    );
}

#[test]
fn s3_with_keys_is_asked_with_a_signature() {
    if is_inside() {
        return read_everything("s3://box");
    }
    let server = bucket();
    again(
        "stores::s3_with_keys_is_asked_with_a_signature",
        &server,
        &[
            ("AWS_ENDPOINT_URL", &server.address),
            ("AWS_ACCESS_KEY_ID", "name"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "eu-central-1"),
        ],
    );
    for request in server.requests() {
        let signature = &request.headers["authorization"];
        assert!(
            signature.starts_with("AWS4-HMAC-SHA256 Credential=name/"),
            "{signature}"
        );
        assert!(signature.contains("/eu-central-1/s3/"), "{signature}");
    }
}

#[test]
fn a_refusal_of_s3_names_the_variables() {
    if is_inside() {
        let error = table(&["s3://box/layouts/tables/plain.csv"], None)
            .err()
            .unwrap();
        assert!(
            error.starts_with(
                "cannot read s3://box/layouts/tables/plain.csv: the store refuses access"
            ),
            "{error}"
        );
        assert!(
            error.contains("AWS_ACCESS_KEY_ID") && error.contains("AWS_REGION"),
            "{error}"
        );
        return;
    }
    let server = bucket();
    server.fail("/box/layouts/tables/plain.csv", &[Fault::Forbidden; 8]);
    again(
        "stores::a_refusal_of_s3_names_the_variables",
        &server,
        &[("AWS_ENDPOINT_URL", &server.address)],
    );
}

#[test]
fn google_storage_is_read_without_keys() {
    if is_inside() {
        return read_everything("gs://box");
    }
    let server = bucket();
    again(
        "stores::google_storage_is_read_without_keys",
        &server,
        &[("GOOGLE_BASE_URL", &server.address)],
    );
    let requests = server.requests();
    assert!(requests.len() > 10);
    assert!(
        requests
            .iter()
            .all(|request| !request.headers.contains_key("authorization"))
    );
}
