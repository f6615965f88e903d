//! Four programs with the four SDKs, a sidecar, and an upstream; recorders between the programs and the sidecar.

use std::time::Duration;

use surgetank_tests::upstream::envelope::Envelope;
use surgetank_tests::upstream::{Exchange, Upstream};

use crate::client::{Client, Sdk};
use crate::compare::{
    Export, accepted_envelopes, accepted_exports, assert_same_envelopes, assert_same_exports, envelopes,
};
use crate::sidecar::Sidecar;

/// How long an answer may take that waits for nothing but a busy machine. Less than any time-out of an SDK or of the
/// sidecar, so an answer that waited for an upstream would take longer.
const AT_ONCE: Duration = Duration::from_secs(8);

pub(crate) const EVERY_SDK: &[Sdk] = &[Sdk::SentryPython, Sdk::SentryNode, Sdk::OtelPython, Sdk::OtelNode];

/// A sidecar that forwards, and what is on both its sides.
pub(crate) struct Scene {
    pub(crate) clients: Vec<Client>,
    /// Records what Sentry's SDKs send.
    pub(crate) sentry: Upstream,
    /// Records what OpenTelemetry's SDKs send.
    pub(crate) otlp: Upstream,
    pub(crate) sidecar: Sidecar,
    pub(crate) upstream: Upstream,
}

impl Scene {
    /// Starts everything; `arguments` are further ones for the sidecar.
    #[track_caller]
    pub(crate) fn forwarding(upstream: Upstream, sdks: &[Sdk], arguments: &[&str]) -> Self {
        let url = upstream.url();
        let mut all = vec!["--sentry-upstream", &url, "--otlp-upstream", &url];
        all.extend_from_slice(arguments);
        let sidecar = Sidecar::start(&all);
        let sentry = Upstream::before(sidecar.address);
        let otlp = Upstream::before(sidecar.otlp_address);
        let start = |sdk: &Sdk| {
            let receiver = if sdk.is_sentry() {
                sentry.dsn(42)
            } else {
                otlp.url()
            };
            Client::start(*sdk, &receiver, &[])
        };
        Self {
            clients: sdks.iter().map(start).collect(),
            sentry,
            otlp,
            sidecar,
            upstream,
        }
    }

    /// Has every program record a little, and their SDKs send it.
    #[track_caller]
    pub(crate) fn record_some(&mut self, name: &str) {
        for client in &mut self.clients {
            client.record_some(name);
        }
    }

    /// All that the sidecar took from its clients.
    pub(crate) fn sent(&self) -> (Vec<Envelope>, Vec<Export>) {
        (
            accepted_envelopes(&self.sentry.exchanges()),
            accepted_exports(&self.otlp.exchanges()),
        )
    }

    /// Ends the programs, which lets their SDKs send what they still hold.
    #[track_caller]
    pub(crate) fn end_clients(&mut self) {
        self.clients.drain(..).for_each(Client::end);
    }

    /// That each request of a client was answered at once with 200.
    #[track_caller]
    pub(crate) fn assert_clients_were_served(&self) {
        for exchange in self.sentry.exchanges().iter().chain(&self.otlp.exchanges()) {
            assert_at_once(exchange);
            let status = exchange.answer.as_ref().map(|answer| answer.status);
            assert_eq!(status, Some(200), "{}", exchange.request.path);
        }
    }

    /// Waits until the upstream has accepted as much as was sent, and compares.
    #[track_caller]
    pub(crate) fn assert_everything_arrived(&self) {
        let (sent, exports) = self.sent();
        let records: usize = exports.iter().map(|export| export.body.len()).sum();
        self.upstream.wait_for("all that was sent", |exchanges| {
            let arrived: usize = accepted_exports(exchanges)
                .iter()
                .map(|export| export.body.len())
                .sum();
            (accepted_envelopes(exchanges).len() >= sent.len() && arrived >= records).then_some(())
        });
        let exchanges = self.upstream.exchanges();
        assert_same_envelopes(&sent, &accepted_envelopes(&exchanges));
        assert_same_exports(&exports, &accepted_exports(&exchanges));
    }

    /// That the sidecar, told to stop, has nothing left and dropped nothing.
    #[track_caller]
    pub(crate) fn assert_nothing_is_left(self) {
        self.sidecar.stop().assert_clean();
        // What the sidecar said while it stopped would be more than was sent.
        let all = envelopes(
            &self
                .upstream
                .exchanges()
                .into_iter()
                .filter(Exchange::is_accepted)
                .collect::<Vec<_>>(),
        );
        assert_same_envelopes(&accepted_envelopes(&self.sentry.exchanges()), &all);
    }
}

/// That the answer did not wait for anything.
#[track_caller]
pub(crate) fn assert_at_once(exchange: &Exchange) {
    let answer = exchange.answer.as_ref();
    let answer = answer.unwrap_or_else(|| panic!("{} was not answered", exchange.request.path));
    assert!(
        answer.after < AT_ONCE,
        "{} was answered after {:?}",
        exchange.request.path,
        answer.after
    );
}
