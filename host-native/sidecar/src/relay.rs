//! From a checked request to the delivery: which destination, is there room, which limits hold.
//!
//! A destination is a place that telemetry goes to under one set of credentials: a project with a key upstream, an OTLP
//! upstream with the sender's own headers, or the embedded store. Each has its own limits, breaker and back-off in the
//! engine. They are opened as senders come; the one idle for longest makes room for another.

mod headers;
mod limits;
mod upstream;

pub(crate) use headers::{PassedHeaders, passed_headers};
pub(crate) use limits::Limits;
pub(crate) use upstream::Upstreams;

use crate::exporter::{SidecarExporter, Target};
use crate::sentry::{EVENT_BYTES, Sender};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use surgetank::delivery::{Delivery, DestinationSpec, FlushReport};
use surgetank_core::config::{BatchConfig, DestinationConfig};
use surgetank_core::item::{Category, DestinationId, DropReason, Header, Outcome, Priority};
use surgetank_core::time;

/// Bytes of the queue that are left to client reports: hundreds of them, and too little to matter to anything else.
const REPORT_ROOM: usize = 64 * 1024;

/// A place that telemetry can go to, as its sender names it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Place {
    /// A Sentry project's envelopes, under a key.
    Envelopes(Sender),
    /// A Sentry project's OTLP, under a key.
    ProjectOtlp(Sender),
    /// The OTLP upstream, with the sender's headers.
    Otlp(PassedHeaders),
}

/// What became of an offer. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Offer {
    /// It will be delivered, or counted.
    Taken,
    /// A rate limit covers all of it; counted.
    Limited,
    /// There is no room; not counted, the sender is told.
    Full,
    /// Shutting down; not counted, the sender is told.
    Closed,
}

/// No destination could be opened: all of them are in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NoPlace;

/// The way to the delivery.
pub(crate) struct Relay {
    delivery: Delivery<SidecarExporter>,
    upstreams: Upstreams,
    places: Mutex<HashMap<Place, DestinationId>>,
    /// Held while a destination is opened, so that none is opened twice.
    opening: tokio::sync::Mutex<()>,
    max_places: usize,
}

impl Relay {
    pub(crate) fn new(delivery: Delivery<SidecarExporter>, upstreams: Upstreams, max_places: usize) -> Self {
        Self {
            delivery,
            upstreams,
            places: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            max_places,
        }
    }

    /// True when somebody upstream knows the right keys.
    pub(crate) fn is_strict(&self) -> bool {
        self.upstreams.sentry.is_some()
    }

    /// Bytes of the largest record.
    pub(crate) fn max_record_bytes(&self) -> usize {
        self.delivery.max_record_bytes()
    }

    /// True when an error of the largest size that Sentry takes would be taken now.
    pub(crate) fn takes_errors(&self) -> bool {
        self.delivery.has_room(Priority::Critical, EVENT_BYTES)
    }

    /// The destination for `place`, opened if it is not.
    pub(crate) async fn destination(&self, place: Place) -> Result<DestinationId, NoPlace> {
        let place = self.upstreams.simplified(place);
        if let Some(id) = self.known(&place) {
            return Ok(id);
        }
        let _opening = self.opening.lock().await;
        if let Some(id) = self.known(&place) {
            return Ok(id);
        }
        let target = self.upstreams.target(&place);
        let spec = spec(&place, target);
        let id = self.delivery.open_destination(spec).await.map_err(|_| NoPlace)?;
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= 2 * self.max_places {
            places.retain(|_, id| self.delivery.is_current(*id));
        }
        places.insert(place, id);
        Ok(id)
    }

    /// The destination for `place` if it is open.
    pub(crate) fn known_destination(&self, place: &Place) -> Option<DestinationId> {
        self.known(&self.upstreams.simplified(place.clone()))
    }

    fn known(&self, place: &Place) -> Option<DestinationId> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places
            .get(place)
            .copied()
            .filter(|id| self.delivery.is_current(*id))
    }

    /// The limits that hold for a destination; `None` without any.
    pub(crate) fn limits(&self, destination: DestinationId) -> Option<Limits> {
        self.delivery.limits(destination).map(Limits)
    }

    /// Hands a record over, or says why not. What is refused for want of room is not counted as lost here: its sender is
    /// told, and counts it itself.
    ///
    /// An envelope of client reports alone finds room when nothing else does: it is what a sender says after it was
    /// refused, and SDKs do not say it twice.
    pub(crate) fn offer(&self, header: &Header, payload: &[u8]) -> Offer {
        let mut header = *header;
        if header.count.category == Category::Internal {
            header.priority = Priority::Critical;
        } else if !self
            .delivery
            .has_room(header.priority, payload.len().saturating_add(REPORT_ROOM))
        {
            return Offer::Full;
        }
        match self.delivery.record_in_room(&header, payload) {
            Outcome::Queued => Offer::Taken,
            Outcome::Dropped(DropReason::RatelimitBackoff) => Offer::Limited,
            Outcome::Dropped(DropReason::Closed) => Offer::Closed,
            Outcome::Dropped(_) => Offer::Full,
        }
    }

    /// Sends what is queued within `timeout`, and ends.
    pub(crate) fn close(&self, timeout: std::time::Duration) -> FlushReport {
        self.delivery.close(timeout)
    }
}

fn spec(place: &Place, target: Target) -> DestinationSpec<Target> {
    let base = match place {
        Place::Envelopes(_) => DestinationConfig::SENTRY,
        Place::ProjectOtlp(_) | Place::Otlp(_) => DestinationConfig::OTLP,
    };
    let config = match &target {
        Target::Http(_) => base,
        Target::Store(_) => DestinationConfig {
            client_reports: false,
            // One row for each request as it arrived.
            batch: BatchConfig {
                max_records: 1,
                ..base.batch
            },
            timeout: time::Duration::from_secs(30),
            ..base
        },
    };
    DestinationSpec {
        config,
        sdk_name: "surgetank".to_owned(),
        sdk_version: env!("CARGO_PKG_VERSION").to_owned(),
        // Envelopes are composed here only to tell losses, requests never.
        public_key: String::new(),
        release: None,
        environment: None,
        resource: Vec::new(),
        scope: Vec::new(),
        origins: Arc::default(),
        log_attributes: Vec::new(),
        target,
    }
}
