//! Applies requests to the remote branch: fetch, plan on the fresh head, commit, push.
//!
//! A push that finds the branch moved is planned again after a random pause, up to a limit. Beyond the limit it is an error,
//! and nothing has changed. The commit carries the request's id. A request whose id is in the history succeeds without a
//! commit, so a repeat is safe; another request with that id is a conflict. After an unanswered push, the id is searched on
//! the fresh head.

mod attempt;
mod outcome;
mod record;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tenantry_process::retry::backoff_from_half;

pub use self::attempt::generation_now;
use self::attempt::{Attempt, AttemptError, attempt};
use self::outcome::Plans;
pub use self::outcome::{Applied, ApplyOutcome, ApplyResults, ApplyStep, OnStep, RequestError};
pub use self::record::{Origin, Recorded, id_line, request_json};
use crate::git::{GitError, MirrorLock, Oid, Pushed, Repository, on_blocking_thread};
use crate::plan::{self, Plan};
use crate::request::{IdentifiedRequest, RequestId};
use crate::status::Refused;
use crate::tree::{RepoPath, Tree};

/// Default limit of pushes while other writers move the branch. One of eight writers that never pause wins one push in
/// eight, so about once in 10^11 it loses this many in a row.
pub const MAX_ATTEMPTS: u32 = 200;
const REPLAN_BASE: Duration = Duration::from_millis(40);
/// Longest wait, about one attempt: a writer that waits longer loses to new writers.
const REPLAN_MAX: Duration = Duration::from_millis(400);
/// Limit of searches for a commit after an unanswered push.
const MAX_SEARCHES: u32 = 4;
/// Most commits after the applied one that are searched for a refused object.
const MAX_UNAPPLIED: usize = 1_000;
const SEARCH_BASE: Duration = Duration::from_millis(250);
const SEARCH_MAX: Duration = Duration::from_secs(5);

/// Reason why no request was applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Git or the remote failed. Nothing has changed.
    #[error(transparent)]
    Git(#[from] GitError),
    #[error("the branch moved {attempts} times during planning; nothing was changed, try again")]
    Contended { attempts: u32 },
    /// The push was not answered and may have arrived.
    #[error(
        "the push was not answered and may have arrived: {source}; repeat with --request-id {id} to find out"
    )]
    PushUnanswered {
        id: RequestId,
        /// The failure of the push, or of the search for its commit.
        source: GitError,
    },
}

#[derive(Clone)]
pub struct ApplyOptions {
    pub on_step: OnStep,
    /// Limit of pushes while other writers move the branch, at least 1.
    pub max_attempts: u32,
    /// What the commits record beside their requests.
    pub origin: Arc<Origin>,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        Self {
            on_step: Arc::new(|_| {}),
            max_attempts: MAX_ATTEMPTS,
            origin: Arc::default(),
        }
    }
}

impl ApplyError {
    /// Returns the stable name of the error, for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Git(error) => error.code(),
            Self::Contended { .. } => "contended",
            Self::PushUnanswered { .. } => "push_not_answered",
        }
    }
}

/// Commits a note without edits, and pushes it: the history is the journal of deployments. Blocks.
///
/// # Errors
/// [`ApplyError`]; the note may be on the branch if the push was not answered, and a repeat is harmless.
pub fn note(repository: &Repository, subject: &str, origin: &Origin) -> Result<Oid, ApplyError> {
    let message = format!("{subject}\n\n{}", origin.lines());
    let pushed = push(repository, |lock, head| {
        lock.commit(head, &[], &message).map(Some)
    });
    pushed.map(|commit| commit.expect("a note is always a commit"))
}

/// Takes back what the cluster refuses, and pushes that commit; `None` if the branch has nothing to take back any more. Blocks.
///
/// # Errors
/// [`ApplyError`]; a repeat is harmless.
pub fn take_back(
    repository: &Repository,
    refused: &Refused,
    origin: &Origin,
) -> Result<Option<Oid>, ApplyError> {
    let Some(applied) = Oid::parse(&refused.applied) else {
        return Ok(None);
    };
    push(repository, |lock, head| {
        let commits = repository.log(head, Some(&applied), MAX_UNAPPLIED)?;
        let changed: BTreeSet<&RepoPath> = commits.iter().flat_map(|entry| &entry.paths).collect();
        let changed: Vec<RepoPath> = changed.into_iter().cloned().collect();
        let (now, then) = (repository.snapshot(head)?, repository.snapshot(&applied)?);
        // The text before a commit is that of the next older one.
        let former = |path: &RepoPath| {
            let older = commits.iter().skip(1).map(|entry| &entry.commit);
            let pairs = commits.iter().zip(older.chain([&applied]));
            let texts = pairs.filter(|(entry, _)| entry.paths.contains(path));
            let texts =
                texts.filter_map(|(_, older)| repository.snapshot(older).ok()?.read(path).ok());
            texts.collect()
        };
        let plan = match &refused.object {
            Some(object) => plan::take_back(&now, &then, &changed, object),
            None => plan::take_back_build(&now, &then, &changed, &former),
        };
        let plan = match plan {
            Ok(plan) if !plan.edits.is_empty() => plan,
            Ok(_) => return Ok(None),
            Err(error) => {
                tracing::warn!(object = refused.name(), %error, "refused object not taken back");
                return Ok(None);
            }
        };
        let message = format!(
            "{}\n\n{}\n\n{}",
            plan.subject,
            refused.reason,
            origin.lines()
        );
        lock.commit(head, &plan.edits, &message).map(Some)
    })
}

/// Makes a commit on the branch's head and pushes it, again after each push of another writer.
fn push(
    repository: &Repository,
    commit: impl Fn(&mut MirrorLock, &Oid) -> Result<Option<Oid>, GitError>,
) -> Result<Option<Oid>, ApplyError> {
    for attempt in 0..MAX_ATTEMPTS {
        let mut lock = repository.lock()?;
        let head = lock.fetch()?;
        let Some(commit) = commit(&mut lock, &head)? else {
            return Ok(None);
        };
        if lock.push(&commit, &head)? == Pushed::Accepted {
            return Ok(Some(commit));
        }
        drop(lock);
        let pause = backoff_from_half(attempt, REPLAN_BASE, REPLAN_MAX, fastrand::f64());
        std::thread::sleep(pause);
    }
    Err(ApplyError::Contended {
        attempts: MAX_ATTEMPTS,
    })
}

/// Applies one request.
///
/// # Errors
/// [`ApplyError`] if nothing was done; the inner [`RequestError`] if this request is refused.
pub async fn apply(
    repository: &Repository,
    identified: IdentifiedRequest,
    options: &ApplyOptions,
) -> Result<Result<Applied, RequestError>, ApplyError> {
    let mut results = apply_all(repository, vec![identified], options).await?;
    Ok(results.pop().expect("one request has one result"))
}

/// Applies requests in order, with one commit each and one push for all.
///
/// # Errors
/// [`ApplyError`] if no request was applied, or the push was not answered.
pub async fn apply_all(
    repository: &Repository,
    requests: Vec<IdentifiedRequest>,
    options: &ApplyOptions,
) -> Result<ApplyResults, ApplyError> {
    let (requests, on_step) = (Arc::new(requests), &options.on_step);
    let mut unanswered: Option<UnansweredPush> = None;
    let mut rejected = 0;
    loop {
        let next = Attempt {
            repository: repository.clone(),
            requests: Arc::clone(&requests),
            on_step: Arc::clone(on_step),
            plans: unanswered.as_ref().map(|push| Arc::clone(&push.plans)),
            origin: Arc::clone(&options.origin),
        };
        let error = match on_blocking_thread(move || attempt(next)).await {
            Ok(results) => return Ok(numbered(results, rejected + 1)),
            Err(error) => error,
        };
        let pause = match error {
            AttemptError::Rejected => {
                rejected += 1;
                if rejected >= options.max_attempts {
                    return Err(ApplyError::Contended { attempts: rejected });
                }
                on_step(ApplyStep::Replanning(rejected + 1));
                backoff_from_half(rejected - 1, REPLAN_BASE, REPLAN_MAX, fastrand::f64())
            }
            AttemptError::Push(source, plans) if source.may_have_arrived() => {
                let push = UnansweredPush::again(unanswered.take(), plans, source, &requests)?;
                on_step(ApplyStep::Searching);
                unanswered.insert(push).pause()
            }
            AttemptError::BeforePush(source) if unanswered.is_some() => {
                let push = UnansweredPush::again(unanswered.take(), Vec::new(), source, &requests)?;
                unanswered.insert(push).pause()
            }
            AttemptError::BeforePush(source) | AttemptError::Push(source, _) => {
                return Err(source.into());
            }
        };
        tokio::time::sleep(pause).await;
    }
}

struct UnansweredPush {
    /// Searches for the commit so far.
    searches: u32,
    /// The plans of that push: the results if its commits did arrive.
    plans: Plans,
}

impl UnansweredPush {
    /// Counts one more search, up to the limit.
    fn again(
        before: Option<Self>,
        plans: Vec<Option<Plan>>,
        source: GitError,
        requests: &[IdentifiedRequest],
    ) -> Result<Self, ApplyError> {
        let (searches, known) = before.map_or((0, Plans::default()), |before| {
            (before.searches + 1, before.plans)
        });
        if searches >= MAX_SEARCHES {
            let id = requests
                .first()
                .map_or_else(RequestId::random, |first| first.id.clone());
            return Err(ApplyError::PushUnanswered { id, source });
        }
        let plans = if plans.is_empty() {
            known
        } else {
            Arc::new(plans)
        };
        Ok(Self { searches, plans })
    }

    fn pause(&self) -> Duration {
        backoff_from_half(self.searches, SEARCH_BASE, SEARCH_MAX, fastrand::f64())
    }
}

/// Adds the number of pushes to the results.
fn numbered(mut results: ApplyResults, attempts: u32) -> ApplyResults {
    for applied in results.iter_mut().flatten() {
        if matches!(applied.outcome, ApplyOutcome::Committed(_)) {
            applied.attempts = attempts;
        }
    }
    results
}
