//! What records have in common: where they come from and what made them
//! (`opentelemetry/proto/resource/v1/resource.proto`, `.../common/v1/common.proto`).
//!
//! Both are encoded once, when a client is built, and framed into every request
//! ([`Frame`](crate::wire::otlp::framing::Frame)). Limits do not apply to them.

use super::attributes::{Entries, KeyValue};
use super::span::text;
use crate::wire::otlp::protobuf::{Length, Out};

/// The program that records come from.
#[derive(Clone, Copy, Default, Debug)]
pub struct Resource<'a> {
    /// Its attributes; `service.name` should be among them.
    pub attributes: &'a [KeyValue<'a>],
}

impl Resource<'_> {
    /// Bytes that [`Resource::encode`] writes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        Length::of(|out| self.encode(out))
    }

    /// Writes the `Resource` message.
    #[inline(always)]
    pub fn encode<O: Out>(&self, out: &mut O) {
        self.encode_with(out, |_| {});
    }

    /// Writes the `Resource` message with what `fill` adds to its attributes.
    #[inline(always)]
    pub fn encode_with<O: Out>(&self, out: &mut O, fill: impl FnOnce(&mut Entries<'_, O>)) {
        let mut lifted = out.lift();
        let mut attributes = Entries::unlimited(&mut lifted, 1);
        attributes.add_all(self.attributes);
        fill(&mut attributes);
        *out = lifted;
    }
}

/// The library that records (`InstrumentationScope`).
#[derive(Clone, Copy, Default, Debug)]
pub struct Scope<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version; empty for none.
    pub version: &'a str,
    /// Its attributes.
    pub attributes: &'a [KeyValue<'a>],
}

impl Scope<'_> {
    /// Bytes that [`Scope::encode`] writes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        Length::of(|out| self.encode(out))
    }

    /// Writes the `InstrumentationScope` message.
    pub fn encode<O: Out>(&self, out: &mut O) {
        self.encode_with(out, |_| {});
    }

    /// Writes the `InstrumentationScope` message with what `fill` adds to its attributes.
    pub fn encode_with<O: Out>(&self, out: &mut O, fill: impl FnOnce(&mut Entries<'_, O>)) {
        text(out, 1, self.name);
        text(out, 2, self.version);
        let mut attributes = Entries::unlimited(out, 3);
        attributes.add_all(self.attributes);
        fill(&mut attributes);
    }
}
