//! Sentry's dynamic sampling context, as it travels in `baggage` under keys that start with `sentry-`.

use super::{Baggage, TraceId};
use crate::wire::percent::PercentText;

/// Prefix of Sentry's keys.
const PREFIX: &str = "sentry-";

/// What the head of a trace says about it, for sampling decisions further down and on the server.
///
/// Borrowed from the `baggage` lines. It is frozen: pass it on and put it into an envelope's `trace` header exactly as
/// received, see [`SamplingContext::entries`]. Numbers stay text, as they are never computed with here.
#[derive(Clone, Copy, Debug)]
pub struct SamplingContext<'a> {
    baggage: Baggage<'a>,
}

impl<'a> SamplingContext<'a> {
    /// The context in `baggage`; `None` when it holds no Sentry key, so that there is none to continue.
    #[must_use]
    pub fn of(baggage: Baggage<'a>) -> Option<Self> {
        let context = Self { baggage };
        context.entries().next().is_some().then_some(context)
    }

    /// Every entry, known or not, in order: the key without `sentry-`, and the value.
    pub fn entries(self) -> impl Iterator<Item = (&'a str, PercentText<'a>)> + Clone {
        self.baggage
            .members()
            .filter_map(|member| Some((member.key.strip_prefix(PREFIX)?, member.value)))
    }

    /// The value of `name` (without `sentry-`). When it occurs several times, the last counts, as in the SDKs.
    ///
    /// Cost: one pass over the baggage, as for each of the following.
    #[must_use]
    pub fn get(self, name: &str) -> Option<PercentText<'a>> {
        self.entries()
            .filter(|(key, _)| *key == name)
            .last()
            .map(|(_, value)| value)
    }

    /// `trace_id`; must equal that of `sentry-trace`.
    #[must_use]
    pub fn trace_id(self) -> Option<TraceId> {
        TraceId::parse(self.get("trace_id")?.as_plain()?.as_bytes())
    }

    /// `public_key` of the head's DSN.
    #[must_use]
    pub fn public_key(self) -> Option<PercentText<'a>> {
        self.get("public_key")
    }

    /// `sample_rate`: a decimal number from 0 to 1.
    #[must_use]
    pub fn sample_rate(self) -> Option<PercentText<'a>> {
        self.get("sample_rate")
    }

    /// `sample_rand`: the head's random number, at least 0 and under 1.
    #[must_use]
    pub fn sample_rand(self) -> Option<PercentText<'a>> {
        self.get("sample_rand")
    }

    /// `sampled`: the head's decision; `None` when it left it to others or said neither `true` nor `false`.
    #[must_use]
    pub fn sampled(self) -> Option<bool> {
        match self.get("sampled")?.as_plain()? {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// `release` of the head.
    #[must_use]
    pub fn release(self) -> Option<PercentText<'a>> {
        self.get("release")
    }

    /// `environment` of the head.
    #[must_use]
    pub fn environment(self) -> Option<PercentText<'a>> {
        self.get("environment")
    }

    /// `transaction`: name of the head's transaction.
    #[must_use]
    pub fn transaction(self) -> Option<PercentText<'a>> {
        self.get("transaction")
    }

    /// `org_id`: the head's organization. A trace of another organization is not continued.
    #[must_use]
    pub fn org_id(self) -> Option<PercentText<'a>> {
        self.get("org_id")
    }

    /// `replay_id` of the session replay that the trace belongs to.
    #[must_use]
    pub fn replay_id(self) -> Option<PercentText<'a>> {
        self.get("replay_id")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn context<'a>(lines: &'a [&'a [u8]]) -> Option<SamplingContext<'a>> {
        SamplingContext::of(Baggage::parse(lines).unwrap())
    }

    #[test]
    fn every_known_field_is_read() {
        let lines: &[&[u8]] = &[
            b"other=1, sentry-trace_id=771a43a4192642f0b136d5159a501700, sentry-public_key=49d0f7386ad645858ae85020e393bef3",
            b"sentry-sample_rate=0.01337,sentry-sample_rand=0.5,sentry-sampled=true,sentry-release=app%401.0",
            b"sentry-environment=production,sentry-transaction=%2Flogin,sentry-org_id=1,sentry-replay_id=r",
        ];
        let context = context(lines).unwrap();
        assert_eq!(
            context.trace_id().unwrap(),
            TraceId::parse(b"771a43a4192642f0b136d5159a501700").unwrap()
        );
        assert_eq!(context.public_key().unwrap(), "49d0f7386ad645858ae85020e393bef3");
        assert_eq!(context.sample_rate().unwrap(), "0.01337");
        assert_eq!(context.sample_rand().unwrap(), "0.5");
        assert_eq!(context.sampled(), Some(true));
        assert_eq!(context.release().unwrap(), "app@1.0");
        assert_eq!(context.environment().unwrap(), "production");
        assert_eq!(context.transaction().unwrap(), "/login");
        assert_eq!(context.org_id().unwrap(), "1");
        assert_eq!(context.replay_id().unwrap(), "r");
    }

    #[test]
    fn unknown_entries_are_kept_for_the_envelope() {
        let lines: &[&[u8]] = &[b"sentry-user_id=Am%C3%A9lie,x=sentry-y,sentry-trace_id=bad"];
        let context = context(lines).unwrap();
        let entries: Vec<_> = context.entries().collect();
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].0, "user_id");
        assert_eq!(entries[0].1, "Amélie");
        assert_eq!(context.trace_id(), None);
        assert_eq!(context.sampled(), None);
    }

    #[test]
    fn without_a_key_of_sentry_there_is_no_context() {
        assert!(context(&[b"a=b,Sentry-trace_id=1"]).is_none());
        assert!(context(&[]).is_none());
    }

    #[test]
    fn of_repeated_keys_the_last_counts() {
        let lines: &[&[u8]] = &[b"sentry-sampled=true,sentry-sampled=false"];
        assert_eq!(context(lines).unwrap().sampled(), Some(false));
    }
}
