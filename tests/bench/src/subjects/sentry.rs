//! The `sentry` crate with its own transport, with surgetank's, and with two that help to weigh a decision.

use std::hint::black_box;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use sentry::{ClientInitGuard, ClientOptions, Envelope, Transport, TransportFactory, TransportOptions};

use super::own::lost;
use super::{Setting, Subject};

type Ours = Option<surgetank::sentry::SentryTransport>;

/// The SDK, sending by `W`, recording `I`.
pub struct Sdk<W, I> {
    guard: ClientInitGuard,
    ours: Ours,
    what: PhantomData<fn() -> (W, I)>,
}

/// How it sends.
pub trait Way: 'static {
    /// Sets the transport, if it is not the SDK's own; gives surgetank's, if that is it.
    fn set(options: ClientOptions, setting: &Setting) -> (ClientOptions, Ours);
}

/// What it records.
pub trait Item: 'static {
    fn record();
    /// As [`Subject::make`].
    fn make() {}
}

impl<W: Way, I: Item> Subject for Sdk<W, I> {
    fn start(setting: &Setting) -> Self {
        // The HTTP library is built without a provider of its own, because surgetank brings one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = ClientOptions::new()
            .dsn(&setting.dsn())
            .release("bench@1.0.0")
            .traces_sample_rate(1.0);
        let (options, ours) = W::set(options, setting);
        Self {
            guard: sentry::init(options),
            ours,
            what: PhantomData,
        }
    }

    #[inline]
    fn record(&self) {
        I::record();
    }

    #[inline]
    fn make(&self) {
        I::make();
    }

    fn flush(&self, within: Duration) {
        self.guard.flush(Some(within));
    }

    fn lost(&self) -> Option<u64> {
        Some(lost(&self.ours.as_ref()?.client()?))
    }
}

/// As it comes: HTTP on a thread of its own.
pub struct Stock;

impl Way for Stock {
    fn set(options: ClientOptions, _: &Setting) -> (ClientOptions, Ours) {
        (options, None)
    }
}

/// surgetank's transport.
pub struct DropIn;

impl Way for DropIn {
    fn set(options: ClientOptions, setting: &Setting) -> (ClientOptions, Ours) {
        let transport = surgetank::sentry::SentryTransport::new(setting.builder());
        (options.transport(transport.clone()), Some(transport))
    }
}

/// A transport that drops everything: what the SDK costs by itself.
pub struct Nothing;

impl Way for Nothing {
    fn set(options: ClientOptions, _: &Setting) -> (ClientOptions, Ours) {
        (
            options.transport(|_: &ClientOptions| -> Arc<dyn Transport> { Arc::new(Drops) }),
            None,
        )
    }
}

struct Drops;

impl Transport for Drops {
    fn send_envelope(&self, envelope: Envelope) {
        drop(black_box(envelope));
    }
}

/// surgetank's transport behind a channel: the caller hands the envelope over, a thread of its own serializes it. The
/// other way to build the drop-in, measured to choose between the two.
pub struct HandOver;

/// Envelopes in the channel, as many as the SDK's own transport holds.
const HANDED_OVER: usize = 30;

impl Way for HandOver {
    fn set(options: ClientOptions, setting: &Setting) -> (ClientOptions, Ours) {
        let transport = surgetank::sentry::SentryTransport::new(setting.builder());
        // What the channel refuses is in no account.
        (options.transport(HandsOver(transport)), None)
    }
}

struct HandsOver(surgetank::sentry::SentryTransport);

impl TransportFactory for HandsOver {
    fn create_transport_with_options(&self, options: TransportOptions) -> Arc<dyn Transport> {
        let inner = self.0.create_transport_with_options(options);
        let (sender, receiver) = sync_channel(HANDED_OVER);
        let serializing = Arc::clone(&inner);
        std::thread::spawn(move || serialize(&receiver, serializing.as_ref()));
        Arc::new(Handing { sender, inner })
    }
}

enum Handed {
    Envelope(Envelope),
    /// Everything before this is to be serialized; then it is answered.
    Flush(SyncSender<()>),
}

struct Handing {
    sender: SyncSender<Handed>,
    inner: Arc<dyn Transport>,
}

fn serialize(receiver: &Receiver<Handed>, inner: &dyn Transport) {
    for handed in receiver {
        match handed {
            Handed::Envelope(envelope) => inner.send_envelope(envelope),
            Handed::Flush(done) => drop(done.send(())),
        }
    }
}

impl Transport for Handing {
    fn send_envelope(&self, envelope: Envelope) {
        let _ = self.sender.try_send(Handed::Envelope(envelope));
    }

    fn flush(&self, timeout: Duration) -> bool {
        let (done, serialized) = sync_channel(1);
        let _ = self.sender.send(Handed::Flush(done));
        let _ = serialized.recv();
        self.inner.flush(timeout)
    }
}

/// An error event.
pub struct Event;

impl Item for Event {
    #[inline]
    fn record() {
        black_box(sentry::capture_event(event()));
    }

    #[inline]
    fn make() {
        black_box(&event());
    }
}

#[inline]
fn event() -> sentry::protocol::Event<'static> {
    let mut event = sentry::protocol::Event {
        message: Some("the disk is full".into()),
        ..Default::default()
    };
    event.tags.insert("disk".into(), "sda1".into());
    event
}

/// A log.
pub struct Log;

impl Item for Log {
    #[inline]
    fn record() {
        sentry::logger_info!(
            http.request.method = "GET",
            http.route = "/api/items/{id}",
            http.response.status_code = 200,
            server.address = "shop.example.com",
            duration_ms = 12.5,
            "request served"
        );
    }
}

/// A transaction with ten spans.
pub struct Transaction;

impl Item for Transaction {
    #[inline]
    fn record() {
        let context = sentry::TransactionContext::new("GET /api/items/{id}", "http.server");
        let transaction = sentry::start_transaction(context);
        for _ in 0..10 {
            let span = transaction.start_child("db", "SELECT * FROM items WHERE id = ?");
            span.set_status(sentry::protocol::SpanStatus::Ok);
            span.finish();
        }
        transaction.set_status(sentry::protocol::SpanStatus::Ok);
        transaction.finish();
    }
}
