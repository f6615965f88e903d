use super::*;
use std::borrow::ToOwned as _;
use std::format;
use std::string::{String, ToString};

fn dsn(text: &str) -> Dsn<'_> {
    Dsn::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> DsnError {
    Dsn::parse(text).expect_err(text)
}

fn url(text: &str, endpoint: Endpoint) -> String {
    let mut out = String::new();
    dsn(text).write_url(&mut out, endpoint).unwrap();
    out
}

#[test]
fn every_part_is_read() {
    let dsn = dsn("https://public:private@Sentry.Example.com:9000/a/b/42");
    assert_eq!(dsn.scheme(), Scheme::Https);
    assert_eq!(dsn.public_key(), "public");
    assert_eq!(dsn.secret_key(), Some("private"));
    assert_eq!(dsn.host().to_string(), "sentry.example.com");
    assert_eq!(dsn.port(), 9000);
    assert_eq!(dsn.path(), "/a/b/");
    assert_eq!(dsn.project_id(), "42");
    assert_eq!(dsn.org_id(), None);
}

#[test]
fn endpoints_leave_out_the_default_port_and_the_keys() {
    assert_eq!(
        url("https://k:s@Host:443/p/1", Endpoint::Envelope),
        "https://host/p/api/1/envelope/"
    );
    assert_eq!(
        url("http://k@host:443/1", Endpoint::Envelope),
        "http://host:443/api/1/envelope/"
    );
    assert_eq!(
        url("http://k@[::1]:3000/1", Endpoint::OtlpTraces),
        "http://[::1]:3000/api/1/integration/otlp/v1/traces"
    );
    assert_eq!(
        url("https://k@h/1", Endpoint::OtlpLogs),
        "https://h/api/1/integration/otlp/v1/logs"
    );
}

#[test]
fn nothing_means_off() {
    for text in ["", "   ", "\t\r\n"] {
        assert_eq!(Dsn::parse_optional(text), Ok(None));
        assert_eq!(error(text), DsnError::Empty);
    }
    assert!(Dsn::parse_optional("https://k@h/1").unwrap().is_some());
    assert_eq!(Dsn::parse_optional("x"), Err(DsnError::InvalidUrl));
}

#[test]
fn white_space_around_a_dsn_and_slashes_after_it_are_ignored() {
    assert_eq!(dsn(" https://k@h/1\n"), dsn("https://k@h/1"));
    assert_eq!(dsn("https://k@h/1///"), dsn("https://k@h/1"));
    assert_eq!(dsn("https://k@h//1"), dsn("https://k@h/1"));
    assert_eq!(dsn("https://k@h//a/1").path(), "/a/");
}

#[test]
fn query_and_fragment_carry_nothing() {
    for text in [
        "https://k@h/1?a=/b@c#d",
        "https://k@h/1#/2",
        "https://k@h/1/?x",
        "https://k@h/1#?",
    ] {
        assert_eq!(dsn(text), dsn("https://k@h/1"));
    }
    assert_eq!(error("https://k@h?/1"), DsnError::MissingProjectId);
}

#[test]
fn a_url_needs_a_scheme() {
    for text in [
        "random string",
        "k@h/1",
        "//k@h/1",
        "://k@h/1",
        "\"https://k@h/1\"",
        "1https://k@h/1",
        "https:/k@h/1",
    ] {
        assert_eq!(error(text), DsnError::InvalidUrl, "{text}");
    }
    for text in [
        "ftp://k@h/1",
        "foo://barbaz@sentry.io",
        "httpss://k@h/1",
        "ws+x://",
    ] {
        assert_eq!(error(text), DsnError::UnsupportedScheme, "{text}");
    }
    assert_eq!(dsn("HtTpS://k@h/1").scheme(), Scheme::Https);
}

#[test]
fn a_host_is_needed() {
    for text in [
        "https://k@",
        "https://k@/1",
        "https://k@:8888/1",
        "https:///1",
        "https://",
        "https://@/1",
    ] {
        assert_eq!(error(text), DsnError::MissingHost, "{text}");
    }
}

#[test]
fn hosts_are_names_or_addresses() {
    for text in [
        "h",
        "a-b.c_d",
        "127.0.0.1",
        "xn--bcher-kva.example",
        "h.example.",
        "[::1]",
        "[2001:DB8::1]",
    ] {
        assert!(Dsn::parse(&format!("https://k@{text}/1")).is_ok(), "{text}");
    }
    for text in [
        "h h",
        "bücher.example",
        "a..b",
        ".a",
        ".",
        "a%20b",
        "h\\x",
        "h\r\nx",
        "::1",
        "[::1",
        "[::1]x",
        "[localhost]",
        "[fe80::1%25eth0]",
        "[]",
    ] {
        let error = Dsn::parse(&format!("https://k@{text}/1")).expect_err(text);
        assert!(
            matches!(
                error,
                DsnError::InvalidHost | DsnError::MissingHost | DsnError::InvalidPort
            ),
            "{text}: {error:?}"
        );
    }
    let long = "a".repeat(64);
    assert_eq!(error(&format!("https://k@{long}/1")), DsnError::InvalidHost);
}

#[test]
fn ports_are_numbers_of_sixteen_bits() {
    assert_eq!(dsn("https://k@h:65535/1").port(), 65535);
    assert_eq!(dsn("https://k@h:/1").port(), 443);
    assert_eq!(dsn("https://k@h:0080/1").port(), 80);
    for port in [
        "0",
        "65536",
        "99999",
        "-1",
        "+1",
        "8o",
        " 80",
        "80:80",
        "4294967376",
    ] {
        assert_eq!(
            error(&format!("https://k@h:{port}/1")),
            DsnError::InvalidPort,
            "{port}"
        );
    }
}

#[test]
fn keys_are_word_characters() {
    assert_eq!(dsn("https://Az_09:Zz_1@h/1").secret_key(), Some("Zz_1"));
    assert_eq!(dsn("https://k:@h/1").secret_key(), None);
    for text in ["https://h/1", "https://@h/1", "https://:s@h/1"] {
        assert_eq!(error(text), DsnError::MissingPublicKey, "{text}");
    }
    for key in [
        "foo bar",
        "foo\r\nX-Evil",
        "a@b",
        "a%20b",
        "é",
        "a,b",
        "a-b",
        "a=b",
        "a.b",
    ] {
        assert_eq!(
            error(&format!("https://{key}@h/1")),
            DsnError::InvalidPublicKey,
            "{key}"
        );
        assert_eq!(
            error(&format!("https://k:{key}@h/1")),
            DsnError::InvalidSecretKey,
            "{key}"
        );
    }
}

#[test]
fn project_ids_are_numbers_kept_as_written() {
    assert_eq!(dsn("https://k@h/007").project_id(), "007");
    assert_eq!(
        dsn("https://k@h/18446744073709551615").project_id(),
        "18446744073709551615"
    );
    for text in ["https://k@h", "https://k@h/", "https://k@h//"] {
        assert_eq!(error(text), DsnError::MissingProjectId, "{text}");
    }
    for id in [
        "asdf",
        "123abc",
        "-1",
        "+1",
        "18446744073709551616",
        "1 2",
        "%31",
        "1.0",
        "a/b",
        "\u{661}",
    ] {
        assert_eq!(
            error(&format!("https://k@h/{id}")),
            DsnError::InvalidProjectId,
            "{id}"
        );
    }
}

#[test]
fn paths_hold_nothing_that_splits_a_request() {
    assert_eq!(dsn("https://k@h/a-b/%20/~c/1").path(), "/a-b/%20/~c/");
    for path in ["a b", "a\r\nb", "é", "\"", "<", "\\"] {
        assert_eq!(
            error(&format!("https://k@h/{path}/1")),
            DsnError::InvalidUrl,
            "{path}"
        );
    }
}

#[test]
fn organizations_are_those_of_ingest_hosts() {
    let org = |host: &str| dsn(&format!("https://k@{host}/1")).org_id().map(str::to_owned);
    assert_eq!(org("o123.ingest.sentry.io").as_deref(), Some("123"));
    assert_eq!(org("o123.ingest.de.sentry.io").as_deref(), Some("123"));
    assert_eq!(org("O1.Ingest.US.Sentry.IO").as_deref(), Some("1"));
    assert_eq!(org("o1.ingest.sentry.sentry.io").as_deref(), Some("1"));
    for host in [
        "o123.sentry.io",
        "o55.example.com",
        "blah.ingest.sentry.io",
        "oabc.ingest.sentry.io",
        "123.ingest.sentry.io",
        "o.ingest.sentry.io",
        "o18446744073709551616.ingest.sentry.io",
        "o1.ingest.a.b.sentry.io",
        "o1.ingest.sentry.io.evil.example",
        "o1.ingest.sentry.io.",
        "x.o1.ingest.sentry.io",
        "o1.ingestsentry.io",
        "o1.ingest.xsentry.io",
    ] {
        assert_eq!(org(host), None, "{host}");
    }
}

#[test]
fn length_is_bounded() {
    let long = format!("https://k@h/{}/1", "a".repeat(MAX_DSN_BYTES));
    assert_eq!(error(&long), DsnError::TooLong);
    assert!(DsnError::TooLong.to_string().contains(&MAX_DSN_BYTES.to_string()));
}

#[test]
fn debug_output_shows_no_key() {
    let text = format!("{:?}", dsn("https://verypublic:verysecret@h/1"));
    assert!(
        !text.contains("verypublic") && !text.contains("verysecret"),
        "{text}"
    );
    assert!(text.contains('h') && text.contains('1'));
}
