//! Medians and spreads of rounds.

use serde::Serialize;

/// Median, smallest and largest of some values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    /// The middle value, or the mean of the two in the middle.
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Returns the spread of the finite values; none if no value is finite.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted: Vec<f64> = values
            .iter()
            .copied()
            .filter(|value| value.is_finite())
            .collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let (lower, upper) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Some(Self {
            min,
            median: f64::midpoint(lower, upper),
            max,
        })
    }
}

/// Returns the ratio of each round, ours to the reference's. Rounds are interleaved, so a slow minute of the machine slows
/// both sides.
pub(crate) fn ratios(ours: &[f64], reference: &[f64]) -> Vec<f64> {
    ours.iter()
        .zip(reference)
        .map(|(ours, reference)| ours / reference)
        .collect()
}

/// Returns the value below which this share of the values lies (nearest rank); none without a value.
pub(crate) fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let rank = (share * sorted.len() as f64).ceil().max(1.0) as usize - 1;
    Some(sorted[rank.min(last)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_the_spread_its_ends() {
        assert_eq!(
            Spread::of(&[3.0, 1.0, 2.0]),
            Some(Spread {
                min: 1.0,
                median: 2.0,
                max: 3.0
            })
        );
        assert_eq!(
            Spread::of(&[4.0, 1.0]).map(|spread| spread.median),
            Some(2.5)
        );
        assert_eq!(Spread::of(&[f64::NAN]), None);
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        assert_eq!(ratios(&[10.0, 30.0], &[5.0, 10.0, 1.0]), [2.0, 3.0]);
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(
            (quantile(&values, 0.99), quantile(&values, 1.0)),
            (Some(99.0), Some(100.0))
        );
        assert_eq!(
            (quantile(&[7.0], 0.5), quantile(&[], 0.5)),
            (Some(7.0), None)
        );
    }
}
