//! An envelope at the door: what it holds, whose it is, and whether a server would take it.

use super::size_limits::Sizes;
use super::{Sender, hex, new_event_id, sender_of_dsn};
use surgetank_core::wire::envelope::{EnvelopeError, EnvelopeSummary, describe, items};

/// Why an envelope is not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum BadEnvelope {
    /// It is none.
    Malformed(EnvelopeError),
    /// Its header names another project or key than the request.
    Mismatch(&'static str),
    /// Its header's DSN is none.
    BadDsn,
    /// Items of this type are more or larger than Sentry takes.
    TooLarge(String),
}

/// What is known about an envelope.
#[derive(Debug)]
pub(crate) struct Inspected {
    pub(crate) summary: EnvelopeSummary,
    /// Whose it says it is.
    pub(crate) dsn: Option<Sender>,
    /// Its event id in 32 hexadecimal digits.
    pub(crate) event_id: Option<String>,
    /// True when an item needs an event id and there is none.
    pub(crate) lacks_event_id: bool,
}

/// Reads `envelope` and checks it as Relay does before it takes one.
///
/// # Errors
/// [`BadEnvelope`], without the comparison with the request's own key: see [`Inspected::check_sender`].
pub(crate) fn inspect(envelope: &[u8]) -> Result<Inspected, BadEnvelope> {
    let summary = describe(envelope).map_err(BadEnvelope::Malformed)?;
    let (header, all) = items(envelope).map_err(BadEnvelope::Malformed)?;
    let mut sizes = Sizes::default();
    let mut needs_event_id = false;
    for item in all {
        let item = item.map_err(BadEnvelope::Malformed)?;
        needs_event_id |= item.header.requires_event();
        if !sizes.admit(&item) {
            let name = item.header.type_name.of(envelope).unwrap_or_default();
            return Err(BadEnvelope::TooLarge(text_of(name).unwrap_or_default()));
        }
    }
    let dsn = match header.dsn.and_then(|extent| extent.of(envelope)) {
        Some(dsn) => {
            let sender = text_of(dsn).and_then(|dsn| sender_of_dsn(&dsn));
            Some(sender.ok_or(BadEnvelope::BadDsn)?)
        }
        None => None,
    };
    let event_id = header.event_id.as_ref().map(hex);
    Ok(Inspected {
        summary,
        dsn,
        lacks_event_id: needs_event_id && event_id.is_none(),
        event_id,
    })
}

impl Inspected {
    /// Compares the envelope's own DSN, if it has one, with what the request shows.
    ///
    /// # Errors
    /// [`BadEnvelope::Mismatch`] with what is different.
    pub(crate) fn check_sender(&self, project: u64, key: Option<&str>) -> Result<(), BadEnvelope> {
        let Some(dsn) = &self.dsn else { return Ok(()) };
        if dsn.project != project {
            return Err(BadEnvelope::Mismatch("project id"));
        }
        if key.is_some_and(|key| key != dsn.key()) {
            return Err(BadEnvelope::Mismatch("public key"));
        }
        Ok(())
    }
}

/// The text of a JSON string.
fn text_of(json: &[u8]) -> Option<String> {
    serde_json::from_slice(json).ok()
}

/// The envelope with an event id put into its header, and that id. `None` when there is no room for one.
pub(crate) fn with_event_id(envelope: &[u8]) -> Option<(Vec<u8>, String)> {
    let (header, _) = items(envelope).ok()?;
    let line = header.line.of(envelope)?;
    let start = usize::try_from(header.line.start).ok()?;
    let end = usize::try_from(header.line.end).ok()?;
    let event_id = new_event_id();
    let mut out = Vec::with_capacity(envelope.len() + 64);
    out.extend_from_slice(envelope.get(..start)?);
    // An `event_id` of null would stand there twice.
    let members: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(line).ok()?;
    if members.contains_key("event_id") {
        let mut members = members;
        members.insert("event_id".to_owned(), event_id.clone().into());
        out.extend_from_slice(&serde_json::to_vec(&members).ok()?);
    } else {
        out.extend_from_slice(format!("{{\"event_id\":\"{event_id}\"").as_bytes());
        out.extend_from_slice(if header.is_empty { b"" } else { b"," });
        out.extend_from_slice(line.get(1..)?);
    }
    out.extend_from_slice(envelope.get(end..)?);
    Some((out, event_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use surgetank_core::item::Category;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn an_envelope_says_what_it_holds() {
        let envelope = b"{\"event_id\":\"12345678-90AB-cdef-1234-567890abcdef\"}\n{\"type\":\"event\"}\n{}\n";
        let inspected = inspect(envelope).unwrap();
        assert_eq!(
            inspected.event_id.as_deref(),
            Some("1234567890abcdef1234567890abcdef")
        );
        assert!(!inspected.lacks_event_id);
        assert_eq!(inspected.summary.total(Category::Error), 1);
        let session = inspect(b"{}\n{\"type\":\"session\"}\n{}").unwrap();
        assert!(session.event_id.is_none() && !session.lacks_event_id);
    }

    #[test]
    fn a_missing_event_id_is_put_in_and_nothing_else_changes() {
        for (before, after) in [
            ("{}", "}"),
            ("{\"a\":1}", ",\"a\":1}"),
            ("{ \"a\":1}", ", \"a\":1}"),
        ] {
            let rest = "\n{\"type\":\"event\",\"length\":2}\n{}\n";
            let envelope = format!("{before}{rest}");
            assert!(inspect(envelope.as_bytes()).unwrap().lacks_event_id);
            let (changed, id) = with_event_id(envelope.as_bytes()).unwrap();
            let expected = format!("{{\"event_id\":\"{id}\"{after}{rest}");
            assert_eq!(String::from_utf8(changed.clone()).unwrap(), expected);
            assert_eq!(inspect(&changed).unwrap().event_id, Some(id.clone()));
            assert_eq!((id.len(), &id[12..13]), (32, "4"));
        }
        let (changed, id) = with_event_id(b"{\"event_id\":null}\n{\"type\":\"event\"}\n{}").unwrap();
        assert!(changed.starts_with(format!("{{\"event_id\":\"{id}\"}}\n").as_bytes()));
    }

    #[test]
    fn its_own_dsn_must_agree_with_the_request() {
        let envelope = format!("{{\"dsn\":\"http:\\/\\/{KEY}@h/7\"}}\n{{\"type\":\"session\"}}\n{{}}");
        let inspected = inspect(envelope.as_bytes()).unwrap();
        assert_eq!(inspected.check_sender(7, Some(KEY)), Ok(()));
        assert_eq!(inspected.check_sender(7, None), Ok(()));
        assert_eq!(
            inspected.check_sender(8, Some(KEY)),
            Err(BadEnvelope::Mismatch("project id"))
        );
        assert_eq!(
            inspected.check_sender(7, Some("other")),
            Err(BadEnvelope::Mismatch("public key"))
        );
        let none = inspect(b"{\"dsn\":\"nonsense\"}\n{\"type\":\"session\"}\n{}");
        assert_eq!(none.unwrap_err(), BadEnvelope::BadDsn);
    }

    #[test]
    fn one_offending_item_is_named() {
        let large = format!("{{}}\n{{\"type\":\"event\"}}\n{}", "x".repeat(1024 * 1024 + 1));
        assert_eq!(
            inspect(large.as_bytes()).unwrap_err(),
            BadEnvelope::TooLarge("event".to_owned())
        );
    }
}
