//! Status codes and bodies of Sentry ingestion, as a Relay gives them.

use crate::sidecar::{Sidecar, auth, parts};
use crate::upstream::Upstream;
use crate::{KEY, envelope, event_id};
use serde_json::{Value, json};

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn an_envelope_is_answered_with_its_event_id() {
    let sidecar = Sidecar::start(&[]);
    assert_eq!(sidecar.ready["mode"], "embedded");
    let (status, headers, body) = parts(sidecar.send(envelope("event", "{}")));
    assert_eq!((status, json_of(&body)), (200, json!({"id": event_id(1)})));
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["access-control-allow-origin"], "*");
    let (status, _, body) = parts(sidecar.send("{}\n{\"type\":\"session\"}\n{}\n"));
    assert_eq!((status, json_of(&body)), (200, json!({})));
    let (status, _, body) = parts(sidecar.send("{}\n{\"type\":\"event\"}\n{}\n"));
    let invented = json_of(&body)["id"].as_str().unwrap().to_owned();
    assert_eq!((status, invented.len()), (200, 32));
    // In any order: an event goes before a session that came first.
    let items = sidecar.stored(3);
    assert!(
        items.iter().any(|item| item["event_id"] == invented.as_str()),
        "what is passed on has the id, too: {items:?}"
    );
}

#[test]
fn a_key_is_taken_from_one_place_only() {
    let sidecar = Sidecar::start(&[]);
    let body = || envelope("event", "{}");
    let post = |query: &str| sidecar.post(&format!("/api/42/envelope/{query}")).body(body());
    let query = format!("?sentry_key={KEY}&sentry_version=7");
    let dsn = |project: u32, key: &str| {
        let dsn = format!("http://{key}@{}/{project}", sidecar.address());
        sidecar
            .post("/api/42/envelope/")
            .body(format!("{{\"dsn\":\"{dsn}\"}}\n{{\"type\":\"session\"}}\n{{}}\n"))
    };
    let other = "f".repeat(32);
    for (name, request, status, detail) in [
        ("header", post("").header("x-sentry-auth", auth(KEY)), 200, ""),
        (
            "authorization",
            post("").header("authorization", auth(KEY)),
            200,
            "",
        ),
        ("basic", post("").basic_auth(KEY, None::<&str>), 200, ""),
        ("query", post(&query), 200, ""),
        ("dsn", dsn(42, KEY), 200, ""),
        ("none", post(""), 401, "missing authorization information"),
        (
            "two",
            post(&query).header("x-sentry-auth", auth(KEY)),
            401,
            "multiple authorization payloads detected",
        ),
        (
            "version",
            post("").header(
                "x-sentry-auth",
                format!("Sentry sentry_key={KEY}, sentry_version=99"),
            ),
            400,
            "unsupported protocol version (99)",
        ),
        (
            "no key",
            post("").header("x-sentry-auth", "Sentry sentry_version=7"),
            401,
            "bad x-sentry-auth header",
        ),
        ("other project", dsn(41, KEY), 400, "invalid event envelope"),
        (
            "other key",
            dsn(42, KEY).header("x-sentry-auth", auth(&other)),
            400,
            "invalid event envelope",
        ),
        (
            "project",
            sidecar.post("/api/x/envelope/").body(body()),
            400,
            "bad project path parameter",
        ),
    ] {
        let (got, _, body) = parts(request.send().unwrap());
        assert_eq!(got, status, "{name}: {body}");
        if status != 200 {
            assert_eq!(json_of(&body)["detail"], detail, "{name}");
        }
    }
}

#[test]
fn a_key_that_no_sentry_issues_is_refused_when_there_is_one_upstream() {
    let upstream = Upstream::start();
    let sidecar = Sidecar::start(&["--sentry-upstream", &upstream.url()]);
    assert_eq!(sidecar.ready["mode"], "mixed");
    let send = |key: &str| {
        let request = sidecar
            .post("/api/42/envelope/")
            .header("x-sentry-auth", auth(key));
        parts(request.body(envelope("event", "{}")).send().unwrap()).0
    };
    assert_eq!(send("short"), 400);
    assert_eq!(send(KEY), 200);
}

#[test]
fn what_is_no_envelope_is_told_where_it_goes_wrong() {
    let sidecar = Sidecar::start(&[]);
    for (bad, cause) in [
        ("", "no envelope header"),
        ("nonsense", "at byte 0"),
        (
            "{}\n{\"type\":\"event\",\"length\":99}\n{}\n",
            "before the declared length",
        ),
        ("{}\n{}\n{}\n", "without type"),
    ] {
        let (status, _, body) = parts(sidecar.send(bad));
        let body = json_of(&body);
        assert_eq!(
            (status, &body["detail"]),
            (400, &json!("invalid event envelope")),
            "{bad:?}"
        );
        assert!(body["causes"][0].as_str().unwrap().contains(cause), "{body}");
    }
    let many = format!("{{}}\n{}", "{\"type\":\"session\"}\n{}\n".repeat(501));
    assert_eq!(parts(sidecar.send(many)).0, 400);
}

#[test]
fn one_item_too_large_refuses_the_envelope() {
    let sidecar = Sidecar::start(&[]);
    let (status, _, body) = parts(sidecar.send(envelope("event", &"x".repeat(1024 * 1024 + 1))));
    assert_eq!(status, 413);
    let detail = json_of(&body)["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("size limits for type 'event'"), "{detail}");
    assert_eq!(
        parts(sidecar.send(envelope("attachment", &"x".repeat(2 * 1024 * 1024)))).0,
        200
    );
}

#[test]
fn the_endpoint_before_envelopes_still_works() {
    let sidecar = Sidecar::start(&[]);
    let request = sidecar.post("/api/42/store/").header("x-sentry-auth", auth(KEY));
    let payload = r#"{"event_id":"12345678-90ab-cdef-1234-567890abcdef","message":"old"}"#;
    let (status, _, body) = parts(request.body(payload).send().unwrap());
    assert_eq!(
        (status, json_of(&body)),
        (200, json!({"id": "1234567890abcdef1234567890abcdef"}))
    );
    let items = sidecar.stored(1);
    assert_eq!(items[0]["type"], "event");
    assert_eq!(sidecar.raw(&items[0]["id"]), payload.as_bytes());
    let bad = sidecar
        .post("/api/42/store/")
        .header("x-sentry-auth", auth(KEY))
        .body("{")
        .send()
        .unwrap();
    assert_eq!(parts(bad).0, 400);
    assert_eq!(
        parts(sidecar.post("/api/42/store/").body(payload).send().unwrap()).0,
        401
    );
}

#[test]
fn browsers_health_checks_and_strangers_get_their_answers() {
    let sidecar = Sidecar::start(&[]);
    let url = |path: &str| format!("http://{}{path}", sidecar.address());
    let preflight = sidecar
        .client
        .request(reqwest::Method::OPTIONS, url("/api/42/envelope/"))
        .header("origin", "http://localhost:3000")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "sentry-trace,baggage");
    let (status, headers, _) = parts(preflight.send().unwrap());
    assert_eq!(status, 200);
    assert_eq!(headers["access-control-allow-origin"], "*");
    assert_eq!(headers["access-control-allow-headers"], "sentry-trace,baggage");
    for path in [
        "/api/relay/healthcheck/live/",
        "/api/relay/healthcheck/ready/",
        "/api/0/relays/live/",
    ] {
        let (status, _, body) = parts(sidecar.client.get(url(path)).send().unwrap());
        assert_eq!(
            (status, json_of(&body)),
            (200, json!({"is_healthy": true})),
            "{path}"
        );
    }
    let (status, headers, _) = parts(sidecar.client.get(url("/api/42/envelope/")).send().unwrap());
    assert_eq!((status, &headers["allow"]), (405, &"POST".parse().unwrap()));
    assert_eq!(parts(sidecar.client.get(url("/nowhere")).send().unwrap()).0, 404);
    assert_eq!(
        parts(sidecar.post("/api/42/minidump/").body("x").send().unwrap()).0,
        404
    );
}
