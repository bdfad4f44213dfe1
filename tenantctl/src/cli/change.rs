//! The commands that change the repository, and `diff`, which shows what they would.

use serde_json::json;

use super::arguments::{Change, Global, Output};
use super::exit::{CliError, Exit};
use super::output::{say, say_json};
use super::progress::Progress;
use super::sources;
use crate::apply::{Applied, Options, Outcome, apply, describe};
use crate::git::{Branch, patch};
use crate::plan::{Effect, Plan, plan};
use crate::request::{Request, RequestId, Wanted};

/// Carries a change out and tells what came of it.
pub(super) fn run(global: &Global, change: Change) -> Result<Exit, CliError> {
    let wanted = Wanted {
        request: change.into(),
        id: global.request_id.clone().unwrap_or_else(RequestId::random),
        may_be_repeat: global.request_id.is_some(),
    };
    carry_out(global, &wanted)
}

/// Carries out what is wanted and tells what came of it.
pub(super) fn carry_out(global: &Global, wanted: &Wanted) -> Result<Exit, CliError> {
    let repository = sources::repository(global)?;
    let progress = Progress::new(global.output);
    let options = Options {
        on_step: progress.on_step(),
        max_attempts: global.attempts,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let runtime = runtime.map_err(CliError::unexpected)?;
    let applied = runtime.block_on(apply(&repository, wanted.clone(), &options));
    drop((options, progress));
    let applied = applied??;
    match global.output {
        Output::Text => say(text(&applied, wanted, repository.branch()).as_bytes())?,
        Output::Json => {
            let plan = applied.plan.as_ref();
            let files: Vec<_> = plan
                .iter()
                .flat_map(|plan| &plan.edits)
                .map(|edit| &edit.path)
                .collect();
            let (outcome, commit) = match &applied.outcome {
                Outcome::Committed(commit) => ("committed", Some(commit)),
                Outcome::NothingToDo => ("nothing_to_do", None),
                Outcome::Repeated(commit) => ("repeated", Some(commit)),
            };
            say_json(&json!({
                "outcome": outcome,
                "commit": commit,
                "branch": repository.branch().to_string(),
                "request": describe(&wanted.request),
                "request_id": wanted.id,
                "subject": plan.map(|plan| &plan.subject),
                "effects": plan.map(|plan| &plan.effects),
                "files": files,
                "attempts": applied.attempts,
            }))?;
        }
    }
    Ok(Exit::Done)
}

/// Prints what a change would do to the repository as it is now.
pub(super) fn diff(global: &Global, change: Change) -> Result<Exit, CliError> {
    let progress = Progress::new(global.output);
    let tree = sources::tree(global, &progress)?;
    let request = Request::from(change);
    let plan = plan(&*tree, &request)?;
    let scratch = tempfile::tempdir()
        .map_err(|error| CliError::unexpected(format!("no folder for temporary files: {error}")))?;
    let patch = patch(&*tree, &plan.edits, scratch.path())?;
    drop(progress);
    match global.output {
        Output::Text => say(patch.as_bytes())?,
        Output::Json => say_json(&json!({
            "outcome": if plan.edits.is_empty() { "nothing_to_do" } else { "would_commit" },
            "request": describe(&request),
            "subject": plan.subject,
            "effects": plan.effects,
            "patch": patch,
        }))?,
    }
    Ok(Exit::Done)
}

fn text(applied: &Applied, wanted: &Wanted, branch: &Branch) -> String {
    match (&applied.outcome, &applied.plan) {
        (Outcome::Repeated(commit), _) => {
            format!(
                "Done before: commit {} has request id {}\n",
                commit.short(),
                wanted.id
            )
        }
        (Outcome::NothingToDo, plan) => {
            format!(
                "Nothing to do: the repository says so already\n{}",
                skipped(plan.as_ref())
            )
        }
        (Outcome::Committed(commit), plan) => {
            let subject = plan
                .as_ref()
                .map_or("Committed", |plan| plan.subject.as_str());
            let (commit, id) = (commit.short(), &wanted.id);
            format!(
                "{subject}\n{}commit {commit} on {branch}, request id {id}\n",
                skipped(plan.as_ref())
            )
        }
    }
}

/// Whom a wave left out: the one effect that people do not expect.
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
