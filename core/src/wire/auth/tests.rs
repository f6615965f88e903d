use super::*;
use std::format;
use std::string::String as Text;

const KEY: &str = "e12d836b15bb49d7bbf99e64295d995b";

fn header(value: &str) -> Result<Auth, AuthError> {
    Places {
        x_sentry_auth: Some(value.as_bytes()),
        ..Places::default()
    }
    .read()
}

fn authorization(value: &str) -> Result<Auth, AuthError> {
    Places {
        authorization: Some(value.as_bytes()),
        ..Places::default()
    }
    .read()
}

fn query(value: &str) -> Result<Auth, AuthError> {
    Places {
        query: value.as_bytes(),
        ..Places::default()
    }
    .read()
}

fn path(value: &str) -> Result<Auth, AuthError> {
    Places {
        path_key: Some(value.as_bytes()),
        ..Places::default()
    }
    .read()
}

fn written(write: impl Fn(&mut Text) -> fmt::Result) -> Text {
    let mut out = Text::new();
    write(&mut out).unwrap();
    out
}

#[test]
fn the_header_is_read_whatever_the_order() {
    for value in [
        format!("Sentry sentry_key={KEY}, sentry_version=7, sentry_client=raven-python/4.6.0"),
        format!("sentry sentry_client=raven-python/4.6.0,sentry_version=7,sentry_key={KEY}"),
        format!(
            " SENTRY  sentry_version = 7 , sentry_key = {KEY} , sentry_client = raven-python/4.6.0, x=y, z"
        ),
    ] {
        let auth = header(&value).unwrap();
        assert_eq!(auth.public_key(), KEY);
        assert_eq!(auth.project_key().unwrap(), KEY.as_bytes());
        assert_eq!(auth.version(), 7);
        assert_eq!(auth.client(), Some("raven-python/4.6.0"));
        assert_eq!(authorization(&value), Ok(auth));
    }
}

#[test]
fn the_query_is_read_and_decoded() {
    let auth = query(&format!(
        "a=b&sentry_version=7&sentry%5Fkey={KEY}&sentry_client=sentry.javascript.browser%2F10.0+x"
    ))
    .unwrap();
    assert_eq!(auth.public_key(), KEY);
    assert_eq!(auth.client(), Some("sentry.javascript.browser/10.0 x"));
    assert_eq!(query("sentry=1&a=sentry_key").unwrap_err(), AuthError::Missing);
}

#[test]
fn basic_authentication_names_the_key_as_the_user() {
    assert_eq!(
        authorization("Basic cHVibGljOg==").unwrap().public_key(),
        "public"
    );
    assert_eq!(
        authorization("basic cHVibGljOnM6cA==").unwrap().public_key(),
        "public"
    );
    for value in [
        "Basic cHVibGlj",
        "Basic !!!",
        "Basic Ojo6",
        "Basic ",
        "Basic",
        "Bearer cHVibGljOg==",
    ] {
        assert_eq!(authorization(value), Err(AuthError::Missing), "{value}");
    }
}

#[test]
fn the_path_may_name_the_key() {
    assert_eq!(path(KEY).unwrap().public_key(), KEY);
    assert_eq!(path("").unwrap_err(), AuthError::Missing);
}

#[test]
fn other_schemes_count_as_absent() {
    for value in [
        "",
        "Sentry",
        "sentry_key=a",
        "Bearer sentry_key=a",
        "Sentrysentry_key=a",
        "Sentry sentry_key=\u{e9}",
    ] {
        assert_eq!(header(value), Err(AuthError::Missing), "{value}");
    }
    assert_eq!(Places::default().read(), Err(AuthError::Missing));
}

#[test]
fn one_place_only() {
    let sentry = format!("Sentry sentry_key={KEY}");
    let sentry = Some(sentry.as_bytes());
    let all = Places {
        x_sentry_auth: sentry,
        authorization: sentry,
        query: b"sentry_key=a",
        path_key: Some(b"a"),
    };
    let none = Places::default();
    for places in [
        Places {
            query: b"",
            path_key: None,
            ..all
        },
        Places {
            x_sentry_auth: None,
            path_key: None,
            ..all
        },
        Places {
            query: b"sentry_anything",
            ..none_with_header(&all)
        },
        Places {
            path_key: all.path_key,
            query: all.query,
            ..none
        },
        Places {
            authorization: Some(b"Basic cHVibGljOg=="),
            ..none_with_header(&all)
        },
        all,
    ] {
        assert_eq!(places.read(), Err(AuthError::Multiple));
    }
    let beside_another_scheme = Places {
        authorization: Some(b"Bearer x"),
        ..none_with_header(&all)
    };
    assert!(beside_another_scheme.read().is_ok());
}

fn none_with_header<'a>(all: &Places<'a>) -> Places<'a> {
    Places {
        x_sentry_auth: all.x_sentry_auth,
        ..Places::default()
    }
}

#[test]
fn versions_up_to_the_current_one_are_let_in() {
    let version = |text: &str| {
        header(&format!("Sentry sentry_key=a, sentry_version={text}")).map(|auth| auth.version())
    };
    assert_eq!(version("7"), Ok(7));
    assert_eq!(version("2.0"), Ok(2));
    assert_eq!(version("07.9.9"), Ok(7));
    assert_eq!(version("8"), Err(AuthError::UnsupportedVersion(8)));
    for text in ["", "x", "-1", ".7", "7x", "65536", "999999999999999999999"] {
        assert_eq!(version(text), Err(AuthError::InvalidVersion), "{text}");
    }
    assert_eq!(header("Sentry sentry_key=a").unwrap().version(), PROTOCOL_VERSION);
}

#[test]
fn a_key_is_needed_and_must_be_one() {
    for value in [
        "Sentry x",
        "Sentry sentry_version=7",
        "Sentry sentry_key=",
        "Sentry sentry_key=.flag",
    ] {
        assert_eq!(header(value), Err(AuthError::MissingPublicKey), "{value}");
    }
    assert_eq!(query("sentry_version=7"), Err(AuthError::MissingPublicKey));
    for key in ["a b", "a%0d%0aX-Evil:1", "%E9", "a%2Cb", "a%00"] {
        assert_eq!(
            query(&format!("sentry_key={key}")),
            Err(AuthError::BadPublicKey),
            "{key}"
        );
    }
    let long = "k".repeat(MAX_AUTH_KEY_BYTES + 1);
    assert_eq!(path(&long), Err(AuthError::BadPublicKey));
    assert_eq!(path("short").unwrap().project_key(), Err(AuthError::BadPublicKey));
}

#[test]
fn flags_follow_the_key_after_dots() {
    let auth = header(&format!("Sentry sentry_key={KEY}.no-cache.x")).unwrap();
    assert_eq!(auth.public_key(), KEY);
    assert!(auth.flags().eq(["no-cache", "x"]));
    assert!(auth.project_key().is_ok());
    assert_eq!(auth.credentials().public_key, format!("{KEY}.no-cache.x"));
}

#[test]
fn of_repeated_fields_the_last_counts() {
    assert_eq!(query("sentry_key=a&sentry_key=b").unwrap().public_key(), "b");
}

#[test]
fn a_client_name_cannot_break_the_header_it_is_passed_on_in() {
    let auth = query("sentry_key=a&sentry_client=x%0d%0aEvil:%201,%20sentry_key=b%C3%A9").unwrap();
    assert_eq!(auth.client(), Some("x__Evil: 1_ sentry_key=b_"));
    let long = "c".repeat(MAX_AUTH_CLIENT_BYTES + 9);
    let auth = query(&format!("sentry_key=a&sentry_client={long}")).unwrap();
    assert_eq!(auth.client().unwrap().len(), MAX_AUTH_CLIENT_BYTES);
}

#[test]
fn what_is_written_is_read_again() {
    let dsn = Dsn::parse("https://public:secret@h/1").unwrap();
    let credentials = Credentials::of_dsn(&dsn, Some("surgetank/0.1"));
    let value = written(|out| credentials.write_header(out));
    assert_eq!(
        value,
        "Sentry sentry_key=public, sentry_version=7, sentry_client=surgetank/0.1, sentry_secret=secret"
    );
    assert_eq!(header(&value).unwrap().credentials(), credentials);
    let value = written(|out| credentials.write_query(out));
    assert_eq!(
        value,
        "sentry_version=7&sentry_key=public&sentry_client=surgetank%2F0.1&sentry_secret=secret"
    );
    assert_eq!(query(&value).unwrap().credentials(), credentials);
}

#[test]
fn a_written_header_stays_one_header() {
    let credentials = Credentials {
        public_key: "k\r\n",
        secret_key: None,
        client: Some("a, sentry_key=x\n"),
    };
    let value = written(|out| credentials.write_header(out));
    assert_eq!(
        value,
        "Sentry sentry_key=k__, sentry_version=7, sentry_client=a_ sentry_key=x_"
    );
}

#[test]
fn each_error_has_relays_status_and_words() {
    for (error, status, detail) in [
        (AuthError::Missing, 401, "missing authorization information"),
        (
            AuthError::Multiple,
            401,
            "multiple authorization payloads detected",
        ),
        (AuthError::InvalidVersion, 401, "bad x-sentry-auth header"),
        (AuthError::MissingPublicKey, 401, "bad x-sentry-auth header"),
        (
            AuthError::UnsupportedVersion(9),
            400,
            "unsupported protocol version (9)",
        ),
        (AuthError::BadPublicKey, 400, "bad sentry DSN public key"),
    ] {
        assert_eq!((error.status(), format!("{error}").as_str()), (status, detail));
    }
}

#[test]
fn length_is_bounded() {
    let long = format!("Sentry sentry_key=a,{}", "x".repeat(MAX_AUTH_BYTES));
    assert_eq!(header(&long), Err(AuthError::TooLong));
}

#[test]
fn debug_output_shows_no_key() {
    let auth = query("sentry_key=verypublic&sentry_secret=verysecret&sentry_client=c").unwrap();
    let text = format!("{auth:?} {:?}", auth.credentials());
    assert!(!text.contains("very"), "{text}");
    assert!(text.contains("\"c\""));
}
