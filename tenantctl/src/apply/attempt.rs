//! One go: everything from a fetch to a push, on one head.

use std::sync::Arc;

use super::outcome::{Applied, OnStep, Outcome, Plans, Refused, Results, Step};
use super::record::{self, Recorded};
use crate::git::{GitError, Oid, Pushed, Repository, Snapshot, Turn};
use crate::plan::{Plan, plan};
use crate::request::Wanted;

/// What a go is made with.
pub(super) struct Attempt {
    pub(super) repository: Repository,
    pub(super) wanted: Arc<Vec<Wanted>>,
    pub(super) on_step: OnStep,
    /// What was planned for a push that was not answered; then every id is looked for.
    pub(super) plans: Option<Plans>,
}

/// Why a go did not get through.
pub(super) enum Failed {
    /// Nothing was pushed.
    Before(GitError),
    /// The branch moved on.
    Rejected,
    /// The push failed; with what was planned.
    Pushing(GitError, Vec<Option<Plan>>),
}

impl From<GitError> for Failed {
    fn from(error: GitError) -> Self {
        Self::Before(error)
    }
}

/// Makes one go; blocks.
pub(super) fn attempt(attempt: Attempt) -> Result<Results, Failed> {
    let Attempt {
        repository,
        wanted,
        on_step,
        plans,
    } = attempt;
    let mut turn = repository.turn()?;
    on_step(Step::Fetching);
    let head = turn.fetch()?;
    on_step(Step::Planning);
    let asked = wanted
        .iter()
        .filter(|wanted| wanted.may_be_repeat || plans.is_some());
    let lines: Vec<String> = asked.map(|wanted| record::id_line(&wanted.id)).collect();
    let known = repository.commits_with_lines(&head, &lines)?;
    let mut history: Vec<Recorded> = known
        .into_iter()
        .filter_map(|(commit, message)| Recorded::read(commit, &message))
        .collect();

    let mut tip = Tip {
        snapshot: repository.snapshot(&head)?,
        repository: &repository,
    };
    let mut results = Vec::with_capacity(wanted.len());
    for (at, wanted) in wanted.iter().enumerate() {
        let earlier = plans.as_ref().and_then(|plans| plans.get(at)?.clone());
        results.push(
            match history.iter().find(|recorded| recorded.id == wanted.id) {
                Some(recorded) => repeated(recorded, wanted, earlier),
                None => tip.advance(&mut turn, wanted, &mut history)?,
            },
        );
    }
    let commit = tip.snapshot.commit();
    if *commit == head {
        return Ok(results);
    }
    on_step(Step::Pushing);
    match turn.push(commit, &head) {
        Ok(Pushed::Accepted) => Ok(results),
        Ok(Pushed::Rejected) => Err(Failed::Rejected),
        Err(error) => {
            let plans = results
                .into_iter()
                .map(|result| result.ok().and_then(|applied| applied.plan));
            Err(Failed::Pushing(error, plans.collect()))
        }
    }
}

/// The commit that the next one comes on top of.
struct Tip<'a> {
    snapshot: Snapshot,
    repository: &'a Repository,
}

impl Tip<'_> {
    /// Plans a request here and commits what it changes.
    fn advance(
        &mut self,
        turn: &mut Turn,
        wanted: &Wanted,
        history: &mut Vec<Recorded>,
    ) -> Result<Result<Applied, Refused>, GitError> {
        let planned = match plan(&self.snapshot, &wanted.request) {
            Ok(planned) => planned,
            Err(error) => return Ok(Err(error.into())),
        };
        if planned.edits.is_empty() {
            return Ok(Ok(Applied {
                outcome: Outcome::NothingToDo,
                plan: Some(planned),
                attempts: 0,
            }));
        }
        let message = record::message(&planned.subject, wanted);
        let commit = turn.commit(self.snapshot.commit(), &planned.edits, &message)?;
        self.snapshot = self.repository.snapshot(&commit)?;
        history.extend(Recorded::read(commit.clone(), &message));
        Ok(Ok(Applied {
            outcome: Outcome::Committed(commit),
            plan: Some(planned),
            attempts: 0,
        }))
    }
}

/// What a request is whose id a commit has.
fn repeated(
    recorded: &Recorded,
    wanted: &Wanted,
    earlier: Option<Plan>,
) -> Result<Applied, Refused> {
    let commit = recorded.commit.clone();
    if !recorded.is(&wanted.request) {
        let (id, recorded) = (wanted.id.clone(), recorded.text());
        return Err(Refused::IdTaken {
            id,
            commit,
            recorded,
        });
    }
    // Planned a moment ago, and the push did arrive: it is this run's commit.
    let outcome = outcome_of(commit, earlier.is_some());
    Ok(Applied {
        outcome,
        plan: earlier,
        attempts: 0,
    })
}

fn outcome_of(commit: Oid, is_ours: bool) -> Outcome {
    if is_ours {
        Outcome::Committed(commit)
    } else {
        Outcome::Repeated(commit)
    }
}
