//! OTLP: three signals, two formats, every coding; to the OTLP port and to a Sentry project.

use crate::bodies::pack;
use crate::sidecar::{Sidecar, auth, parts};
use crate::upstream::Upstream;
use crate::{KEY, eventually};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

pub(crate) fn traces(name: &str) -> Vec<u8> {
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: name.to_owned(),
        ..Default::default()
    };
    let scope = ScopeSpans {
        spans: vec![span],
        ..Default::default()
    };
    let resource = ResourceSpans {
        scope_spans: vec![scope],
        ..Default::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![resource],
    }
    .encode_to_vec()
}

fn logs() -> Vec<u8> {
    let record = LogRecord {
        severity_number: 17,
        ..Default::default()
    };
    let scope = ScopeLogs {
        log_records: vec![record],
        ..Default::default()
    };
    let resource = ResourceLogs {
        scope_logs: vec![scope],
        ..Default::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![resource],
    }
    .encode_to_vec()
}

const METRICS: &str = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[
    {"name":"m","gauge":{"dataPoints":[{"asDouble":1.5},{"asInt":"2"}]}}]}]}]}"#;

#[test]
fn each_signal_is_kept_as_it_arrived() {
    let sidecar = Sidecar::start(&[]);
    let sent = [
        ("traces", PROTOBUF, traces("a")),
        ("logs", PROTOBUF, logs()),
        ("metrics", JSON, METRICS.as_bytes().to_vec()),
    ];
    for (signal, content_type, body) in &sent {
        let request = sidecar
            .otlp(&format!("/v1/{signal}"))
            .header("content-type", *content_type);
        let (status, headers, answer) = parts(request.body(body.clone()).send().unwrap());
        assert_eq!(
            (status, headers["content-type"].to_str().unwrap()),
            (200, *content_type)
        );
        let expected = if *content_type == JSON {
            "{\"partialSuccess\":{}}"
        } else {
            ""
        };
        assert_eq!(answer, expected, "an Export response without partial success");
    }
    // The signals have lanes of their own, so they are stored in any order.
    let items = sidecar.stored(3);
    for (signal, content_type, body) in &sent {
        let item = items
            .iter()
            .find(|item| (item["source"].as_str(), item["type"].as_str()) == (Some("otlp"), Some(*signal)))
            .unwrap_or_else(|| panic!("no {signal} in {items:?}"));
        assert_eq!(item["content_type"], *content_type);
        assert_eq!(sidecar.raw(&item["id"]), *body);
        assert!(item["payload"].is_object(), "decoded for reading: {item}");
    }
}

#[test]
fn requests_sent_together_stay_apart_in_the_store() {
    let sidecar = Sidecar::start(&[]);
    let names: Vec<String> = (0..20).map(|number| format!("span {number}")).collect();
    std::thread::scope(|scope| {
        for name in &names {
            let request = sidecar
                .otlp("/v1/traces")
                .header("content-type", PROTOBUF)
                .body(traces(name));
            scope.spawn(move || assert_eq!(request.send().unwrap().status(), 200));
        }
    });
    let items = sidecar.stored(20);
    let mut found: Vec<Vec<u8>> = items.iter().map(|item| sidecar.raw(&item["id"])).collect();
    let mut sent: Vec<Vec<u8>> = names.iter().map(|name| traces(name)).collect();
    found.sort();
    sent.sort();
    assert_eq!(found, sent);
}

#[test]
fn every_coding_is_unpacked_and_an_unknown_one_refused() {
    let sidecar = Sidecar::start(&[]);
    for coding in ["gzip", "deflate", "br", "zstd", "identity"] {
        let request = sidecar
            .otlp("/v1/traces")
            .header("content-type", PROTOBUF)
            .header("content-encoding", coding);
        let status = request
            .body(pack(coding, &traces(coding)))
            .send()
            .unwrap()
            .status();
        assert_eq!(status, 200, "{coding}");
    }
    for item in &sidecar.stored(5) {
        assert!(item["payload"]["resourceSpans"].is_array());
    }
    let request = sidecar
        .otlp("/v1/traces")
        .header("content-type", JSON)
        .header("content-encoding", "snappy");
    let (status, _, body) = parts(request.body("{}").send().unwrap());
    assert_eq!(status, 400);
    assert!(
        body.starts_with("{\"code\":3,\"message\":\"unsupported Content-Encoding"),
        "{body}"
    );
}

#[test]
fn errors_are_a_status_in_the_format_of_the_request() {
    let sidecar = Sidecar::start(&[]);
    let send = |path: &str, content_type: &str, body: &'static [u8]| {
        parts(
            sidecar
                .otlp(path)
                .header("content-type", content_type)
                .body(body)
                .send()
                .unwrap(),
        )
    };
    let (status, headers, body) = send("/v1/traces", PROTOBUF, b"\x0a\x7f");
    assert_eq!(
        (status, headers["content-type"].to_str().unwrap()),
        (400, PROTOBUF)
    );
    assert!(body.starts_with("\x08\x03\x12"), "code 3 and a message: {body:?}");
    let (status, headers, body) = send("/v1/logs", JSON, b"{\"resourceLogs\":3}");
    assert_eq!((status, headers["content-type"].to_str().unwrap()), (400, JSON));
    assert!(
        body.starts_with("{\"code\":3,\"message\":\"not an OTLP logs request"),
        "{body}"
    );
    let (status, headers, body) = send("/v1/traces", "text/plain", b"");
    assert_eq!(status, 415);
    assert!(
        headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain")
    );
    assert_eq!(
        body,
        "415 unsupported media type, supported: [application/json, application/x-protobuf]"
    );
    assert_eq!(send("/v1/profiles", PROTOBUF, b"").0, 404);
    let get = sidecar
        .client
        .get(format!("http://{}/v1/traces", sidecar.otlp_address()));
    let (status, _, body) = parts(get.send().unwrap());
    assert_eq!(
        (status, body.as_str()),
        (405, "405 method not allowed, supported: [POST]")
    );
    assert_eq!(
        send("/v1/traces", PROTOBUF, b"").0,
        200,
        "an empty request succeeds"
    );
    assert_eq!(send("/v1/traces", JSON, b"{}").0, 200);
}

#[test]
fn an_upstream_gets_each_signal_under_the_senders_own_headers() {
    let upstream = Upstream::start();
    let sidecar = Sidecar::start(&["--otlp-upstream", &format!("{}/base/", upstream.url())]);
    for (path, content_type, body, team) in [
        ("/v1/traces", PROTOBUF, traces("a"), "one"),
        ("/v1/logs", PROTOBUF, logs(), "two"),
        ("/v1/metrics", JSON, METRICS.as_bytes().to_vec(), "two"),
    ] {
        let request = sidecar
            .otlp(path)
            .header("content-type", content_type)
            .header("x-honeycomb-team", team);
        let request = request.header(
            "traceparent",
            "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01",
        );
        assert_eq!(request.body(body).send().unwrap().status(), 200);
    }
    let mut requests = upstream.wait_for(3);
    requests.sort_by(|a, b| a.path.cmp(&b.path));
    let [logs_request, metrics, traces_request] = requests.as_slice() else {
        panic!("{requests:?}")
    };
    assert_eq!(
        (
            traces_request.path.as_str(),
            &traces_request.headers["x-honeycomb-team"]
        ),
        ("/base/v1/traces", &"one".to_owned())
    );
    assert_eq!(traces_request.body, traces("a"));
    assert_eq!(
        (logs_request.path.as_str(), &logs_request.headers["content-type"]),
        ("/base/v1/logs", &PROTOBUF.to_owned())
    );
    assert_eq!(logs_request.headers["x-honeycomb-team"], "two");
    assert_eq!(
        (metrics.path.as_str(), metrics.body.as_slice()),
        ("/base/v1/metrics", METRICS.as_bytes())
    );
    assert!(
        requests
            .iter()
            .all(|request| !request.headers.contains_key("traceparent"))
    );
}

#[test]
fn a_sentry_project_takes_otlp_under_its_key() {
    let upstream = Upstream::start();
    let sidecar = Sidecar::start(&["--sentry-upstream", &upstream.url()]);
    let path = "/api/42/integration/otlp/v1/traces";
    let post = |path: &str| {
        sidecar
            .post(path)
            .header("content-type", PROTOBUF)
            .body(traces("a"))
    };
    assert_eq!(
        post(path)
            .header("x-sentry-auth", auth(KEY))
            .send()
            .unwrap()
            .status(),
        200
    );
    let slash = format!("{}/", path.replace("traces", "logs"));
    let request = sidecar.post(&slash).header("content-type", PROTOBUF).body(logs());
    assert_eq!(
        request
            .header("x-sentry-auth", auth(KEY))
            .send()
            .unwrap()
            .status(),
        200
    );
    let (status, headers, body) = parts(post(path).send().unwrap());
    assert_eq!(
        (status, headers["content-type"].to_str().unwrap()),
        (401, PROTOBUF)
    );
    assert!(body.starts_with("\x08\x10\x12"), "code 16: {body:?}");
    let plain = sidecar
        .post(path)
        .header("content-type", "text/plain")
        .header("x-sentry-auth", auth(KEY));
    assert_eq!(plain.body("x").send().unwrap().status(), 415);

    let requests = eventually("both signals", || {
        let requests = upstream.requests();
        (requests.len() == 2).then_some(requests)
    });
    let traces_request = requests
        .iter()
        .find(|request| request.path.contains("traces"))
        .unwrap();
    assert_eq!(traces_request.path.trim_end_matches('/'), path);
    assert_eq!(traces_request.body, traces("a"));
    assert!(traces_request.headers["x-sentry-auth"].contains(KEY));
}
