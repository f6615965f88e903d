//! Where results go, so that the optimiser cannot leave out the work behind them.

use core::convert::Infallible;
use core::fmt;
use core::hint::black_box;

/// Takes written bytes and text, and keeps no more than a sum.
#[derive(Default)]
pub(crate) struct Sum(u32);

impl Sum {
    /// The sum so far.
    pub(crate) fn value(&self) -> u32 {
        self.0
    }

    fn add(&mut self, bytes: &[u8]) {
        self.0 = bytes
            .iter()
            .fold(self.0, |sum, byte| sum.rotate_left(5) ^ u32::from(*byte));
    }
}

impl embedded_io::ErrorType for Sum {
    type Error = Infallible;
}

impl embedded_io::Write for Sum {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.add(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

impl fmt::Write for Sum {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.add(text.as_bytes());
        Ok(())
    }
}

/// Counts as a use of `value`.
pub(crate) fn keep<T>(value: T) {
    black_box(value);
}
