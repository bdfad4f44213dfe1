//! `status`: what is desired, applied and serving, since when, and what blocks with the command that mends it.
//!
//! The control plane is asked where `--control-plane` names one. Otherwise Git says what is desired, `kubectl` what is applied,
//! and the answer through the load balancer is not known.

use std::collections::HashMap;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tenantry_tenancy::environment::Environment;
use tenantry_tenancy::tenant::TenantId;

use super::arguments::{Global, Output};
use super::exit::{CliError, Exit};
use super::output::{print, print_json};
use super::progress::Progress;
use super::repository;
use crate::apply::Recorded;
use crate::git::LogEntry;
use crate::layout;
use crate::release::{Release, releases};
use crate::status::{ChangeOf, Gather, Observed, TenantView, Time, tenant};

/// Pause between two looks with `--watch`.
const PAUSE: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(30);
/// Tenants of one page of the control plane.
const PAGE: usize = 1000;
/// Commits read for the times of changes.
const MAX_COMMITS: usize = 20_000;
/// Clears a terminal, and moves to its start.
const CLEAR: &str = "\x1b[2J\x1b[H";
const TITLES: [&str; 6] = ["TENANT", "TIER", "RELEASE", "STATE", "SINCE", "BLOCKED BY"];
/// What `kubectl` lists.
const KINDS: [(&str, Option<&str>); 7] = [
    ("gitrepositories.source.toolkit.fluxcd.io", None),
    ("kustomizations.kustomize.toolkit.fluxcd.io", None),
    ("helmreleases.helm.toolkit.fluxcd.io", None),
    ("helmcharts.source.toolkit.fluxcd.io", None),
    ("terraforms.infra.contrib.fluxcd.io", None),
    (
        "deployments.apps",
        Some("app.kubernetes.io/part-of=tenantry"),
    ),
    ("pods", Some("app.kubernetes.io/part-of=tenantry")),
];

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub(super) struct StatusArguments {
    /// The tenant's id; all tenants without it
    pub(super) tenant: Option<TenantId>,
    /// Look again every two seconds, until Ctrl-C
    #[arg(long)]
    pub(super) watch: bool,
    /// URL of the control plane, for example http://127.0.0.1:8090; without it, Git and kubectl are asked
    #[arg(long, env = "CONTROL_PLANE_URL", value_name = "URL")]
    pub(super) control_plane: Option<String>,
    /// A file with the token for the control plane
    #[arg(long, env = "CONTROL_PLANE_TOKEN_FILE", value_name = "FILE")]
    pub(super) token_file: Option<std::path::PathBuf>,
}

pub(super) fn run(global: &Global, arguments: &StatusArguments) -> Result<Exit, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(CliError::unexpected)?;
    loop {
        let progress = Progress::new(global.output);
        progress.show("reading");
        let found = match &arguments.control_plane {
            Some(url) => runtime.block_on(ask(url, arguments))?,
            None => read(global, &progress)?,
        };
        drop(progress);
        let wanted = |view: &TenantView| {
            arguments
                .tenant
                .as_ref()
                .is_none_or(|id| view.id == id.as_str())
        };
        let found: Vec<TenantView> = found.into_iter().filter(wanted).collect();
        if let (Some(id), true) = (&arguments.tenant, found.is_empty()) {
            let message = format!("there is no tenant {id}; `tenantctl list` shows all tenants");
            return Err(CliError::new("not_found", Exit::NotFound, message));
        }
        match global.output {
            Output::Json => print_json(&json!({ "tenants": found }))?,
            Output::Text => {
                let clear = if arguments.watch { CLEAR } else { "" };
                let text = match (&arguments.tenant, &found[..]) {
                    (Some(_), [view]) => details(view),
                    _ => table(&found),
                };
                print(format!("{clear}{text}").as_bytes())?;
            }
        }
        if !arguments.watch {
            return Ok(Exit::Done);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Asks the control plane.
async fn ask(url: &str, arguments: &StatusArguments) -> Result<Vec<TenantView>, CliError> {
    let remote = |message: String| CliError::new("control_plane", Exit::Remote, message);
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build();
    let client = client.map_err(CliError::unexpected)?;
    let token = match &arguments.token_file {
        Some(file) => Some(std::fs::read_to_string(file).map_err(|error| {
            CliError::usage(format!(
                "--token-file: {} cannot be read: {error}",
                file.display()
            ))
        })?),
        None => None,
    };
    let get = async |path: String| -> Result<Value, CliError> {
        let mut request = client.get(format!("{}{path}", url.trim_end_matches('/')));
        if let Some(token) = &token {
            request = request.bearer_auth(token.trim());
        }
        let failed = |error: reqwest::Error| {
            remote(format!(
                "{url} does not answer: {}; check --control-plane",
                error.without_url()
            ))
        };
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let body = response.bytes().await.map_err(failed)?;
        let body: Value = serde_json::from_slice(&body).map_err(|_| {
            remote(format!(
                "{url} is no control plane: it answers {status} without JSON"
            ))
        })?;
        if status.as_u16() == 404 {
            return Ok(Value::Null);
        }
        if !status.is_success() {
            let message = body["msg"].as_str().unwrap_or("no reason given");
            return Err(remote(format!("{url} answers {status}: {message}")));
        }
        Ok(body)
    };
    let parse = |value: Value| {
        serde_json::from_value::<TenantView>(value)
            .map_err(|error| remote(format!("{url} has another version: {error}")))
    };
    if let Some(tenant) = &arguments.tenant {
        let found = get(format!("/tenants/{tenant}")).await?;
        return if found.is_null() {
            Ok(Vec::new())
        } else {
            Ok(vec![parse(found)?])
        };
    }
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let mut page = get(format!("/tenants?limit={PAGE}{cursor}")).await?;
        let tenants = page
            .get_mut("tenants")
            .and_then(Value::as_array_mut)
            .map(std::mem::take);
        for tenant in tenants.unwrap_or_default() {
            found.push(parse(tenant)?);
        }
        let Some(next) = page["next_cursor"].as_str() else {
            return Ok(found);
        };
        cursor = format!("&cursor={next}");
    }
}

/// Reads Git and the cluster.
fn read(global: &Global, progress: &Progress) -> Result<Vec<TenantView>, CliError> {
    let repository = repository::open(global)?;
    progress.show("fetching");
    let head = repository.lock()?.fetch()?;
    let history = Changes::of(repository.log(&head, None, MAX_COMMITS)?);
    let found = releases(&repository.snapshot(&head)?)?;
    progress.show("asking kubectl");
    let observed = observe()?;
    let is_tenant = |release: &&Release| matches!(release.tenant.parse(), Ok(Environment::Silo(_)));
    let view = |release: &Release| {
        let changed = history.changed(&release.tenant);
        let one = observed.of(&release.tenant, changed, |commit| history.position(commit));
        tenant(release, history.change(&release.tenant), &one, None)
    };
    Ok(found.iter().filter(is_tenant).map(view).collect())
}

/// The order of commits, and the last change of each release.
struct Changes {
    positions: HashMap<String, usize>,
    changes: HashMap<String, (usize, ChangeOf)>,
}

impl Changes {
    /// `entries` are newest first.
    fn of(entries: Vec<LogEntry>) -> Self {
        let (mut positions, mut changes) = (HashMap::new(), HashMap::new());
        for (position, entry) in entries.into_iter().rev().enumerate() {
            let commit = entry.commit.to_string();
            let actor = Recorded::read(&entry.message)
                .actor
                .map_or(entry.author, |actor| actor.to_string());
            for release in entry.paths.iter().filter_map(layout::release_of) {
                let change = ChangeOf {
                    commit: commit.clone(),
                    time: Time::of_seconds(entry.seconds),
                    actor: actor.clone(),
                };
                changes.insert(release.to_owned(), (position + 1, change));
            }
            positions.insert(commit, position + 1);
        }
        Self { positions, changes }
    }

    fn position(&self, commit: &str) -> usize {
        self.positions.get(commit).copied().unwrap_or(0)
    }

    fn changed(&self, release: &str) -> usize {
        self.changes
            .get(release)
            .map_or(0, |(position, _)| *position)
    }

    fn change(&self, release: &str) -> Option<&ChangeOf> {
        self.changes.get(release).map(|(_, change)| change)
    }
}

/// Asks `kubectl` for the objects of Flux, Terraform and the tenants.
fn observe() -> Result<Observed, CliError> {
    let mut gather = Gather::default();
    for (kind, selector) in KINDS {
        let mut command = Command::new("kubectl");
        command.args([
            "get",
            kind,
            "--all-namespaces",
            "--output=json",
            "--request-timeout=30s",
        ]);
        if let Some(selector) = selector {
            command.arg(format!("--selector={selector}"));
        }
        let output = command.output().map_err(|error| {
            let message = format!("kubectl cannot be started: {error}; install it, or name the control plane with --control-plane");
            CliError::new("kubectl_missing", Exit::Unexpected, message)
        })?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            // The cluster does not have the kind, for example no Terraform controller.
            if error.contains("the server doesn't have a resource type") {
                continue;
            }
            let reason = error
                .split_whitespace()
                .take(60)
                .collect::<Vec<_>>()
                .join(" ");
            let message = format!(
                "kubectl get {kind} failed: {reason}; check the context, or use --control-plane"
            );
            return Err(CliError::new("kubectl_failed", Exit::Remote, message));
        }
        let list: Value = serde_json::from_slice(&output.stdout).map_err(CliError::unexpected)?;
        let items = list.get("items").and_then(Value::as_array);
        items
            .into_iter()
            .flatten()
            .for_each(|object| gather.add(object));
    }
    Ok(gather.finish())
}

/// A duration in its largest unit.
fn ago(since: Option<Time>) -> String {
    let Some(since) = since else {
        return "-".to_owned();
    };
    let seconds = Time::from(SystemTime::now()).since(since).as_secs();
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7_199 => format!("{}m", seconds / 60),
        7_200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn table(found: &[TenantView]) -> String {
    let row = |view: &TenantView| {
        let blocked = view.blocked.as_ref().map(|blocked| blocked.code.clone());
        [
            view.id.clone(),
            view.tier.clone(),
            view.release.clone(),
            view.state.as_str().to_owned(),
            ago(view.since),
            blocked.unwrap_or_default(),
        ]
    };
    let rows: Vec<[String; 6]> = std::iter::once(TITLES.map(str::to_owned))
        .chain(found.iter().map(row))
        .collect();
    super::list::aligned(&rows)
}

fn details(view: &TenantView) -> String {
    let mut lines = vec![
        format!(
            "{}: {} since {}",
            view.id,
            view.state.as_str(),
            ago(view.since)
        ),
        format!("  tier      {}", view.tier),
    ];
    for (app, place) in view.apps.iter() {
        let routed = if place.routed { "" } else { ", no route" };
        lines.push(format!("  {app:<9} {}{routed}", place.environment));
    }
    if let Some(desired) = &view.desired {
        lines.push(format!(
            "  desired   {} by {}, {} ago ({})",
            desired.release,
            desired.actor,
            ago(Some(desired.time)),
            short(&desired.commit)
        ));
    }
    if let Some(applied) = &view.applied {
        let commit = applied.commit.as_deref().map_or("no commit", short);
        let release = applied.release.as_deref().unwrap_or("-");
        let message = applied
            .message
            .as_ref()
            .map(|message| format!(": {message}"))
            .unwrap_or_default();
        lines.push(format!(
            "  applied   {release}, {} ago ({commit}){message}",
            ago(Some(applied.time))
        ));
    }
    match &view.serving {
        Some(serving) if serving.answers => {
            lines.push(format!("  serving   since {}", ago(Some(serving.since))));
        }
        Some(serving) => {
            let errors: Vec<&str> = serving
                .apps
                .values()
                .filter_map(|app| app.error.as_deref())
                .collect();
            lines.push(format!("  serving   no: {}", errors.join("; ")));
        }
        None => lines.push("  serving   not probed".to_owned()),
    }
    if let Some(blocked) = &view.blocked {
        lines.push(format!("  blocked   {}: {}", blocked.code, blocked.reason));
        lines.push(format!("  to mend   {}", blocked.remedy));
    }
    lines.join("\n") + "\n"
}

fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_tenant_is_shown_with_the_command_that_mends_it() {
        let view: TenantView = serde_json::from_value(json!({
            "id": "acme", "tier": "basic", "state": "blocked", "since": null, "release": "9.9.x", "suspended": false, "held": null,
            "delete_data": false, "apps": { "producer": { "environment": "pool-1", "routed": true } }, "labels": {}, "path": "p",
            "desired": { "commit": "0123456789abcdef", "time": "2026-01-31T12:00:00Z", "actor": "Ann", "release": "9.9.x" },
            "applied": null, "serving": null,
            "blocked": { "code": "chart_version_not_found", "reason": "no version 9.9", "remedy": "tenantctl deploy",
                "since": null, "object": null },
            "figures": { "requests_per_second": null, "error_ratio": null, "queue_depth": null, "oldest_message_seconds": null,
                "dead_letters": null, "restarts": null, "stored_per_second": null, "apps": {}, "last_error": null } }))
        .expect("a view");
        let text = details(&view);
        assert!(
            text.contains("by Ann")
                && text.contains("(0123456789)")
                && text.contains("to mend   tenantctl deploy"),
            "{text}"
        );
        let table = table(&[view]);
        assert!(
            table
                .lines()
                .nth(1)
                .is_some_and(|line| line.ends_with("chart_version_not_found")),
            "{table}"
        );
    }
}
