//! `dsn.json`: texts and the parts or the class of error that a DSN parser reports.

use serde::Deserialize;
use serde_json::{Map, Value};
use surgetank_core::wire::dsn::{Dsn, DsnError, Endpoint};

use crate::{run, same};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "about")]
    _about: Option<Value>,
    #[serde(rename = "grammar")]
    _grammar: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    dsn: String,
    expect: Map<String, Value>,
}

#[derive(Deserialize, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
struct Parts {
    scheme: String,
    public_key: String,
    secret_key: Option<String>,
    host: String,
    port: u16,
    path: String,
    project_id: String,
    org_id: Option<String>,
    envelope_url: String,
}

#[test]
fn dsn() {
    run("dsn.json", |_: &File, case: &Case| check(case));
}

fn check(case: &Case) -> Result<(), String> {
    let mut expect = case.expect.clone();
    let valid = expect.remove("valid");
    let disabled = expect.remove("disabled");
    let error = expect.remove("error");
    let actual = Dsn::parse_optional(&case.dsn);
    match (valid, disabled, error) {
        (Some(Value::Bool(true)), Some(Value::Bool(true)), None) if expect.is_empty() => {
            same("dsn", &Ok(None), &actual)
        }
        (Some(Value::Bool(false)), None, Some(Value::String(expected))) if expect.is_empty() => {
            same("error", &Err(expected.as_str()), &actual.map_err(class))
        }
        (Some(Value::Bool(true)), None, None) => {
            let expected: Parts =
                serde_json::from_value(Value::Object(expect)).map_err(|error| format!("expect: {error}"))?;
            match actual {
                Ok(Some(dsn)) => same("parts", &expected, &parts(&dsn)),
                other => Err(format!("expected {expected:?}, got {other:?}")),
            }
        }
        _ => Err("expect: neither parts, nor disabled, nor an error".to_owned()),
    }
}

fn parts(dsn: &Dsn<'_>) -> Parts {
    let mut envelope_url = String::new();
    dsn.write_url(&mut envelope_url, Endpoint::Envelope)
        .expect("a string takes every text");
    Parts {
        scheme: dsn.scheme().as_str().to_owned(),
        public_key: dsn.public_key().to_owned(),
        secret_key: dsn.secret_key().map(str::to_owned),
        host: dsn.host().to_string(),
        port: dsn.port(),
        path: dsn.path().to_owned(),
        project_id: dsn.project_id().to_owned(),
        org_id: dsn.org_id().map(str::to_owned),
        envelope_url,
    }
}

/// The class of error in the file's words, which has one for everything that a URL parser refuses.
fn class(error: DsnError) -> &'static str {
    match error {
        DsnError::InvalidUrl
        | DsnError::InvalidHost
        | DsnError::InvalidPort
        | DsnError::TooLong
        | DsnError::Empty => "invalid_url",
        DsnError::UnsupportedScheme => "unsupported_scheme",
        DsnError::MissingHost => "missing_host",
        DsnError::MissingPublicKey => "missing_public_key",
        DsnError::InvalidPublicKey => "invalid_public_key",
        DsnError::InvalidSecretKey => "invalid_secret_key",
        DsnError::MissingProjectId => "missing_project_id",
        DsnError::InvalidProjectId => "invalid_project_id",
    }
}
