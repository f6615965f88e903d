//! Every bound of the core in one place: value, unit, reason.
//!
//! A bound that depends on how much memory a host gives (queue bytes, destinations, requests in flight) is a size of
//! the storage and is not listed here.

use crate::time::Duration;

/// Bytes of one queue block. A record takes whole blocks, so half a block is lost per record on average; 256 keeps a
/// small event within four blocks and the links under 2 % of memory.
pub const BLOCK_BYTES: usize = 256;

/// Most destinations one engine can have: the index is a byte and the last value is kept free.
pub const MAX_DESTINATIONS: usize = 255;

/// Bytes of a payload that a queue accepts, whatever its memory: Relay refuses larger envelopes (200 MiB) anyway.
pub const MAX_RECORD_BYTES: usize = 200 * 1024 * 1024;

/// Bytes of an answer's body that are looked at. The collector reads 64 KiB; more never changes a decision.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Items in one envelope that the reader goes through. Relay's own limit (its error above 500).
pub const MAX_ENVELOPE_ITEMS: usize = 500;

/// Bytes of one envelope header line or item header line. SDKs write under 4 KiB (dynamic sampling context included).
pub const MAX_HEADER_LINE_BYTES: usize = 16 * 1024;

/// Nesting of JSON that the header scanner follows; deeper is malformed.
pub const MAX_JSON_DEPTH: usize = 32;

/// Nesting of JSON that is followed inside a payload when its elements are counted: what Relay's parser allows.
pub const MAX_PAYLOAD_JSON_DEPTH: usize = 128;

/// Bytes of a rate-limit header that are read. Relay writes one group per limit, well under 200 bytes each.
pub const MAX_RATE_LIMIT_HEADER_BYTES: usize = 16 * 1024;

/// Groups of one rate-limit header that are read: more than there are categories, so one for each fits.
pub const MAX_RATE_LIMIT_GROUPS: usize = 64;

/// The limit for all categories after a 429 that names none (rate-limiting specification).
pub const DEFAULT_RATE_LIMIT: Duration = Duration::from_secs(60);

/// Bytes of a `Retry-After` value; the longest legal date has 33. Longer is unparsable.
pub const MAX_RETRY_AFTER_BYTES: usize = 64;

/// The longest server-given OTLP delay that is obeyed as it stands; a longer one is cut to this (ten minutes).
pub const MAX_OTLP_SERVER_DELAY: Duration = Duration::from_secs(600);

/// Bytes of one OTLP request: the specification's recommended limit, before compression.
pub const MAX_OTLP_REQUEST_BYTES: usize = 64 * 1024 * 1024;

/// Bytes of an answer to an OTLP request: the specification's recommended limit, after decompression.
pub const MAX_OTLP_RESPONSE_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of a `grpc-status-details-bin` trailer that are read; HTTP/2 peers allow 8 to 16 KiB for all trailers.
pub const MAX_STATUS_DETAILS_BYTES: usize = 16 * 1024;

/// Characters of a server's message that are shown: enough for a sentence and a name, too few to flood a log.
pub const MAX_ANSWER_MESSAGE_CHARS: usize = 1024;

/// Nesting of arrays and maps in an attribute's value; deeper ones are written empty (OpenTelemetry, "Attribute Limits").
pub const MAX_VALUE_DEPTH: usize = 64;

/// Nesting of an OTLP/JSON text: what the scanner can follow, and as far as serde_json-based servers read.
pub const MAX_OTLP_JSON_DEPTH: usize = 128;

/// Nesting of messages in an OTLP request: [`MAX_VALUE_DEPTH`] maps, three messages each, and what stands around them.
pub const MAX_OTLP_MESSAGE_DEPTH: usize = 200;

/// Elements in one container of logs (Sentry batches of 100).
pub const MAX_LOGS_PER_ENVELOPE: usize = 100;

/// Elements in one container of spans, all of one trace (telemetry-processor specification).
pub const MAX_SPANS_PER_ENVELOPE: usize = 1000;

/// Elements in one container of trace metrics (Sentry batches of 100).
pub const MAX_METRICS_PER_ENVELOPE: usize = 100;

/// Items (sessions) in one envelope.
pub const MAX_ITEMS_PER_ENVELOPE: usize = 100;

/// Bytes of one client report item; documents still say 4 KiB, Relay takes 100 KiB in sum.
pub const MAX_CLIENT_REPORT_BYTES: usize = 4 * 1024;

/// Resources and scopes other than its own that the records of a destination can name: a program has a dozen tracers
/// and a few dozen modules that log. A request's share of each stands in one word of bits, with one left for its own.
pub const MAX_ORIGINS: usize = 63;

/// `tracestate` members (W3C Trace Context, section 3.3.1).
pub const MAX_TRACESTATE_MEMBERS: usize = 32;

/// Bytes of a `tracestate` that are kept when it is passed on; the specification asks for at least 512.
pub const MAX_TRACESTATE_BYTES: usize = 8 * 1024;

/// Bytes of all `tracestate` lines that are read: 32 members of the longest kind are 16 447 bytes, plus as much white space.
pub const MAX_TRACESTATE_HEADER_BYTES: usize = 32 * 1024;

/// Bytes of `baggage` passed on (W3C Baggage: at least 8192, and at least 64 members). They bound its members, too.
pub const MAX_BAGGAGE_BYTES: usize = 8192;

/// Bytes of a DSN. Real ones are under 200; the rest is room for a long host name and path.
pub const MAX_DSN_BYTES: usize = 2048;

/// Pairs of category and drop reason in the local breakdown: the dozen categories a program uses, each lost in a few
/// ways, fit several times over; the sums per category do not depend on it. Half of it where pointers have 32 bits and
/// memory is dearer: 16 bytes a pair are a tenth of a small device's engine.
pub const MAX_REASON_TOTALS: usize = if usize::BITS >= 64 { 64 } else { 32 };

/// Entries of one client report: the longest possible entry has 99 bytes, so that a report always stays under
/// [`MAX_CLIENT_REPORT_BYTES`].
pub const MAX_REPORT_ENTRIES: usize = 40;

/// The largest downsample factor: 1 trace in 1024 (the Python client's bound, develop docs "Backpressure Management").
pub const MAX_DOWNSAMPLE_FACTOR: u8 = 10;

/// Bytes read in each place of a request that may hold a key (a header, the query); HTTP servers take 8 KiB a line.
pub const MAX_AUTH_BYTES: usize = 8 * 1024;

/// Bytes of a public or secret key with its flags; Sentry issues 32, and a flag is a short word.
pub const MAX_AUTH_KEY_BYTES: usize = 128;

/// Bytes of a client's name that are kept and passed on; the rest is cut, as it informs people only.
pub const MAX_AUTH_CLIENT_BYTES: usize = 128;

/// Spans that one eviction drops of the victim's trace in one call; the rest is dropped when its turn comes, because
/// the trace is remembered as doomed. Keeps the longest call short.
pub const MAX_TRACE_EVICTIONS: usize = 1000;

/// How long after the last eviction a trace that lost spans is remembered, so that its later spans are refused, too.
pub const DOOM_DURATION: Duration = Duration::from_secs(60);

/// Records that one poll looks at in a lane while it gathers a request: enough for a full container of spans between
/// records that must be passed over, and short of a noticeable pause.
pub const MAX_GATHER_SCAN: usize = 2048;

/// Notices that wait for a poll; the oldest gives way and is counted.
pub const MAX_NOTICES: usize = 16;

/// Flushes that run side by side, each with an end of its own; further ones share the newest's end.
pub const MAX_FLUSHES: usize = 4;

/// Least time between two looks at the engine's own health: often enough for a person, rare enough to cost nothing.
pub const HEALTH_INTERVAL: Duration = Duration::from_millis(100);

/// Smallest memory of an intake, in bytes: a record without payload takes 48, and half the memory holds one.
pub const MIN_INTAKE_BYTES: usize = 128;

/// Largest memory of an intake, in bytes (1 GiB): sums of two positions stay within 32 bits.
pub const MAX_INTAKE_BYTES: usize = 1 << 30;

/// Gates and loss tables of one intake. Destinations with an index from the last one on share the last one. A client
/// has one or two destinations; each table takes 6.6 KB (3.3 KB where pointers have 32 bits, and memory is dearer). A
/// device without an operating system has one destination.
pub const INTAKE_GATES: usize = if cfg!(target_os = "none") {
    1
} else if usize::BITS >= 64 {
    4
} else {
    2
};

/// How much of an intake the records of each priority may fill, in percent, most important first: what lies above a
/// lane's share is kept for the lanes above it. None is under 50, so that the largest record (half the memory) can
/// enter from any lane.
pub const INTAKE_SHARE_PERCENT: [u8; crate::item::Priority::COUNT] = [100, 90, 75, 60, 50];

/// Attempts to reserve room before a record is dropped as `queue_overflow`. One is lost only when another producer or
/// the consumer got ahead in between, so this many in a row mean a machine that does nothing but record.
pub const INTAKE_RESERVE_ATTEMPTS: usize = 256;

/// First nap of a consumer that waits for a producer in the middle of a record. That takes a microsecond, or as long as its
/// thread is kept from running; in a millisecond a ring of 1 MiB takes in some thousand records.
pub const INTAKE_NAP: Duration = Duration::from_millis(1);

/// Longest nap of a consumer that waits for the same producer; each is twice the one before. So a record that is finished
/// late is read at most as much later as it had taken by then, or this much; and who looks for a producer that will never
/// finish does so ten times a second.
pub const INTAKE_LONGEST_NAP: Duration = Duration::from_millis(100);

/// Bytes that the consumer moves past before it zeroes them and hands them back to the producers: small against any ring,
/// large enough that producers do not fetch the consumer's position anew for every record, and short enough that C libraries
/// zero it with vector stores (beyond 2 KiB the GNU one takes an instruction that begins slowly).
pub const INTAKE_RELEASE_BYTES: usize = 1024;
