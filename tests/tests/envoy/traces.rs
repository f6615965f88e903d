//! Each request becomes a span in the right trace, and the services behind are told of it.

use serde_json::{Value, json};
use surgetank_tests::envoy::wait;
use surgetank_tests::upstream::envelope::Envelope;
use surgetank_tests::upstream::{KEY, Reply, Upstream};

use crate::envoy::{DSN, Envoy};
use crate::spans::{attribute, hex, wait_for};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn spans_only() -> Value {
    json!({"otlp": {"cluster": "collector", "delay_ms": 50}})
}

fn shop() -> Upstream {
    Upstream::start(|_, _| Reply::status(200))
}

#[test]
fn a_trace_is_taken_over_recorded_and_passed_on() {
    let (collector, shop) = (Upstream::accepting(), shop());
    let envoy = Envoy::start(&spans_only(), &collector, &shop);
    let incoming = format!("00-{TRACE}-{SPAN}-01");
    let headers = [
        ("traceparent", incoming.as_str()),
        ("tracestate", "a=b"),
        ("baggage", "c=d"),
    ];
    assert_eq!(envoy.connect().get("/orders/7?token=1", &headers).status, 200);

    let spans = wait_for(&collector, 1);
    let span = &spans[0];
    assert_eq!(
        (hex(&span.trace_id), hex(&span.parent_span_id)),
        (TRACE.into(), SPAN.into())
    );
    assert_eq!(attribute(span, "url.path"), "/orders/7");
    assert_eq!(attribute(span, "http.response.status_code"), "200");
    let took = span.end_time_unix_nano - span.start_time_unix_nano;
    assert!(took > 0 && took < 60_000_000_000, "{took} ns");

    let seen = &shop.exchanges()[0].request;
    let passed = format!("00-{TRACE}-{}-01", hex(&span.span_id));
    assert_eq!(seen.header("traceparent"), Some(passed.as_str()));
    assert_eq!(
        (seen.header("tracestate"), seen.header("baggage")),
        (Some("a=b"), Some("c=d"))
    );
    assert_eq!(seen.header("sentry-trace"), None);
    assert_eq!(envoy.settled("spans", 1), (1, 0));
    envoy.stop();
}

#[test]
fn a_caller_that_does_not_record_is_obeyed_and_a_bad_header_starts_a_new_trace() {
    let (collector, shop) = (Upstream::accepting(), shop());
    let envoy = Envoy::start(&spans_only(), &collector, &shop);
    let mut connection = envoy.connect();
    let unsampled = format!("00-{TRACE}-{SPAN}-00");
    connection.get("/a", &[("traceparent", &unsampled)]);
    connection.get("/b", &[("traceparent", "rubbish"), ("tracestate", "a=b")]);

    let spans = wait_for(&collector, 1);
    assert_eq!(attribute(&spans[0], "url.path"), "/b");
    assert!(spans[0].parent_span_id.is_empty());
    let exchanges = shop.exchanges();
    assert_eq!(
        exchanges[0].request.header("traceparent"),
        Some(unsampled.as_str())
    );
    let passed = format!("00-{}-{}-03", hex(&spans[0].trace_id), hex(&spans[0].span_id));
    assert_eq!(exchanges[1].request.header("traceparent"), Some(passed.as_str()));
    assert_eq!(exchanges[1].request.header("tracestate"), None);
    assert_eq!(envoy.settled("spans", 2), (1, 1));
    assert_eq!(envoy.statistic("spans.dropped.sample_rate"), 1);
    envoy.stop();
}

#[test]
fn a_share_of_new_traces_is_recorded_and_the_services_behind_are_told_which() {
    let (collector, shop) = (Upstream::accepting(), shop());
    let plugin = json!({
        "sample_rate": 0.25,
        "otlp": {"cluster": "collector", "delay_ms": 50},
        "sentry": {"cluster": "collector", "dsn": DSN},
    });
    let envoy = Envoy::start(&plugin, &collector, &shop);
    let mut connection = envoy.connect();
    for _ in 0..200 {
        connection.get("/", &[("baggage", "own=1")]);
    }
    let exchanges = shop.exchanges();
    let recorded = exchanges.iter().filter(|exchange| {
        let of = |name| exchange.request.header(name).unwrap_or_default().to_owned();
        let (w3c, sentry, baggage) = (of("traceparent"), of("sentry-trace"), of("baggage"));
        let sampled = w3c.ends_with("-03");
        let trace = w3c.split('-').nth(1).unwrap_or_default();
        assert!(sentry.starts_with(trace) && sentry.ends_with(if sampled { "-1" } else { "-0" }));
        let context = format!(
            "own=1,sentry-trace_id={trace},sentry-public_key={KEY},sentry-sample_rate=0.25,sentry-sampled={sampled}"
        );
        assert_eq!(baggage, context);
        sampled
    });
    let recorded = recorded.count() as u64;
    // 50 of 200 are expected; fewer than 15 or more than 100 happen less than once in 10^9 times.
    assert!((15..=100).contains(&recorded), "{recorded} of 200");
    assert_eq!(wait_for(&collector, recorded as usize).len() as u64, recorded);
    assert_eq!(envoy.settled("spans", 200), (recorded, 200 - recorded));
    envoy.stop();
}

#[test]
fn a_failure_becomes_an_event_whether_the_shop_or_the_proxy_answered() {
    let (collector, mut shop) = (Upstream::accepting(), Upstream::start(|_, _| Reply::status(500)));
    let plugin = json!({
        "otlp": {"cluster": "collector", "delay_ms": 50},
        "sentry": {"cluster": "collector", "dsn": DSN},
        "release": "1.2", "environment": "test",
    });
    let envoy = Envoy::start(&plugin, &collector, &shop);
    let mut connection = envoy.connect();
    assert_eq!(connection.get("/broken", &[]).status, 500);
    shop.close_port();
    // A pooled connection may have to notice first.
    let refused = wait("a refused connection", || {
        let answer = connection.get("/gone", &[]);
        answer.text().contains("connection failure").then_some(answer)
    });
    assert_eq!(refused.status, 503);

    let events = collector.wait_for("both events", |exchanges| {
        let envelopes = exchanges
            .iter()
            .filter(|exchange| exchange.is_accepted() && exchange.request.path == "/api/42/envelope/");
        let events: Vec<Value> = envelopes
            .map(|exchange| {
                let envelope = Envelope::read(&exchange.request.body).expect("an envelope");
                serde_json::from_slice(&envelope.items[0].payload).expect("an event")
            })
            .collect();
        let causes: Vec<&str> = events
            .iter()
            .filter_map(|event| event["fingerprint"][2].as_str())
            .collect();
        let both = ["via_upstream", "upstream_reset_before_response_started"];
        both.iter().all(|cause| causes.contains(cause)).then_some(events)
    });
    let of = |url: &str| events.iter().find(|event| event["request"]["url"] == url);
    let own = of("/broken").expect("the shop's own failure");
    assert_eq!(
        (&own["tags"]["http.status_code"], &own["tags"]["envoy.cluster"]),
        (&json!("500"), &json!("shop"))
    );
    assert_eq!(
        (&own["release"], &own["environment"]),
        (&json!("1.2"), &json!("test"))
    );
    let proxys = of("/gone").expect("the proxy's answer");
    assert_eq!(proxys["exception"]["values"][0]["type"], "UpstreamFailure");

    // Event and span are of one trace.
    let trace = own["contexts"]["trace"]["trace_id"].as_str().expect("a trace");
    collector.wait_for("the span of the failure", |exchanges| {
        let spans = crate::spans::accepted(exchanges);
        let span = spans.iter().find(|span| hex(&span.trace_id) == trace)?;
        assert_eq!(span.status.as_ref().map(|status| status.code), Some(2));
        Some(())
    });
    envoy.stop();
}
