//! The committed scripts against their committed traces, and what a script that is wrong is told.
//!
//! `SURGETANK_UPDATE=1` writes the traces anew; read the difference before you commit it.

use std::env;
use std::fs;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use surgetank_core::time::Instant;
use surgetank_tests::scenario::call::{Call, Reply};
use surgetank_tests::scenario::native::Native;
use surgetank_tests::scenario::{
    Fault, difference, parse, play, read, recordings, run, run_script, scenarios, sums,
};

#[test]
fn every_script_gives_its_trace() {
    let update = env::var_os("SURGETANK_UPDATE").is_some();
    let mut faults = Vec::new();
    for scenario in scenarios().expect("the folder of scenarios") {
        let trace = match run(&scenario.script) {
            Ok(trace) => trace,
            Err(fault) => {
                faults.push(format!("{}.script: {fault}", scenario.name));
                continue;
            }
        };
        if update {
            fs::write(&scenario.trace_path, &trace).expect("the trace can be written");
        }
        faults.extend(scenario.compare(&trace).err());
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn recorded_traffic_gives_its_sums() {
    let update = env::var_os("SURGETANK_UPDATE").is_some();
    let recordings = recordings().expect("the folder of scenarios");
    assert!(!recordings.is_empty(), "no recording was found");
    for recording in recordings {
        let script = read(&recording.contents).expect("a good recording");
        let trace = run_script(&script).unwrap_or_else(|fault| panic!("{}: {fault}", recording.name));
        let found = sums(&trace);
        if update {
            fs::write(&recording.sums_path, &found).expect("the sums can be written");
        }
        let expected = fs::read_to_string(&recording.sums_path).unwrap_or_default();
        let different = difference(&expected, &found);
        assert_eq!(
            different, None,
            "{}: `surgetank replay` shows the trace",
            recording.name
        );
    }
}

#[test]
fn every_script_opens_with_its_story_and_plays_the_same_again() {
    let scenarios = scenarios().expect("the folder of scenarios");
    assert!(
        scenarios.len() >= 20,
        "only {} scripts were found",
        scenarios.len()
    );
    for scenario in scenarios {
        assert!(scenario.script.starts_with("# "), "{}: no story", scenario.name);
        assert_eq!(
            run(&scenario.script),
            run(&scenario.script),
            "{}: played twice",
            scenario.name
        );
    }
}

#[test]
fn every_trace_has_its_script() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    for entry in fs::read_dir(folder).expect("the folder of scenarios") {
        let path = entry.expect("a readable folder").path();
        if path.extension().is_some_and(|extension| extension == "trace") {
            assert!(
                path.with_extension("script").exists(),
                "{} has no script",
                path.display()
            );
        }
    }
}

/// Whatever else hosts are compared by: all of this happens in some script, so that none of it is compared never.
#[test]
fn the_scripts_show_everything_the_engine_can_say() {
    let traces: Vec<String> = scenarios()
        .expect("the folder of scenarios")
        .iter()
        .map(|scenario| run(&scenario.script).unwrap_or_default())
        .collect();
    let missing: Vec<&str> = EVERYTHING
        .iter()
        .copied()
        .filter(|needed| !traces.iter().any(|trace| trace.contains(needed)))
        .collect();
    assert!(missing.is_empty(), "in no trace: {missing:#?}");
}

#[rustfmt::skip]
const EVERYTHING: &[&str] = &[
    // Outcomes of a record.
    "= queued", "= dropped as queue_overflow", "= dropped as ratelimit_backoff", "= dropped as too_large",
    "= dropped as closed", "= dropped as invalid",
    "refused at the gate as backpressure", "refused at the gate as ratelimit_backoff",
    "refused at the gate as queue_overflow", "refused at the gate as closed",
    // Forms and kinds of requests.
    " envelope error ", " item session ", " element log_item ", " otlp_record span ", " otlp_request ", " otlp_json ",
    ": envelope, attempt 1", ": items, attempt 1", ": log container, attempt 1", ": span container, attempt 1",
    ": trace_metric container, attempt 1", ": report, attempt 1", ": traces records, attempt 1",
    ": logs records, attempt 1", ": metrics records, attempt 1", ": logs requests, attempt 1", ": traces json, attempt 1",
    ", attempt 2,", ", report {",
    // What becomes of requests.
    "= delivered", "= delivered but ", "= rate limited: ", "= dropped as send_error", "= dropped as too_large",
    "= dropped as invalid", "= retry after ", "= stale", "(network_error)", "(send_error)", "(internal_sdk_error)",
    // Notices.
    "notice health ", "notice factor ", "notice breaker of ", "notice stalled r", "notice settled ", "notice left ",
    "sentry open\n", "sentry closed\n", "breaker half open",
    // Causes of health and of factors.
    "queue_early", "queue_high", "queue_full", "memory_early", "memory_high", "memory_critical", "downsampling",
    "limited", "breaker_open", "slot_stuck", "worker_stalled",
    "because of queue_overflow", "because of queue_high", "because of breaker_open", "because of limited",
    "because of quiet",
    // Deadlines.
    ": batch due", ": report due", ": backoff ends", ": breaker probe", ": limit ends", ": request overdue", ": tick",
    ": close ends", " idle\n", " closed\n",
    // The gate.
    ": open\n", ": limited ", ": factor ", ": refuses from low", ": refuses from medium", ": closed\n", "breaker open\n",
    // The ledger.
    " recorded+", " delivered+", " network_error+", " server_rate_limited+", " rejected+", " backpressure+",
    " closed+",
];

#[test]
fn a_host_that_differs_is_found_by_its_first_line() {
    let text = "destination sentry sentry\nrecord sentry envelope event\nanswer r1 200\n";
    let honest = run(text).expect("a good script");
    let script = parse::parse(text).expect("a good script");
    let mut native = Native::default();
    let mut other = |now: Instant, call: &Call<'_>| match native.call(now, call) {
        Reply::Send(mut sent) => {
            sent.body[0] ^= 1;
            Reply::Send(sent)
        }
        reply => reply,
    };
    let differing = play::play(&script, &mut other).expect("it plays");
    let message = difference(&honest, &differing).expect("a difference");
    let lines: Vec<&str> = message.lines().collect();
    let at = honest.lines().position(|line| line.contains("send r1"));
    let line = format!("the trace differs from line {} on", at.expect("it is sent") + 1);
    assert_eq!(lines[0], line);
    assert!(lines[lines.len() - 2].starts_with("expected: 0.000000 send r1"));
    assert!(lines[lines.len() - 1].starts_with("found:    0.000000 send r1"));
    assert_eq!(difference(&honest, &honest), None);
    let cut = honest.lines().take(3).collect::<Vec<_>>().join("\n") + "\n";
    assert!(difference(&honest, &cut).is_some_and(|text| text.ends_with("found:    (the end)\n")));
}

#[test]
fn a_host_that_loses_a_record_does_not_balance() {
    let script = parse::parse("destination sentry sentry\nrecord sentry envelope event\n").expect("good");
    let mut native = Native::default();
    let mut thief = |now: Instant, call: &Call<'_>| match native.call(now, call) {
        Reply::Books(mut books) => {
            books.rows.iter_mut().for_each(|(_, _, held)| *held = 0);
            Reply::Books(books)
        }
        reply => reply,
    };
    let fault = play::play(&script, &mut thief).expect_err("a record is missing");
    assert!(
        fault.wrong.starts_with("the books do not balance: error"),
        "{fault}"
    );
}

/// The fault of a script whose only destination stands before these lines.
fn fault_of(lines: &str) -> Fault {
    run(&format!("destination sentry sentry\n{lines}\n")).expect_err(lines)
}

#[test]
fn a_mistake_is_told_with_its_line_and_with_what_would_be_right() {
    for (lines, line, wrong, right) in [
        (
            "recrod sentry log",
            2,
            "no statement `recrod`",
            "record, lose, serve",
        ),
        ("\n\nwait", 4, "ends too early", "a duration, like 250ms"),
        ("wait 5", 2, "`5` is no duration", "us, ms, s, m, h"),
        ("wait 99999999999999999h", 2, "is no duration", "like 250ms"),
        ("wait 1s 2s", 2, "`2s` is too much", "end the line"),
        ("record sentri log", 2, "`sentri` is not known", "one of sentry"),
        (
            "record sentry event",
            2,
            "`event` is no kind of record",
            "envelope ITEM",
        ),
        (
            "record sentry envelope evnt",
            2,
            "`evnt` is no type of item",
            "event, transaction",
        ),
        ("record sentry log size 3", 2, "a record has no `size`", "fill"),
        ("record sentry log times 0", 2, "`0` does not fit", "from 1 to"),
        (
            "record sentry log fill 99999",
            2,
            "`99999` does not fit",
            "from 0 to",
        ),
        (
            "record sentry log priority urgent",
            2,
            "`urgent` is not known",
            "critical, high",
        ),
        ("record sentry log trace 0", 2, "`0` is no trace", "from 1 on"),
        ("answer r1 200", 2, "no such request", "0 were sent"),
        ("answer first 200", 2, "`first` is no request", "oldest, newest"),
        ("serve sentry 99", 2, "`99` is no answer", "100 to 599"),
        (
            "serve sentry 200 retry-after 3",
            2,
            "an answer has no `retry-after`",
            "retry_after",
        ),
        (
            "serve sentry fail refused",
            2,
            "`refused` is not known",
            "dns, connect",
        ),
        (
            "serve sentry 200 body_hex 123",
            2,
            "`123` is not hexadecimal",
            "two digits",
        ),
        (
            "serve sentry 200 body \"open",
            2,
            "a quote is not closed",
            "at the end",
        ),
        ("serve sentry 200 body \"\\t\"", 2, "unknown escape", "are known"),
        ("answer oldest 200 after 2s", 2, "`answer` is now", "serve"),
        ("clock 5s", 2, "`5s` is no jump", "-30s"),
        ("flush after 2s", 2, "`flush after`", "flush within 2s"),
        ("close in 2s", 2, "`in` is not known", "one of within"),
        ("probe cpu 3", 2, "a probe has no `cpu`", "memory"),
        (
            "lose sentry error bad 3",
            2,
            "`bad` is not known",
            "queue_overflow",
        ),
        (
            "set seed 3",
            2,
            "`set` comes too late",
            "before the first destination",
        ),
        (
            "wait 1s\ndestination b otlp",
            3,
            "`destination` comes too late",
            "before the first step",
        ),
        (
            "destination sentry otlp",
            2,
            "a destination `sentry` already",
            "another name",
        ),
        (
            "destination b otlp in_flight 5 4",
            2,
            "concurrency.initial",
            "change it",
        ),
        (
            "destination b otlp color red",
            2,
            "no setting `color`",
            "share, timeout",
        ),
        ("wait 10s\nat 5s", 3, "10.000000 already", "later"),
        ("wait 100h", 2, "too late", "two days"),
    ] {
        let fault = fault_of(lines);
        assert_eq!(fault.line, line, "{lines}: {fault}");
        assert!(fault.wrong.contains(wrong), "{lines}: {fault}");
        assert!(fault.right.contains(right), "{lines}: {fault}");
    }
}

#[test]
fn the_description_has_every_word_of_the_language() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/README.md");
    let description = fs::read_to_string(path).expect("tests/scenarios/README.md");
    let described: Vec<&str> = description
        .split(|char: char| !char.is_ascii_alphanumeric() && char != '_')
        .collect();
    for mistake in [
        "mistake",
        "record sentry log mistake",
        "record sentry log priority mistake",
        "record sentry json mistake",
        "serve sentry 200 mistake",
        "serve sentry fail mistake",
    ] {
        let right = fault_of(mistake).right;
        let (_, words) = right.split_once("one of ").expect(mistake);
        for word in words.split(", ") {
            assert!(described.contains(&word), "{mistake}: nothing about `{word}`");
        }
    }
    for script in [
        "set mistake 1\n",
        "destination s sentry mistake 1\n",
        "set memory mistake\n",
    ] {
        let right = run(script).expect_err(script).right;
        let (_, words) = right.split_once("one of ").expect(script);
        for word in words.split(", ") {
            assert!(described.contains(&word), "{script}: nothing about `{word}`");
        }
    }
}

/// A word of the language, or none at all.
fn word() -> impl Strategy<Value = String> {
    let known = "set destination sentry otlp at wait clock record lose serve answer probe poll polls flush close status \
                 envelope event+session item log span request json traces times every fill trace new gated priority low \
                 nobody error queue_overflow 200 503 fail timeout after retry_after rate_limits body_hex oldest r1 within \
                 memory slot on off 0 1 7 -1 +2s -3h 5ms 9999999h 0aff \"a b\" \"\\n\" # \"";
    let known: Vec<String> = known.split(' ').map(str::to_owned).collect();
    prop_oneof![9 => select(known), 1 => "\\PC{0,8}"]
}

/// Statements of the committed scripts that fit these two destinations, for other stories than theirs.
const BOTH: &str = "set memory 8KiB\ndestination sentry sentry in_flight 3 8\ndestination collector otlp\n";

fn statements() -> Vec<String> {
    let scenarios = scenarios().expect("the folder of scenarios");
    let lines = scenarios.iter().flat_map(|scenario| scenario.script.lines());
    // Without answers to requests that may not be there.
    let lines = lines.filter(|line| !line.starts_with("answer "));
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.replace("at ", "wait "))
        .filter(|line| parse::parse(&format!("{BOTH}poll\n{line}")).is_ok())
        .collect()
}

proptest! {
    #[test]
    fn any_story_balances(lines in vec(select(statements()), 0..30)) {
        let script = format!("{BOTH}{}", lines.join("\n"));
        if let Err(fault) = run(&script) {
            prop_assert!(!fault.right.contains("bug") && !fault.wrong.contains("reply"), "{fault}\n{script}");
        }
    }

    #[test]
    fn any_text_is_played_or_refused(lines in vec(vec(word(), 0..8), 0..12)) {
        let lines: Vec<String> = lines.iter().map(|words| words.join(" ")).collect();
        let _ = run(&lines.join("\n"));
        let _ = run(&format!("destination sentry sentry\n{}", lines.join("\n")));
    }
}

#[test]
fn settings_are_checked_where_they_stand() {
    let fault = run("set reserve 950\ndestination s sentry\n").expect_err("too much");
    assert_eq!((fault.line, fault.right.as_str()), (1, "change it"));
    let fault = run("set memory 9KiB\ndestination s sentry\n").expect_err("no such size");
    assert!(fault.right.contains("8KiB, 32KiB, 128KiB"), "{fault}");
    let fault = run("set downsample_high 500\ndestination s sentry\n").expect_err("low is over high");
    assert!(fault.wrong.contains("monitor.low_permille"), "{fault}");
    assert!(run("set downsample_high 500\nset downsample_low 400\ndestination s sentry\n").is_ok());
    let fault = run("# nothing\n").expect_err("empty");
    assert!(fault.wrong.contains("no destination"), "{fault}");
}

#[test]
fn a_script_is_bounded() {
    let long = "# a comment\n".repeat(4_000);
    assert!(run(&long).expect_err("too long").wrong.contains("bytes"));
    assert!(fault_of(&"poll\n".repeat(501)).wrong.contains("statement 501"));
    let four = "destination a otlp\ndestination b otlp\ndestination c otlp\n";
    assert!(
        fault_of(&format!("{four}destination d otlp"))
            .wrong
            .contains("too many")
    );
    let endless = "serve sentry 200\nrecord sentry envelope event times 2000 every 1ms";
    assert!(fault_of(endless).wrong.contains("more than 4000 lines"));
}
