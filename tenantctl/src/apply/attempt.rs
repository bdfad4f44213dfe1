//! One attempt: fetch, plan, commit and push on one head.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tenantry_tenancy::generation::Generation;

use super::outcome::{Applied, ApplyOutcome, ApplyResults, ApplyStep, OnStep, Plans, RequestError};
use super::record::{self, Origin, RequestTrailers};
use crate::git::{GitError, MirrorLock, Pushed, Repository, Snapshot};
use crate::plan::{Plan, check_namespace, plan_for};
use crate::request::IdentifiedRequest;

/// The input of an attempt.
pub(super) struct Attempt {
    pub(super) repository: Repository,
    pub(super) requests: Arc<Vec<IdentifiedRequest>>,
    pub(super) on_step: OnStep,
    /// The plans of an unanswered push. With them, every id is searched in the history.
    pub(super) plans: Option<Plans>,
    pub(super) origin: Arc<Origin>,
}

/// Reason why an attempt failed.
pub(super) enum AttemptError {
    BeforePush(GitError),
    Rejected,
    /// The push failed; the plans are those of the attempt.
    Push(GitError, Vec<Option<Plan>>),
}

impl From<GitError> for AttemptError {
    fn from(error: GitError) -> Self {
        Self::BeforePush(error)
    }
}

/// Makes one attempt; blocks.
pub(super) fn attempt(attempt: Attempt) -> Result<ApplyResults, AttemptError> {
    let Attempt {
        repository,
        requests,
        on_step,
        plans,
        origin,
    } = attempt;
    let mut lock = repository.lock()?;
    on_step(ApplyStep::Fetching);
    let head = lock.fetch()?;
    on_step(ApplyStep::Planning);
    let asked = requests
        .iter()
        .filter(|identified| identified.may_be_repeat || plans.is_some());
    let lines: Vec<String> = asked
        .map(|identified| record::id_line(&identified.id))
        .collect();
    let known = repository.commits_with_lines(&head, &lines)?;
    let mut history: Vec<RequestTrailers> = known
        .into_iter()
        .filter_map(|(commit, message)| RequestTrailers::read(commit, &message))
        .collect();

    let mut tip = Tip {
        snapshot: repository.snapshot(&head)?,
        repository: &repository,
        origin: &origin,
    };
    let mut results = Vec::with_capacity(requests.len());
    for (at, identified) in requests.iter().enumerate() {
        let earlier = plans.as_ref().and_then(|plans| plans.get(at)?.clone());
        results.push(
            match history.iter().find(|recorded| recorded.id == identified.id) {
                Some(recorded) => repeated(recorded, identified, earlier),
                None => tip.advance(&mut lock, identified, &mut history)?,
            },
        );
    }
    let commit = tip.snapshot.commit();
    if *commit == head {
        return Ok(results);
    }
    on_step(ApplyStep::Pushing);
    match lock.push(commit, &head) {
        Ok(Pushed::Accepted) => Ok(results),
        Ok(Pushed::Rejected) => Err(AttemptError::Rejected),
        Err(error) => {
            let plans = results
                .into_iter()
                .map(|result| result.ok().and_then(|applied| applied.plan));
            Err(AttemptError::Push(error, plans.collect()))
        }
    }
}

/// The parent of the next commit.
struct Tip<'a> {
    snapshot: Snapshot,
    repository: &'a Repository,
    origin: &'a Origin,
}

impl Tip<'_> {
    /// Plans a request on this commit and commits its edits.
    fn advance(
        &mut self,
        lock: &mut MirrorLock,
        identified: &IdentifiedRequest,
        history: &mut Vec<RequestTrailers>,
    ) -> Result<Result<Applied, RequestError>, GitError> {
        let planned = check_namespace(&self.snapshot, &identified.request)
            .and_then(|()| plan_for(&self.snapshot, &identified.request, generation_now()));
        let planned = match planned {
            Ok(planned) => planned,
            Err(error) => return Ok(Err(error.into())),
        };
        if planned.edits.is_empty() {
            return Ok(Ok(Applied {
                outcome: ApplyOutcome::NothingToDo,
                plan: Some(planned),
                attempts: 0,
            }));
        }
        let message = record::message(&planned.subject, identified, self.origin);
        let commit = lock.commit(self.snapshot.commit(), &planned.edits, &message)?;
        self.snapshot = self.repository.snapshot(&commit)?;
        history.extend(RequestTrailers::read(commit.clone(), &message));
        Ok(Ok(Applied {
            outcome: ApplyOutcome::Committed(commit),
            plan: Some(planned),
            attempts: 0,
        }))
    }
}

/// The generation of a tenant onboarded now.
pub fn generation_now() -> Generation {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Generation::at_millis(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
}

/// Returns the result of a request whose id a commit has.
fn repeated(
    recorded: &RequestTrailers,
    identified: &IdentifiedRequest,
    earlier: Option<Plan>,
) -> Result<Applied, RequestError> {
    let commit = recorded.commit.clone();
    if !recorded.is(&identified.request) {
        let (id, recorded) = (identified.id.clone(), recorded.text());
        return Err(RequestError::IdTaken {
            id,
            commit,
            recorded,
        });
    }
    let outcome = match &earlier {
        // The unanswered push did arrive: it is this run's commit.
        Some(_) => ApplyOutcome::Committed(commit),
        None => ApplyOutcome::Repeated(commit),
    };
    Ok(Applied {
        outcome,
        plan: earlier,
        attempts: 0,
    })
}
