//! What span and log processors have in common: the client behind them, the provider's resource, the scopes seen so far.

use core::time::Duration;
use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use ::opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use surgetank_core::item::{DropReason, Form, Header, Outcome, Signal};
use surgetank_core::limits::MAX_ORIGINS;
use surgetank_core::wire::otlp::encode::{Resource as WireResource, Scope as WireScope};
use surgetank_core::wire::otlp::protobuf::{Length, Out};

use super::moment;
use super::value::add_entry;
use crate::client::{Admitted, Client};
use crate::delivery::{Origin, on_delivery_thread};
use crate::json::{Encode, collected};

pub(super) struct Source {
    pub(super) client: Client,
    signal: Signal,
    resource: Arc<[u8]>,
    resource_schema_url: Arc<str>,
    scopes: Scopes,
    shut_down: AtomicBool,
    pub(super) flush_timeout: Duration,
}

impl Source {
    pub(super) fn new(client: &Client, signal: Signal, flush_timeout: Duration) -> Self {
        moment::watch();
        Self {
            client: client.clone(),
            signal,
            resource: client.own_resource(signal).into(),
            resource_schema_url: Arc::from(""),
            scopes: Scopes::default(),
            shut_down: AtomicBool::new(false),
            flush_timeout,
        }
    }

    /// From now on records come from `resource`.
    pub(super) fn set_resource(&mut self, resource: &Resource) {
        // Sorted, so that the same resource in another provider of the program is the same bytes.
        let mut attributes: Vec<_> = resource.iter().collect();
        attributes.sort_unstable_by_key(|(key, _)| *key);
        let encoded = collected(|out| {
            WireResource::default().encode_with(out, |entries| {
                for (key, value) in &attributes {
                    add_entry(entries, key, value);
                }
            });
        });
        self.resource = encoded.into();
        self.resource_schema_url = resource.schema_url().unwrap_or_default().into();
        self.scopes = Scopes::default();
    }

    /// Records what `value` encodes to, as coming from `scope`, or from a scope that differs from it in its name only,
    /// which is then `target`.
    ///
    /// Takes no lock. Allocates nothing but once for each scope.
    #[inline]
    pub(super) fn record(
        &self,
        mut header: Header,
        scope: &InstrumentationScope,
        target: Option<&Cow<'static, str>>,
        value: &impl Encode,
    ) -> Outcome {
        if self.is_shut_down() {
            return self.client.refuse(&header, DropReason::Closed);
        }
        // Before anything is kept of the scope.
        let admitted = match self.client.admitted(&header) {
            Ok(admitted) => admitted,
            Err(reason) => return Outcome::Dropped(reason),
        };
        match self.origin(scope, target) {
            Some(origin) => {
                header.origin = origin;
                admitted.record(&header, value)
            }
            None => self.record_whole(&admitted, header, scope, target, value),
        }
    }

    #[cold]
    #[inline(never)]
    fn record_whole(
        &self,
        admitted: &Admitted<'_>,
        mut header: Header,
        scope: &InstrumentationScope,
        target: Option<&Cow<'static, str>>,
        value: &impl Encode,
    ) -> Outcome {
        header.form = Form::OtlpRequest;
        let request = WholeRequest {
            source: self,
            scope,
            name: name_of(scope, target),
            value,
        };
        admitted.record(&header, &request)
    }

    /// The number under which the client's destination knows the resource with this scope; `None` when its table is full.
    #[inline(always)]
    fn origin(&self, scope: &InstrumentationScope, target: Option<&Cow<'static, str>>) -> Option<u8> {
        match self.scopes.find(scope, name_of(scope, target)) {
            Some(known) => known.origin,
            None => self.new_origin(scope, target),
        }
    }

    #[cold]
    #[inline(never)]
    fn new_origin(&self, scope: &InstrumentationScope, target: Option<&Cow<'static, str>>) -> Option<u8> {
        let name = name_of(scope, target);
        let place = self.scopes.claim()?;
        let origin = self.client.origins(self.signal)?.add(Origin {
            resource: Arc::clone(&self.resource),
            resource_schema_url: Arc::clone(&self.resource_schema_url),
            scope: collected(|out| encode_scope(out, scope, name)),
            scope_schema_url: scope.schema_url().unwrap_or_default().to_owned(),
        });
        // Nobody else claimed this place, so nobody waits for it.
        let _ = place.set(Known::new(scope, target, origin));
        origin
    }

    pub(super) fn is_shut_down(&self) -> bool {
        self.shut_down.load(Ordering::Relaxed)
    }

    /// Delivers what was recorded, for at most `timeout`.
    pub(super) fn flush(&self, timeout: Duration) -> OTelSdkResult {
        if self.is_shut_down() {
            return Err(OTelSdkError::AlreadyShutdown);
        }
        self.deliver(timeout)
    }

    /// Takes nothing more, and delivers what was recorded, for at most `timeout`.
    pub(super) fn shut_down(&self, timeout: Duration) -> OTelSdkResult {
        if self.shut_down.swap(true, Ordering::Relaxed) {
            return Err(OTelSdkError::AlreadyShutdown);
        }
        self.deliver(timeout)
    }

    fn deliver(&self, timeout: Duration) -> OTelSdkResult {
        let report = self.client.flush(timeout);
        if report.complete {
            Ok(())
        } else if on_delivery_thread() {
            Err(OTelSdkError::InternalFailure(
                "called on the delivery thread, which cannot wait for itself; the flush was started"
                    .to_owned(),
            ))
        } else {
            Err(OTelSdkError::Timeout(timeout))
        }
    }
}

/// The scopes that a provider has recorded from, with their numbers. Adding takes no lock, as in
/// [`Origins`](crate::delivery::Origins).
struct Scopes {
    claimed: AtomicUsize,
    known: [OnceLock<Known>; MAX_ORIGINS],
}

struct Known {
    /// The name it goes by, if that is not the scope's own.
    target: Option<Cow<'static, str>>,
    scope: InstrumentationScope,
    /// Where the texts of these two lie.
    place: Place,
    /// `None` when the client's table had no room for it.
    origin: Option<u8>,
}

impl Known {
    fn new(scope: &InstrumentationScope, target: Option<&Cow<'static, str>>, origin: Option<u8>) -> Self {
        let (scope, target) = (scope.clone(), target.cloned());
        Self {
            place: Place::of(&scope, name_of(&scope, target.as_ref())),
            target,
            scope,
            origin,
        }
    }

    fn name(&self) -> &str {
        name_of(&self.scope, self.target.as_ref())
    }
}

/// Where the name, version and schema of a scope lie, which are mostly literals: of two that are there at the same time, what
/// lies in the same place is the same text. Texts on the heap stay where they are when their owner is moved.
#[derive(PartialEq, Eq)]
struct Place([(usize, usize); 3]);

impl Place {
    #[inline(always)]
    fn of(scope: &InstrumentationScope, name: &str) -> Self {
        let place = |text: Option<&str>| text.map_or((0, 0), |text| (text.as_ptr().addr(), text.len()));
        Self([
            place(Some(name)),
            place(scope.version()),
            place(scope.schema_url()),
        ])
    }
}

impl Default for Scopes {
    fn default() -> Self {
        Self {
            claimed: AtomicUsize::new(0),
            known: [const { OnceLock::new() }; MAX_ORIGINS],
        }
    }
}

impl Scopes {
    /// At most [`MAX_ORIGINS`] comparisons of texts, and as many of where they lie.
    #[inline(always)]
    fn find(&self, scope: &InstrumentationScope, name: &str) -> Option<&Known> {
        let claimed = self.claimed();
        let place = Place::of(scope, name);
        for known in claimed.iter().filter_map(OnceLock::get) {
            if known.place == place && !has_attributes(scope) && !has_attributes(&known.scope) {
                return Some(known);
            }
        }
        find_equal(claimed, scope, name)
    }

    #[inline(always)]
    fn claimed(&self) -> &[OnceLock<Known>] {
        let count = self.claimed.load(Ordering::Relaxed);
        self.known.get(..count).unwrap_or(&self.known)
    }

    fn claim(&self) -> Option<&OnceLock<Known>> {
        let place = self
            .claimed
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |claimed| {
                (claimed < MAX_ORIGINS).then_some(claimed + 1)
            });
        self.known.get(place.ok()?)
    }
}

#[inline(never)]
fn find_equal<'a>(
    claimed: &'a [OnceLock<Known>],
    scope: &InstrumentationScope,
    name: &str,
) -> Option<&'a Known> {
    let mut known = claimed.iter().filter_map(OnceLock::get);
    known.find(|known| known.name() == name && has_same_facts(&known.scope, scope))
}

/// The name that records of a scope go by.
#[inline]
fn name_of<'a>(scope: &'a InstrumentationScope, target: Option<&'a Cow<'static, str>>) -> &'a str {
    target.map_or(scope.name(), |target| target)
}

#[inline(always)]
fn has_attributes(scope: &InstrumentationScope) -> bool {
    scope.attributes().next().is_some()
}

/// Whether two scopes differ in their name at most. Unlike the API's comparison it does not allocate, and takes the same
/// attributes in another order for others, which costs an entry and is still true.
fn has_same_facts(one: &InstrumentationScope, other: &InstrumentationScope) -> bool {
    one.version() == other.version()
        && one.schema_url() == other.schema_url()
        && one.attributes().eq(other.attributes())
}

fn encode_scope<O: Out>(out: &mut O, scope: &InstrumentationScope, name: &str) {
    let wire = WireScope {
        name,
        version: scope.version().unwrap_or_default(),
        attributes: &[],
    };
    wire.encode_with(out, |entries| {
        for KeyValue { key, value, .. } in scope.attributes() {
            add_entry(entries, key, value);
        }
    });
}

/// A record that carries its resource and scope itself, for want of a place in the table.
struct WholeRequest<'a, E> {
    source: &'a Source,
    scope: &'a InstrumentationScope,
    name: &'a str,
    value: &'a E,
}

impl<E: Encode> Encode for WholeRequest<'_, E> {
    fn encode<O: Out>(&self, out: &mut O) {
        let resource = out.open(1);
        out.bytes_field(1, &self.source.resource);
        let scope = out.open(2);
        out.message(1, Length::of(|out| encode_scope(out, self.scope, self.name)));
        encode_scope(out, self.scope, self.name);
        out.message(2, self.value.encoded_len());
        self.value.encode(out);
        schema_url(out, self.scope.schema_url().unwrap_or_default());
        out.close(scope);
        schema_url(out, &self.source.resource_schema_url);
        out.close(resource);
    }
}

fn schema_url<O: Out>(out: &mut O, url: &str) {
    if !url.is_empty() {
        out.bytes_field(3, url.as_bytes());
    }
}
