//! Writing bytes to a sink without ever panicking.
//!
//! `embedded_io::Write::write_all` panics by contract when a sink takes nothing; here that is an error like any other.

use embedded_io::Write;

/// Why something could not be written.
///
/// Exhaustive. What was written before the failure stays written: the caller gives the whole request up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteError<E> {
    /// The sink failed.
    Sink(E),
    /// The sink took no byte and gave no reason.
    Stalled,
    /// What is to be written is not what was announced or not well formed: a bug of the caller.
    Invalid(&'static str),
}

impl<E: core::fmt::Display> core::fmt::Display for WriteError<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Sink(error) => error.fmt(f),
            Self::Stalled => f.write_str("the sink took no bytes"),
            Self::Invalid(what) => f.write_str(what),
        }
    }
}

impl<E: core::error::Error> core::error::Error for WriteError<E> {}

/// Writes all of `bytes`. Calls the sink as often as it takes less.
///
/// # Errors
/// The sink's; [`WriteError::Stalled`] when it takes nothing.
pub fn put<W: Write + ?Sized>(out: &mut W, bytes: &[u8]) -> Result<(), WriteError<W::Error>> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let taken = out.write(rest).map_err(WriteError::Sink)?;
        if taken == 0 {
            return Err(WriteError::Stalled);
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    Ok(())
}
