//! What a body needs that the engine does not know: names, keys, resources. The host passes it with every piece, so
//! nothing of it is kept.

use surgetank_core::limits::MAX_ORIGINS;
use surgetank_core::request::BodyContext;
use surgetank_core::time::UnixTime;
use surgetank_core::wire::otlp::framing::Frame;

use crate::error::{Error, Said};
use crate::fields::{Fields, text};

/// Calls `with` with the context that `bytes` describe.
pub(crate) fn with_context<T>(
    bytes: &[u8],
    wall: UnixTime,
    with: impl FnOnce(&BodyContext<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut origins = [Frame::default(); MAX_ORIGINS];
    let mut used = 0;
    let mut context = BodyContext {
        sent_at: wall,
        sdk_name: "surgetank.module",
        sdk_version: env!("CARGO_PKG_VERSION"),
        public_key: "",
        release: None,
        environment: None,
        resource: b"",
        scope: b"",
        origins: &[],
    };
    let mut fields = Fields::new(bytes);
    while let Some((tag, value)) = fields.next()? {
        match tag {
            1 => context.sdk_name = text(value)?,
            2 => context.sdk_version = text(value)?,
            3 => context.public_key = text(value)?,
            4 => context.release = Some(text(value)?),
            5 => context.environment = Some(text(value)?),
            6 => context.resource = value,
            7 => context.scope = value,
            8 => {
                *origins
                    .get_mut(used)
                    .ok_or(const { &Said::malformed("more than 63 other origins") })? = origin(value)?;
                used += 1;
            }
            _ => return Err(const { &Said::malformed("a context has no field of that number") }),
        }
    }
    context.origins = origins.get(..used).unwrap_or_default();
    with(&context)
}

/// A resource and scope of its own.
fn origin(bytes: &[u8]) -> Result<Frame<'_>, Error> {
    let mut frame = Frame::default();
    let mut fields = Fields::new(bytes);
    while let Some((tag, value)) = fields.next()? {
        match tag {
            1 => frame.resource = value,
            2 => frame.scope = value,
            3 => frame.resource_schema_url = text(value)?,
            4 => frame.scope_schema_url = text(value)?,
            _ => return Err(const { &Said::malformed("an origin has no field of that number") }),
        }
    }
    Ok(frame)
}
