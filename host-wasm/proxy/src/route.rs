//! What arrives at an ingestion service: for whom, and which categories it may hold, as far as headers and path tell.
//!
//! | path | categories |
//! |---|---|
//! | `/api/N/envelope/` | any: it is in the body |
//! | `/api/N/store/` | errors, transactions, anything else an event can be |
//! | `/api/N/minidump/`, `/unreal/KEY/` | errors |
//! | `/api/N/security/` | security reports |
//! | `/api/N/integration/otlp/v1/traces`, `/v1/traces` | spans |
//! | `/api/N/integration/otlp/v1/logs`, `/v1/logs` | logs |
//! | `/v1/metrics` | metrics |
//!
//! A request is refused only when a limit covers everything that it may hold.

use surgetank_core::item::{Category, CategorySet};
use surgetank_core::wire::auth::Places;

use crate::board::subject;

/// What an ingestion request is. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Language {
    /// Sentry's endpoints: refusals are JSON.
    Sentry,
    /// OTLP in protobuf: a refusal is a `google.rpc.Status`.
    OtlpProtobuf,
    /// OTLP in JSON.
    OtlpJson,
}

/// A request for an ingestion service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Whose limits count: project and key, or all of OTLP where there is neither.
    pub subject: u64,
    /// What it may hold.
    pub categories: CategorySet,
    /// How its sender reads.
    pub language: Language,
}

/// Headers that tell for whom a request is.
#[derive(Clone, Copy, Default, Debug)]
pub struct Clues<'a> {
    /// `:method`
    pub method: &'a [u8],
    /// `:path`
    pub path: &'a [u8],
    /// `x-sentry-auth`
    pub x_sentry_auth: Option<&'a [u8]>,
    /// `authorization`
    pub authorization: Option<&'a [u8]>,
    /// `content-type`
    pub content_type: &'a [u8],
}

impl Arrival {
    /// Reads the clues; `None` for what is no ingestion request, or does not say whose it is: that is the service's to
    /// answer. Cost: one pass over the headers named in [`Clues`].
    #[must_use]
    pub fn of(clues: &Clues<'_>) -> Option<Self> {
        if clues.method != b"POST" {
            return None;
        }
        let end = clues.path.iter().position(|byte| *byte == b'?');
        let end = end.unwrap_or(clues.path.len());
        let (path, query) = clues.path.split_at_checked(end)?;
        let query = query.get(1..).unwrap_or_default();
        let mut segments = heapless::Vec::<&[u8], 7>::new();
        for segment in path
            .split(|byte| *byte == b'/')
            .filter(|segment| !segment.is_empty())
        {
            segments.push(segment).ok()?;
        }
        let otlp = if clues.content_type.starts_with(b"application/json") {
            Language::OtlpJson
        } else {
            Language::OtlpProtobuf
        };
        let (project, categories, language, path_key) = match segments.as_slice() {
            [b"api", project, b"envelope"] => (*project, CategorySet::ALL, Language::Sentry, None),
            [b"api", project, b"store"] => (*project, EVENTS, Language::Sentry, None),
            [b"api", project, b"minidump"] => (*project, ERRORS, Language::Sentry, None),
            [b"api", project, b"unreal", key] => (*project, ERRORS, Language::Sentry, Some(*key)),
            [b"api", project, b"security"] => (
                *project,
                CategorySet::of(Category::Security),
                Language::Sentry,
                None,
            ),
            [b"api", project, b"integration", b"otlp", b"v1", signal] => {
                (*project, signal_categories(signal)?, otlp, None)
            }
            [b"v1", signal] => {
                return Some(Self {
                    subject: subject([&b"otlp"[..]]),
                    categories: signal_categories(signal)?,
                    language: otlp,
                });
            }
            _ => return None,
        };
        if !project.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let places = Places {
            x_sentry_auth: clues.x_sentry_auth,
            authorization: clues.authorization,
            query,
            path_key,
        };
        let auth = places.read().ok()?;
        Some(Self {
            subject: subject([project, auth.public_key().as_bytes()]),
            categories,
            language,
        })
    }
}

const ERRORS: CategorySet = CategorySet::of(Category::Error);
const EVENTS: CategorySet = ERRORS.with(Category::Transaction).with(Category::Default);

fn signal_categories(signal: &[u8]) -> Option<CategorySet> {
    Some(CategorySet::of(match signal {
        b"traces" => Category::Span,
        b"logs" => Category::LogItem,
        b"metrics" => Category::TraceMetric,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTH: &[u8] = b"Sentry sentry_key=0123456789abcdef0123456789abcdef, sentry_version=7";

    fn arrival(path: &str) -> Option<Arrival> {
        Arrival::of(&Clues {
            method: b"POST",
            path: path.as_bytes(),
            x_sentry_auth: Some(AUTH),
            ..Clues::default()
        })
    }

    #[test]
    fn paths_tell_what_may_be_in_a_request() {
        for (path, categories, language) in [
            ("/api/42/envelope/", CategorySet::ALL, Language::Sentry),
            ("/api/42/store/", EVENTS, Language::Sentry),
            ("//api/42/minidump", ERRORS, Language::Sentry),
            (
                "/api/42/security/?x=1",
                CategorySet::of(Category::Security),
                Language::Sentry,
            ),
            (
                "/api/42/integration/otlp/v1/logs",
                CategorySet::of(Category::LogItem),
                Language::OtlpProtobuf,
            ),
        ] {
            let found = arrival(path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(
                (found.categories, found.language),
                (categories, language),
                "{path}"
            );
        }
        for path in [
            "/",
            "/api/42/",
            "/api/x/envelope/",
            "/api/0/relays/live/",
            "/v1/profiles",
            "/a/b/c/d/e/f/g/h",
        ] {
            assert_eq!(arrival(path), None, "{path}");
        }
    }

    #[test]
    fn projects_and_keys_are_told_apart_wherever_the_key_stands() {
        let query = "/api/42/envelope/?sentry_key=0123456789abcdef0123456789abcdef&sentry_version=7";
        let by_query = Arrival::of(&Clues {
            method: b"POST",
            path: query.as_bytes(),
            ..Clues::default()
        });
        let by_header = arrival("/api/42/envelope/").unwrap();
        assert_eq!(by_query.unwrap().subject, by_header.subject);
        assert_ne!(arrival("/api/43/envelope/").unwrap().subject, by_header.subject);
        assert_eq!(arrival(query), None, "two keys are the service's to refuse");
    }

    #[test]
    fn what_says_nothing_of_its_sender_goes_through() {
        let without_key = Clues {
            method: b"POST",
            path: b"/api/42/envelope/",
            ..Clues::default()
        };
        assert_eq!(Arrival::of(&without_key), None);
        let preflight = Clues {
            method: b"OPTIONS",
            x_sentry_auth: Some(AUTH),
            ..without_key
        };
        assert_eq!(Arrival::of(&preflight), None);
    }

    #[test]
    fn bare_otlp_has_one_subject_and_two_languages() {
        let of = |content_type: &'static [u8]| {
            Arrival::of(&Clues {
                method: b"POST",
                path: b"/v1/traces",
                content_type,
                ..Clues::default()
            })
            .unwrap()
        };
        let (json, protobuf) = (
            of(b"application/json; charset=utf-8"),
            of(b"application/x-protobuf"),
        );
        assert_eq!(json.subject, protobuf.subject);
        assert_eq!(
            (json.language, protobuf.language),
            (Language::OtlpJson, Language::OtlpProtobuf)
        );
    }
}
