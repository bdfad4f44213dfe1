//! The commands that change the repository, and `diff`, which shows a change.

use serde_json::json;

use super::arguments::{Change, Global, Output};
use super::exit::{CliError, Exit};
use super::output::{print, print_json};
use super::progress::Progress;
use super::{purge, repository};
use crate::apply::{Applied, ApplyOptions, ApplyOutcome, apply, generation_now, request_json};
use crate::git::{Branch, patch};
use crate::plan::{Effect, Plan, check_namespace, plan_for};
use crate::request::{IdentifiedRequest, Request, RequestId};

/// Applies a change and prints the result.
pub(super) fn run(global: &Global, change: Change) -> Result<Exit, CliError> {
    if let Change::Forget {
        tenant,
        purge: true,
    } = &change
    {
        purge::run(global, tenant)?;
    }
    let identified = IdentifiedRequest {
        request: change.into(),
        id: global.request_id.clone().unwrap_or_else(RequestId::random),
        may_be_repeat: global.request_id.is_some(),
        reply_to: None,
    };
    apply_and_print(global, &identified)
}

/// Applies a request and prints the result.
pub(super) fn apply_and_print(
    global: &Global,
    identified: &IdentifiedRequest,
) -> Result<Exit, CliError> {
    let repository = repository::open(global)?;
    let progress = Progress::new(global.output);
    let options = ApplyOptions {
        on_step: progress.on_step(),
        max_attempts: global.attempts,
        ..ApplyOptions::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let runtime = runtime.map_err(CliError::unexpected)?;
    let applied = runtime.block_on(apply(&repository, identified.clone(), &options));
    drop((options, progress));
    let applied = applied??;
    match global.output {
        Output::Text => print(text(&applied, identified, repository.branch()).as_bytes())?,
        Output::Json => {
            let plan = applied.plan.as_ref();
            let files: Vec<_> = plan
                .iter()
                .flat_map(|plan| &plan.edits)
                .map(|edit| &edit.path)
                .collect();
            let (outcome, commit) = match &applied.outcome {
                ApplyOutcome::Committed(commit) => ("committed", Some(commit)),
                ApplyOutcome::NothingToDo => ("nothing_to_do", None),
                ApplyOutcome::Repeated(commit) => ("repeated", Some(commit)),
            };
            print_json(&json!({
                "outcome": outcome,
                "commit": commit,
                "branch": repository.branch().to_string(),
                "request": request_json(&identified.request),
                "request_id": identified.id,
                "subject": plan.map(|plan| &plan.subject),
                "effects": plan.map(|plan| &plan.effects),
                "files": files,
                "attempts": applied.attempts,
            }))?;
        }
    }
    Ok(Exit::Done)
}

/// Prints the effect of a change on the present repository.
pub(super) fn diff(global: &Global, change: Change) -> Result<Exit, CliError> {
    let progress = Progress::new(global.output);
    let tree = repository::read(global, &progress)?;
    let request = Request::from(change);
    check_namespace(&*tree, &request)?;
    let plan = plan_for(&*tree, &request, generation_now())?;
    let scratch = tempfile::tempdir()
        .map_err(|error| CliError::unexpected(format!("no folder for temporary files: {error}")))?;
    let patch = patch(&*tree, &plan.edits, scratch.path())?;
    drop(progress);
    match global.output {
        Output::Text => print(patch.as_bytes())?,
        Output::Json => print_json(&json!({
            "outcome": if plan.edits.is_empty() { "nothing_to_do" } else { "would_commit" },
            "request": request_json(&request),
            "subject": plan.subject,
            "effects": plan.effects,
            "patch": patch,
        }))?,
    }
    Ok(Exit::Done)
}

fn text(applied: &Applied, identified: &IdentifiedRequest, branch: &Branch) -> String {
    match (&applied.outcome, &applied.plan) {
        (ApplyOutcome::Repeated(commit), _) => {
            format!(
                "Done before: commit {} has request id {}\n",
                commit.short(),
                identified.id
            )
        }
        (ApplyOutcome::NothingToDo, plan) => {
            format!(
                "Nothing to do: the repository is in this state already\n{}",
                skipped(plan.as_ref())
            )
        }
        (ApplyOutcome::Committed(commit), plan) => {
            let subject = plan
                .as_ref()
                .map_or("Committed", |plan| plan.subject.as_str());
            let (commit, id) = (commit.short(), &identified.id);
            format!(
                "{subject}\n{}commit {commit} on {branch}, request id {id}\n",
                skipped(plan.as_ref())
            )
        }
    }
}

/// Lists skipped tenants: an operator does not expect this effect.
fn skipped(plan: Option<&Plan>) -> String {
    let line = |effect: &Effect| match effect {
        Effect::Skipped { release, reason } => {
            Some(format!("skipped {release}, on hold: {reason}\n"))
        }
        _ => None,
    };
    plan.into_iter()
        .flat_map(|plan| &plan.effects)
        .filter_map(line)
        .collect()
}
