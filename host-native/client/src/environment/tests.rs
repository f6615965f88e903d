use super::*;

fn read(pairs: &[(&str, &str)]) -> Result<Environment, EnvironmentError> {
    let pairs: Vec<(String, String)> = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Environment::read(move |name| {
        pairs
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
    })
}

fn otlp(pairs: &[(&str, &str)]) -> OtlpEnvironment {
    read(pairs).unwrap().otlp.unwrap()
}

fn warned(environment: &Environment, variable: &str) -> bool {
    environment
        .warnings
        .iter()
        .any(|warning| warning.variable == variable)
}

#[test]
fn nothing_set_means_the_specifications_default_endpoint() {
    let otlp = otlp(&[]);
    for (signal, path) in [
        (Signal::Traces, "traces"),
        (Signal::Logs, "logs"),
        (Signal::Metrics, "metrics"),
    ] {
        let settings = otlp.signal(signal).unwrap();
        assert_eq!(settings.endpoint, format!("http://localhost:4318/v1/{path}"));
        assert_eq!(settings.timeout, Some(Duration::from_secs(10)));
        assert_eq!(settings.compression, None);
    }
}

#[test]
fn sentry_alone_does_not_turn_otlp_on() {
    let environment = read(&[
        ("SENTRY_DSN", "https://k@h/1"),
        ("OTEL_SERVICE_NAME", "shop"),
        ("SENTRY_RELEASE", "shop@1.2"),
        ("SENTRY_ENVIRONMENT", "staging"),
    ])
    .unwrap();
    assert_eq!(environment.otlp, None);
    assert_eq!(environment.sentry_dsn.as_deref(), Some("https://k@h/1"));
    assert_eq!(environment.release.as_deref(), Some("shop@1.2"));
    assert_eq!(environment.environment.as_deref(), Some("staging"));
}

#[test]
fn both_are_on_when_both_are_named() {
    let environment = read(&[
        ("SENTRY_DSN", "https://k@h/1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
    ])
    .unwrap();
    assert!(environment.sentry_dsn.is_some() && environment.otlp.is_some());
}

#[test]
fn empty_is_unset() {
    let environment = read(&[
        ("SENTRY_DSN", "  "),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", ""),
    ])
    .unwrap();
    assert_eq!(environment.sentry_dsn, None);
    assert!(environment.warnings.is_empty());
    assert!(environment.otlp.is_some());
}

#[test]
fn base_endpoint_gets_the_signal_path_and_an_own_one_is_used_as_it_is() {
    let otlp = otlp(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/otel"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://logs:9/custom"),
    ]);
    assert_eq!(
        otlp.signal(Signal::Traces).unwrap().endpoint,
        "http://c:4318/otel/v1/traces"
    );
    assert_eq!(
        otlp.signal(Signal::Logs).unwrap().endpoint,
        "http://logs:9/custom"
    );
    assert_eq!(signal_url("http://c/", Signal::Metrics), "http://c/v1/metrics");
}

#[test]
fn signal_variables_win_over_general_ones() {
    let otlp = otlp(&[
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "3000"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "GZIP"),
        ("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "none"),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20abc,x-team=a",
        ),
        ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "X-Team=b"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
        ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "/m.pem"),
    ]);
    let traces = otlp.signal(Signal::Traces).unwrap();
    let logs = otlp.signal(Signal::Logs).unwrap();
    let metrics = otlp.signal(Signal::Metrics).unwrap();
    assert_eq!(traces.timeout, None);
    assert_eq!(logs.timeout, Some(Duration::from_secs(3)));
    assert_eq!(traces.compression, Some(Compression::Gzip));
    assert_eq!(logs.compression, Some(Compression::None));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        traces.headers,
        [pair("authorization", "Bearer abc"), pair("x-team", "a")]
    );
    assert_eq!(
        logs.headers,
        [pair("authorization", "Bearer abc"), pair("X-Team", "b")]
    );
    assert_eq!(traces.certificate, Some(PathBuf::from("/ca.pem")));
    assert_eq!(metrics.certificate, Some(PathBuf::from("/m.pem")));
}

#[test]
fn unreadable_numbers_are_ignored_with_a_warning() {
    let environment = read(&[
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1"),
        ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "10s"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "3000000000"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "lz4"),
    ])
    .unwrap();
    let otlp = environment.otlp.as_ref().unwrap();
    assert_eq!(
        otlp.signal(Signal::Logs).unwrap().timeout,
        Some(DEFAULT_OTLP_TIMEOUT)
    );
    assert_eq!(environment.limits, RecordLimits::default());
    for variable in [
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT",
        "OTEL_SPAN_EVENT_COUNT_LIMIT",
        "OTEL_EXPORTER_OTLP_COMPRESSION",
    ] {
        assert!(warned(&environment, variable), "{variable}");
    }
}

#[test]
fn disabled_is_true_only_for_true() {
    for (value, disabled, warns) in [
        ("true", true, false),
        ("TRUE", true, false),
        ("false", false, false),
        ("1", false, true),
        ("yes", false, true),
    ] {
        let environment = read(&[("OTEL_SDK_DISABLED", value)]).unwrap();
        assert_eq!(environment.otel_disabled, disabled, "{value}");
        assert_eq!(environment.otlp.is_none(), disabled, "{value}");
        assert_eq!(warned(&environment, "OTEL_SDK_DISABLED"), warns, "{value}");
    }
}

#[test]
fn a_configuration_file_makes_the_other_otel_variables_count_for_nothing() {
    let environment = read(&[
        ("OTEL_CONFIG_FILE", "/otel.yaml"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
        ("OTEL_SERVICE_NAME", "shop"),
        ("SENTRY_DSN", "https://k@h/1"),
    ])
    .unwrap();
    assert_eq!(environment.otlp, None);
    assert!(environment.resource.is_empty());
    assert!(environment.sentry_dsn.is_some());
    assert!(warned(&environment, "OTEL_CONFIG_FILE"));
}

#[test]
fn resource_attributes_are_decoded_and_the_service_name_wins() {
    let environment = read(&[
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=old, k%2C=a%3Db ,empty="),
        ("OTEL_SERVICE_NAME", "new"),
    ])
    .unwrap();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        environment.resource,
        [pair("k,", "a=b"), pair("empty", ""), pair("service.name", "new")]
    );
}

#[test]
fn one_bad_resource_attribute_discards_the_whole_value() {
    for bad in ["a=1,b", "a=1,=2", "a=%zz", "a=%f", "a=%ff"] {
        let environment = read(&[("OTEL_RESOURCE_ATTRIBUTES", bad)]).unwrap();
        assert!(environment.resource.is_empty(), "{bad}");
        assert!(warned(&environment, "OTEL_RESOURCE_ATTRIBUTES"), "{bad}");
    }
}

#[test]
fn a_bad_header_is_left_out_and_its_value_is_not_repeated() {
    let environment = read(&[(
        "OTEL_EXPORTER_OTLP_HEADERS",
        "x-ok=1,content-length=hunter2,bad name=hunter2,x-nl=a%0Ahunter2,hunter2",
    )])
    .unwrap();
    let otlp = environment.otlp.as_ref().unwrap();
    assert_eq!(
        otlp.signal(Signal::Traces).unwrap().headers,
        [("x-ok".to_owned(), "1".to_owned())]
    );
    assert_eq!(environment.warnings.len(), 4);
    assert!(!format!("{environment:?}").contains("hunter2"));
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let environment = read(&[
        ("SENTRY_DSN", "https://hunter2@h/1"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:hunter2@c:4318"),
    ])
    .unwrap();
    let shown = format!("{environment:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("authorization"));
}

#[test]
fn grpc_is_refused_with_the_variable_and_the_fix() {
    let error = read(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap_err();
    assert_eq!(
        error,
        EnvironmentError::GrpcProtocol("OTEL_EXPORTER_OTLP_PROTOCOL")
    );
    let text = error.to_string();
    assert!(text.contains("http/protobuf") && text.contains("4318"), "{text}");
    let error = read(&[("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "grpc")]).unwrap_err();
    assert_eq!(
        error,
        EnvironmentError::GrpcProtocol("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL")
    );
}

#[test]
fn what_is_turned_off_may_ask_for_the_impossible() {
    for (variable, value) in [("OTEL_SDK_DISABLED", "true"), ("OTEL_CONFIG_FILE", "/otel.yaml")] {
        let environment = read(&[
            (variable, value),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "grpc"),
        ]);
        assert!(environment.is_ok(), "{variable}");
    }
    let off = ["TRACES", "LOGS", "METRICS"].map(|signal| format!("OTEL_{signal}_EXPORTER"));
    let mut variables = vec![("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
    variables.extend(off.iter().map(|name| (name.as_str(), "none")));
    assert_eq!(read(&variables).unwrap().otlp, None);
}

#[test]
fn the_port_of_grpc_is_warned_of() {
    let variable = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let warns = |url: &str| warned(&read(&[(variable, url)]).unwrap(), variable);
    assert!(warns("http://localhost:4317"));
    assert!(warns("https://collector:4317/"));
    assert!(!warns("http://localhost:4318"));
    assert!(!warns("http://localhost:43170"));
    let environment = read(&[
        (variable, "http://c:4317"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://[::1]:4317/v1/logs"),
    ])
    .unwrap();
    assert_eq!(environment.warnings.len(), 2, "once for each variable");
    assert!(environment.otlp.is_some(), "it may be a proxy that takes both");
    let problem = &environment.warnings[0].problem;
    assert!(problem.contains("4318") && !problem.contains("//c"), "{problem}");
}

#[test]
fn exporters_can_be_turned_off_per_signal() {
    let environment = read(&[
        ("OTEL_LOGS_EXPORTER", "none"),
        ("OTEL_METRICS_EXPORTER", "console"),
        ("OTEL_TRACES_EXPORTER", "otlp,console"),
    ])
    .unwrap();
    let otlp = environment.otlp.as_ref().unwrap();
    assert!(otlp.signal(Signal::Traces).is_some());
    assert!(otlp.signal(Signal::Logs).is_none());
    assert!(otlp.signal(Signal::Metrics).is_none());
    assert!(warned(&environment, "OTEL_METRICS_EXPORTER"));
    assert!(!warned(&environment, "OTEL_LOGS_EXPORTER"));
}

#[test]
fn special_limits_win_over_general_ones() {
    let limits = read(&[
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "10"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "20"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "5"),
        ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "0"),
    ])
    .unwrap()
    .limits;
    assert_eq!(limits.spans.attributes, 20);
    assert_eq!(limits.logs.attributes, 10);
    assert_eq!(
        (limits.spans.event_attributes, limits.spans.link_attributes),
        (10, 0)
    );
    assert_eq!((limits.spans.value_length, limits.logs.value_length), (5, 5));
    assert_eq!(limits.spans.events, 128);
}

#[test]
fn the_shorter_delay_and_the_smaller_batch_hold_for_both() {
    let environment = read(&[
        ("OTEL_BSP_SCHEDULE_DELAY", "5000"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "1000"),
        ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "100"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "2048"),
    ])
    .unwrap();
    assert_eq!(environment.batch.delay, Some(Duration::from_secs(1)));
    assert_eq!(environment.batch.max_records, Some(100));
    assert!(warned(&environment, "OTEL_BSP_MAX_QUEUE_SIZE"));
}

#[test]
fn batches_of_nothing_are_ignored_with_a_warning() {
    let environment = read(&[
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0"),
        ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "-5"),
        ("OTEL_BSP_SCHEDULE_DELAY", "5s"),
    ])
    .unwrap();
    assert_eq!(environment.batch, BatchEnvironment::default());
    for variable in [
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
        "OTEL_BSP_SCHEDULE_DELAY",
    ] {
        assert!(warned(&environment, variable), "{variable}");
    }
}

#[test]
fn ratio_samplers_give_a_rate_and_others_a_warning() {
    let ratio = |sampler: &str, argument: &str| {
        read(&[
            ("OTEL_TRACES_SAMPLER", sampler),
            ("OTEL_TRACES_SAMPLER_ARG", argument),
        ])
        .unwrap()
        .trace_ratio_ppm
    };
    assert_eq!(ratio("traceidratio", "0.25"), Some(250_000));
    assert_eq!(ratio("parentbased_traceidratio", "1"), Some(1_000_000));
    assert_eq!(ratio("always_off", "0.5"), Some(0));
    assert_eq!(ratio("traceidratio", "nan"), None);
    assert_eq!(ratio("traceidratio", "2"), None);
    // Nobody here decides against a parent, which the names without `parentbased` ask for.
    for (sampler, warns) in [
        ("jaeger_remote", true),
        ("traceidratio", true),
        ("always_on", true),
        ("always_off", true),
        ("parentbased_traceidratio", false),
        ("ParentBased_Always_On", false),
    ] {
        let environment = read(&[("OTEL_TRACES_SAMPLER", sampler)]).unwrap();
        assert_eq!(warned(&environment, "OTEL_TRACES_SAMPLER"), warns, "{sampler}");
    }
}
