//! The table: aligned Markdown, readable in a terminal and in a page.

use super::Report;
use super::row::{Bound, Met, Row, Unit};
use super::stats::Spread;

const COLUMNS: [&str; 7] = [
    "figure",
    "ours",
    "reference",
    "ratio",
    "spread",
    "to reach",
    "met",
];

/// Prints the table and the notes.
#[expect(clippy::print_stdout, reason = "the table is the program's output")]
pub(super) fn print(report: &Report) {
    if !report.rows.is_empty() {
        println!("\n{}", render(&report.rows));
    }
    for note in &report.notes {
        println!("{note}");
    }
}

pub(super) fn render(rows: &[Row]) -> String {
    let cells: Vec<[String; 7]> = rows.iter().map(cells).collect();
    let width = |column: usize| {
        let widths = cells.iter().map(|row| row[column].chars().count());
        widths.chain([COLUMNS[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
    };
    let mut text = line(&COLUMNS.map(str::to_owned));
    text.push_str(&line(
        &widths
            .iter()
            .map(|width| "-".repeat(*width))
            .collect::<Vec<_>>(),
    ));
    cells.iter().for_each(|row| text.push_str(&line(row)));
    text
}

fn cells(row: &Row) -> [String; 7] {
    let value = |spread: Option<Spread>| {
        spread.map_or_else(String::new, |spread| write(spread.median, row.unit))
    };
    let reference = match row.reference_value() {
        Some(_) => format!("{} ({})", value(row.reference_value()), row.reference_name),
        None => String::new(),
    };
    [
        row.figure.clone(),
        value(row.value()),
        reference,
        row.ratio()
            .map_or_else(String::new, |ratio| times(ratio.median)),
        spread(row),
        row.bound
            .map_or_else(String::new, |bound| to_reach(bound, row.unit)),
        match row.met() {
            Met::Yes => "yes".to_owned(),
            Met::No => "NO".to_owned(),
            Met::Unbound => String::new(),
            Met::Invalid => format!(
                "INVALID: {}",
                row.fault.as_deref().unwrap_or("no reference")
            ),
        },
    ]
}

/// Formats the spread of the value that has the bound: the ratio or our value.
fn spread(row: &Row) -> String {
    let ends = |spread: Spread, write: &dyn Fn(f64) -> String| {
        format!("{}–{}", write(spread.min), write(spread.max))
    };
    match (row.bound, row.ratio(), row.value()) {
        (Some(Bound::AtMost(_)), _, Some(value)) | (_, None, Some(value)) => {
            ends(value, &|number| write(number, row.unit))
        }
        (_, Some(ratio), _) => ends(ratio, &times),
        _ => String::new(),
    }
}

fn to_reach(bound: Bound, unit: Unit) -> String {
    match bound {
        Bound::RatioAtLeast(least) => format!("≥ {least} ×"),
        Bound::RatioAtMost(most) => format!("≤ {most} ×"),
        Bound::AtMost(most) => format!("≤ {}", write(most, unit)),
    }
}

fn times(ratio: f64) -> String {
    format!("{} ×", significant(ratio))
}

fn write(value: f64, unit: Unit) -> String {
    let number = significant(value);
    match unit {
        Unit::PerSecond => format!("{number}/s"),
        Unit::Milliseconds => format!("{number} ms"),
        Unit::Microseconds => format!("{number} µs"),
        Unit::Mebibytes => format!("{number} MiB"),
        Unit::Percent => format!("{number} %"),
        Unit::Number => number,
        Unit::Dollars => format!("${number}"),
    }
}

/// Formats a number with three significant digits, and commas between thousands.
fn significant(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 1000.0 {
        return thousands(value.round() as i64);
    }
    let decimals = match magnitude {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 || size == 0.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

fn thousands(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = if value < 0 {
        "-".to_owned()
    } else {
        String::new()
    };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_significant_digits() {
        let written = [
            0.0,
            0.004_2,
            0.104,
            2.1,
            45.67,
            254.4,
            17_148.3,
            1_000_000.0,
        ]
        .map(significant);
        assert_eq!(
            written,
            [
                "0.00",
                "0.004",
                "0.10",
                "2.10",
                "45.7",
                "254",
                "17,148",
                "1,000,000"
            ]
        );
    }

    #[test]
    fn a_row_shows_value_reference_ratio_spread_and_verdict() {
        let row = Row::new("POST/s", Unit::PerSecond, vec![300.0, 330.0])
            .against("one call each", vec![100.0, 100.0])
            .bound(Bound::RatioAtLeast(3.0));
        let text = render(&[row]);
        let last = text.lines().last().expect("a row");
        let cells: Vec<_> = last.split('|').map(str::trim).collect();
        let expected = [
            "",
            "POST/s",
            "315/s",
            "100/s (one call each)",
            "3.15 ×",
            "3.00 ×–3.30 ×",
            "≥ 3 ×",
            "yes",
            "",
        ];
        assert_eq!(cells, expected);
        assert_eq!(
            text.lines()
                .map(|line| line.chars().count())
                .collect::<std::collections::HashSet<_>>()
                .len(),
            1
        );
    }

    #[test]
    fn a_fault_is_shown_in_place_of_a_verdict() {
        let row = Row::new("x", Unit::Number, vec![1.0]).fault(Some("7 errors".to_owned()));
        assert!(render(&[row]).contains("INVALID: 7 errors"));
    }
}
