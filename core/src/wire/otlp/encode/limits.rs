//! How much of a record is kept.

/// Limits of the OpenTelemetry specification, with its defaults. What is left out is counted in the record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Attributes per span or log record.
    pub attributes: u32,
    /// Characters (Unicode code points) of a string and bytes of a byte string, in attributes at any depth; longer ones
    /// are cut. `u32::MAX` for no limit.
    pub value_length: u32,
    /// Events per span.
    pub events: u32,
    /// Links per span.
    pub links: u32,
    /// Attributes per event.
    pub event_attributes: u32,
    /// Attributes per link.
    pub link_attributes: u32,
}

impl Limits {
    /// No limit at all.
    pub const NONE: Self = Self {
        attributes: u32::MAX,
        value_length: u32::MAX,
        events: u32::MAX,
        links: u32::MAX,
        event_attributes: u32::MAX,
        link_attributes: u32::MAX,
    };
}

impl Default for Limits {
    /// 128 of everything, values of any length.
    fn default() -> Self {
        Self {
            attributes: 128,
            value_length: u32::MAX,
            events: 128,
            links: 128,
            event_attributes: 128,
            link_attributes: 128,
        }
    }
}
