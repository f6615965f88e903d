//! Bodies of requests as tests read them: written into memory, with a context that never changes.

use core::convert::Infallible;

use embedded_io::{ErrorType, Write};
use surgetank_core::request::{BodyContext, Request};
use surgetank_core::time::UnixTime;
use surgetank_core::wire::WriteError;

/// The context of every body: the same on each run and each host.
pub const CONTEXT: BodyContext<'static> = BodyContext {
    sent_at: UnixTime::from_secs(1_700_000_000),
    sdk_name: "surgetank.tests",
    sdk_version: "1.0.0",
    public_key: "0123456789abcdef0123456789abcdef",
    release: None,
    environment: None,
    resource: b"",
    scope: b"",
    origins: &[],
};

/// Memory that grows as it is written to.
#[derive(Clone, Debug, Default)]
pub struct Bytes(pub Vec<u8>);

impl ErrorType for Bytes {
    type Error = Infallible;
}

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// The body of a request.
///
/// # Errors
/// [`WriteError::Invalid`] for a record that is not what its header says.
pub fn of(request: &Request<'_>) -> Result<Vec<u8>, WriteError<Infallible>> {
    let mut bytes = Bytes::default();
    request.write_body(&CONTEXT, &mut bytes)?;
    Ok(bytes.0)
}

/// FNV-1a, 64 bits: a few lines in any language, so that any host can compute it where the body is.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_hash_is_fnv_1a() {
        // Test vectors of draft-eastlake-fnv, appendix C.
        assert_eq!(super::hash(b""), 0xCBF2_9CE4_8422_2325);
        assert_eq!(super::hash(b"a"), 0xAF63_DC4C_8601_EC8C);
        assert_eq!(super::hash(b"foobar"), 0x8594_4171_F739_67E8);
    }
}
