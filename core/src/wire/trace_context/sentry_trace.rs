//! `sentry-trace`: which trace a request belongs to, who calls, and whether the trace is sampled.
//!
//! ```text
//! sentry-trace: 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1
//! ```

use core::fmt;

use super::{SpanId, TraceId, trim_ows};

/// A valid `sentry-trace`. `Display` writes the header's value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SentryTrace {
    /// The trace.
    pub trace_id: TraceId,
    /// The caller's span.
    pub parent_id: SpanId,
    /// The caller's decision; `None` leaves it to the receiver.
    pub sampled: Option<bool>,
}

/// Why a `sentry-trace` is not valid. A new trace starts instead.
///
/// Exhaustive; named for the first field that is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SentryTraceError {
    /// There is none.
    Missing,
    /// There are several, which are worth nothing.
    Repeated,
    /// Not 32 lower-case hexadecimal digits and a dash, or all zero.
    TraceId,
    /// Not 16 lower-case hexadecimal digits, or all zero.
    ParentId,
    /// Something after the span other than `-0` or `-1`.
    Sampled,
}

impl fmt::Display for SentryTraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "no sentry-trace",
            Self::Repeated => "more than one sentry-trace",
            Self::TraceId => "sentry-trace's trace id is not 32 lower-case hexadecimal digits, not all zero",
            Self::ParentId => "sentry-trace's span id is not 16 lower-case hexadecimal digits, not all zero",
            Self::Sampled => "sentry-trace's decision is neither -0 nor -1",
        })
    }
}

impl core::error::Error for SentryTraceError {}

impl SentryTrace {
    /// Reads the values of every `sentry-trace` line of a request. Cost: looks at 52 bytes of one.
    ///
    /// # Errors
    /// See [`SentryTraceError`].
    pub fn parse(lines: &[&[u8]]) -> Result<Self, SentryTraceError> {
        let value = match lines {
            [] => return Err(SentryTraceError::Missing),
            [value] => trim_ows(value),
            _ => return Err(SentryTraceError::Repeated),
        };
        let (trace_id, rest) = value.split_first_chunk::<32>().ok_or(SentryTraceError::TraceId)?;
        let trace_id = TraceId::parse(trace_id).ok_or(SentryTraceError::TraceId)?;
        let rest = rest.strip_prefix(b"-").ok_or(SentryTraceError::TraceId)?;
        let (parent_id, rest) = rest.split_first_chunk::<16>().ok_or(SentryTraceError::ParentId)?;
        let parent_id = SpanId::parse(parent_id).ok_or(SentryTraceError::ParentId)?;
        let sampled = match rest {
            b"" => None,
            b"-0" => Some(false),
            b"-1" => Some(true),
            _ => return Err(SentryTraceError::Sampled),
        };
        Ok(Self {
            trace_id,
            parent_id,
            sampled,
        })
    }
}

impl fmt::Display for SentryTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sampled = match self.sampled {
            None => "",
            Some(false) => "-0",
            Some(true) => "-1",
        };
        write!(f, "{}-{}{sampled}", self.trace_id, self.parent_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::string::{String, ToString};

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn parse(value: &str) -> Result<SentryTrace, SentryTraceError> {
        SentryTrace::parse(&[value.as_bytes()])
    }

    #[test]
    fn each_decision_is_read_and_written() {
        for (ending, sampled) in [("", None), ("-0", Some(false)), ("-1", Some(true))] {
            let value = format!("{TRACE}-{SPAN}{ending}");
            let read = parse(&format!(" {value}\t")).unwrap();
            assert_eq!(read.sampled, sampled);
            assert_eq!(read.to_string(), value);
        }
    }

    #[test]
    fn the_first_wrong_field_is_named() {
        use SentryTraceError as Error;
        for (value, error) in [
            (String::new(), Error::TraceId),
            (format!("00-{TRACE}-{SPAN}-01"), Error::TraceId),
            (format!("{}-{SPAN}", TRACE.to_uppercase()), Error::TraceId),
            (format!("{}-{SPAN}", "0".repeat(32)), Error::TraceId),
            (format!("{TRACE}{SPAN}"), Error::TraceId),
            (format!("{TRACE}-"), Error::ParentId),
            (format!("{TRACE}-{}", "0".repeat(16)), Error::ParentId),
            (format!("{TRACE}-{SPAN}-"), Error::Sampled),
            (format!("{TRACE}-{SPAN}-2"), Error::Sampled),
            (format!("{TRACE}-{SPAN}-1-x"), Error::Sampled),
            (format!("{TRACE}-{SPAN}1"), Error::Sampled),
        ] {
            assert_eq!(parse(&value), Err(error), "{value}");
        }
    }

    #[test]
    fn only_a_single_line_counts() {
        let value = format!("{TRACE}-{SPAN}");
        let line = value.as_bytes();
        assert_eq!(SentryTrace::parse(&[]), Err(SentryTraceError::Missing));
        assert_eq!(SentryTrace::parse(&[line, line]), Err(SentryTraceError::Repeated));
    }
}
