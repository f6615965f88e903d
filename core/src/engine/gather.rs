//! Chooses the records of the next request out of one lane.
//!
//! A request holds records of one destination, one lane and one kind. Complete payloads (envelopes, OTLP/JSON) go
//! alone; single records and items are gathered up to the protocol's bounds; spans for Sentry come from one trace.
//! Records that must not go (limited, too old, of a trace that lost spans) are dropped where they are met.

use super::Core;
use super::admit::{evicts_by_trace, is_single_span};
use crate::config::DestinationConfig;
use crate::destination::{Destination, is_gathered};
use crate::item::{Category, DropReason, Form, Header, Priority, Signal};
use crate::limits::{
    MAX_GATHER_SCAN, MAX_ITEMS_PER_ENVELOPE, MAX_LOGS_PER_ENVELOPE, MAX_METRICS_PER_ENVELOPE,
    MAX_SPANS_PER_ENVELOPE,
};
use crate::queue::{self, Ahead, Block, List, RecordRef, Run};
use crate::request::RequestKind;
use crate::wire::envelope::ContainerKind;

/// The last of the records at the head of `list` that are older than `record`, and what they come to. Bound:
/// [`MAX_GATHER_SCAN`] records.
fn older_front(blocks: &[Block], list: &List, record: RecordRef) -> Option<(RecordRef, Run)> {
    let before = queue::sequence(blocks, record);
    let is_older = |ahead: &Ahead| queue::sequence(blocks, ahead.record) < before;
    let mut last = Ahead::of(blocks, list.head()?).filter(is_older)?;
    let mut run = Run::default().with(&last);
    for _ in 0..MAX_GATHER_SCAN {
        let Some(ahead) = last.next(blocks).filter(is_older) else {
            break;
        };
        run = run.with(&ahead);
        last = ahead;
    }
    Some((last.record, run))
}

/// How many records of one kind share a request.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) kind: RequestKind,
    pub(super) max_records: u32,
    max_bytes: u32,
    one_trace: bool,
}

/// One of the lists of a destination's lanes.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) index: usize,
    pub(super) priority: Priority,
    /// Its records wait for company.
    pub(super) gathered: bool,
}

/// The request that a record like `header` goes into.
pub(super) fn shape_of(config: &DestinationConfig, header: &Header) -> Shape {
    let category = header.count.category;
    let signal = Signal::of(category);
    let shape = |kind, max_records| Shape {
        kind,
        max_records,
        max_bytes: config.batch.max_bytes,
        one_trace: false,
    };
    match header.form {
        Form::Envelope => shape(RequestKind::Envelope, 1),
        Form::Item if matches!(category, Category::Session) => {
            shape(RequestKind::Items, MAX_ITEMS_PER_ENVELOPE as u32)
        }
        Form::Item => shape(RequestKind::Items, 1),
        Form::Element => match category {
            Category::Span => Shape {
                one_trace: true,
                ..shape(
                    RequestKind::Container(ContainerKind::Span),
                    MAX_SPANS_PER_ENVELOPE as u32,
                )
            },
            Category::TraceMetric => shape(
                RequestKind::Container(ContainerKind::TraceMetric),
                MAX_METRICS_PER_ENVELOPE as u32,
            ),
            _ => shape(
                RequestKind::Container(ContainerKind::Log),
                MAX_LOGS_PER_ENVELOPE as u32,
            ),
        },
        Form::OtlpRecord => shape(RequestKind::Records(signal), config.batch.max_records),
        Form::OtlpRequest => shape(RequestKind::Requests(signal), config.batch.max_records),
        Form::OtlpJson => shape(RequestKind::Json(signal), 1),
    }
}

impl Place {
    pub(super) fn list(self, destinations: &[Destination]) -> Option<List> {
        let lane = destinations.get(self.index)?.lanes.get(self.priority.index())?;
        Some(if self.gathered { lane.gathered } else { lane.whole })
    }

    pub(super) fn list_mut(self, destinations: &mut [Destination]) -> Option<&mut List> {
        let lane = destinations.get_mut(self.index)?.lane_mut(self.priority)?;
        Some(if self.gathered {
            &mut lane.gathered
        } else {
            &mut lane.whole
        })
    }
}

impl Core<'_> {
    /// Takes the records of one request out of a lane, dropping what must not go. `None` when nothing is left to
    /// send. Bound: [`MAX_GATHER_SCAN`] records looked at.
    pub(super) fn gather(&mut self, place: Place) -> Option<(RequestKind, List)> {
        let (first, header) = self.first_sendable(place)?;
        let shape = shape_of(&self.destinations.get(place.index)?.config, &header);
        let mut chosen = List::EMPTY;
        if shape.max_records <= 1 {
            self.take(place, first);
            queue::push_back(self.blocks, &mut chosen, first);
        } else if shape.one_trace && header.trace.is_some() {
            chosen = self.gather_trace(place, first, &header, &shape);
        } else {
            chosen = self.split_run(place, first, &header, &shape)?;
            self.gather_scattered(place, &header, &shape, &mut chosen);
        }
        Some((shape.kind, chosen))
    }

    /// Takes the records at the front of a list that are alike, in one piece: the usual case, and cheap.
    ///
    /// What holds for the first holds for those like it: they have its categories, so no limit covers them, and they
    /// were recorded later.
    fn split_run(&mut self, place: Place, first: RecordRef, header: &Header, shape: &Shape) -> Option<List> {
        let doomed = self.dooms();
        let mut last = Ahead::of(self.blocks, first)?;
        let mut run = Run::default().with(&last);
        for _ in 0..MAX_GATHER_SCAN {
            let Some(ahead) = last.next(self.blocks) else {
                break;
            };
            let longer = run.with(&ahead);
            let fits = longer.records <= shape.max_records && longer.bytes <= shape.max_bytes;
            if !fits || ahead.kind != last.kind || (doomed && self.is_doomed_record(ahead.record)) {
                break;
            }
            (last, run) = (ahead, longer);
        }
        let chosen = queue::split_front(self.blocks, place.list_mut(self.destinations)?, last.record, run);
        if is_single_span(header) {
            let mut at = chosen.head();
            for _ in 0..chosen.records() {
                let Some(record) = at else { break };
                at = queue::next(self.blocks, record);
                self.state.queue.leave_trace(self.blocks, record);
            }
        }
        Some(chosen)
    }

    /// Adds more records like the first from between others.
    fn gather_scattered(&mut self, place: Place, header: &Header, shape: &Shape, chosen: &mut List) {
        let Some(kind) = chosen.head().map(|record| queue::kind(self.blocks, record)) else {
            return;
        };
        let list = place.list(self.destinations).unwrap_or(List::EMPTY);
        let mut next = list.head();
        for _ in 0..MAX_GATHER_SCAN {
            let Some(record) = next else { break };
            next = queue::next(self.blocks, record);
            let bytes = chosen.bytes().saturating_add(queue::length(self.blocks, record));
            if chosen.records() >= shape.max_records || bytes > shape.max_bytes {
                break;
            }
            if queue::kind(self.blocks, record) != kind
                || self.must_drop(place.index, record, header).is_some()
            {
                continue;
            }
            self.take(place, record);
            queue::push_back(self.blocks, chosen, record);
        }
    }

    /// Takes the waiting spans of the first one's trace, in order of recording behind it; of more than fit, the newest.
    fn gather_trace(&mut self, place: Place, first: RecordRef, header: &Header, shape: &Shape) -> List {
        let mut chosen = List::EMPTY;
        self.take(place, first);
        queue::push_back(self.blocks, &mut chosen, first);
        let kind = queue::kind(self.blocks, first);
        let mut rest = List::EMPTY;
        let mut member = self.state.queue.trace_member(self.blocks, header.trace, None);
        while let Some(record) = member {
            member = self
                .state
                .queue
                .trace_member(self.blocks, header.trace, Some(record));
            if chosen.records().saturating_add(rest.records()) >= shape.max_records {
                break;
            }
            if queue::kind(self.blocks, record) != kind
                || self.must_drop(place.index, record, header).is_some()
            {
                continue;
            }
            let bytes = chosen.bytes().saturating_add(rest.bytes());
            if bytes.saturating_add(queue::length(self.blocks, record)) > shape.max_bytes {
                break;
            }
            self.take(place, record);
            queue::push_front(self.blocks, &mut rest, record);
        }
        queue::append(self.blocks, &mut chosen, rest);
        chosen
    }

    /// The first record of the list that may be sent; those before it are dropped.
    fn first_sendable(&mut self, place: Place) -> Option<(RecordRef, Header)> {
        for _ in 0..MAX_GATHER_SCAN {
            let record = place.list(self.destinations)?.head()?;
            let header = queue::header(self.blocks, record)?;
            match self.must_drop(place.index, record, &header) {
                None => return Some((record, header)),
                Some(reason) if reason == DropReason::RatelimitBackoff && header.is_mixed() => {
                    if self.remove_limited(place.index, record, &header) {
                        return Some((record, header));
                    }
                    self.take(place, record);
                    self.release(place.index, record);
                }
                Some(reason) => {
                    self.take(place, record);
                    self.discard(place.index, record, &header, reason);
                }
            }
        }
        None
    }

    /// Why a record must not be sent now, if so.
    pub(super) fn must_drop(&self, index: usize, record: RecordRef, header: &Header) -> Option<DropReason> {
        let destination = self.destinations.get(index)?;
        let now = self.state.now;
        // Age first: of a mixed record only a part is limited, but all of it is too old.
        if now.since(queue::recorded_at(self.blocks, record)) > self.state.config.max_age {
            return Some(destination.last_failure);
        }
        let left = header.categories.without(queue::removed(self.blocks, record));
        if destination.limits.limited_at(now).intersects(left) {
            return Some(DropReason::RatelimitBackoff);
        }
        if self.is_doomed(header) {
            return Some(DropReason::QueueOverflow);
        }
        None
    }

    /// Takes a record out of its lane and its trace's chain.
    fn take(&mut self, place: Place, record: RecordRef) {
        if let Some(list) = place.list_mut(self.destinations) {
            queue::remove(self.blocks, list, record);
        }
        if place.gathered {
            self.state.queue.leave_trace(self.blocks, record);
        }
    }

    /// Puts a parked request's records back at the head of their lane, behind older ones, and frees its place in the
    /// table. Bound: the records of the request, and [`MAX_GATHER_SCAN`] of the lane.
    pub(super) fn put_back(&mut self, slot: usize) {
        let Some(request) = self.requests.get_mut(slot) else {
            return;
        };
        let (index, priority) = (usize::from(request.destination), request.priority);
        let records = core::mem::replace(&mut request.records, List::EMPTY);
        self.free_slot(slot);
        let Some(head) = records.head() else { return };
        let mut at = Some(head);
        let mut form = Form::Envelope;
        for _ in 0..records.records() {
            let Some(record) = at else { break };
            at = queue::next(self.blocks, record);
            if let Some(header) = queue::header(self.blocks, record) {
                form = header.form;
                if evicts_by_trace(&header) {
                    self.state.queue.join_trace(self.blocks, record, header.trace);
                }
            }
        }
        let place = Place {
            index,
            priority,
            gathered: is_gathered(form),
        };
        if let Some(list) = place.list_mut(self.destinations) {
            // What failed before and is older stays in front.
            let older = older_front(self.blocks, list, head)
                .map(|(last, run)| queue::split_front(self.blocks, list, last, run));
            queue::prepend(self.blocks, list, records);
            if let Some(older) = older {
                queue::prepend(self.blocks, list, older);
            }
        }
    }
}
