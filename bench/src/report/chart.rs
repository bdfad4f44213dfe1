//! Charts as data, for the JSON file and the drawings.

use serde::Serialize;

/// Lines over two axes.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Chart {
    /// File name without extension.
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Axis {
    pub(crate) label: &'static str,
    pub(crate) scale: Scale,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Scale {
    /// Linear from zero.
    Linear,
    /// Logarithmic to base 2, with a tick at each power.
    Doubling,
    /// Logarithmic to base 10, with a tick at each power.
    Decades,
    /// Shares of 1, stretched toward 1: 0.5, 0.9, 0.99, 0.999.
    Percentiles,
}

/// One line.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// Points from left to right.
    pub(crate) points: Vec<(f64, f64)>,
}

impl Axis {
    pub(crate) const fn new(label: &'static str, scale: Scale) -> Self {
        Self { label, scale }
    }
}

impl Scale {
    /// Position of a value before it is scaled to the drawing.
    pub(super) fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Doubling => value.max(f64::MIN_POSITIVE).log2(),
            Self::Decades => value.max(f64::MIN_POSITIVE).log10(),
            Self::Percentiles => -(1.0 - value.min(0.999_99)).log10(),
        }
    }

    /// Returns the values with a tick. The axis ends at the first and the last tick.
    pub(super) fn ticks(self, min: f64, max: f64) -> Vec<f64> {
        match self {
            Self::Linear => linear_ticks(max),
            Self::Doubling => powers(2.0, min, max),
            Self::Decades => powers(10.0, min, max),
            Self::Percentiles => vec![0.0, 0.5, 0.9, 0.99, 0.999],
        }
    }

    /// Returns the label of a tick.
    pub(super) fn write(self, value: f64) -> String {
        match self {
            Self::Percentiles => format!("{}%", (value * 1000.0).round() / 10.0),
            _ if value >= 1000.0 => format!("{}k", (value / 100.0).round() / 10.0),
            _ => format!("{}", (value * 1000.0).round() / 1000.0),
        }
    }
}

/// Four to ten round steps from zero to at least the maximum.
fn linear_ticks(max: f64) -> Vec<f64> {
    let max = if max > 0.0 { max } else { 1.0 };
    let power = 10_f64.powf(max.log10().floor());
    let step = [0.1, 0.2, 0.5, 1.0, 2.0]
        .map(|part| part * power)
        .into_iter()
        .find(|step| max / step <= 8.0);
    let step = step.unwrap_or(power);
    let count = (max / step).ceil() as u32;
    (0..=count.max(1))
        .map(|index| f64::from(index) * step)
        .collect()
}

fn powers(base: f64, min: f64, max: f64) -> Vec<f64> {
    let exponent = |value: f64| value.max(f64::MIN_POSITIVE).log(base);
    // The limits move slightly inward, so that a value that is itself a power becomes the end.
    let (first, last) = (
        (exponent(min) + 1e-9).floor() as i32,
        (exponent(max) - 1e-9).ceil() as i32,
    );
    (first..=last.max(first + 1))
        .map(|power| base.powi(power))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        assert_eq!(Scale::Linear.ticks(0.0, 17.0), [0.0, 5.0, 10.0, 15.0, 20.0]);
        assert_eq!(Scale::Doubling.ticks(1.0, 8.0), [1.0, 2.0, 4.0, 8.0]);
        assert_eq!(Scale::Decades.ticks(3.0, 120.0), [1.0, 10.0, 100.0, 1000.0]);
    }

    #[test]
    fn percentiles_stretch_toward_one() {
        let place = |value| Scale::Percentiles.place(value);
        assert!((place(0.9) - 1.0).abs() < 1e-9 && (place(0.99) - 2.0).abs() < 1e-9);
        assert_eq!(Scale::Percentiles.write(0.999), "99.9%");
        assert_eq!(Scale::Linear.write(17_000.0), "17k");
    }
}
