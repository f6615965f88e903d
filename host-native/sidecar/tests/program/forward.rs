//! Forwarding to a Sentry: under the sender's own key, byte for byte, whatever the upstream does meanwhile.

use crate::sidecar::{Sidecar, at_once, auth, parts};
use crate::upstream::{Absent, OK, Reply, Upstream};
use crate::{KEY, envelope, event_id, eventually};
use serde_json::Value;

fn events(items: &[(String, Vec<u8>)]) -> Vec<&[u8]> {
    items
        .iter()
        .filter(|(kind, _)| kind == "event")
        .map(|(_, payload)| payload.as_slice())
        .collect()
}

#[test]
fn an_envelope_goes_on_under_its_own_key_and_nothing_in_it_changes() {
    let upstream = Upstream::start();
    let sidecar = Sidecar::start(&[
        "--sentry-upstream",
        &format!("{}/prefix", upstream.url()),
        "--otlp-upstream",
        &upstream.url(),
    ]);
    assert_eq!(sidecar.ready["mode"], "forward");
    let items = "{\"type\":\"event\",\"length\":4}\n{\n }\n{\"type\":\"invented\",\"x\":[1]}\n\u{0}?\n\
                 {\"type\":\"client_report\"}\n{\"discarded_events\":[]}\n";
    let sent = format!(
        "{{\"event_id\":\"{}\",\"sent_at\":\"2001-01-01T00:00:00Z\",\"x\": 1}}\n{items}",
        event_id(7)
    );
    assert_eq!(parts(sidecar.send(sent)).0, 200);
    let other = "f".repeat(32);
    let request = sidecar
        .post("/api/43/envelope/")
        .header("x-sentry-auth", auth(&other));
    assert_eq!(
        request.body(envelope("event", "{}")).send().unwrap().status(),
        200
    );

    let mut requests = upstream.wait_for(2);
    requests.sort_by(|a, b| a.path.cmp(&b.path));
    let [first, second] = requests.as_slice() else {
        panic!("{requests:?}")
    };
    assert_eq!(
        (first.path.as_str(), second.path.as_str()),
        ("/prefix/api/42/envelope/", "/prefix/api/43/envelope/")
    );
    let expected = format!("Sentry sentry_key={KEY}, sentry_version=7, sentry_client=test/1.0");
    assert_eq!(first.headers["x-sentry-auth"], expected);
    assert!(second.headers["x-sentry-auth"].contains(&other));
    assert_eq!(first.headers["content-type"], "application/x-sentry-envelope");
    let text = String::from_utf8(first.body.clone()).unwrap();
    let (header, rest) = text.split_once('\n').unwrap();
    assert_eq!(rest, items);
    let header: Value = serde_json::from_str(header).unwrap();
    assert_eq!(
        (&header["event_id"], &header["x"]),
        (&event_id(7).into(), &1.into())
    );
    assert!(
        header["sent_at"].as_str().unwrap() > "2020",
        "written at transmission: {header}"
    );
}

#[test]
fn nothing_waits_for_an_upstream_that_stalls_and_nothing_is_lost_when_it_wakes() {
    let upstream = Upstream::start();
    upstream.always(Reply::Stall);
    let sidecar = Sidecar::start(&["--sentry-upstream", &upstream.url()]);
    for number in 0..50 {
        at_once(|| assert_eq!(parts(sidecar.send(envelope("event", &number.to_string()))).0, 200));
    }
    upstream.always(OK);
    let items = upstream.items_until(|items| events(items).len() >= 50);
    let mut numbers: Vec<u32> = events(&items)
        .iter()
        .map(|payload| std::str::from_utf8(payload).unwrap().parse().unwrap())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..50).collect::<Vec<_>>());
}

#[test]
fn an_upstream_that_is_not_there_yet_gets_everything_when_it_is() {
    let absent = Absent::new();
    let sidecar = Sidecar::start(&["--sentry-upstream", &absent.url()]);
    for number in 0..5 {
        at_once(|| assert_eq!(parts(sidecar.send(envelope("event", &number.to_string()))).0, 200));
    }
    let upstream = absent.appear();
    let items = upstream.items_until(|items| events(items).len() >= 5);
    assert_eq!(events(&items).len(), 5);
}

#[test]
fn an_answer_that_breaks_off_is_no_answer() {
    let upstream = Upstream::start();
    upstream.behave(|number, _| if number == 0 { Reply::CloseMidway } else { OK });
    let sidecar = Sidecar::start(&["--sentry-upstream", &upstream.url()]);
    assert_eq!(parts(sidecar.send(envelope("event", "\"again\""))).0, 200);
    let requests = upstream.wait_for(2);
    for request in &requests {
        assert_eq!(events(&request.items()), [b"\"again\""]);
    }
}

#[test]
fn a_server_in_trouble_is_tried_again_and_a_refusal_is_final_and_told() {
    let upstream = Upstream::start();
    upstream.behave(|number, _| match number {
        0 => Reply::Answer(503, "retry-after: 1\r\n".to_owned()),
        1 => OK,
        2 => Reply::Answer(400, String::new()),
        _ => OK,
    });
    let sidecar = Sidecar::start(&["--sentry-upstream", &upstream.url()]);
    assert_eq!(parts(sidecar.send(envelope("event", "1"))).0, 200);
    let requests = upstream.wait_for(2);
    assert_eq!(events(&requests[0].items()), events(&requests[1].items()));
    assert_eq!(parts(sidecar.send(envelope("event", "2"))).0, 200);
    upstream.wait_for(3);
    // What the server refused is told with the next envelope that goes out.
    let report = eventually("the loss to be told", || {
        assert_eq!(parts(sidecar.send(envelope("session", "{}"))).0, 200);
        let items = upstream.items_until(|_| true);
        let (_, report) = items.into_iter().find(|(kind, _)| kind == "client_report")?;
        serde_json::from_slice::<Value>(&report).ok()
    });
    assert_eq!(
        report["discarded_events"],
        serde_json::json!([{"reason": "send_error", "category": "error", "quantity": 1}])
    );
    assert_eq!(
        events(&upstream.items_until(|_| true)).len(),
        3,
        "the refused one was not sent again"
    );
}

#[test]
fn otlp_waits_out_what_the_server_asks_for() {
    let upstream = Upstream::start();
    upstream.behave(|number, _| match number {
        0 => Reply::Answer(503, "retry-after: 1\r\n".to_owned()),
        _ => OK,
    });
    let sidecar = Sidecar::start(&["--otlp-upstream", &upstream.url()]);
    let send = |name: &str| {
        let request = sidecar
            .otlp("/v1/traces")
            .header("content-type", "application/x-protobuf");
        request
            .body(crate::otlp::traces(name))
            .send()
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(send("a"), 200);
    upstream.wait_for(1);
    at_once(|| assert_eq!(send("b"), 200));
    let first = crate::otlp::traces("a");
    let attempts = eventually("a second attempt", || {
        let mut requests = upstream.requests();
        requests.retain(|request| request.body.windows(first.len()).any(|part| part == first));
        (requests.len() >= 2).then_some(requests)
    });
    let paused = attempts[1].arrived - attempts[0].arrived;
    assert!(
        paused.as_millis() >= 1000,
        "not before the second is over: {paused:?}"
    );
    let all: Vec<u8> = eventually("both requests", || {
        let all: Vec<u8> = upstream
            .requests()
            .iter()
            .skip(1)
            .flat_map(|request| request.body.clone())
            .collect();
        (all.len() >= crate::otlp::traces("a").len() * 2).then_some(all)
    });
    let joined = [crate::otlp::traces("a"), crate::otlp::traces("b")].concat();
    let swapped = [crate::otlp::traces("b"), crate::otlp::traces("a")].concat();
    assert!(all == joined || all == swapped, "{all:?}");
}
