//! `lint`: every finding with file, line and fix. Warnings are shown, and do not make the command fail.

use serde_json::json;

use super::arguments::{Global, Output};
use super::exit::{CliError, Exit};
use super::output::{print, print_json};
use super::progress::Progress;
use super::repository;
use crate::lint::{Finding, lint};

pub(super) fn run(global: &Global) -> Result<Exit, CliError> {
    let progress = Progress::new(global.output);
    let tree = repository::read(global, &progress)?;
    progress.show("checking");
    let (findings, warnings): (Vec<_>, Vec<_>) =
        lint(&*tree).into_iter().partition(Finding::is_error);
    drop(progress);
    match global.output {
        Output::Text => {
            let mut lines: String = warnings.iter().chain(&findings).map(text).collect();
            if findings.is_empty() {
                lines.push_str("No findings\n");
            }
            print(lines.as_bytes())?;
        }
        Output::Json => {
            let outcome = if findings.is_empty() {
                "clean"
            } else {
                "findings"
            };
            let mut answer = json!({ "outcome": outcome, "findings": findings });
            if !warnings.is_empty() {
                answer["warnings"] = json!(warnings);
            }
            print_json(&answer)?;
        }
    }
    Ok(if findings.is_empty() {
        Exit::Done
    } else {
        Exit::Findings
    })
}

/// `file:line:column: what [rule]`, which editors understand, and the fix below it.
fn text(finding: &Finding) -> String {
    let number =
        |number: Option<usize>| number.map_or_else(String::new, |number| format!(":{number}"));
    let Finding {
        path,
        line,
        column,
        rule,
        message,
        fix,
        severity: _,
    } = finding;
    let warning = if finding.is_error() { "" } else { "warning: " };
    format!(
        "{path}{}{}: {warning}{message} [{rule}]\n    fix: {fix}\n",
        number(*line),
        number(*column)
    )
}
