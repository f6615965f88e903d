//! The JSON writer.

use crate::time::UnixTime;
use crate::wire::hex;
use crate::wire::output::{WriteError, put};
use crate::wire::timestamp::timestamp;
use embedded_io::Write;

/// Nesting up to which commas are kept track of.
const MAX_LEVELS: u8 = 64;

/// Writes JSON text, setting commas where they belong.
///
/// Each method writes one step and returns the writer, so steps can be chained. Members are written as
/// [`Writer::key`] and then one value; brackets are the caller's to balance.
///
/// ```
/// use surgetank_core::wire::json::Writer;
///
/// let mut memory = [0; 64];
/// let mut out = &mut memory[..];
/// Writer::new(&mut out)
///     .begin_object()?
///     .key("level")?.text("info")?
///     .key("counts")?.begin_array()?.unsigned(1)?.signed(-2)?.end_array()?
///     .end_object()?;
/// let left = out.len();
/// assert_eq!(&memory[..64 - left], br#"{"level":"info","counts":[1,-2]}"#);
/// # Ok::<(), surgetank_core::wire::WriteError<embedded_io::SliceWriteError>>(())
/// ```
#[derive(Debug)]
pub struct Writer<'w, W: Write + ?Sized> {
    out: &'w mut W,
    /// One bit a level, the innermost lowest: something was written there, so a comma comes next.
    filled: u64,
    levels: u8,
}

impl<'w, W: Write + ?Sized> Writer<'w, W> {
    /// A writer at the start of a JSON text.
    pub const fn new(out: &'w mut W) -> Self {
        Self {
            out,
            filled: 0,
            levels: 0,
        }
    }

    /// Writes `{`.
    ///
    /// # Errors
    ///
    /// The sink's, as in every method here; or more than 64 open brackets.
    pub fn begin_object(&mut self) -> Result<&mut Self, WriteError<W::Error>> {
        self.begin(b"{")
    }

    /// Writes `}`.
    ///
    /// # Errors
    ///
    /// The sink's.
    pub fn end_object(&mut self) -> Result<&mut Self, WriteError<W::Error>> {
        self.end(b"}")
    }

    /// Writes `[`.
    ///
    /// # Errors
    ///
    /// The sink's; or more than 64 open brackets.
    pub fn begin_array(&mut self) -> Result<&mut Self, WriteError<W::Error>> {
        self.begin(b"[")
    }

    /// Writes `]`.
    ///
    /// # Errors
    ///
    /// The sink's.
    pub fn end_array(&mut self) -> Result<&mut Self, WriteError<W::Error>> {
        self.end(b"]")
    }

    /// Writes a member name and its colon; exactly one value must follow.
    ///
    /// # Errors
    ///
    /// The sink's.
    pub fn key(&mut self, name: &str) -> Result<&mut Self, WriteError<W::Error>> {
        self.comma()?;
        quoted(self.out, name)?;
        put(self.out, b":")?;
        // The value that follows belongs to the name: no comma before it.
        self.filled &= !1;
        Ok(self)
    }

    /// Writes a string: quotes, backslashes and control characters escaped, everything else as it is.
    ///
    /// # Errors
    ///
    /// The sink's.
    pub fn text(&mut self, value: &str) -> Result<&mut Self, WriteError<W::Error>> {
        self.comma()?;
        quoted(self.out, value)?;
        Ok(self)
    }

    /// Writes `bytes` as a string of lower-case hexadecimal digits: the form of event, trace and span ids.
    ///
    /// # Errors
    ///
    /// The sink's.
    pub fn hex(&mut self, bytes: &[u8]) -> Result<&mut Self, WriteError<W::Error>> {
        self.comma()?;
        put(self.out, b"\"")?;
        for byte in bytes {
            put(self.out, &hex::lower_pair(*byte))?;
        }
        put(self.out, b"\"")?;
        Ok(self)
    }

    /// Writes a time as a string, `2026-01-02T03:04:05.678901Z`.
    ///
    /// # Errors
    ///
    /// The sink's.
    pub fn time(&mut self, time: UnixTime) -> Result<&mut Self, WriteError<W::Error>> {
        self.comma()?;
        put(self.out, b"\"")?;
        put(self.out, &timestamp(time))?;
        put(self.out, b"\"")?;
        Ok(self)
    }

    /// Writes a non-negative integer.
    ///
    /// # Errors
    ///
    /// The sink's.
    pub fn unsigned(&mut self, value: u64) -> Result<&mut Self, WriteError<W::Error>> {
        self.comma()?;
        decimal(self.out, value)?;
        Ok(self)
    }

    /// Writes an integer.
    ///
    /// # Errors
    ///
    /// The sink's.
    pub fn signed(&mut self, value: i64) -> Result<&mut Self, WriteError<W::Error>> {
        self.comma()?;
        if value < 0 {
            put(self.out, b"-")?;
        }
        decimal(self.out, value.unsigned_abs())?;
        Ok(self)
    }

    /// Writes `true` or `false`.
    ///
    /// # Errors
    ///
    /// The sink's.
    pub fn bool(&mut self, value: bool) -> Result<&mut Self, WriteError<W::Error>> {
        self.raw(if value { b"true" } else { b"false" })
    }

    /// Writes `null`.
    ///
    /// # Errors
    ///
    /// The sink's.
    pub fn null(&mut self) -> Result<&mut Self, WriteError<W::Error>> {
        self.raw(b"null")
    }

    /// Writes one value that is JSON already. It is not checked.
    ///
    /// # Errors
    ///
    /// The sink's.
    pub fn raw(&mut self, value: &[u8]) -> Result<&mut Self, WriteError<W::Error>> {
        self.comma()?;
        put(self.out, value)?;
        Ok(self)
    }

    fn begin(&mut self, bracket: &[u8]) -> Result<&mut Self, WriteError<W::Error>> {
        if self.levels >= MAX_LEVELS {
            return Err(WriteError::Invalid("more than 64 nested objects or arrays"));
        }
        self.comma()?;
        self.levels = self.levels.wrapping_add(1);
        self.filled <<= 1;
        put(self.out, bracket)?;
        Ok(self)
    }

    fn end(&mut self, bracket: &[u8]) -> Result<&mut Self, WriteError<W::Error>> {
        self.levels = self.levels.saturating_sub(1);
        self.filled >>= 1;
        // Whatever was just closed was a value of the level it stands in.
        self.filled |= 1;
        put(self.out, bracket)?;
        Ok(self)
    }

    /// Before a name or a value: a comma when something precedes it.
    fn comma(&mut self) -> Result<(), WriteError<W::Error>> {
        if self.filled & 1 == 1 {
            put(self.out, b",")?;
        }
        self.filled |= 1;
        Ok(())
    }
}

/// Writes `text` between quotes, with the escapes that RFC 8259 demands.
pub(in crate::wire) fn quoted<W: Write + ?Sized>(
    out: &mut W,
    text: &str,
) -> Result<(), WriteError<W::Error>> {
    put(out, b"\"")?;
    let mut rest = text.as_bytes();
    while let Some(at) = rest
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))
    {
        let Some((plain, [byte, after @ ..])) = rest.split_at_checked(at) else {
            break;
        };
        put(out, plain)?;
        let [high, low] = hex::lower_pair(*byte);
        match byte {
            b'"' => put(out, b"\\\"")?,
            b'\\' => put(out, b"\\\\")?,
            b'\n' => put(out, b"\\n")?,
            b'\r' => put(out, b"\\r")?,
            b'\t' => put(out, b"\\t")?,
            8 => put(out, b"\\b")?,
            12 => put(out, b"\\f")?,
            _ => put(out, &[b'\\', b'u', b'0', b'0', high, low])?,
        }
        rest = after;
    }
    put(out, rest)?;
    put(out, b"\"")
}

/// Writes `value` in decimal.
pub(in crate::wire) fn decimal<W: Write + ?Sized>(
    out: &mut W,
    value: u64,
) -> Result<(), WriteError<W::Error>> {
    let mut digits = [b'0'; 20];
    let mut left = value;
    let mut used = 0_usize;
    for digit in digits.iter_mut().rev() {
        *digit = b'0'.wrapping_add((left % 10) as u8);
        left /= 10;
        used = used.wrapping_add(1);
        if left == 0 {
            break;
        }
    }
    put(
        out,
        digits.get(20_usize.saturating_sub(used)..).unwrap_or_default(),
    )
}
