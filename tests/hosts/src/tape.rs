//! A scenario's frames as a file that any host can play without knowing what they mean, and the results it writes.
//!
//! Tape: for each call `u8` number of the function ([`FUNCTIONS`]), `u8` arguments, each `u8` width (4 or 8) and `i64`, `u32` bytes of
//! the output to take (all ones: as many as were returned), `u32` length and bytes of the input. Results: for each call `i64`
//! value, `u32` length and bytes of the output. Everything is little-endian. A fresh instance is made for each tape.

use crate::frame::{Door, FUNCTIONS, Frame, Number, Output, Returned};

/// Takes down what goes through a door.
#[derive(Debug)]
pub struct Recorder<D> {
    /// The door.
    pub door: D,
    /// The tape so far.
    pub tape: Vec<u8>,
    /// The results so far.
    pub results: Vec<u8>,
}

impl<D> Recorder<D> {
    /// Takes down what goes through `door`.
    pub const fn new(door: D) -> Self {
        Self {
            door,
            tape: Vec::new(),
            results: Vec::new(),
        }
    }
}

impl<D: Door> Door for Recorder<D> {
    fn call(&mut self, frame: &Frame) -> Result<Returned, String> {
        write_frame(frame, &mut self.tape)?;
        let returned = self.door.call(frame)?;
        self.results.extend_from_slice(&returned.value.to_le_bytes());
        self.results
            .extend_from_slice(&(returned.output.len() as u32).to_le_bytes());
        self.results.extend_from_slice(&returned.output);
        Ok(returned)
    }
}

fn write_frame(frame: &Frame, tape: &mut Vec<u8>) -> Result<(), String> {
    let number = FUNCTIONS.iter().position(|name| *name == frame.function);
    tape.push(number.ok_or("a function of no number")? as u8);
    tape.push(frame.numbers.len() as u8);
    for number in &frame.numbers {
        let (width, value) = match number {
            Number::Short(value) => (4, i64::from(*value)),
            Number::Long(value) => (8, *value),
        };
        tape.push(width);
        tape.extend_from_slice(&value.to_le_bytes());
    }
    let output = match frame.output {
        Output::Bytes(bytes) => bytes,
        Output::Returned => u32::MAX,
    };
    tape.extend_from_slice(&output.to_le_bytes());
    tape.extend_from_slice(&(frame.input.len() as u32).to_le_bytes());
    tape.extend_from_slice(&frame.input);
    Ok(())
}

/// Gives what a host elsewhere wrote, as long as it is asked for what the tape asked it.
#[derive(Debug)]
pub struct Playback<'a> {
    tape: &'a [u8],
    results: &'a [u8],
}

impl<'a> Playback<'a> {
    /// What a host wrote to `results` when it played `tape`.
    #[must_use]
    pub const fn new(tape: &'a [u8], results: &'a [u8]) -> Self {
        Self { tape, results }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .results
            .split_at_checked(length)
            .ok_or("the host wrote no further results")?;
        self.results = rest;
        Ok(taken)
    }
}

impl Door for Playback<'_> {
    fn call(&mut self, frame: &Frame) -> Result<Returned, String> {
        let mut wanted = Vec::new();
        write_frame(frame, &mut wanted)?;
        self.tape = self
            .tape
            .strip_prefix(wanted.as_slice())
            .ok_or("from here on the host would have been asked something else")?;
        let value = i64::from_le_bytes(self.take(8)?.try_into().unwrap_or_default());
        let length = u32::from_le_bytes(self.take(4)?.try_into().unwrap_or_default());
        Ok(Returned {
            value,
            output: self.take(length as usize)?.to_vec(),
        })
    }
}
