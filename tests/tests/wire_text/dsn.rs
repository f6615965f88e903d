//! DSNs.

use proptest::prelude::*;
use surgetank_core::wire::dsn::{Dsn, Endpoint, Scheme};

use crate::{hostile, written};

fn url(dsn: &Dsn<'_>) -> String {
    written(|out| dsn.write_url(out, Endpoint::Envelope))
}

/// A DSN of the same parts.
fn rebuilt(dsn: &Dsn<'_>) -> String {
    format!(
        "{}://{}:{}@{}:{}{}{}",
        dsn.scheme().as_str(),
        dsn.public_key(),
        dsn.secret_key().unwrap_or_default(),
        dsn.host(),
        dsn.port(),
        dsn.path(),
        dsn.project_id()
    )
}

fn check_read(dsn: &Dsn<'_>) -> Result<(), TestCaseError> {
    let url = url(dsn);
    prop_assert!(url.bytes().all(|byte| byte.is_ascii_graphic()), "{}", url);
    prop_assert!(dsn.path().starts_with('/') && dsn.path().ends_with('/'));
    prop_assert!(dsn.project_id().parse::<u64>().is_ok());
    let word = |key: &str| {
        !key.is_empty()
            && key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    prop_assert!(word(dsn.public_key()) && dsn.secret_key().is_none_or(word));
    prop_assert!(dsn.port() != 0);
    let again = rebuilt(dsn);
    prop_assert_eq!(Dsn::parse(&again), Ok(*dsn));
    Ok(())
}

proptest! {
    #[test]
    fn any_text_is_survived(text in hostile()) {
        if let Ok(dsn) = Dsn::parse(&String::from_utf8_lossy(&text)) {
            check_read(&dsn)?;
        }
    }

    #[test]
    fn what_is_nearly_a_dsn_is_read_whole_or_not_at_all(
        text in r"(https?|HTTP|ftp)://[a-z]{0,2}:?[a-z ]{0,2}@(\[(::1|1:2)\]?|[a-z.]{0,4})(:[0-9]{0,5})?(/[a-z/.%]{0,6})?/[0-9a]{0,3}[/?#]?[a-z/@]{0,3}"
    ) {
        if let Ok(dsn) = Dsn::parse(&text) {
            check_read(&dsn)?;
        }
    }

    #[test]
    fn every_part_is_found_again(
        https in any::<bool>(),
        public_key in "[0-9a-f]{32}",
        secret_key in prop::option::of("[A-Za-z0-9_]{1,16}"),
        host in r"[a-z0-9-]{1,8}(\.[a-z0-9_-]{1,8}){0,3}|\[::[0-9a-f]{1,4}\]",
        port in prop::option::of(1_u16..),
        path in "(/[A-Za-z0-9._~%-]{1,5}){0,3}",
        project in any::<u64>(),
    ) {
        let scheme = if https { Scheme::Https } else { Scheme::Http };
        let text = format!(
            "{}://{public_key}{}@{host}{}{path}/{project}",
            scheme.as_str(),
            secret_key.as_deref().map(|key| format!(":{key}")).unwrap_or_default(),
            port.map(|port| format!(":{port}")).unwrap_or_default(),
        );
        let dsn = Dsn::parse(&text).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        prop_assert_eq!(dsn.scheme(), scheme);
        prop_assert_eq!(dsn.public_key(), public_key);
        prop_assert_eq!(dsn.secret_key(), secret_key.as_deref());
        prop_assert_eq!(dsn.host().as_written(), host);
        prop_assert_eq!(dsn.port(), port.unwrap_or(scheme.default_port()));
        prop_assert_eq!(dsn.path(), format!("{path}/"));
        prop_assert_eq!(dsn.project_id(), project.to_string());
        check_read(&dsn)?;
    }

    #[test]
    fn bracketed_hosts_are_the_addresses_that_the_standard_library_knows(
        address in prop_oneof![
            "[0-9a-f:.]{0,12}",
            "([0-9a-fA-F]{0,5}:){0,9}[0-9a-f]{0,4}",
            r"([0-9a-f]{1,2}:){0,4}:?([0-9a-f]{1,2}:){0,4}[0-9]{1,3}(\.[0-9]{1,3}){3}",
            any::<std::net::Ipv6Addr>().prop_map(|address| address.to_string()),
        ],
    ) {
        let known = address.parse::<std::net::Ipv6Addr>().is_ok();
        prop_assert_eq!(Dsn::parse(&format!("https://k@[{address}]/1")).is_ok(), known, "{}", address);
    }

    #[test]
    fn ingest_hosts_name_their_organization(org in any::<u64>(), region in prop::option::of("[a-z]{1,8}")) {
        let region = region.map(|region| format!("{region}.")).unwrap_or_default();
        let text = format!("https://k@o{org}.ingest.{region}sentry.io/1");
        let dsn = Dsn::parse(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let org = org.to_string();
        prop_assert_eq!(dsn.org_id(), Some(org.as_str()));
    }
}
