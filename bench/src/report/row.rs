//! One figure: ours, the reference's, the bound to reach.

use serde::Serialize;

use super::stats::{Spread, ratios};

/// The unit of a value, which decides its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Unit {
    PerSecond,
    Milliseconds,
    Microseconds,
    Mebibytes,
    Percent,
    Number,
    Dollars,
}

/// The bound to reach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) enum Bound {
    /// Ours is at least this many times the reference.
    RatioAtLeast(f64),
    /// Ours is at most this many times the reference.
    RatioAtMost(f64),
    /// Ours is at most this value.
    AtMost(f64),
}

/// A row of the table.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// The name of the figure.
    pub(crate) figure: String,
    pub(crate) unit: Unit,
    /// Our values by round.
    pub(crate) ours: Vec<f64>,
    pub(crate) reference_name: &'static str,
    /// The reference's values by round; empty without a reference.
    pub(crate) reference: Vec<f64>,
    /// The bound to reach.
    pub(crate) bound: Option<Bound>,
    /// The error that makes the row invalid: requests failed, a drain did not end.
    pub(crate) fault: Option<String>,
}

/// Whether a row reaches its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Met {
    Yes,
    No,
    /// The row has no bound.
    Unbound,
    /// The row is invalid.
    Invalid,
}

impl Row {
    /// A row without a reference.
    pub(crate) fn new(figure: impl Into<String>, unit: Unit, ours: Vec<f64>) -> Self {
        let (reference_name, reference) = ("", Vec::new());
        Self {
            figure: figure.into(),
            unit,
            ours,
            reference_name,
            reference,
            bound: None,
            fault: None,
        }
    }

    pub(crate) fn against(mut self, name: &'static str, rounds: Vec<f64>) -> Self {
        (self.reference_name, self.reference) = (name, rounds);
        self
    }

    pub(crate) const fn bound(mut self, bound: Bound) -> Self {
        self.bound = Some(bound);
        self
    }

    /// Makes the row invalid if there was an error.
    pub(crate) fn fault(mut self, fault: Option<String>) -> Self {
        self.fault = fault;
        self
    }

    pub(crate) fn value(&self) -> Option<Spread> {
        Spread::of(&self.ours)
    }

    pub(crate) fn reference_value(&self) -> Option<Spread> {
        Spread::of(&self.reference)
    }

    /// Our value divided by the reference's, over the rounds.
    pub(crate) fn ratio(&self) -> Option<Spread> {
        Spread::of(&ratios(&self.ours, &self.reference))
    }

    /// Whether the median reaches the bound.
    pub(crate) fn met(&self) -> Met {
        if self.fault.is_some() {
            return Met::Invalid;
        }
        let (ratio, value) = (
            self.ratio().map(|ratio| ratio.median),
            self.value().map(|value| value.median),
        );
        let is_met = match self.bound {
            None => return Met::Unbound,
            Some(Bound::RatioAtLeast(least)) => ratio.map(|ratio| ratio >= least),
            Some(Bound::RatioAtMost(most)) => ratio.map(|ratio| ratio <= most),
            Some(Bound::AtMost(most)) => value.map(|value| value <= most),
        };
        is_met.map_or(
            Met::Invalid,
            |is_met| if is_met { Met::Yes } else { Met::No },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: &[f64], reference: &[f64], bound: Bound) -> Row {
        Row::new("x", Unit::Number, ours.to_vec())
            .against("y", reference.to_vec())
            .bound(bound)
    }

    #[test]
    fn the_median_of_the_rounds_decides() {
        assert_eq!(
            row(&[9.0, 30.0, 31.0], &[10.0; 3], Bound::RatioAtLeast(3.0)).met(),
            Met::Yes
        );
        assert_eq!(
            row(&[9.0, 29.0, 31.0], &[10.0; 3], Bound::RatioAtLeast(3.0)).met(),
            Met::No
        );
        assert_eq!(
            row(&[1.0], &[10.0], Bound::RatioAtMost(0.1)).met(),
            Met::Yes
        );
        assert_eq!(row(&[3.0], &[], Bound::AtMost(3.0)).met(), Met::Yes);
    }

    #[test]
    fn a_row_without_reference_or_with_a_fault_is_invalid() {
        assert_eq!(
            row(&[1.0], &[], Bound::RatioAtMost(0.1)).met(),
            Met::Invalid
        );
        let faulty = row(&[1.0], &[], Bound::AtMost(3.0)).fault(Some("3 errors".to_owned()));
        assert_eq!(faulty.met(), Met::Invalid);
        assert_eq!(Row::new("x", Unit::Number, vec![1.0]).met(), Met::Unbound);
    }
}
