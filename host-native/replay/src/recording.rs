//! Recorded traffic as a file: a script and the payloads that it names.
//!
//! What telemetry clients send repeats itself, so a recording is compressed as a whole, like payloads beside like.
//!
//! ```text
//!  "surgetank recording 1\n"  then, as one zlib stream (RFC 1950):
//!  u32 length, script  { u8 form, u32 length, payload }*                 numbers are little-endian
//! ```
//!
//! In the script, `record NAME recorded 3` offers the third payload.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use surgetank_core::item::Signal;

use crate::Fault;
use crate::parse;
use crate::script::{Bounds, Payload, PayloadForm, Script};

/// How a recording begins.
const MAGIC: &[u8] = b"surgetank recording 1\n";

/// Bytes of script and payloads.
const MAX_BYTES: u64 = 32 << 20;

/// Forms by their numbers.
const FORMS: [PayloadForm; 7] = [
    PayloadForm::Envelope,
    PayloadForm::Request(Signal::Traces),
    PayloadForm::Request(Signal::Logs),
    PayloadForm::Request(Signal::Metrics),
    PayloadForm::Json(Signal::Traces),
    PayloadForm::Json(Signal::Logs),
    PayloadForm::Json(Signal::Metrics),
];

/// True when `contents` begin as a recording does.
#[must_use]
pub fn is_one(contents: &[u8]) -> bool {
    contents.starts_with(MAGIC)
}

/// Reads a recording.
///
/// # Errors
/// It is damaged, or its script is not well formed.
pub fn read(contents: &[u8]) -> Result<Script, Fault> {
    let damaged = |what: &str| Fault::new(1, format!("the recording {what}"), "record it anew");
    let compressed = contents
        .strip_prefix(MAGIC)
        .ok_or_else(|| damaged("has another beginning"))?;
    let mut bytes = Vec::new();
    ZlibDecoder::new(compressed)
        .take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|error| damaged(&format!("is damaged: {error}")))?;
    let mut rest = bytes.as_slice();
    let ends = || damaged("ends too early, or is too long");
    let script = take(&mut rest).ok_or_else(ends)?;
    let script = core::str::from_utf8(script).map_err(|_| damaged("has a script that is no text"))?;
    let mut payloads = Vec::new();
    while let Some((form, after)) = rest.split_first() {
        rest = after;
        let form = FORMS.get(usize::from(*form));
        payloads.push(Payload {
            form: *form.ok_or_else(|| damaged("has a payload of no known form"))?,
            bytes: take(&mut rest).ok_or_else(ends)?.to_vec(),
        });
    }
    parse::read(script, payloads, Bounds::RECORDED)
}

/// Writes a recording.
///
/// # Errors
/// Never in practice: memory is written to.
pub fn write(script: &str, payloads: &[Payload]) -> std::io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(MAGIC.to_vec(), Compression::best());
    put(&mut encoder, script.as_bytes())?;
    for payload in payloads {
        let form = FORMS.iter().position(|form| *form == payload.form);
        encoder.write_all(&[form.unwrap_or_default() as u8])?;
        put(&mut encoder, &payload.bytes)?;
    }
    encoder.finish()
}

fn put(to: &mut impl Write, bytes: &[u8]) -> std::io::Result<()> {
    to.write_all(&(bytes.len() as u32).to_le_bytes())?;
    to.write_all(bytes)
}

fn take<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = from.split_first_chunk()?;
    let (taken, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *from = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "destination sentry sentry\nrecord sentry recorded 1\nanswer r1 200\n";

    fn payload() -> Payload {
        Payload {
            form: PayloadForm::Envelope,
            bytes: b"{}\n{\"type\":\"event\"}\n{\"message\":\"recorded\"}\n".to_vec(),
        }
    }

    #[test]
    fn what_is_written_is_read_and_plays() {
        let written = write(SCRIPT, &[payload()]).unwrap();
        assert!(is_one(&written));
        let script = crate::read(&written).unwrap();
        assert_eq!(script.payloads, [payload()]);
        let trace = crate::run_script(&script).unwrap();
        assert!(
            trace.contains("record sentry envelope error 1, 43 bytes"),
            "{trace}"
        );
        assert!(trace.contains("error delivered+1"), "{trace}");
    }

    #[test]
    fn a_payload_that_is_not_there_cannot_be_recorded() {
        let fault = read(&write(SCRIPT, &[]).unwrap()).unwrap_err();
        assert!(fault.wrong.contains("nothing was recorded"), "{fault}");
        let script = SCRIPT.replace("recorded 1", "recorded 2");
        let fault = read(&write(&script, &[payload()]).unwrap()).unwrap_err();
        assert!(fault.right.contains("from 1 to 1"), "{fault}");
    }

    #[test]
    fn a_damaged_recording_is_an_error() {
        let written = write(SCRIPT, &[payload()]).unwrap();
        for length in MAGIC.len()..written.len() {
            assert!(read(&written[..length]).is_err(), "{length} bytes of it");
        }
        assert!(read(b"another").is_err());
    }
}
