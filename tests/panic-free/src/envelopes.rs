//! Sentry envelopes, client reports and JSON: any bytes read, counted, filtered and written, in pieces of any size.

use surgetank_core::item::{Category, CategorySet, DestinationId, DropReason};
use surgetank_core::time::UnixTime;
use surgetank_core::wire::client_report::{self, Entry};
use surgetank_core::wire::envelope::{
    self, ContainerKind, EnvelopeFields, Event, Extent, ItemScan, Reader, Trace,
};
use surgetank_core::wire::json;

use crate::input::Tape;
use crate::output::{Sum, keep};

/// An envelope in pieces of a size that the tape says.
fn pieces(tape: &mut Tape) -> impl Iterator<Item = &'static [u8]> + Clone + use<> {
    let size = usize::from(tape.byte()).max(1);
    tape.bytes().chunks(size)
}

/// Any bytes read as an envelope that arrives in pieces.
#[unsafe(no_mangle)]
extern "C" fn envelope_read() {
    let mut reader = Reader::new();
    let mut scan = None;
    for piece in pieces(&mut Tape::new()) {
        let mut input = piece;
        while let Ok(Some(event)) = reader.next(&mut input) {
            match event {
                Event::Item(header) => scan = Some(ItemScan::new(&header)),
                Event::Payload(piece) => scan.iter_mut().for_each(|scan| scan.feed(piece)),
                Event::ItemEnd { payload } => keep(scan.as_ref().map(|scan| scan.finish(payload.len()))),
                Event::Header(header) => keep((header.trace_key(), header.line.of(piece))),
            }
        }
    }
    while let Ok(Some(event)) = reader.finish() {
        keep(event);
    }
    keep((reader.offset(), reader.items()));
}

/// Any bytes described as an envelope and as an item.
#[unsafe(no_mangle)]
extern "C" fn envelope_describe() {
    let bytes = Tape::new().bytes();
    if let Ok(summary) = envelope::describe(bytes) {
        keep(summary.record_header(DestinationId::new(1, 2)));
        keep((summary.items(), summary.total(Category::Span)));
    }
    keep(envelope::describe_item(bytes).map(|summary| summary.record_header(DestinationId::new(1, 2))));
    if let Ok((header, items)) = envelope::items(bytes) {
        keep(header.dsn.and_then(|dsn| Extent::of(dsn, bytes)));
        items.for_each(keep);
    }
}

/// Any bytes counted and sent as an envelope without some categories.
#[unsafe(no_mangle)]
extern "C" fn envelope_filter() {
    let mut tape = Tape::new();
    let removed = CategorySet::from_bits(tape.long());
    let sent_at = UnixTime::from_micros(tape.long());
    let pieces = pieces(&mut tape);
    keep(envelope::counts_of(pieces.clone(), removed, keep));
    let mut out = Sum::default();
    keep(envelope::write_filtered(
        pieces.clone(),
        removed,
        sent_at,
        &mut out,
    ));
    keep(out.value());
    client_report::each_in_envelope(pieces, keep);
}

/// An envelope of any elements and items, and a report of any losses behind it.
#[unsafe(no_mangle)]
extern "C" fn envelope_compose() {
    let mut tape = Tape::new();
    let sent_at = UnixTime::from_micros(tape.long());
    let element = pieces(&mut tape);
    let trace = envelope::element_trace_id(element.clone()).map(|trace_id| Trace {
        trace_id,
        public_key: tape.text(),
        release: Some(tape.text()),
        environment: None,
    });
    let fields = EnvelopeFields {
        sent_at,
        sdk_name: tape.text(),
        sdk_version: tape.text(),
        dsn: Some(tape.text()),
        event_id: Some(tape.array()),
        trace,
    };
    let mut out = Sum::default();
    keep(envelope::write_header(&fields, &mut out));
    let kind = Category::from_number(tape.byte()).and_then(ContainerKind::of);
    if let Some(kind) = kind {
        let elements = [element.clone(), element.clone()];
        keep(envelope::write_container(
            kind,
            tape.word(),
            tape.long(),
            elements,
            &mut out,
        ));
    }
    keep(envelope::write_items([element], &mut out));
    let entries = tape.bytes().chunks_exact(4).filter_map(|bytes| {
        let [reason, category, low, high] = *bytes.first_chunk()?;
        Some(Entry {
            category: Category::from_number(category)?,
            reason: DropReason::from_number(reason)?,
            quantity: u64::from_le_bytes([low, 0, 0, 0, 0, 0, 0, high]),
        })
    });
    keep(client_report::write_item(entries, sent_at, &mut out));
    keep(out.value());
}

/// Any bytes read as a JSON object, its members as strings, and values of each kind written.
#[unsafe(no_mangle)]
extern "C" fn json_members() {
    let mut tape = Tape::new();
    let mut buffer = [0; 64];
    keep(json::visit_members(tape.bytes(), |member| {
        keep((member.name, member.kind));
        keep(json::text(member.value, &mut buffer));
    }));
    let mut out = Sum::default();
    let mut writer = json::Writer::new(&mut out);
    while tape.flag() {
        let _ = match tape.byte() & 7 {
            0 => writer.begin_object(),
            1 => writer.end_object(),
            2 => writer.begin_array(),
            3 => writer.end_array(),
            4 => writer.key(tape.text()),
            5 => writer.text(tape.text()),
            6 => writer.signed(tape.long() as i64),
            _ => writer.hex(tape.bytes()),
        };
    }
    keep(out.value());
}
