//! What this program says about the sampling of traces that begin in it.

use ::opentelemetry::trace::TraceState;
use surgetank_core::sampling;
use surgetank_core::wire::otlp::encode::TraceId;
use surgetank_core::wire::otlp::protobuf::Out;
use surgetank_core::wire::trace_context::{OT, Probability};

use crate::json::{Json, name};

/// Numbers of 56 bits.
const SPACE: u64 = 1 << 56;

/// How a trace was kept, as Sentry's dynamic sampling context says it. Rate and random number are known where consistent
/// probability sampling left them in the trace state, as [`Sampler`](super::Sampler) does.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Decision {
    /// Probability, and the number under it that decided, in millionths.
    chance: Option<(f64, u64)>,
}

impl Decision {
    pub(super) fn of(trace_state: &TraceState, trace_id: &TraceId) -> Self {
        let probability = Probability::of(trace_state.get(OT).unwrap_or_default());
        let chance = probability.threshold().map(|threshold| {
            let randomness = probability.randomness();
            let randomness = randomness.unwrap_or_else(|| sampling::randomness(trace_id.key()));
            let rate = (SPACE - threshold.min(SPACE)) as f64 / SPACE as f64;
            // Sentry keeps what is under the rate, consistent sampling what is not under the threshold: counted from the
            // other end. Cut, not rounded, so that it stays under the rate. 76 bits.
            let from_end = u128::from(SPACE - 1 - randomness.min(SPACE - 1));
            (rate, (from_end * 1_000_000 / u128::from(SPACE)) as u64)
        });
        Self { chance }
    }

    /// The rate, and the random number with its six decimals.
    pub(super) fn texts(&self) -> Option<(String, String)> {
        let (rate, random) = self.chance?;
        Some((rate.to_string(), format!("0.{random:06}")))
    }

    /// Writes the members of an envelope's `trace` header, for a trace that was kept.
    pub(super) fn write<O: Out>(&self, json: &mut Json<'_, O>) {
        json.name(name!("sampled"));
        json.plain(b"true");
        if let Some((rate, random)) = self.chance {
            json.name(name!("sample_rate"));
            json.quoted(format_args!("{rate}"));
            json.name(name!("sample_rand"));
            json.quoted(format_args!("0.{random:06}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(state: &str, low: u64) -> Option<(String, String)> {
        let mut bytes = [1; 16];
        bytes[8..].copy_from_slice(&low.to_be_bytes());
        let trace_id = TraceId::new(bytes).unwrap();
        Decision::of(&state.parse().unwrap(), &trace_id).texts()
    }

    #[test]
    fn a_rate_is_known_from_the_trace_state_alone() {
        let texts = |rate: &str, random: &str| Some((rate.to_owned(), random.to_owned()));
        assert_eq!(decided("vendor=x", SPACE - 1), None);
        assert_eq!(decided("ot=th:0", SPACE - 1), texts("1", "0.000000"));
        assert_eq!(decided("ot=th:c", SPACE - 1), texts("0.25", "0.000000"));
        // The smallest randomness that a quarter keeps is just under the rate.
        assert_eq!(decided("ot=th:c", SPACE / 4 * 3), texts("0.25", "0.249999"));
        assert_eq!(decided("ot=th:8;rv:80000000000000", 0), texts("0.5", "0.499999"));
    }
}
