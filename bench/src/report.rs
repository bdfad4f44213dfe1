//! The report of a run: rows for the table, charts and notes, printed once and written to files.

pub(crate) mod chart;
mod files;
pub(crate) mod row;
pub(crate) mod stats;
mod svg;
mod table;

use serde::Serialize;

use self::chart::Chart;
use self::row::Row;

#[derive(Default, Serialize)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) charts: Vec<Chart>,
    /// Sentences below the table.
    pub(crate) notes: Vec<String>,
}

impl Report {
    /// Prints the table and writes the files of the run.
    ///
    /// `stem` is the name of the JSON file without its extension. `prefix` goes before the name of every chart file:
    /// `quick-` for a quick run, else empty.
    pub(crate) fn publish(&self, stem: &str, prefix: &str) -> anyhow::Result<()> {
        table::print(self);
        files::write(self, stem, prefix)
    }
}

/// Prints a line of progress.
#[expect(clippy::print_stderr, reason = "a person waits at the terminal")]
pub(crate) fn progress(line: &str) {
    eprintln!("  {line}");
}
