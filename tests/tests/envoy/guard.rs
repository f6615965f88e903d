//! In front of an ingestion service: what it would refuse anyway does not reach it.

use serde_json::{Value, json};
use surgetank_tests::envoy::wait;
use surgetank_tests::upstream::{KEY, Reply, Upstream};
use surgetank_tests::web::{Answer, Connection};

use crate::envoy::Envoy;

fn guarded(service: &Upstream) -> Envoy {
    Envoy::start(&json!({"guard": true}), service, service)
}

/// Sends what looks like an envelope of that project; what is in it is the service's business.
#[track_caller]
fn send(connection: &mut Connection, project: u64) -> Answer {
    post(connection, &format!("/api/{project}/envelope/"))
}

#[track_caller]
fn post(connection: &mut Connection, path: &str) -> Answer {
    let auth = format!("Sentry sentry_key={KEY}, sentry_version=7");
    connection.ask("POST", path, &[("x-sentry-auth", &auth)], b"{}")
}

#[test]
fn a_limit_is_answered_by_the_proxy_on_every_worker_and_for_its_sender_alone() {
    let service = Upstream::start(|_, _| Reply::status(200));
    let envoy = guarded(&service);
    // Connections spread over the workers, so that each worker has some.
    let mut connections: Vec<Connection> = (0..8).map(|_| envoy.connect()).collect();
    assert_eq!(send(&mut connections[0], 42).status, 200);
    service.always(
        Reply::status(429)
            .with("retry-after", "600")
            .with("x-sentry-rate-limits", "600::organization:quota"),
    );
    assert_eq!(send(&mut connections[0], 42).status, 429);
    service.always(Reply::status(200));

    // The other worker learns of it with its next tick.
    wait("both workers", || {
        let before = service.exchanges().len();
        let all = connections
            .iter_mut()
            .all(|connection| send(connection, 42).status == 429);
        (all && service.exchanges().len() == before).then_some(())
    });
    let refused = send(&mut connections[1], 42);
    assert_eq!(refused.status, 429);
    let seconds: u64 = refused.header("retry-after").unwrap_or_default().parse().unwrap();
    assert!((300..=600).contains(&seconds), "{seconds}");
    let limits = refused.header("x-sentry-rate-limits").unwrap_or_default();
    assert_eq!(limits, format!("{seconds}::organization"));
    assert_eq!(refused.header("content-type"), Some("application/json"));
    let body: Value = serde_json::from_slice(&refused.body).expect("JSON");
    assert!(body["detail"].is_string(), "{body}");

    // Another project, another method and another path go on.
    assert_eq!(send(&mut connections[0], 43).status, 200);
    assert_eq!(connections[0].get("/api/42/envelope/", &[]).status, 200);
    wait("the count", || {
        (envoy.statistic("guard.refused.limited") > 0).then_some(())
    });
    envoy.stop();
}

#[test]
fn a_limit_on_some_categories_refuses_what_can_hold_nothing_else() {
    let service = Upstream::start(|_, _| Reply::status(200));
    let envoy = guarded(&service);
    let mut connection = envoy.connect();
    service.always(Reply::status(200).with("x-sentry-rate-limits", "600:span:key"));
    assert_eq!(send(&mut connection, 42).status, 200);
    service.always(Reply::status(200));
    let traces = post(&mut connection, "/api/42/integration/otlp/v1/traces");
    assert_eq!(traces.status, 429);
    assert_eq!(traces.header("content-type"), Some("application/x-protobuf"));
    assert!(traces.header("retry-after").is_some());
    assert_eq!(
        post(&mut connection, "/api/42/integration/otlp/v1/logs").status,
        200
    );
    assert_eq!(
        send(&mut connection, 42).status,
        200,
        "an envelope may hold other things"
    );
    assert_eq!(service.exchanges().len(), 3);
    envoy.stop();
}

#[test]
fn an_overloaded_service_is_left_alone_for_as_long_as_it_asked() {
    let service = Upstream::start(|_, _| Reply::status(503).with("retry-after", "600"));
    let envoy = guarded(&service);
    let mut connection = envoy.connect();
    assert_eq!(send(&mut connection, 42).status, 503);
    service.always(Reply::status(200));
    let refused = send(&mut connection, 43);
    assert_eq!(refused.status, 503);
    let seconds: u64 = refused.header("retry-after").unwrap_or_default().parse().unwrap();
    assert!((300..=600).contains(&seconds), "{seconds}");
    assert_eq!(refused.header("x-sentry-rate-limits"), None);
    assert_eq!(service.exchanges().len(), 1);
    assert_eq!(
        connection.get("/other", &[]).status,
        200,
        "what is no ingestion is not concerned"
    );
    wait("the count", || {
        (envoy.statistic("guard.refused.overloaded") == 1).then_some(())
    });
    envoy.stop();
}

#[test]
fn a_service_that_is_gone_is_probed_and_found_again() {
    let mut service = Upstream::start(|_, _| Reply::status(200));
    let envoy = guarded(&service);
    let mut connection = envoy.connect();
    assert_eq!(send(&mut connection, 42).status, 200);
    service.close_port();
    wait("the plugin's own refusal", || {
        let answer = send(&mut connection, 42);
        assert_eq!(answer.status, 503);
        answer.header("retry-after").is_some().then_some(())
    });
    service.open_port();
    // Refused connections are closed, so both workers met the failure; each looks for itself whether it is over, and
    // obeys the other's pause until then.
    wait("the service, for good", || {
        (0..8)
            .all(|_| send(&mut connection, 42).status == 200)
            .then_some(())
    });
    envoy.stop();
}
