//! Why a call could not be carried out: a number for programs, and words for people.

/// The numbers of errors; each is what the call returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Code {
    /// The call does not belong here in the instance's life.
    Order = -1,
    /// The length is larger than the input window allows.
    TooLong = -2,
    /// The input is not laid out as described, or a number names nothing.
    Malformed = -3,
    /// A setting is unknown or out of range.
    Setting = -4,
    /// The memory could not be had.
    Memory = -5,
    /// The host does not have that request, or not any more.
    Stale = -6,
    /// No destination has that id, or none is idle, or its place is taken.
    Destination = -7,
    /// The output window is too small for the answer.
    Window = -8,
    /// A record of the request is not what its header says.
    Record = -9,
    /// An earlier call was cut off by the host: only the export is open.
    CutOff = -10,
    /// The piece of state is dropped, counted for the reason that `surgetank_explain` names.
    Dropped = -11,
}

/// What is always said in the same words. Calls fail with a reference to one, so that passing it on takes little code.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Code,
    /// What is wrong.
    pub(crate) what: &'static str,
}

/// A failed call.
pub(crate) type Error = &'static Said;

impl Said {
    pub(crate) const fn new(code: Code, what: &'static str) -> Self {
        Self { code, what }
    }

    pub(crate) const fn malformed(what: &'static str) -> Self {
        Self::new(Code::Malformed, what)
    }
}
