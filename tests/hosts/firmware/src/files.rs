//! Files of the host through semihosting (Arm, "Semihosting for AArch32 and AArch64", SYS_OPEN, SYS_READ, SYS_WRITE).

use cortex_m_semihosting::syscall;

/// Mode `rb`.
pub(crate) const READ: usize = 1;
/// Mode `wb`.
pub(crate) const WRITE: usize = 5;

/// An open file; it stays open until the program ends.
pub(crate) struct File(usize);

impl File {
    /// Opens the file of that name, which ends in a zero.
    pub(crate) fn open(name: &[u8], mode: usize) -> Option<Self> {
        // SAFETY: the name is a string with its zero, and its length is given without it.
        let handle = unsafe { syscall!(OPEN, name.as_ptr(), mode, name.len() - 1) };
        (handle != usize::MAX).then_some(Self(handle))
    }

    /// Reads exactly as many bytes; false at the end of the file.
    pub(crate) fn fill(&self, bytes: &mut [u8]) -> bool {
        // SAFETY: the host writes at most that many bytes there; it returns how many it did not.
        let left = unsafe { syscall!(READ, self.0, bytes.as_mut_ptr(), bytes.len()) };
        left == 0
    }

    /// Writes all of `bytes`.
    pub(crate) fn write(&self, bytes: &[u8]) -> Option<()> {
        if bytes.is_empty() {
            return Some(());
        }
        // SAFETY: the host reads that many bytes; it returns how many it did not.
        let left = unsafe { syscall!(WRITE, self.0, bytes.as_ptr(), bytes.len()) };
        (left == 0).then_some(())
    }
}
