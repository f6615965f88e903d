//! Traces that begin here are thinned when the client is under pressure, and carry with which probability they were kept.

use core::fmt;

use ::opentelemetry::trace::{Link, SpanKind, TraceContextExt as _, TraceId, TraceState};
use ::opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};
use surgetank_core::sampling;
use surgetank_core::wire::otlp::encode;
use surgetank_core::wire::trace_context::{OT, Probability};

use super::incoming::Incoming;
use crate::client::Client;

/// Decides which traces are kept: by the client's sample rate, and by its downsample factor of the moment.
///
/// - A span with a parent follows its parent. A caller that left the decision open (a `sentry-trace` without one, read by
///   [`Propagator`](super::Propagator)) makes a root of it.
/// - A root is kept by the client's rate ([`traces_sample_rate`](crate::ClientBuilder::traces_sample_rate),
///   `OTEL_TRACES_SAMPLER_ARG`), or by the sampler of [`Sampler::with_root`]; and of those kept, one in 2^factor is.
/// - The decision follows from the trace id (or an explicit `rv`), so every program with the same rate and factor decides
///   alike.
/// - What a probability under 1 keeps says so in its trace state, `ot=th:...` (OpenTelemetry, "TraceState: Probability
///   Sampling"), so that a backend can extrapolate. A probability of 1 leaves the trace state as it was.
/// - What is dropped is counted as `sample_rate` or `backpressure` in [`Client::status`]: one span per root, and where
///   traces go to Sentry alone, one transaction with it.
///
/// Without it, downsampling does not reach spans of the SDK: the processor records all that were sampled. A client without
/// a destination for traces thins nothing.
#[derive(Clone)]
pub struct Sampler {
    client: Client,
    root: Option<Box<dyn ShouldSample>>,
}

impl Sampler {
    /// A sampler by the rate and the factor of `client`.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        Self {
            client: client.clone(),
            root: None,
        }
    }

    /// Asks `root` first, instead of applying the client's rate. What it drops is not counted here.
    ///
    /// If it keeps a share by chance, it has to say so by `th` in the trace state it returns; the factor then multiplies.
    /// Without `th` it is taken to keep everything of its kind, as a rule by name does. The SDK's `TraceIdRatioBased` says
    /// nothing and decides by other bits of the trace id than consistent sampling: use the client's rate in its place.
    #[must_use]
    pub fn with_root(mut self, root: impl ShouldSample + 'static) -> Self {
        self.root = Some(Box::new(root));
        self
    }

    fn thin(&self, trace_id: TraceId, mut result: SamplingResult) -> SamplingResult {
        let wire_id = encode::TraceId::new(trace_id.to_bytes());
        let Some((header, wire_id)) = wire_id.and_then(|id| Some((self.client.root_header(&id)?, id))) else {
            return result;
        };
        let probability = Probability::of(result.trace_state.get(OT).unwrap_or_default());
        let randomness = probability
            .randomness()
            .unwrap_or_else(|| sampling::randomness(wire_id.key()));
        let before = probability.threshold().unwrap_or(0);
        let rate = if self.root.is_some() {
            before
        } else {
            self.client.root_rate()
        };
        match self.client.thinned_root(&header, randomness, rate) {
            Err(_) => {
                result.decision = SamplingDecision::Drop;
                result.attributes = Vec::new();
            }
            Ok(threshold) if threshold != before => {
                let value = probability.with_threshold(threshold).to_string();
                // Both are made of characters that a trace state may have.
                if let Ok(trace_state) = result.trace_state.insert(OT, value) {
                    result.trace_state = trace_state;
                }
            }
            Ok(_) => {}
        }
        result
    }
}

impl fmt::Debug for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sampler")
            .field("client", &self.client)
            .field("root", &self.root)
            .finish()
    }
}

impl ShouldSample for Sampler {
    fn should_sample(
        &self,
        parent_context: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        span_kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let of_parent = parent_context.and_then(|context| {
            let span = context.span();
            let parent = span.span_context();
            let undecided = parent.is_remote()
                && context
                    .get::<Incoming>()
                    .is_some_and(|incoming| incoming.deferred && incoming.is_of(trace_id));
            parent.is_valid().then(|| {
                let result = SamplingResult {
                    decision: if parent.is_sampled() || undecided {
                        SamplingDecision::RecordAndSample
                    } else {
                        SamplingDecision::Drop
                    },
                    attributes: Vec::new(),
                    trace_state: parent.trace_state().clone(),
                };
                (result, undecided)
            })
        });
        match of_parent {
            Some((result, true)) if self.root.is_none() => return self.thin(trace_id, result),
            Some((result, false)) => return result,
            _ => {}
        }
        let result = match &self.root {
            Some(root) => root.should_sample(parent_context, trace_id, name, span_kind, attributes, links),
            None => SamplingResult {
                decision: SamplingDecision::RecordAndSample,
                attributes: Vec::new(),
                trace_state: TraceState::NONE,
            },
        };
        match result.decision {
            SamplingDecision::RecordAndSample => self.thin(trace_id, result),
            SamplingDecision::Drop | SamplingDecision::RecordOnly => result,
        }
    }
}
