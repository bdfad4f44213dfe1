//! One figure: ours, what it is compared with, the bound to reach.

use serde::Serialize;

use super::stats::{Spread, ratios};

/// What a value is in, and so how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Unit {
    /// A second.
    PerSecond,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Mebibytes.
    Mebibytes,
    /// Parts of a hundred.
    Percent,
    /// A plain number.
    Number,
    /// US dollars.
    Dollars,
}

/// What has to be reached.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) enum Bound {
    /// Ours is at least this many times the reference.
    RatioAtLeast(f64),
    /// Ours is at most this many times the reference.
    RatioAtMost(f64),
    /// Ours is at most this.
    AtMost(f64),
}

/// A row of the table.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) figure: String,
    /// In what.
    pub(crate) unit: Unit,
    /// Ours, round by round.
    pub(crate) ours: Vec<f64>,
    /// Whose figure it is compared with.
    pub(crate) reference_name: &'static str,
    /// The reference's, round by round; empty where there is none.
    pub(crate) reference: Vec<f64>,
    /// What has to be reached.
    pub(crate) bound: Option<Bound>,
    /// Why the row says nothing: requests failed, a drain did not end.
    pub(crate) fault: Option<String>,
}

/// Whether a row reaches its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Met {
    Yes,
    No,
    /// It has none.
    Unbound,
    /// It says nothing.
    Invalid,
}

impl Row {
    /// A row of our rounds alone.
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

    /// Compared with this.
    pub(crate) fn against(mut self, name: &'static str, rounds: Vec<f64>) -> Self {
        (self.reference_name, self.reference) = (name, rounds);
        self
    }

    /// With this to reach.
    pub(crate) const fn bound(mut self, bound: Bound) -> Self {
        self.bound = Some(bound);
        self
    }

    /// Says nothing, if there is a reason.
    pub(crate) fn fault(mut self, fault: Option<String>) -> Self {
        self.fault = fault;
        self
    }

    /// Our value over the rounds.
    pub(crate) fn value(&self) -> Option<Spread> {
        Spread::of(&self.ours)
    }

    /// The reference's value over the rounds.
    pub(crate) fn reference_value(&self) -> Option<Spread> {
        Spread::of(&self.reference)
    }

    /// Ours over the reference's, over the rounds.
    pub(crate) fn ratio(&self) -> Option<Spread> {
        Spread::of(&ratios(&self.ours, &self.reference))
    }

    /// Whether the bound is reached: by the median.
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
    fn a_row_without_reference_or_with_a_fault_says_nothing() {
        assert_eq!(
            row(&[1.0], &[], Bound::RatioAtMost(0.1)).met(),
            Met::Invalid
        );
        let faulty = row(&[1.0], &[], Bound::AtMost(3.0)).fault(Some("3 errors".to_owned()));
        assert_eq!(faulty.met(), Met::Invalid);
        assert_eq!(Row::new("x", Unit::Number, vec![1.0]).met(), Met::Unbound);
    }
}
