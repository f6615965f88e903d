//! Memory for all request bodies under way, counted before it is taken.

use super::BodyError;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of bytes that all requests under way share.
#[derive(Debug)]
pub(crate) struct Budget {
    capacity: usize,
    used: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            capacity,
            used: AtomicUsize::new(0),
        })
    }

    /// Sets `bytes` aside until the charge is dropped.
    ///
    /// # Errors
    /// [`BodyError::NoMemory`] when they are not left.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Result<Charge, BodyError> {
        self.take(bytes)?;
        Ok(Charge {
            budget: Arc::clone(self),
            bytes,
        })
    }

    fn take(&self, bytes: usize) -> Result<(), BodyError> {
        self.used
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|used| *used <= self.capacity)
            })
            .map(|_| ())
            .map_err(|_| BodyError::NoMemory)
    }
}

/// Bytes set aside; given back on drop.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    /// Grows to at least `bytes`.
    ///
    /// # Errors
    /// [`BodyError::NoMemory`] when what is missing is not left; the charge then stays as it was.
    pub(crate) fn cover(&mut self, bytes: usize) -> Result<(), BodyError> {
        if bytes > self.bytes {
            self.budget.take(bytes - self.bytes)?;
            self.bytes = bytes;
        }
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_aside_comes_back() {
        let budget = Budget::new(100);
        let mut one = budget.charge(60).unwrap();
        assert_eq!(budget.charge(41).unwrap_err(), BodyError::NoMemory);
        let two = budget.charge(40).unwrap();
        assert_eq!(one.cover(61).unwrap_err(), BodyError::NoMemory);
        assert_eq!(one.cover(30), Ok(()));
        drop(two);
        assert_eq!(one.cover(100), Ok(()));
        drop(one);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }
}
