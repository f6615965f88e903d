//! Who sends: the key of a request, from its headers, its query or its envelope.

use hyper::Request;
use hyper::header::{AUTHORIZATION, HeaderName};
use surgetank_core::wire::auth::{Auth, AuthError, Credentials, Places};
use surgetank_core::wire::dsn::Dsn;

const X_SENTRY_AUTH: HeaderName = HeaderName::from_static("x-sentry-auth");

/// Project and key of a request, in a form that can be passed on.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Sender {
    pub(crate) project: u64,
    /// Value for `X-Sentry-Auth`. Holds the key.
    pub(crate) auth_header: String,
    key: String,
}

impl Sender {
    fn new(project: u64, key: &str, credentials: &Credentials<'_>) -> Self {
        let mut auth_header = String::new();
        // Writing to a string cannot fail.
        let _ = credentials.write_header(&mut auth_header);
        Self {
            project,
            auth_header,
            key: key.to_owned(),
        }
    }

    /// The project alone, for places that ask for no key.
    pub(crate) fn without_key(&self) -> Self {
        Self {
            project: self.project,
            auth_header: String::new(),
            key: String::new(),
        }
    }

    /// The public key without flags. Do not log it.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender")
            .field("project", &self.project)
            .finish_non_exhaustive()
    }
}

/// Why a request is not let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AuthRefusal {
    pub(crate) status: u16,
    pub(crate) detail: String,
    pub(crate) cause: Option<&'static str>,
}

impl From<AuthError> for AuthRefusal {
    fn from(error: AuthError) -> Self {
        Self {
            status: error.status(),
            detail: error.to_string(),
            cause: error.cause(),
        }
    }
}

/// What the request itself shows; `None` when that is nothing, so that the envelope has to say.
///
/// `strict` refuses keys that no Sentry issues, as Relay does; without it any key goes, for there is nobody who knows
/// the right ones.
pub(crate) fn credentials<B>(
    request: &Request<B>,
    project: u64,
    strict: bool,
) -> Result<Option<Sender>, AuthRefusal> {
    let value = |name| {
        request
            .headers()
            .get(name)
            .map(|value: &hyper::header::HeaderValue| value.as_bytes())
    };
    let places = Places {
        x_sentry_auth: value(&X_SENTRY_AUTH),
        authorization: value(&AUTHORIZATION),
        query: request.uri().query().unwrap_or_default().as_bytes(),
        path_key: None,
    };
    match places.read() {
        Ok(auth) => {
            if strict {
                auth.project_key()?;
            }
            Ok(Some(sender_of_auth(project, &auth)))
        }
        Err(AuthError::Missing) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn sender_of_auth(project: u64, auth: &Auth) -> Sender {
    Sender::new(project, auth.public_key(), &auth.credentials())
}

/// What the DSN in an envelope's header shows; `None` when it is none.
pub(crate) fn sender_of_dsn(dsn: &str) -> Option<Sender> {
    let dsn = Dsn::parse(dsn).ok()?;
    let project = dsn.project_id().parse().ok()?;
    Some(Sender::new(
        project,
        dsn.public_key(),
        &Credentials::of_dsn(&dsn, None),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn request(uri: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut builder = Request::builder().uri(uri);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap()
    }

    fn header(key: &str) -> String {
        format!("Sentry sentry_key={key}, sentry_version=7, sentry_client=sdk/1.0")
    }

    #[test]
    fn the_key_is_found_in_each_place_and_passed_on_in_one() {
        let basic = format!("Basic {}", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY6");
        let query = format!("/?sentry_key={KEY}&sentry_version=7&sentry_client=sdk%2F1.0");
        for (request, client) in [
            (
                request("/", &[("x-sentry-auth", &header(KEY))]),
                ", sentry_client=sdk/1.0",
            ),
            (
                request("/", &[("authorization", &header(KEY))]),
                ", sentry_client=sdk/1.0",
            ),
            (request(&query, &[]), ", sentry_client=sdk/1.0"),
            (request("/", &[("authorization", &basic)]), ""),
        ] {
            let sender = credentials(&request, 7, true).unwrap().unwrap();
            assert_eq!(sender.key(), KEY);
            assert_eq!(
                sender.auth_header,
                format!("Sentry sentry_key={KEY}, sentry_version=7{client}")
            );
            assert_eq!(format!("{sender:?}"), "Sender { project: 7, .. }");
        }
    }

    #[test]
    fn no_place_is_for_the_envelope_to_say_and_two_are_one_too_many() {
        assert_eq!(credentials(&request("/", &[]), 7, true), Ok(None));
        let twice = request(&format!("/?sentry_key={KEY}"), &[("x-sentry-auth", &header(KEY))]);
        let refusal = credentials(&twice, 7, true).unwrap_err();
        assert_eq!(
            (refusal.status, refusal.detail.as_str()),
            (401, "multiple authorization payloads detected")
        );
    }

    #[test]
    fn a_key_of_another_length_is_refused_only_where_somebody_knows_better() {
        let local = request("/", &[("x-sentry-auth", &header("local"))]);
        assert_eq!(credentials(&local, 7, true).unwrap_err().status, 400);
        assert_eq!(credentials(&local, 7, false).unwrap().unwrap().key(), "local");
    }

    #[test]
    fn a_dsn_shows_project_and_key() {
        let sender = sender_of_dsn(&format!("http://{KEY}@localhost:8969/7")).unwrap();
        assert_eq!((sender.project, sender.key()), (7, KEY));
        assert_eq!(sender_of_dsn("nonsense"), None);
    }
}
