//! Commits as the pages show them: what one changes, and what is wrong with the newest.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use parking_lot::RwLock;
use tenantctl::git::{GitError, Oid, on_blocking_thread};
use tenantctl::lint::{Finding, lint};
use tenantry_service::error::ApiError;
use tokio_util::task::AbortOnDropHandle;

use crate::control::{ControlPlane, MAX_BROKEN, not_read};
use crate::history;
use crate::model::Activity;

/// Bytes of a diff on a page.
const MAX_DIFF: usize = 60_000;
/// Findings on a page; the first one often causes the others.
const MAX_FINDINGS: usize = 10;
/// Longest time until a new head is noticed.
const TICK: Duration = Duration::from_millis(500);

/// A commit and its diff.
pub(super) struct CommitView {
    pub(super) activity: Activity,
    pub(super) diff: String,
    /// Whether the diff is longer than the page shows.
    pub(super) is_cut: bool,
}

/// Commits that do not lint: they are not applied.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BrokenCommit {
    /// The oldest, since which the branch does not lint.
    pub(super) commit: Activity,
    /// Number of commits since the oldest.
    pub(super) waiting: usize,
    /// Of the newest.
    pub(super) findings: Vec<Finding>,
    /// Findings that are not listed.
    pub(super) more: usize,
}

/// Reads a commit.
///
/// # Errors
/// 404 for an unknown commit; 503 if nothing was read yet.
pub(super) async fn view(control: &ControlPlane, commit: &str) -> Result<CommitView, ApiError> {
    let unknown = || {
        let shown: String = commit.chars().take(40).collect();
        let msg = format!("NotFound: there is no commit {shown:?}; Activity lists the commits");
        ApiError::new(StatusCode::NOT_FOUND, "commit_unknown", msg)
    };
    let oid = Oid::parse(commit).ok_or_else(unknown)?;
    control
        .read(|state| state.history.head().map(drop))
        .ok_or_else(not_read)?;
    let repository = control.0.repository.clone();
    let read = on_blocking_thread(move || {
        let entries = repository.log(&oid, None, 1)?;
        Ok::<_, GitError>((entries, repository.diff(&oid)?))
    });
    // Git fails for a commit that it does not have.
    let (entries, mut diff) = read.await.map_err(|_| unknown())?;
    let entry = entries.into_iter().next().ok_or_else(unknown)?;
    let is_cut = diff.len() > MAX_DIFF;
    if is_cut {
        diff.truncate(diff.floor_char_boundary(MAX_DIFF));
    }
    Ok(CommitView {
        activity: history::commit(0, entry).activity,
        diff,
        is_cut,
    })
}

/// The review of the branch's head, made anew for each new head.
pub(super) struct Review {
    broken: Arc<RwLock<Option<Arc<BrokenCommit>>>>,
    _task: AbortOnDropHandle<()>,
}

impl Review {
    pub(super) fn start(control: ControlPlane) -> Self {
        let broken = Arc::default();
        let task = tokio::spawn(review(control, Arc::clone(&broken)));
        Self {
            broken,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// The newest commits, if they do not lint.
    pub(super) fn broken(&self) -> Option<Arc<BrokenCommit>> {
        self.broken.read().clone()
    }
}

/// Reviews each new head until it is dropped.
async fn review(control: ControlPlane, broken: Arc<RwLock<Option<Arc<BrokenCommit>>>>) {
    let mut events = control.subscribe();
    let mut reviewed: Option<String> = None;
    loop {
        let newest: Vec<Activity> = control.read(|state| {
            let newest = state.history.activity().take(MAX_BROKEN + 1);
            newest.cloned().collect()
        });
        if let Some(head) = newest.first()
            && reviewed.as_ref() != Some(&head.commit)
        {
            let before = broken.read().clone();
            match lint_newest(&control, &newest, reviewed.as_deref(), before.as_deref()).await {
                Ok(found) => {
                    reviewed = Some(head.commit.clone());
                    *broken.write() = found.map(Arc::new);
                }
                Err(error) => {
                    tracing::warn!(%error, commit = head.commit, "review of a commit failed, will retry");
                }
            }
        }
        // An event is only a reason to compare the head sooner.
        let _ = tokio::time::timeout(TICK, events.recv()).await;
        events = events.resubscribe();
    }
}

/// Lints the newest commits, down to one that is valid or the last reviewed head, whose review was `before`.
async fn lint_newest(
    control: &ControlPlane,
    newest: &[Activity],
    reviewed: Option<&str>,
    before: Option<&BrokenCommit>,
) -> Result<Option<BrokenCommit>, GitError> {
    let mut found: Option<BrokenCommit> = None;
    for (age, commit) in newest.iter().enumerate() {
        if let (Some(found), true) = (&mut found, reviewed == Some(commit.commit.as_str())) {
            if let Some(before) = before {
                found.commit = before.commit.clone();
                found.waiting = before.waiting + age;
            }
            break;
        }
        let mut findings = lint_errors(control, commit).await?;
        if findings.is_empty() {
            break;
        }
        match &mut found {
            Some(found) => (found.commit, found.waiting) = (commit.clone(), age),
            None => {
                let more = findings.len().saturating_sub(MAX_FINDINGS);
                findings.truncate(MAX_FINDINGS);
                found = Some(BrokenCommit {
                    commit: commit.clone(),
                    waiting: 0,
                    findings,
                    more,
                });
            }
        }
    }
    Ok(found)
}

async fn lint_errors(control: &ControlPlane, commit: &Activity) -> Result<Vec<Finding>, GitError> {
    let Some(oid) = Oid::parse(&commit.commit) else {
        return Ok(Vec::new());
    };
    let repository = control.0.repository.clone();
    on_blocking_thread(move || {
        let mut findings = lint(&repository.snapshot(&oid)?);
        findings.retain(Finding::is_error);
        Ok(findings)
    })
    .await
}
