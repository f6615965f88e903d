//! How hard something bounded is pressed: queue fill and the host's memory, with hysteresis.
//!
//! A single threshold is crossed to and fro by every small change, and what hangs on it flaps. Each mark here
//! therefore has two values: the level is entered at one and left below the other. There is an early level, at which
//! nothing is refused yet, so that a person can act before anything is lost; with only a last one (Relay refuses
//! everything from 95 % on, and knows nothing before) the first sign is the failure.

use crate::config_error::ConfigError;
use serde::Serialize;

/// How hard it is pressed, mildest first. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pressure {
    /// There is room.
    #[default]
    Normal,
    /// Worth telling; nothing is refused.
    Early,
    /// Bulk gives way.
    High,
    /// Everything but the most important gives way.
    Critical,
}

/// One threshold, in permille of what there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The level begins at this. 1..=1000.
    pub enter: u16,
    /// It ends below this. Under `enter`.
    pub leave: u16,
}

/// The three thresholds of a [`Gauge`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marks {
    /// Of [`Pressure::Early`].
    pub early: Mark,
    /// Of [`Pressure::High`]. Neither value under those of `early`.
    pub high: Mark,
    /// Of [`Pressure::Critical`]. Neither value under those of `high`.
    pub critical: Mark,
}

impl Marks {
    /// For the fill of a queue: early from half on, high from 80 % on (the mark at which bulk is evicted), critical when
    /// no more than 2 % is left, which a single large record would not fit into.
    pub const QUEUE: Self = Self {
        early: Mark {
            enter: 500,
            leave: 400,
        },
        high: Mark {
            enter: 800,
            leave: 700,
        },
        critical: Mark {
            enter: 980,
            leave: 900,
        },
    };

    /// For the memory of the host: critical at 95 %, where Relay refuses everything; high ten points before.
    pub const MEMORY: Self = Self {
        early: Mark {
            enter: 750,
            leave: 700,
        },
        high: Mark {
            enter: 850,
            leave: 800,
        },
        critical: Mark {
            enter: 950,
            leave: 900,
        },
    };

    /// Checks every range.
    ///
    /// # Errors
    /// The first rule that is broken; the field is named `marks`, for the caller to complete.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let rule = |holds, allowed| ConfigError::unless(holds, "marks", allowed);
        for mark in [self.early, self.high, self.critical] {
            rule(matches!(mark.enter, 1..=1000), "entered at 1 to 1000 permille")?;
            rule(mark.leave < mark.enter, "left below where they are entered")?;
        }
        rule(
            self.early.enter <= self.high.enter
                && self.high.enter <= self.critical.enter
                && self.early.leave <= self.high.leave
                && self.high.leave <= self.critical.leave,
            "in the order early, high, critical",
        )
    }
}

/// Turns readings into a [`Pressure`] that does not flap.
#[derive(Clone, Copy, Debug)]
pub struct Gauge {
    marks: Marks,
    pressure: Pressure,
}

impl Gauge {
    /// At [`Pressure::Normal`].
    #[must_use]
    pub const fn new(marks: Marks) -> Self {
        Self {
            marks,
            pressure: Pressure::Normal,
        }
    }

    /// Takes a reading in permille and returns the pressure it amounts to. A reading can raise or lower it by more than
    /// one level.
    pub fn update(&mut self, permille: u16) -> Pressure {
        let before = self.pressure;
        let holds = |level: Pressure, mark: Mark| {
            permille >= mark.enter || (before >= level && permille >= mark.leave)
        };
        self.pressure = if holds(Pressure::Critical, self.marks.critical) {
            Pressure::Critical
        } else if holds(Pressure::High, self.marks.high) {
            Pressure::High
        } else if holds(Pressure::Early, self.marks.early) {
            Pressure::Early
        } else {
            Pressure::Normal
        };
        self.pressure
    }

    /// As of the last reading.
    #[must_use]
    pub const fn pressure(&self) -> Pressure {
        self.pressure
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_rises_at_the_entering_values() {
        let mut gauge = Gauge::new(Marks::QUEUE);
        let readings = [0, 499, 500, 799, 800, 979, 980, 1000];
        let pressures = readings.map(|permille| gauge.update(permille));
        use Pressure::{Critical, Early, High, Normal};
        assert_eq!(
            pressures,
            [Normal, Normal, Early, Early, High, High, Critical, Critical]
        );
    }

    #[test]
    fn it_falls_under_the_leaving_values() {
        let mut gauge = Gauge::new(Marks::QUEUE);
        gauge.update(1000);
        let readings = [900, 899, 700, 699, 400, 399];
        let pressures = readings.map(|permille| gauge.update(permille));
        use Pressure::{Critical, Early, High, Normal};
        assert_eq!(pressures, [Critical, High, High, Early, Early, Normal]);
    }

    #[test]
    fn it_jumps_over_levels_in_both_directions() {
        let mut gauge = Gauge::new(Marks::MEMORY);
        assert_eq!(gauge.update(960), Pressure::Critical);
        assert_eq!(gauge.update(0), Pressure::Normal);
        assert_eq!(gauge.pressure(), Pressure::Normal);
    }

    #[test]
    fn a_reading_that_swings_within_the_hysteresis_changes_nothing() {
        let mut gauge = Gauge::new(Marks::MEMORY);
        gauge.update(860);
        for permille in [849, 851, 801, 949, 800] {
            assert_eq!(gauge.update(permille), Pressure::High);
        }
    }

    #[test]
    fn marks_out_of_order_are_refused() {
        let good = Marks::QUEUE;
        assert_eq!(good.validate(), Ok(()));
        assert_eq!(Marks::MEMORY.validate(), Ok(()));
        let mark = |enter, leave| Mark { enter, leave };
        for bad in [
            Marks {
                early: mark(0, 0),
                ..good
            },
            Marks {
                critical: mark(1001, 900),
                ..good
            },
            Marks {
                high: mark(800, 800),
                ..good
            },
            Marks {
                early: mark(801, 400),
                ..good
            },
            Marks {
                high: mark(800, 399),
                ..good
            },
            Marks {
                high: mark(981, 700),
                ..good
            },
            Marks {
                critical: mark(980, 699),
                ..good
            },
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_reading_between_what_it_was_and_the_marks_keeps_the_level(
            readings in proptest::collection::vec(0u16..=1200, 1..60),
        ) {
            let marks = Marks::QUEUE;
            let mut gauge = Gauge::new(marks);
            for permille in readings {
                let before = gauge.pressure();
                let now = gauge.update(permille);
                let steps = [
                    (Pressure::Early, marks.early),
                    (Pressure::High, marks.high),
                    (Pressure::Critical, marks.critical),
                ];
                for (level, mark) in steps {
                    prop_assert!(permille < mark.enter || now >= level);
                    prop_assert!(permille >= mark.leave || now < level);
                    if (mark.leave..mark.enter).contains(&permille) {
                        prop_assert_eq!(now >= level, before >= level);
                    }
                }
            }
        }
    }
}
