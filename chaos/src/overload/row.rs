//! Rows of the overload table: figures, checks, and how they are printed.

use std::fmt;
use std::time::Duration;

use kit::load::Tally;
use serde_json::{Map, Value, json};

use super::RowId;
use crate::report::progress;

/// The table.
#[derive(Default)]
pub struct Table {
    /// The capacity at 5 ms per call, in requests per second; none if no row asked for it.
    pub(super) capacity: Option<f64>,
    rows: Vec<Row>,
}

/// One load, its figures and its promise.
pub struct Row {
    id: RowId,
    load: String,
    pub(super) tally: Tally,
    figures: Vec<(&'static str, f64)>,
    missed: Vec<String>,
    /// The reason why the row was not measured, if it was not.
    reason: Option<String>,
}

impl Row {
    pub(super) fn new(id: RowId, load: String, tally: Tally) -> Self {
        Self {
            id,
            load,
            tally,
            figures: Vec::new(),
            missed: Vec::new(),
            reason: None,
        }
    }

    pub(super) fn not_measured(id: RowId, load: String, reason: String) -> Self {
        Self {
            reason: Some(reason),
            ..Self::new(id, load, Tally::default())
        }
    }

    /// Adds a figure without a bound.
    pub(super) fn note(&mut self, name: &'static str, value: f64) {
        self.figures.push((name, value));
    }

    /// Adds a figure that must not be above its bound.
    pub(super) fn check_max(&mut self, name: &'static str, value: f64, max: f64) {
        self.note(name, value);
        if value > max {
            self.missed.push(format!("{name} {} > {max}", short(value)));
        }
    }

    /// Adds a figure that must not be below its bound.
    pub(super) fn check_min(&mut self, name: &'static str, value: f64, min: f64) {
        self.note(name, value);
        if value < min {
            self.missed.push(format!("{name} {} < {min}", short(value)));
        }
    }

    /// Checks that every request was accepted: none was refused, got another answer or failed.
    pub(super) fn check_no_refusal(&mut self) {
        for (name, count) in [
            ("refused", self.tally.refused.len()),
            ("other answers", self.tally.others()),
            ("failed", self.tally.failed()),
        ] {
            if count > 0 {
                self.missed.push(format!("{name} {count} > 0"));
            }
        }
        if self.tally.accepted.is_empty() {
            self.missed.push("accepted 0".to_owned());
        }
    }

    fn is_kept(&self) -> bool {
        self.missed.is_empty()
    }

    fn verdict(&self) -> String {
        match &self.reason {
            Some(reason) => format!("not measured: {reason}"),
            None if self.is_kept() => "kept".to_owned(),
            None => format!("MISSED: {}", self.missed.join(", ")),
        }
    }

    fn json(&self) -> Value {
        let tally = &self.tally;
        let mut figures: Map<String, Value> = [
            ("accepted per second", tally.rate()),
            ("accepted p50 ms", tally.accepted_ms(0.5)),
            ("accepted p99 ms", tally.accepted_ms(0.99)),
            ("refused", tally.refused.len() as f64),
            ("refused p99 ms", tally.refused_ms(0.99)),
            ("other answers", tally.others() as f64),
            ("failed", tally.failed() as f64),
            ("not sent", tally.unsent as f64),
        ]
        .into_iter()
        .chain(self.figures.iter().copied())
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
        if self.reason.is_some() {
            figures.clear();
        }
        json!({
            "row": format!("{:?}", self.id).to_lowercase(),
            "load": self.load,
            "kept": self.reason.is_none().then(|| self.is_kept()),
            "verdict": self.verdict(),
            "figures": figures,
        })
    }
}

impl Table {
    pub(super) fn push(&mut self, row: Row) {
        progress(&row.to_string());
        self.rows.push(row);
    }

    pub(super) fn sort(&mut self) {
        self.rows.sort_by_key(|row| row.id);
    }

    /// Whether every row that was measured kept its promise.
    pub fn is_kept(&self) -> bool {
        self.rows.iter().all(Row::is_kept)
    }

    /// The table with every figure.
    pub fn json(&self) -> Value {
        let rows: Vec<_> = self.rows.iter().map(Row::json).collect();
        json!({ "capacity_per_second": self.capacity, "rows": rows })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = &self.tally;
        write!(
            f,
            "{}  {:<68}",
            format!("{:?}", self.id).to_lowercase(),
            self.load
        )?;
        if self.reason.is_none() {
            write!(
                f,
                " {:>9.0} {:>7.1} {:>7.1} {:>9} {:>7.1} {:>6} {:>6} {:>9} ",
                tally.rate(),
                tally.accepted_ms(0.5),
                tally.accepted_ms(0.99),
                tally.refused.len(),
                tally.refused_ms(0.99),
                tally.others(),
                tally.failed(),
                tally.unsent
            )?;
        }
        write!(f, " {}", self.verdict())?;
        let figures = self.figures.iter().filter(|(_, value)| *value != 0.0);
        for (name, value) in figures {
            write!(f, "; {name} {}", short(*value))?;
        }
        Ok(())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(capacity) = self.capacity {
            writeln!(
                f,
                "capacity at 5 ms per call: {capacity:.0} requests per second\n"
            )?;
        }
        writeln!(
            f,
            "   {:<68} {:>9} {:>7} {:>7} {:>9} {:>7} {:>6} {:>6} {:>9}",
            "", "accepted", "p50", "p99", "", "p99", "other", "", "not"
        )?;
        writeln!(
            f,
            "   {:<68} {:>9} {:>7} {:>7} {:>9} {:>7} {:>6} {:>6} {:>9}",
            "load", "per s", "ms", "ms", "refused", "ms", "answer", "failed", "sent"
        )?;
        for row in &self.rows {
            writeln!(f, "{row}")?;
        }
        Ok(())
    }
}

/// Formats one window of a series.
pub(super) fn window(from: Duration, window: &Tally) -> String {
    format!(
        "{:>5.1} s: accepted {:>5}, p99 {:>6.1} ms; refused {:>5}, p99 {:>6.1} ms; failed {}, not sent {}",
        from.as_secs_f64(),
        window.accepted.len(),
        window.accepted_ms(0.99),
        window.refused.len(),
        window.refused_ms(0.99),
        window.failed(),
        window.unsent
    )
}

/// Formats an integer without decimals, a value below 10 with two, any other value with one.
fn short(value: f64) -> String {
    match value {
        value if value.fract() == 0.0 => format!("{value:.0}"),
        value if value.abs() < 10.0 => format!("{value:.2}"),
        value => format!("{value:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(refused: u64) -> Row {
        let mut tally = Tally {
            took: Duration::from_secs(1),
            ..Tally::default()
        };
        tally.accepted.record_n(3000, 100).expect("it grows");
        tally.refused.record_n(1000, refused).expect("it grows");
        Row::new(RowId::A, "a load".to_owned(), tally)
    }

    #[test]
    fn a_row_is_kept_within_its_bounds_and_says_what_it_missed() {
        let mut kept = row(0);
        kept.check_no_refusal();
        kept.check_max("memory", 1.1, 1.1);
        kept.check_min("goodput", 0.9, 0.9);
        assert_eq!(kept.verdict(), "kept");
        let mut missed = row(3);
        missed.check_no_refusal();
        missed.check_min("goodput", 0.85, 0.9);
        assert_eq!(
            missed.verdict(),
            "MISSED: refused 3 > 0, goodput 0.85 < 0.9"
        );
        assert_eq!(missed.json()["kept"], false);
    }

    #[test]
    fn a_row_that_was_not_measured_misses_nothing_and_says_why() {
        let row = Row::not_measured(RowId::D, "a load".to_owned(), "no cgroup".to_owned());
        assert_eq!(
            (row.verdict().as_str(), row.is_kept()),
            ("not measured: no cgroup", true)
        );
        assert_eq!(row.json()["kept"], Value::Null);
    }
}
