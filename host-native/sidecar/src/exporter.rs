//! Where requests leave the delivery: over HTTP to an upstream, or into the embedded store.

use crate::store::{StoreExporter, StoreTarget};
use std::future::Future;
use std::sync::Arc;
use surgetank::Compression;
use surgetank::delivery::http::{HttpExporter, HttpTarget};
use surgetank::delivery::{Answer, Endpoint, Exporter, Outgoing};
use surgetank_core::response::Failure;

/// What a destination is, for the exporter. Exhaustive.
#[derive(Debug)]
pub(crate) enum Target {
    Http(Arc<HttpTarget>),
    Store(StoreTarget),
}

/// Both ways in one.
pub(crate) struct SidecarExporter {
    http: HttpExporter,
    /// `None` when everything has an upstream.
    store: Option<StoreExporter>,
}

impl SidecarExporter {
    pub(crate) fn new(http: HttpExporter, store: Option<StoreExporter>) -> Self {
        Self { http, store }
    }
}

impl Exporter for SidecarExporter {
    type Target = Target;

    fn compression(&self, target: &Target, endpoint: Endpoint) -> Compression {
        match target {
            Target::Http(target) => self.http.compression(target, endpoint),
            Target::Store(_) => Compression::None,
        }
    }

    fn export(
        &self,
        outgoing: Outgoing<Target>,
    ) -> impl Future<Output = Result<Answer, Failure>> + Send + 'static {
        let mut posted = None;
        let mut stored = None;
        match &*outgoing.target {
            Target::Http(target) => {
                posted = Some(self.http.export(Outgoing {
                    target: Arc::clone(target),
                    endpoint: outgoing.endpoint,
                    attempt: outgoing.attempt,
                    timeout: outgoing.timeout,
                    content_type: outgoing.content_type,
                    content_encoding: outgoing.content_encoding,
                    body: outgoing.body,
                }));
            }
            Target::Store(target) => {
                let store = self.store.as_ref();
                stored = store.map(|store| {
                    store.store(target, outgoing.endpoint, outgoing.content_type, outgoing.body)
                });
            }
        }
        async move {
            match (posted, stored) {
                (Some(posted), _) => posted.await,
                (None, Some(stored)) => stored.await.map_err(|_| Failure::Internal),
                (None, None) => Err(Failure::Internal),
            }
        }
    }
}
