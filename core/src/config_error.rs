//! What a setting's check answers. Apart from `config`, so that every policy can check its own settings.

/// A setting that is out of range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConfigError {
    field: &'static str,
    allowed: &'static str,
}

impl ConfigError {
    /// `field` must be `allowed`.
    #[must_use]
    pub const fn new(field: &'static str, allowed: &'static str) -> Self {
        Self { field, allowed }
    }

    /// Name of the field, with its path.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        self.field
    }

    /// What it must be.
    #[must_use]
    pub const fn allowed(&self) -> &'static str {
        self.allowed
    }

    /// `Ok` when the setting is within its range. Lets a check read as a list of rules.
    pub(crate) const fn unless(holds: bool, field: &'static str, allowed: &'static str) -> Result<(), Self> {
        if holds {
            Ok(())
        } else {
            Err(Self::new(field, allowed))
        }
    }
}

impl core::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} is out of range: it must be {}", self.field, self.allowed)
    }
}

impl core::error::Error for ConfigError {}
