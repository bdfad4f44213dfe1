//! `list`: the tenants and pools, with their state.

use serde_json::{Value, json};
use tenantry_tenancy::tenant::Tier;

use super::arguments::{Global, Output};
use super::exit::{CliError, Exit};
use super::output::{print, print_json};
use super::progress::Progress;
use super::repository;
use crate::release::{Release, releases};

const TITLES: [&str; 5] = ["TENANT", "TIER", "RELEASE", "STATE", "RUNS ITSELF"];

pub(super) fn run(global: &Global, tier: Option<Tier>) -> Result<Exit, CliError> {
    let progress = Progress::new(global.output);
    let tree = repository::read(global, &progress)?;
    let mut found = releases(&*tree)?;
    drop(progress);
    found.retain(|release| tier.is_none_or(|tier| release.tier == tier.as_str()));
    match global.output {
        Output::Text => print(table(&found).as_bytes())?,
        Output::Json => {
            let found: Vec<_> = found.iter().map(object).collect();
            print_json(&json!({ "releases": found }))?;
        }
    }
    Ok(Exit::Done)
}

fn object(release: &Release) -> Value {
    let apps = release.apps.iter().map(|(name, app)| {
        (
            name.clone(),
            json!({ "enabled": app.enabled, "pool": app.env_id, "route": app.route }),
        )
    });
    json!({
        "tenant": release.tenant,
        "tier": release.tier,
        "release": release.version,
        "state": state(release),
        "hold": release.hold,
        "offboarded_from": release.offboarded_from,
        "delete_data": release.delete_data,
        "apps": Value::Object(apps.collect()),
        "path": release.path,
    })
}

fn state(release: &Release) -> &'static str {
    match release {
        Release {
            offboarded_from: Some(_),
            delete_data: true,
            ..
        } => "unprotected",
        Release {
            offboarded_from: Some(_),
            ..
        } => "offboarded",
        Release {
            suspended: true, ..
        } => "suspended",
        Release { hold: Some(_), .. } => "on hold",
        _ => "active",
    }
}

fn table(releases: &[Release]) -> String {
    let own = |release: &Release| {
        let names = release
            .apps
            .iter()
            .filter(|(_, app)| app.enabled)
            .map(|(name, _)| name.as_str());
        names.collect::<Vec<_>>().join(" ")
    };
    let row = |release: &Release| {
        let Release {
            tenant,
            tier,
            version,
            ..
        } = release;
        [
            tenant.clone(),
            tier.clone(),
            version.clone(),
            state(release).to_owned(),
            own(release),
        ]
    };
    let rows: Vec<[String; 5]> = std::iter::once(TITLES.map(str::to_owned))
        .chain(releases.iter().map(row))
        .collect();
    aligned(&rows)
}

/// The rows, with each column as wide as its widest cell.
pub(super) fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let line = |row: &[String; COLUMNS]| {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}  "));
        format!("{}\n", cells.collect::<String>().trim_end())
    };
    rows.iter().map(line).collect()
}
