//! One call of the module's interface, as data.

/// An argument, with its width.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Number {
    /// 32 bits.
    Short(i32),
    /// 64 bits.
    Long(i64),
}

impl From<u32> for Number {
    fn from(value: u32) -> Self {
        Self::Short(value as i32)
    }
}

impl From<i32> for Number {
    fn from(value: i32) -> Self {
        Self::Short(value)
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self::Long(value as i64)
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self::Long(value)
    }
}

/// What of the output window the answer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// So many bytes.
    Bytes(u32),
    /// As many as the call returned, if that is no error.
    Returned,
}

/// A call: what is put into the input window, what is called with which numbers, what is taken out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Name of the function, without `surgetank_`.
    pub function: &'static str,
    /// Its arguments.
    pub numbers: Vec<Number>,
    /// Written into the input window before.
    pub input: Vec<u8>,
    /// Read from the output window afterwards.
    pub output: Output,
}

/// What came of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Returned {
    /// What the function returned.
    pub value: i64,
    /// What was in the output window.
    pub output: Vec<u8>,
}

/// Functions, numbered for the tape by their place.
pub const FUNCTIONS: &[&str] = &[
    "init",
    "open",
    "record",
    "record_whole",
    "losses",
    "poll",
    "body",
    "response",
    "failure",
    "probe",
    "flush",
    "is_flushed",
    "close",
    "gate",
    "health",
    "status",
    "figures",
    "totals",
    "held",
    "destination",
    "explain",
    "export",
    "export_cancel",
    "import",
    "import_end",
];

/// Where an instance is.
pub trait Door {
    /// Carries out a call.
    ///
    /// # Errors
    /// Why it could not be carried out at all: the instance trapped, or the results are used up.
    fn call(&mut self, frame: &Frame) -> Result<Returned, String>;
}
