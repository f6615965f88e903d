//! A fork in the middle of a record and of a transaction, and a panic there, which the public interface cannot hold still.

#[path = "../../tests/support/mod.rs"]
pub(crate) mod support;

use std::sync::Barrier;

use surgetank_core::wire::otlp::protobuf::Out;

use super::*;
use crate::delivery::fork::tests::in_child;
use support::{Reply, Server};

const PATIENT: Duration = Duration::from_secs(60);

/// A record of which one half is written when the test goes on, and the other when it says so.
struct Slow<'a> {
    half_way: &'a Barrier,
    go_on: &'a Barrier,
}

impl Encode for Slow<'_> {
    fn encode<O: Out>(&self, out: &mut O) {
        // More than is collected before it goes into the slot.
        out.raw(&[b' '; 2000]);
        self.half_way.wait();
        self.go_on.wait();
        out.raw(&[b' '; 2000]);
    }

    fn encoded_len(&self) -> usize {
        4000
    }
}

#[test]
fn a_fork_in_the_middle_of_a_record_hurts_neither_side() {
    let server = Server::start(|_, _| Reply::ok());
    let client = Client::builder()
        .otlp_endpoint(&server.url(""))
        .environment_proxies(false)
        .build()
        .unwrap();
    let header = Header::new(DestinationId::new(0, 0), Form::OtlpRecord, Category::LogItem, 1);
    assert!(client.start());
    let (half_way, go_on) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let slow = Slow {
                half_way: &half_way,
                go_on: &go_on,
            };
            let process = client.inner.process().unwrap();
            assert_eq!(process.delivery.record_long(&header, &slow), Outcome::Queued);
        });
        half_way.wait();
        let child = in_child(|| {
            let queued = client.record_bytes(&header, b"") == Outcome::Queued;
            let closed = client.close(PATIENT);
            let sums = closed.sums.of(Category::LogItem);
            let clean = (sums.recorded, sums.delivered) == (1, 1) && closed.intake_bytes == 0;
            queued && closed.complete && clean
        });
        assert!(child, "the child's own record and nothing else");
        go_on.wait();
    });
    let closed = client.close(PATIENT);
    assert!(closed.complete);
    let sums = closed.sums.of(Category::LogItem);
    assert_eq!((sums.recorded, sums.delivered), (1, 1));
    assert_eq!(server.requests().len(), 2);
}

/// Spans of the OpenTelemetry SDK, which the delivery thread puts together.
#[cfg(feature = "opentelemetry")]
mod assembling {
    use std::sync::Arc;

    use ::opentelemetry::Context;
    use ::opentelemetry::trace::{Span as _, TraceContextExt as _, Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::*;
    use crate::delivery::assembly::interruption;
    use crate::opentelemetry::SpanProcessor;

    fn scene() -> (Server, Client, SdkTracerProvider) {
        let server = Server::start(|_, _| Reply::ok());
        let client = Client::builder()
            .sentry_dsn(&server.dsn())
            .environment_proxies(false)
            .build()
            .unwrap();
        assert!(client.start());
        let provider = SdkTracerProvider::builder()
            .with_span_processor(SpanProcessor::new(&client))
            .build();
        (server, client, provider)
    }

    /// A root that has not ended, and a span below it that has.
    fn begin(provider: &SdkTracerProvider) -> Context {
        let tracer = provider.tracer("t");
        let root = tracer.start_with_context("root", &Context::new());
        let context = Context::new().with_span(root);
        tracer.start_with_context("child", &context).end();
        context
    }

    fn end(root: &Context) {
        root.span().end();
    }

    fn trace_id(root: &Context) -> TraceId {
        TraceId::new(root.span().span_context().trace_id().to_bytes()).unwrap()
    }

    /// Transactions and spans: recorded, delivered and dropped.
    fn sums(client: &Client) -> [(u64, u64, u64); 2] {
        let totals = client.status().totals;
        [Category::Transaction, Category::Span].map(|category| {
            let sums = totals.of(category);
            (sums.recorded, sums.delivered, sums.dropped)
        })
    }

    #[test]
    fn a_fork_while_a_transaction_is_put_together_hurts_neither_side() {
        let (server, client, provider) = scene();
        let (half_way, go_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let root = begin(&provider);
        let (tell, wait) = (Arc::clone(&half_way), Arc::clone(&go_on));
        interruption::plan(trace_id(&root), move || {
            tell.wait();
            wait.wait();
        });
        end(&root);
        half_way.wait();
        // What waits for its root is the parent's as well.
        let later = begin(&provider);
        let child = in_child(|| {
            end(&begin(&provider));
            client.close(PATIENT).complete && sums(&client) == [(1, 1, 0), (2, 2, 0)]
        });
        go_on.wait();
        assert!(child, "the child's own transaction and nothing else");
        end(&later);
        assert!(client.close(PATIENT).complete);
        assert_eq!(sums(&client), [(2, 2, 0), (4, 4, 0)]);
        assert_eq!(server.requests().len(), 3);
    }

    #[test]
    fn a_panic_while_a_transaction_is_put_together_costs_what_waited_and_is_counted() {
        let (server, client, provider) = scene();
        let (lost, waits) = (begin(&provider), begin(&provider));
        interruption::plan(trace_id(&lost), || panic!("asked to panic"));
        end(&lost);
        assert!(client.flush(PATIENT).complete);
        assert_eq!(client.status().worker.restarts, 1);
        // The one that was half made, and the span that waited for another.
        assert_eq!(sums(&client), [(1, 0, 1), (3, 0, 3)]);
        end(&waits);
        end(&begin(&provider));
        assert!(client.close(PATIENT).complete);
        assert_eq!(sums(&client), [(3, 2, 1), (6, 3, 3)]);
        let totals = client.status().totals;
        for (category, lost) in [(Category::Transaction, 1), (Category::Span, 3)] {
            assert_eq!(totals.dropped(category, DropReason::InternalSdkError), lost);
        }
        assert!(!server.requests().is_empty());
    }
}
