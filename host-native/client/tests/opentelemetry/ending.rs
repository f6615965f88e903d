//! Flushing, shutting down, and what is refused.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::logs::{LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, TraceFlags, TraceId, TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, SpanData, SpanProcessor as _};
use surgetank::opentelemetry::{LogProcessor, SpanProcessor};
use surgetank::{Category, DropReason};

use crate::decoded::spans;
use crate::sdk_span::ended;
use crate::support::{self, Reply, Server};
use crate::{PATIENT, builder};

const SHORT: Duration = Duration::from_millis(300);

/// What a loaded machine may add to a time-out.
const SLACK: Duration = Duration::from_secs(10);

fn span(flags: TraceFlags) -> SpanData {
    ended(2, SpanId::INVALID, flags)
}

#[test]
fn a_stalled_server_holds_up_neither_flush_nor_shutdown() {
    let server = Server::start(|_, _| Reply::Stall);
    let client = builder(&server).build().expect("a client");
    let provider = SdkTracerProvider::builder()
        .with_span_processor(SpanProcessor::new(&client).with_flush_timeout(SHORT))
        .build();
    let logs = SdkLoggerProvider::builder()
        .with_log_processor(LogProcessor::new(&client).with_flush_timeout(SHORT))
        .build();
    provider.tracer("t").start("span").end();
    let logger = logs.logger("l");
    logger.emit(logger.create_log_record());
    let begun = support::now();
    let flushed = [provider.force_flush(), logs.force_flush()];
    let ended = [
        provider.shutdown_with_timeout(SHORT),
        logs.shutdown_with_timeout(SHORT),
    ];
    assert!(begun.elapsed() < 4 * SHORT + SLACK, "{:?}", begun.elapsed());
    for result in flushed.into_iter().chain(ended) {
        // The provider makes one error out of those of its processors.
        assert!(
            matches!(&result, Err(OTelSdkError::InternalFailure(why)) if why.contains("Timeout")),
            "{result:?}"
        );
    }
    let _ = client.close(Duration::ZERO);
    // The thread may take its time to count what it dropped; this waits for it.
    let _ = client.flush(PATIENT);
    let totals = client.status().totals;
    assert_eq!(totals.of(Category::Span).queued(), 0);
    assert_eq!(totals.of(Category::Span).dropped, 1);
    assert_eq!(totals.of(Category::LogItem).dropped, 1);
}

#[test]
fn a_server_that_refuses_is_no_reason_for_a_flush_to_fail_once_the_loss_is_counted() {
    let server = Server::start(|_, _| Reply::status(400));
    let client = builder(&server).build().expect("a client");
    let processor = SpanProcessor::new(&client).with_flush_timeout(PATIENT);
    processor.on_end(span(TraceFlags::SAMPLED));
    assert!(processor.force_flush().is_ok());
    assert_eq!(client.status().totals.of(Category::Span).dropped, 1);
}

#[test]
fn after_shutdown_nothing_is_recorded_and_the_client_goes_on() {
    let server = Server::start(|_, _| Reply::ok());
    let client = builder(&server).build().expect("a client");
    let processor = SpanProcessor::new(&client);
    processor.on_end(span(TraceFlags::SAMPLED));
    assert!(processor.shutdown_with_timeout(PATIENT).is_ok());
    assert_eq!(server.requests().len(), 1, "a shutdown delivers");
    assert!(matches!(processor.shutdown(), Err(OTelSdkError::AlreadyShutdown)));
    assert!(matches!(
        processor.force_flush(),
        Err(OTelSdkError::AlreadyShutdown)
    ));
    processor.on_end(span(TraceFlags::SAMPLED));
    let other = SpanProcessor::new(&client);
    other.on_end(span(TraceFlags::SAMPLED));
    assert!(client.close(PATIENT).complete);
    let totals = client.status().totals;
    let sums = totals.of(Category::Span);
    assert_eq!((sums.recorded, sums.delivered), (3, 2));
    assert_eq!(totals.dropped(Category::Span, DropReason::Closed), 1);
}

#[test]
fn the_last_handle_of_a_provider_delivers_what_it_recorded() {
    let server = Server::start(|_, _| Reply::ok());
    let client = builder(&server).build().expect("a client");
    let provider = SdkTracerProvider::builder()
        .with_span_processor(SpanProcessor::new(&client))
        .build();
    provider.tracer("t").start("span").end();
    drop(provider);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn spans_that_are_not_sampled_are_passed_over_and_ones_without_an_id_are_counted() {
    let server = Server::start(|_, _| Reply::ok());
    let client = builder(&server).build().expect("a client");
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::AlwaysOff)
        .with_span_processor(SpanProcessor::new(&client))
        .build();
    provider.tracer("t").start("not sampled").end();
    let processor = SpanProcessor::new(&client);
    processor.on_end(span(TraceFlags::NOT_SAMPLED));
    processor.on_end(SpanData {
        span_context: SpanContext::new(
            TraceId::INVALID,
            SpanId::from(2),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        ),
        ..span(TraceFlags::SAMPLED)
    });
    assert!(client.close(PATIENT).complete);
    let totals = client.status().totals;
    assert_eq!(totals.of(Category::Span).recorded, 1);
    assert_eq!(totals.dropped(Category::Span, DropReason::Invalid), 1);
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn what_is_recorded_on_the_delivery_thread_is_refused_and_counted_and_waits_for_nothing() {
    struct Inside {
        tracer: SdkTracer,
        spans: SdkTracerProvider,
        logs: SdkLoggerProvider,
    }
    let server = Server::start(|_, _| Reply::status(400));
    let inside: Arc<OnceLock<Inside>> = Arc::default();
    let flushed: Arc<OnceLock<String>> = Arc::default();
    let (found, told) = (Arc::clone(&inside), Arc::clone(&flushed));
    let client = builder(&server)
        .on_diagnostic(move |_| {
            let Some(Inside { tracer, spans, logs }) = found.get() else {
                return;
            };
            tracer.start("inside").end();
            let logger = logs.logger("never seen before");
            let mut record = logger.create_log_record();
            record.set_target("inside");
            logger.emit(record);
            told.get_or_init(|| format!("{:?}", spans.force_flush()));
        })
        .build()
        .expect("a client");
    let spans_of = SdkTracerProvider::builder()
        .with_span_processor(SpanProcessor::new(&client).with_flush_timeout(PATIENT))
        .build();
    let logs = SdkLoggerProvider::builder()
        .with_log_processor(LogProcessor::new(&client))
        .build();
    let tracer = spans_of.tracer("t");
    let spans_inside = spans_of.clone();
    let _ = inside.set(Inside {
        tracer: tracer.clone(),
        spans: spans_inside,
        logs,
    });
    tracer.start("outside").end();
    assert!(spans_of.force_flush().is_ok());
    let _ = client.close(PATIENT);
    let totals = client.status().totals;
    assert!(totals.dropped(Category::Span, DropReason::Reentrant) >= 1);
    assert!(totals.dropped(Category::LogItem, DropReason::Reentrant) >= 1);
    let flushed = flushed.get().expect("the callback ran");
    assert!(flushed.contains("delivery thread"), "{flushed}");
    let requests = server.requests();
    let arrived = spans(requests.iter().map(|request| request.body.as_slice()));
    assert!(arrived.iter().all(|whole| whole.record.name == "outside"));
}
