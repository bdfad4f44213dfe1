//! What a run reports: rows for the table, charts, notes; printed once and written to files.

pub(crate) mod chart;
mod files;
pub(crate) mod row;
pub(crate) mod stats;
mod svg;
mod table;

use serde::Serialize;

use self::chart::Chart;
use self::row::Row;

/// Everything a run found out.
#[derive(Default, Serialize)]
pub(crate) struct Report {
    /// The rows of the table, in order.
    pub(crate) rows: Vec<Row>,
    /// The charts.
    pub(crate) charts: Vec<Chart>,
    /// Sentences below the table.
    pub(crate) notes: Vec<String>,
}

impl Report {
    /// Prints the table and writes the files.
    pub(crate) fn publish(&self, stem: &str, prefix: &str) -> anyhow::Result<()> {
        table::print(self);
        files::write(self, stem, prefix)
    }
}

/// One line about what is going on now.
#[expect(clippy::print_stderr, reason = "a person waits at the terminal")]
pub(crate) fn progress(line: &str) {
    eprintln!("  {line}");
}
