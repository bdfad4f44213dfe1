//! The files of a run: all figures as JSON, charts as SVG.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use serde::Serialize;

use super::{Report, progress, svg, table};
use crate::machine::Machine;

#[derive(Serialize)]
struct File<'a> {
    date: String,
    machine: &'a Machine,
    table: String,
    #[serde(flatten)]
    report: &'a Report,
}

/// Writes `bench/results/<stem>.json` and `bench/results/<prefix><chart>.svg`.
pub(super) fn write(report: &Report, stem: &str, prefix: &str) -> anyhow::Result<()> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("results");
    fs::create_dir_all(&folder)
        .with_context(|| format!("{} cannot be created", folder.display()))?;
    let machine = Machine::of_this_run();
    let date = chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let file = File {
        date,
        machine: &machine,
        table: table::render(&report.rows),
        report,
    };
    let path = folder.join(format!("{stem}.json"));
    fs::write(&path, serde_json::to_string_pretty(&file)? + "\n")
        .with_context(|| path.display().to_string())?;
    progress(&format!("written: {}", path.display()));
    let subtitle = format!(
        "{}, {} cores, {}",
        machine.cpu,
        machine.cores,
        chrono::Utc::now().format("%Y-%m-%d")
    );
    for chart in &report.charts {
        let path = folder.join(format!("{prefix}{}.svg", chart.name));
        fs::write(&path, svg::draw(chart, &subtitle))
            .with_context(|| path.display().to_string())?;
        progress(&format!("written: {}", path.display()));
    }
    Ok(())
}
