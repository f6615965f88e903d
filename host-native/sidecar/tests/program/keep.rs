//! The embedded store from outside: kept across restarts and crashes, shown live and whole.

use crate::sidecar::{Sidecar, at_once, parts, program, run};
use crate::{KEY, SOON, envelope, event_id};
use rustix::process::Signal;

#[test]
fn what_was_kept_is_there_after_a_restart() {
    let first = Sidecar::start(&[]);
    assert_eq!(
        parts(first.send(envelope("event", "{\"message\":\"kept\"}"))).0,
        200
    );
    first.stored(1);
    let directory = first.directory();
    assert!(first.stop().status.success());
    let second = Sidecar::start_in(directory, &[]);
    assert_eq!(parts(second.send(envelope("session", "{}"))).0, 200);
    let items = second.stored(2);
    assert_eq!(
        (items[0]["payload"]["message"].as_str(), items[1]["type"].as_str()),
        (Some("kept"), Some("session"))
    );
}

#[test]
fn what_was_stored_survives_being_killed() {
    let first = Sidecar::start(&[]);
    for number in 0..20 {
        assert_eq!(parts(first.send(envelope("event", &number.to_string()))).0, 200);
    }
    first.stored(20);
    let directory = first.directory();
    first.signal(Signal::KILL);
    let ended = first.ended();
    assert!(ended.farewell.is_null());
    let second = Sidecar::start_in(directory, &[]);
    assert_eq!(second.stored(20).len(), 20);
}

#[test]
fn a_full_disk_holds_up_nobody_and_what_waits_is_stored_once_there_is_room() {
    const ITEMS: usize = 100;
    let sidecar = Sidecar::start_with_files_of(256 * 1024);
    let padding = "x".repeat(8 * 1024);
    for number in 0..ITEMS {
        let event = format!("{{\"message\":\"{number}\",\"extra\":\"{padding}\"}}");
        assert_eq!(at_once(|| parts(sidecar.send(envelope("event", &event)))).0, 200);
    }
    let kept = sidecar.stored(1).len();
    assert!(kept < ITEMS, "all {kept} found room");
    sidecar.free_its_disk();
    let mut messages: Vec<usize> = sidecar
        .stored(ITEMS)
        .iter()
        .map(|item| item["payload"]["message"].as_str().unwrap().parse().unwrap())
        .collect();
    messages.sort_unstable();
    assert_eq!(messages, Vec::from_iter(0..ITEMS), "each of them once");
    let ended = sidecar.stop();
    assert!(ended.status.success());
    let told = "cannot write to the store: disk I/O error; what arrives waits in memory";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
}

#[test]
fn tail_prints_what_arrives() {
    let sidecar = Sidecar::start(&[]);
    assert_eq!(
        parts(sidecar.send(envelope("event", "{\"message\":\"before\"}"))).0,
        200
    );
    sidecar.stored(1);
    let (_tail, lines) = run(program(&["tail", "-n", "1", "--data-dir"]).arg(sidecar.directory().path()));
    let line = lines.recv_timeout(SOON).unwrap();
    assert!(
        line.contains("project 42  event") && line.contains("error    before"),
        "{line}"
    );
    assert!(line.ends_with(&format!("event={}", event_id(1))), "{line}");
    assert_eq!(
        parts(sidecar.send(envelope(
            "log",
            "{\"items\":[{\"level\":\"warn\",\"body\":\"one\"},{\"body\":\"two\"}]}"
        )))
        .0,
        200
    );
    assert!(
        lines
            .recv_timeout(SOON)
            .unwrap()
            .contains("log          warn     one")
    );
    assert!(
        lines
            .recv_timeout(SOON)
            .unwrap()
            .contains("log          info     two")
    );
}

#[test]
fn show_prints_one_item_whole() {
    let sidecar = Sidecar::start(&[]);
    assert_eq!(
        parts(sidecar.send(envelope("event", "{\"message\":\"whole\",\"n\":1.50}"))).0,
        200
    );
    sidecar.stored(1);
    let text = |arguments: &[&str]| {
        let output = sidecar.command(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for id in ["1", &event_id(1)] {
        let shown = text(&["show", id]);
        assert!(shown.contains("type         event\n"), "{shown}");
        assert!(
            shown.ends_with("\n\n{\n  \"message\": \"whole\",\n  \"n\": 1.50\n}\n"),
            "{shown}"
        );
    }
    assert!(text(&["show", "1", "--json"]).contains("\"payload\":{\"message\":\"whole\",\"n\":1.50}"));
    assert_eq!(
        text(&["show", "1", "--raw"]),
        "{\"message\":\"whole\",\"n\":1.50}"
    );
    for (id, words) in [("77", "no such item"), ("x", "give its number")] {
        let output = sidecar.command(&["show", id]);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8(output.stderr).unwrap().contains(words));
    }
}

#[test]
fn two_sidecars_do_not_share_a_directory() {
    let first = Sidecar::start(&[]);
    let second = first.command(&["run", "--listen", "127.0.0.1:0", "--otlp-listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1));
    let words = String::from_utf8(second.stderr).unwrap();
    assert!(
        words.contains("another surgetank") && words.contains("--data-dir"),
        "{words}"
    );
}

#[test]
fn wrong_options_are_answered_with_right_ones() {
    let dsn = format!("https://{KEY}@o1.ingest.sentry.io/42");
    for (arguments, code, words) in [
        (&["run", "--listen", "nowhere"][..], 2, "such as 127.0.0.1:8969"),
        (&["run", "--memory", "lots"], 2, "such as 512KiB"),
        (
            &["run", "--sentry-upstream", &dsn],
            2,
            "a key does not belong here",
        ),
        (
            &[
                "run",
                "--otlp-upstream",
                "http://127.0.0.1:49151",
                "--otlp-listen",
                "127.0.0.1:49151",
            ],
            2,
            "own address",
        ),
        (
            &["run", "--listen", "192.0.2.1:1"],
            1,
            "choose another address with --listen",
        ),
        (&["fly"], 2, "Usage"),
        (
            &["show", "1", "--data-dir", "/nonexistent/nowhere"],
            1,
            "there is no store",
        ),
    ] {
        let output = program(arguments).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words), "{arguments:?}: {stderr}");
        assert!(!stderr.contains(KEY), "{stderr}");
    }
}

#[test]
fn settings_come_from_the_environment_too() {
    let directory = tempfile::tempdir().unwrap();
    let (_running, lines) = run(program(&[])
        .env("SURGETANK_LISTEN", "127.0.0.1:0")
        .env("SURGETANK_OTLP_LISTEN", "127.0.0.1:0")
        .env("SURGETANK_DATA_DIR", directory.path())
        .env("SURGETANK_SENTRY_UPSTREAM", "http://127.0.0.1:9")
        .env("SURGETANK_OTLP_UPSTREAM", "http://127.0.0.1:9")
        .env("SURGETANK_MEMORY", "16MiB"));
    let line = lines.recv_timeout(SOON).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (ready["event"].as_str(), ready["mode"].as_str()),
        (Some("ready"), Some("forward"))
    );
    assert_eq!(ready["data_dir"], directory.path().to_str().unwrap());
    assert!(
        std::fs::read_dir(directory.path()).unwrap().next().is_none(),
        "nothing is stored"
    );
}
