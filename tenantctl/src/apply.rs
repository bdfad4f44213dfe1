//! A request carried out: fetch, plan on the fresh head, commit, push.
//!
//! A push that finds the branch moved on is planned again, at random distance, a bounded number of times: then it is an
//! error, and nothing has changed. The request's id is in the commit. A request whose id is in the history already is a
//! success without a commit, so it may be repeated at will; another request under the same id is a conflict. A push whose
//! answer was lost is settled by looking for the id on the fresh head.

mod attempt;
mod outcome;
mod record;

use std::sync::Arc;
use std::time::Duration;

use shared::queue::retry::backoff_from_half;

use self::attempt::{Attempt, Failed, attempt};
use self::outcome::Plans;
pub use self::outcome::{Applied, OnStep, Outcome, Refused, Results, Step};
pub use self::record::describe;
use crate::git::{GitError, Repository};
use crate::plan::Plan;
use crate::request::{RequestId, Wanted};

/// Pushes tried while others move the branch, where nothing else is said. One of eight writers that never pause wins one
/// go in eight: about once in 10^11 it loses this many in a row.
pub const MAX_ATTEMPTS: u32 = 200;
/// First wait before planning again.
const AGAIN_BASE: Duration = Duration::from_millis(40);
/// Longest such wait: about one go. Whoever waits longer than the others loses to those who have just come.
const AGAIN_MAX: Duration = Duration::from_millis(400);
/// Looks for a commit whose push was not answered.
const MAX_LOST: u32 = 4;
/// First wait before such a look.
const LOST_BASE: Duration = Duration::from_millis(250);
/// Longest such wait.
const LOST_MAX: Duration = Duration::from_secs(5);

/// Why nothing was carried out.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Git, or the remote, does not do it. Nothing has changed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// Others moved the branch each time.
    #[error(
        "the branch moved on {attempts} times while this was planned; nothing was changed, try again"
    )]
    Contended {
        /// Pushes tried.
        attempts: u32,
    },
    /// The push was not answered, and whether it arrived cannot be told.
    #[error(
        "the push was not answered and may have arrived: {source}; repeat with --request-id {id} to find out"
    )]
    Lost {
        /// The first request's id.
        id: RequestId,
        /// What happened to the push, or to the look for it.
        source: GitError,
    },
}

/// How requests are carried out.
#[derive(Clone)]
pub struct Options {
    /// Hears of each step.
    pub on_step: OnStep,
    /// Pushes tried while others move the branch, at least 1.
    pub max_attempts: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            on_step: Arc::new(|_| {}),
            max_attempts: MAX_ATTEMPTS,
        }
    }
}

impl ApplyError {
    /// The stable name of the error, for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Git(error) => error.code(),
            Self::Contended { .. } => "contended",
            Self::Lost { .. } => "push_not_answered",
        }
    }
}

/// Carries one request out.
///
/// # Errors
/// [`ApplyError`] where nothing was done at all; the inner [`Refused`] where this request cannot be.
pub async fn apply(
    repository: &Repository,
    wanted: Wanted,
    options: &Options,
) -> Result<Result<Applied, Refused>, ApplyError> {
    let mut results = apply_all(repository, vec![wanted], options).await?;
    Ok(results.pop().expect("one request has one result"))
}

/// Carries requests out in order, a commit each and one push for all.
///
/// # Errors
/// [`ApplyError`] where none of them was carried out, or it cannot be told.
pub async fn apply_all(
    repository: &Repository,
    wanted: Vec<Wanted>,
    options: &Options,
) -> Result<Results, ApplyError> {
    let (wanted, on_step) = (Arc::new(wanted), &options.on_step);
    let mut lost: Option<Lost> = None;
    let mut rejected = 0;
    loop {
        let tried = Attempt {
            repository: repository.clone(),
            wanted: Arc::clone(&wanted),
            on_step: Arc::clone(on_step),
            plans: lost.as_ref().map(|lost| Arc::clone(&lost.plans)),
        };
        let tried = tokio::task::spawn_blocking(move || attempt(tried)).await;
        let failed =
            match tried.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())) {
                Ok(results) => return Ok(numbered(results, rejected + 1)),
                Err(failed) => failed,
            };
        let pause = match failed {
            Failed::Rejected => {
                rejected += 1;
                if rejected >= options.max_attempts {
                    return Err(ApplyError::Contended { attempts: rejected });
                }
                on_step(Step::Again(rejected + 1));
                backoff_from_half(rejected - 1, AGAIN_BASE, AGAIN_MAX, fastrand::f64())
            }
            Failed::Pushing(source, plans) if source.may_have_arrived() => {
                lost = Some(Lost::again(lost, plans, source, &wanted)?);
                on_step(Step::Searching);
                backoff_from_half(
                    lost.as_ref().map_or(0, |lost| lost.times),
                    LOST_BASE,
                    LOST_MAX,
                    fastrand::f64(),
                )
            }
            Failed::Before(source) if lost.is_some() => {
                lost = Some(Lost::again(lost, Vec::new(), source, &wanted)?);
                backoff_from_half(
                    lost.as_ref().map_or(0, |lost| lost.times),
                    LOST_BASE,
                    LOST_MAX,
                    fastrand::f64(),
                )
            }
            Failed::Before(source) | Failed::Pushing(source, _) => return Err(source.into()),
        };
        tokio::time::sleep(pause).await;
    }
}

/// A push that was not answered.
struct Lost {
    times: u32,
    /// What was planned then: the results, should the commits turn out to have arrived.
    plans: Plans,
}

impl Lost {
    /// Another look, unless there have been enough.
    fn again(
        before: Option<Self>,
        plans: Vec<Option<Plan>>,
        source: GitError,
        wanted: &[Wanted],
    ) -> Result<Self, ApplyError> {
        let (times, known) = before.map_or((0, Plans::default()), |before| {
            (before.times + 1, before.plans)
        });
        if times >= MAX_LOST {
            let id = wanted
                .first()
                .map_or_else(RequestId::random, |wanted| wanted.id.clone());
            return Err(ApplyError::Lost { id, source });
        }
        Ok(Self {
            times,
            plans: if plans.is_empty() {
                known
            } else {
                Arc::new(plans)
            },
        })
    }
}

/// The results with the number of pushes that led to them.
fn numbered(mut results: Results, attempts: u32) -> Results {
    for applied in results.iter_mut().flatten() {
        if matches!(applied.outcome, Outcome::Committed(_)) {
            applied.attempts = attempts;
        }
    }
    results
}
