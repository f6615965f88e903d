//! OTLP: encoding records, framing requests, reading answers, counting what others encoded.
//!
//! ```text
//! producer --encode--> Span | LogRecord bytes --queue--> framing --> request body --> answer --> Verdict
//! other clients' requests ----count----> items and trace ----queue----> concatenation --^
//! ```
//!
//! Records stay opaque between the producer and the socket: they are encoded once, into the memory they wait in, and
//! the frame around them is written around the bytes when they leave. Nothing here allocates or keeps state.
//!
//! Follows the OpenTelemetry protocol specification (OTLP 1.11) and the `opentelemetry-proto` messages of that version.

pub mod answer;
pub mod count;
pub mod encode;
pub mod framing;
pub mod protobuf;
pub mod reply;
mod schema;
