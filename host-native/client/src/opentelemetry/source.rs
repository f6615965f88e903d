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

use super::value::add_entry;
use crate::client::Client;
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
        if on_delivery_thread() {
            // Before anything is kept of it: it is refused.
            return self.client.record_short(&header, || value);
        }
        match self.origin(scope, target) {
            Some(origin) => {
                header.origin = origin;
                self.client.record_short(&header, || value)
            }
            None => {
                header.form = Form::OtlpRequest;
                let request = WholeRequest {
                    source: self,
                    scope,
                    name: name_of(scope, target),
                    value,
                };
                self.client.record_short(&header, || request)
            }
        }
    }

    /// The number under which the client's destination knows the resource with this scope; `None` when its table is full.
    #[inline]
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
        let _ = place.set(Known {
            target: target.cloned(),
            scope: scope.clone(),
            origin,
        });
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
    /// `None` when the client's table had no room for it.
    origin: Option<u8>,
}

impl Known {
    #[inline]
    fn name(&self) -> &str {
        name_of(&self.scope, self.target.as_ref())
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
    /// At most [`MAX_ORIGINS`] comparisons of names, and as many of where they lie.
    #[inline]
    fn find(&self, scope: &InstrumentationScope, name: &str) -> Option<&Known> {
        let claimed = self.claimed.load(Ordering::Relaxed);
        let mut known = self.known.iter().take(claimed).filter_map(OnceLock::get);
        // Names are mostly literals: the one that is known is the same text in the same place.
        known
            .find(|known| core::ptr::eq(known.name(), name) && has_same_facts(&known.scope, scope))
            .or_else(|| self.find_equal(claimed, scope, name))
    }

    #[inline(never)]
    fn find_equal(&self, claimed: usize, scope: &InstrumentationScope, name: &str) -> Option<&Known> {
        let mut known = self.known.iter().take(claimed).filter_map(OnceLock::get);
        known.find(|known| known.name() == name && has_same_facts(&known.scope, scope))
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

/// The name that records of a scope go by.
#[inline]
fn name_of<'a>(scope: &'a InstrumentationScope, target: Option<&'a Cow<'static, str>>) -> &'a str {
    target.map_or(scope.name(), |target| target)
}

/// Whether two optional texts, mostly literals, are equal.
#[inline]
fn is_same(one: Option<&str>, other: Option<&str>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => core::ptr::eq(one, other) || one == other,
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// Whether two scopes differ in their name at most. Unlike the API's comparison it does not allocate, and takes the same
/// attributes in another order for others, which costs an entry and is still true.
#[inline]
fn has_same_facts(one: &InstrumentationScope, other: &InstrumentationScope) -> bool {
    let has_attributes = |scope: &InstrumentationScope| scope.attributes().next().is_some();
    is_same(one.version(), other.version())
        && is_same(one.schema_url(), other.schema_url())
        && (!has_attributes(one) && !has_attributes(other) || has_same_attributes(one, other))
}

#[inline(never)]
fn has_same_attributes(one: &InstrumentationScope, other: &InstrumentationScope) -> bool {
    one.attributes().eq(other.attributes())
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
