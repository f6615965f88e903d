//! JSON, as far as the wire formats need it: a bounded incremental scanner and a writer (RFC 8259).
//!
//! The scanner takes its input in pieces of any size, keeps a few words of state, and hands out tokens that borrow
//! from the piece; there is no tree, no recursion and no copy. What a consumer wants to keep it collects itself, in a
//! [`Short`] buffer when it is a name. The writer puts text straight into an [`embedded_io::Write`].
//!
//! Not done here: numbers other than non-negative integers are checked but not read, and nothing writes floating-point
//! numbers (a host that has some formats them itself and uses [`Writer::raw`]).

mod members;
mod scanner;
mod short;
mod writer;

pub use members::{Kind, Member, text, visit_members};
pub(in crate::wire) use scanner::Whole;
pub use scanner::{JsonError, Scanner, Token};
pub use short::Short;
pub use writer::Writer;
pub(in crate::wire) use writer::{decimal, quoted};

#[cfg(test)]
pub(in crate::wire) mod tests;
