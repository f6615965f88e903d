//! The engine at a glance, as JSON: for status pages, health endpoints and logs of hosts without an allocator.
//!
//! Not on the record or poll path: `serde-json-core` keeps panic paths that the compiler cannot remove, so a host that
//! must not link any simply does not call [`Status::to_json`].

use crate::health::Health;
use crate::item::Category;
use crate::ledger::{CategoryTotals, ReasonTotal, Totals};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, SerializeStruct, Serializer};

/// Events that should not happen, counted since the engine was made.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize)]
pub struct Counters {
    /// Outcomes for requests that were settled already or never existed.
    pub stale_answers: u32,
    /// Requests that the host did not settle in time.
    pub stalls: u32,
    /// Calls with a time before an earlier call's.
    pub clock_steps_back: u32,
    /// Notices that nobody polled for in time.
    pub notices_lost: u32,
}

/// How full the queue is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct QueueFill {
    /// Blocks in use.
    pub used_blocks: u32,
    /// Blocks there are.
    pub capacity_blocks: u32,
}

impl QueueFill {
    /// Permille in use.
    #[must_use]
    pub const fn permille(&self) -> u16 {
        if self.capacity_blocks == 0 {
            return 1000;
        }
        ((self.used_blocks as u64 * 1000) / self.capacity_blocks as u64) as u16
    }
}

/// Health, fill, factor and sums of an engine, borrowed from it. Holds no payload and no secret.
#[derive(Clone, Copy, Debug, serde::Serialize)]
#[non_exhaustive]
pub struct Status<'a> {
    /// Level and causes.
    pub health: Health,
    /// Queue in use, in permille.
    pub fill_permille: u16,
    /// Downsample factor, 0..=10.
    pub factor: u8,
    /// Requests the host has.
    pub in_flight: usize,
    /// Events that should not happen.
    pub counters: Counters,
    /// Sums per category; categories nothing was recorded in are left out.
    pub totals: &'a Totals,
}

/// The JSON does not fit the buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BufferTooSmall;

impl core::fmt::Display for BufferTooSmall {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the status does not fit the buffer; 4 KiB hold that of a usual program")
    }
}

impl core::error::Error for BufferTooSmall {}

impl<'a> Status<'a> {
    pub(crate) const fn new(
        health: Health,
        fill: QueueFill,
        factor: u8,
        in_flight: usize,
        counters: Counters,
        totals: &'a Totals,
    ) -> Self {
        Self {
            health,
            fill_permille: fill.permille(),
            factor,
            in_flight,
            counters,
            totals,
        }
    }

    /// Writes the status as one JSON object; returns its length in bytes.
    ///
    /// # Errors
    /// [`BufferTooSmall`]; what was written then is of no use.
    pub fn to_json(&self, buffer: &mut [u8]) -> Result<usize, BufferTooSmall> {
        serde_json_core::to_slice(self, buffer).map_err(|_| BufferTooSmall)
    }
}

impl Serialize for Totals {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Totals", 3)?;
        fields.serialize_field("categories", &Categories(self))?;
        fields.serialize_field("dropped", &Reasons(self))?;
        fields.serialize_field("unreported", &self.unreported())?;
        fields.end()
    }
}

struct Categories<'a>(&'a Totals);

impl Serialize for Categories<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let used = Category::ALL
            .into_iter()
            .map(|category| (category, self.0.of(category)));
        let used = used.filter(|(_, totals)| totals.recorded > 0);
        let mut map = serializer.serialize_map(Some(used.clone().count()))?;
        for (category, totals) in used {
            map.serialize_entry(category.as_str(), &Sums(totals))?;
        }
        map.end()
    }
}

struct Sums(CategoryTotals);

impl Serialize for Sums {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("CategoryTotals", 4)?;
        fields.serialize_field("recorded", &self.0.recorded)?;
        fields.serialize_field("delivered", &self.0.delivered)?;
        fields.serialize_field("dropped", &self.0.dropped)?;
        fields.serialize_field("queued", &self.0.queued())?;
        fields.end()
    }
}

struct Reasons<'a>(&'a Totals);

impl Serialize for Reasons<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.reasons().len()))?;
        for entry in self.0.reasons() {
            list.serialize_element(&Reason(*entry))?;
        }
        list.end()
    }
}

struct Reason(ReasonTotal);

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("ReasonTotal", 3)?;
        fields.serialize_field("category", self.0.category.as_str())?;
        fields.serialize_field("reason", self.0.reason.as_str())?;
        fields.serialize_field("quantity", &self.0.quantity)?;
        fields.end()
    }
}
