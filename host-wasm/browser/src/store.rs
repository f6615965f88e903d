//! Records as they lie in a store between two visits: the header in the core's layout, then the payload.
//!
//! What a record needs to be understood goes with it. Sentry's forms need nothing; a record of OTLP stands under a
//! resource and a scope that only this page's engine knows by number, so it is stored as a whole request.

use surgetank_core::item::{Form, Header};
use surgetank_core::queue::Chunks;
use surgetank_core::record::{self, HEADER_BYTES};
use surgetank_core::wire::otlp::framing::{Frame, Records, Scopes, write_record_opening};

use crate::window::Window;

/// It names an origin that is not there, or is too long to be a request.
pub(crate) struct NotWritten;

/// Writes a record. `origins` are the encoded resources and scopes of its destination.
pub(crate) fn write(
    header: &mut Header,
    payload: Chunks<'_>,
    origins: &[(alloc::vec::Vec<u8>, alloc::vec::Vec<u8>)],
    out: &mut Window<'_>,
) -> Result<(), NotWritten> {
    let origin = header.origin;
    let wrapped = header.form == Form::OtlpRecord;
    if wrapped {
        header.form = Form::OtlpRequest;
        header.origin = 0;
    }
    out.put(&record::encode(header));
    if wrapped {
        let (resource, scope) = origins.get(usize::from(origin)).ok_or(NotWritten)?;
        let frame = Frame {
            resource,
            scope,
            ..Frame::default()
        };
        let length = payload.clone().map(<[u8]>::len).sum();
        let (mut records, mut scopes) = (Records::default(), Scopes::default());
        records.add(length);
        scopes.add(&frame, records);
        let resource = frame.resource(scopes).map_err(|_| NotWritten)?;
        resource.write_opening(out).map_err(|_| NotWritten)?;
        frame.write_scope_opening(out, records).map_err(|_| NotWritten)?;
        write_record_opening(out, length).map_err(|_| NotWritten)?;
    }
    for piece in payload {
        out.put(piece);
    }
    Ok(())
}

/// Reads what [`write`] wrote. `None` when it is too short, or says what no header can.
pub(crate) fn read(stored: &[u8]) -> Option<(Header, &[u8])> {
    let (header, payload) = stored.split_first_chunk::<HEADER_BYTES>()?;
    Some((record::decode(header)?, payload))
}
