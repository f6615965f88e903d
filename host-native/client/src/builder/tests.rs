use super::*;
use crate::environment::Environment;

const DSN: &str = "https://0123456789abcdef0123456789abcdef@o1.ingest.sentry.io/42";

fn error(builder: ClientBuilder) -> String {
    builder.build().unwrap_err().to_string()
}

fn environment(pairs: &'static [(&'static str, &'static str)]) -> Environment {
    Environment::read(|name| {
        pairs
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).to_owned())
    })
    .unwrap()
}

#[test]
fn a_client_without_a_destination_is_off() {
    let client = Client::builder().build().unwrap();
    assert!(!client.has_sentry() && !client.has_otlp(Signal::Traces));
    let captured = client.message(crate::sentry::Level::Error, "nobody hears");
    assert_eq!(
        captured.outcome,
        crate::Outcome::Dropped(crate::DropReason::Ignored)
    );
    assert_eq!(client.status().totals.categories().count(), 0);
}

#[test]
fn an_empty_dsn_turns_sentry_off_and_a_bad_one_is_refused_by_name() {
    assert!(!Client::builder().sentry_dsn("").build().unwrap().has_sentry());
    let text = error(Client::builder().sentry_dsn("https://hunter2/42"));
    assert!(
        text.starts_with("sentry_dsn: ") && !text.contains("hunter2"),
        "{text}"
    );
    let text = error(ClientBuilder::default().with_environment(environment(&[("SENTRY_DSN", "hunter2")])));
    assert!(
        text.starts_with("SENTRY_DSN: ") && !text.contains("hunter2"),
        "{text}"
    );
}

#[test]
fn a_bad_endpoint_is_refused_with_its_variable() {
    for (pairs, start) in [
        (
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")][..],
            "OTEL_EXPORTER_OTLP_ENDPOINT ",
        ),
        (
            &[("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "::hunter2")],
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT ",
        ),
    ] {
        let text = error(ClientBuilder::default().with_environment(environment(pairs)));
        assert!(text.starts_with(start) && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn numbers_out_of_range_are_refused_by_name() {
    let builder = || Client::builder().sentry_dsn(DSN);
    for (builder, setting) in [
        (builder().memory(1), "memory"),
        (builder().traces_sample_rate(1.5), "traces_sample_rate"),
        (builder().traces_sample_rate(f64::NAN), "traces_sample_rate"),
        (builder().sentry_share(0), "sentry_share"),
        (builder().otlp_share(1001), "otlp_share"),
        (builder().connect_timeout(Duration::ZERO), "connect_timeout"),
        (builder().sentry_timeout(Duration::ZERO), "sentry_timeout"),
        (builder().otlp_timeout(Duration::ZERO), "otlp_timeout"),
        (builder().retry_for(Duration::ZERO), "retry_for"),
        (
            Client::builder()
                .otlp_endpoint("http://c:4318")
                .otlp_header("Content-Length", "1"),
            "otlp_header",
        ),
    ] {
        let text = error(builder);
        assert!(text.starts_with(setting), "{text}");
    }
}

#[test]
fn a_file_that_is_not_there_or_holds_nothing_is_refused_with_its_variable() {
    let text = error(ClientBuilder::default().with_environment(environment(&[(
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "/nowhere/ca.pem",
    )])));
    assert!(
        text.starts_with("OTEL_EXPORTER_OTLP_CERTIFICATE: cannot read /nowhere/ca.pem"),
        "{text}"
    );
    let text = error(
        ClientBuilder::default()
            .with_environment(environment(&[("OTEL_EXPORTER_OTLP_CERTIFICATE", "/dev/null")])),
    );
    assert!(text.contains("no readable certificate"), "{text}");
}

#[test]
fn signals_of_one_server_share_a_destination() {
    let groups = |pairs| {
        ClientBuilder::default()
            .with_environment(environment(pairs))
            .otlp_groups()
            .unwrap()
            .into_iter()
            .map(|group| group.signals)
            .collect::<Vec<_>>()
    };
    let all = vec![Signal::Traces, Signal::Logs, Signal::Metrics];
    assert_eq!(groups(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318")]), [all]);
    assert_eq!(
        groups(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://logs:4318/v1/logs"),
        ]),
        [vec![Signal::Traces, Signal::Metrics], vec![Signal::Logs]]
    );
    assert_eq!(
        groups(&[
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1000"),
            ("OTEL_METRICS_EXPORTER", "none"),
        ]),
        [vec![Signal::Traces], vec![Signal::Logs]]
    );
}

#[test]
fn no_limit_on_a_timeout_still_means_an_end() {
    let groups = ClientBuilder::default()
        .with_environment(environment(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "0")]))
        .otlp_groups()
        .unwrap();
    assert_eq!(groups[0].timeout, LONGEST_TIMEOUT);
}

#[test]
fn both_protocols_share_the_memory_by_halves_unless_told_otherwise() {
    let builder = Client::builder()
        .sentry_dsn(DSN)
        .otlp_endpoint("http://c:4318")
        .memory(1 << 20);
    let (planned, _) = builder.sentry(true).unwrap().unwrap();
    assert_eq!(planned.config.share_permille, 500);
    let (planned, _) = builder.sentry_share(900).sentry(true).unwrap().unwrap();
    assert_eq!(planned.config.share_permille, 900);
}

#[test]
fn intake_and_queue_together_take_the_memory() {
    for memory in [MIN_MEMORY, 100_000, DEFAULT_MEMORY, 5_000_000] {
        let config = Client::builder().memory(memory).delivery_config(&[]);
        assert_eq!(config.intake_bytes + config.queue_bytes, memory);
        assert!(config.intake_bytes.is_power_of_two());
        assert!(
            config.intake_bytes <= memory / 4 && config.intake_bytes > memory / 16,
            "{memory}"
        );
        Client::builder().sentry_dsn(DSN).memory(memory).build().unwrap();
    }
}

#[test]
fn the_rejection_threshold_is_the_specifications() {
    assert_eq!(plan::rejection_threshold(1.0), 0);
    assert_eq!(plan::rejection_threshold(0.5), 1 << 55);
    assert_eq!(plan::rejection_threshold(0.0), 1 << 56);
}

#[test]
fn secrets_do_not_show() {
    let builder = Client::builder()
        .sentry_dsn(DSN)
        .otlp_endpoint("http://user:hunter2@c:4318")
        .otlp_header("authorization", "hunter2");
    let client = builder.clone().build().unwrap();
    for shown in [
        format!("{builder:?}"),
        format!("{client:?}"),
        format!("{:?}", client.status()),
    ] {
        assert!(
            !shown.contains("hunter2") && !shown.contains("0123456789abcdef"),
            "{shown}"
        );
    }
}
