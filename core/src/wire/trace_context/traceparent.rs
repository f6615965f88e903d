//! `traceparent`: which trace a request belongs to, and who calls.

use core::fmt;

use super::{SpanId, TraceId, hex, trim_ows};

/// Bytes of a `traceparent` of version 00, and of the part of higher versions that is read.
const LENGTH: usize = 55;

/// Bit of the flags: the caller may have recorded the trace.
const SAMPLED: u8 = 1;

/// Bit of the flags: the last seven bytes of the trace id are random (Level 2).
const RANDOM: u8 = 2;

/// A valid `traceparent`.
///
/// `Display` writes it as version 00 with the bits of [`Traceparent::known_flags`]; for a request of one's own, put
/// one's own span into `parent_id` first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Traceparent {
    /// Version as received, never 255. What a version above 0 adds is not read.
    pub version: u8,
    /// The trace.
    pub trace_id: TraceId,
    /// The caller's span.
    pub parent_id: SpanId,
    /// The flags as received.
    pub flags: u8,
}

/// Why a `traceparent` is not valid. A new trace starts instead.
///
/// Exhaustive; named for the first field that is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TraceparentError {
    /// There is none.
    Missing,
    /// There are several, which are worth nothing.
    Repeated,
    /// Shorter than 55 bytes.
    Short,
    /// Not two lower-case hexadecimal digits, or `ff`.
    Version,
    /// Not 32 lower-case hexadecimal digits with a dash on both sides, or all zero.
    TraceId,
    /// Not 16 lower-case hexadecimal digits with a dash on both sides, or all zero.
    ParentId,
    /// Not two lower-case hexadecimal digits.
    Flags,
    /// Version 00 is longer than 55 bytes, or another version goes on without a dash.
    Trailing,
}

impl fmt::Display for TraceparentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "no traceparent",
            Self::Repeated => "more than one traceparent",
            Self::Short => "traceparent is shorter than 55 characters",
            Self::Version => "traceparent's version is not two lower-case hexadecimal digits other than ff",
            Self::TraceId => "traceparent's trace-id is not 32 lower-case hexadecimal digits, not all zero",
            Self::ParentId => "traceparent's parent-id is not 16 lower-case hexadecimal digits, not all zero",
            Self::Flags => "traceparent's flags are not two lower-case hexadecimal digits",
            Self::Trailing => "traceparent goes on after its flags",
        })
    }
}

impl core::error::Error for TraceparentError {}

impl Traceparent {
    /// Reads the values of every `traceparent` line of a request. Cost: looks at 56 bytes of one.
    ///
    /// # Errors
    /// See [`TraceparentError`].
    pub fn parse(lines: &[&[u8]]) -> Result<Self, TraceparentError> {
        let value = match lines {
            [] => return Err(TraceparentError::Missing),
            [value] => trim_ows(value),
            _ => return Err(TraceparentError::Repeated),
        };
        if value.len() < LENGTH {
            return Err(TraceparentError::Short);
        }
        let (version, rest) = field::<2>(value).ok_or(TraceparentError::Version)?;
        let rest = rest.strip_prefix(b"-").ok_or(TraceparentError::Version)?;
        let version = match hex::decode_lower(version) {
            Some([version]) if version != 0xFF => version,
            _ => return Err(TraceparentError::Version),
        };
        let (trace_id, rest) = field::<32>(rest).ok_or(TraceparentError::TraceId)?;
        let trace_id = TraceId::parse(trace_id).ok_or(TraceparentError::TraceId)?;
        let rest = rest.strip_prefix(b"-").ok_or(TraceparentError::TraceId)?;
        let (parent_id, rest) = field::<16>(rest).ok_or(TraceparentError::ParentId)?;
        let parent_id = SpanId::parse(parent_id).ok_or(TraceparentError::ParentId)?;
        let rest = rest.strip_prefix(b"-").ok_or(TraceparentError::ParentId)?;
        let (flags, rest) = field::<2>(rest).ok_or(TraceparentError::Flags)?;
        let [flags] = hex::decode_lower(flags).ok_or(TraceparentError::Flags)?;
        match rest.first() {
            None => {}
            Some(b'-') if version > 0 => {}
            Some(_) => return Err(TraceparentError::Trailing),
        }
        Ok(Self {
            version,
            trace_id,
            parent_id,
            flags,
        })
    }

    /// True when the caller may have recorded the trace.
    #[must_use]
    pub const fn sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// True when the last seven bytes of the trace id are known to be random, so that sampling by them is fair.
    #[must_use]
    pub const fn random(&self) -> bool {
        self.known_flags() & RANDOM != 0
    }

    /// The flags that may be passed on: sampled and random, of a higher version sampled alone, as nothing may be
    /// assumed about its other bits.
    #[must_use]
    pub const fn known_flags(&self) -> u8 {
        let known = if self.version == 0 {
            SAMPLED | RANDOM
        } else {
            SAMPLED
        };
        self.flags & known
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-", self.trace_id, self.parent_id)?;
        hex::write_lower(f, &[self.known_flags()])
    }
}

fn field<const N: usize>(text: &[u8]) -> Option<(&[u8; N], &[u8])> {
    text.split_first_chunk()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::string::{String, ToString};

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    fn parse(value: &str) -> Result<Traceparent, TraceparentError> {
        Traceparent::parse(&[value.as_bytes()])
    }

    #[test]
    fn digits_of_ids_are_what_was_read() {
        let read = parse(&format!("00-{TRACE}-{PARENT}-01")).unwrap();
        assert_eq!(read.trace_id.digits(), TRACE.as_bytes());
        assert_eq!(read.parent_id.digits(), PARENT.as_bytes());
    }

    #[test]
    fn every_field_is_read() {
        let parent = parse(&format!("00-{TRACE}-{PARENT}-01")).unwrap();
        assert_eq!(parent.version, 0);
        assert_eq!(parent.trace_id.to_string(), TRACE);
        assert_eq!(parent.parent_id.to_string(), PARENT);
        assert!(parent.sampled() && !parent.random());
        assert_eq!(parent.to_string(), format!("00-{TRACE}-{PARENT}-01"));
        assert_eq!(parent.trace_id.key().0, 0xa3ce_929d_0e0e_4736);
    }

    #[test]
    fn unknown_flags_are_not_passed_on() {
        let written =
            |version: &str, flags: &str| parse(&format!("{version}-{TRACE}-{PARENT}-{flags}")).unwrap();
        assert_eq!(written("00", "ff").to_string(), format!("00-{TRACE}-{PARENT}-03"));
        assert_eq!(written("00", "02").to_string(), format!("00-{TRACE}-{PARENT}-02"));
        assert_eq!(written("01", "ff").to_string(), format!("00-{TRACE}-{PARENT}-01"));
        assert!(!written("01", "02").random());
        assert_eq!(written("01", "fe").flags, 0xFE);
    }

    #[test]
    fn higher_versions_may_go_on_after_a_dash() {
        for rest in ["", "-", "-what-the-future-will-be-like"] {
            assert!(parse(&format!("cc-{TRACE}-{PARENT}-01{rest}")).is_ok(), "{rest}");
        }
        for value in [
            format!("cc-{TRACE}-{PARENT}-01.more"),
            format!("cc-{TRACE}-{PARENT}-010"),
            format!("00-{TRACE}-{PARENT}-01-"),
            format!("00-{TRACE}-{PARENT}-01."),
        ] {
            assert_eq!(parse(&value), Err(TraceparentError::Trailing), "{value}");
        }
    }

    #[test]
    fn the_first_wrong_field_is_named() {
        use TraceparentError as Error;
        for (value, error) in [
            (String::new(), Error::Short),
            (format!("00-{TRACE}-{PARENT}-"), Error::Short),
            (format!("0-{TRACE}-{PARENT}-01-"), Error::Version),
            (format!("ff-{TRACE}-{PARENT}-01"), Error::Version),
            (format!("0A-{TRACE}-{PARENT}-01"), Error::Version),
            (format!("00_{TRACE}-{PARENT}-01"), Error::Version),
            (format!("00-{}-{PARENT}-01", TRACE.to_uppercase()), Error::TraceId),
            (format!("00-{}-{PARENT}-01", "0".repeat(32)), Error::TraceId),
            (format!("00-{TRACE}0-{PARENT}-01"), Error::TraceId),
            (
                format!("00-{TRACE}-{}-01", PARENT.to_uppercase()),
                Error::ParentId,
            ),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), Error::ParentId),
            (format!("00-{TRACE}-{PARENT}_01"), Error::ParentId),
            (format!("00-{TRACE}-{PARENT}-0A"), Error::Flags),
            (format!("00-{TRACE}-{PARENT}-0\u{ff11}"), Error::Flags),
        ] {
            assert_eq!(parse(&value), Err(error), "{value}");
        }
    }

    #[test]
    fn white_space_around_the_value_is_ignored() {
        assert!(parse(&format!("\t 00-{TRACE}-{PARENT}-01 \t")).is_ok());
        assert!(parse(&format!("\n00-{TRACE}-{PARENT}-01")).is_err());
    }

    #[test]
    fn only_a_single_line_counts() {
        let value = format!("00-{TRACE}-{PARENT}-01");
        let line = value.as_bytes();
        assert_eq!(Traceparent::parse(&[]), Err(TraceparentError::Missing));
        assert_eq!(Traceparent::parse(&[line, line]), Err(TraceparentError::Repeated));
    }
}
