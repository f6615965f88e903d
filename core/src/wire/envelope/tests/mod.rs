//! Tests of the envelope modules, by what they cover.

mod composing;
mod counting;
mod filtering;
mod naive;
mod properties;
mod reading;

use std::string::String;
use std::vec::Vec;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A sink that takes a few bytes a call, as a slow connection may.
#[derive(Default)]
struct Sink(Vec<u8>);

impl embedded_io::ErrorType for Sink {
    type Error = core::convert::Infallible;
}

impl embedded_io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        let taken = bytes.len().min(7);
        self.0.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}
