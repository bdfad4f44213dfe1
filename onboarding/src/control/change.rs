//! Changes: each is one commit, pushed before it is answered.

use std::sync::Arc;

use axum::http::StatusCode;
use tenantctl::apply::{
    Applied, ApplyError, ApplyOptions, ApplyOutcome, Origin, Recorded, RequestError, apply,
    generation_now, id_line,
};
use tenantctl::git::{LogEntry, Oid, on_blocking_thread, patch};
use tenantctl::plan::{Effect, PlanErrorKind, check_namespace, plan_for};
use tenantctl::release::Release;
use tenantctl::request::{IdentifiedRequest, Labels, Request, RequestId, Wave};
use tenantry_process::metrics::label;
use tenantry_service::error::ApiError;
use tenantry_tenancy::tenant::{TenantId, Tier};
use uuid::Uuid;

use super::{ControlPlane, no_tenant, now};
use crate::access::Actor;
use crate::history;
use crate::model::{Change, Event, Operation, OperationState, Preview, TenantState, Times};
use crate::operations;

/// Namespace of the request ids that are derived from an `Idempotency-Key`.
const KEYS: Uuid = Uuid::from_u128(0x6c1e_4f1c_9a43_4f7e_8f0f_1f7e_2f7e_6c1e);

/// How a client asks for a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Submission {
    /// The `Idempotency-Key`: a repeat under the same key is the same operation.
    pub key: Option<String>,
    /// The URL that gets the operation's events.
    pub callback: Option<String>,
}

impl ControlPlane {
    /// The commit that a change would make; nothing is changed.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub async fn preview(&self, actor: &Actor, change: &Change) -> Result<Preview, ApiError> {
        actor.check(change.verb())?;
        let request = self.request_of(change)?;
        let repository = self.0.repository.clone();
        on_blocking_thread(move || {
            let head = repository
                .lock()
                .and_then(|lock| lock.fetch())
                .map_err(git_error)?;
            let tree = repository.snapshot(&head).map_err(git_error)?;
            let planned = check_namespace(&tree, &request)
                .and_then(|()| plan_for(&tree, &request, generation_now()))
                .map_err(|error| request_error(&error.into()))?;
            let scratch = tempfile::tempdir().map_err(|error| no_scratch(&error))?;
            let diff = patch(&tree, &planned.edits, scratch.path());
            let diff = diff.map_err(|error| {
                ApiError::unavailable("git_failed", format!("Unavailable: {error}; try again"))
            })?;
            Ok(Preview {
                subject: planned.subject,
                diff,
                base: head.to_string(),
            })
        })
        .await
    }

    /// Commits and pushes a change. A repeat under the same key is the same operation.
    ///
    /// # Errors
    /// 403 without the role; 404, 409 or 422 for a change that is refused; 503 if the repository cannot be reached.
    pub async fn submit(
        &self,
        actor: &Actor,
        change: Change,
        submission: Submission,
    ) -> Result<Operation, ApiError> {
        let verb = change.verb();
        actor.check(verb)?;
        let request = self.request_of(&change)?;
        if let Some(url) = &submission.callback {
            self.check_callback(url)?;
        }
        let tenant = change.tenant().to_string();
        let origin = Origin {
            actor: actor.name.parse().ok(),
            callback: submission.callback,
            deployment: None,
        };
        let id = id_of(&KEYS, actor, submission.key.as_deref()).to_string();
        let id: RequestId = id.parse().expect("a UUID is an id");
        let done = self
            .commit(request, id, submission.key.is_some(), origin, Some(&tenant))
            .await;
        let outcome = done
            .as_ref()
            .map_or_else(ApiError::code, |operation| operation.state.as_str());
        let labels = vec![label("kind", verb.as_str()), label("outcome", outcome)];
        self.0.metrics.counter("changes_total", labels).increment(1);
        match &done {
            Ok(operation) => tracing::info!(
                actor = actor.name,
                tenant_id = tenant,
                kind = operation.kind,
                operation = operation.id,
                commit = operation.commit,
                "change committed"
            ),
            Err(error) => tracing::info!(
                actor = actor.name,
                tenant_id = tenant,
                kind = verb.as_str(),
                code = error.code(),
                "change refused"
            ),
        }
        done
    }

    /// Commits and pushes a request, and returns its operation.
    pub(crate) async fn commit(
        &self,
        request: Request,
        id: RequestId,
        may_be_repeat: bool,
        origin: Origin,
        tenant: Option<&str>,
    ) -> Result<Operation, ApiError> {
        let accepted = now();
        let actor = origin
            .actor
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        let kind = tenantctl::apply::request_json(&request);
        let kind = kind["action"].as_str().unwrap_or("change").to_owned();
        let identified = IdentifiedRequest {
            request,
            id: id.clone(),
            may_be_repeat,
            reply_to: None,
        };
        let options = ApplyOptions {
            origin: Arc::new(origin),
            ..ApplyOptions::default()
        };
        let applied = apply(&self.0.repository, identified, &options)
            .await
            .map_err(apply_error)?
            .map_err(|error| request_error(&error))?;
        let Applied { outcome, plan, .. } = applied;
        let is_same = |commit: &Oid| {
            self.read(|state| {
                let known = state.operations.get(id.as_str());
                known
                    .and_then(|known| known.operation.commit.clone())
                    .as_deref()
                    == Some(commit.as_str())
            })
        };
        match outcome {
            ApplyOutcome::Committed(commit) | ApplyOutcome::Repeated(commit) => {
                if !is_same(&commit) {
                    self.fetch_now().await;
                }
                self.update(|state| {
                    state.operations.accepted(id.as_str(), accepted);
                    ((), Vec::new())
                });
                self.wake();
                self.operation(id.as_str()).await
            }
            ApplyOutcome::NothingToDo => {
                let plan = plan.unwrap_or_else(|| unreachable!("a plan without edits is returned"));
                if let Some(Effect::Skipped { release, reason }) = plan.effects.first() {
                    let msg =
                        format!("Conflict: {release} is held ({reason}); set held to null first");
                    return Err(ApiError::new(StatusCode::CONFLICT, "held", msg));
                }
                let state = self
                    .read(|state| tenant.and_then(|tenant| Some(state.tenants.get(tenant)?.state)));
                let state = match state {
                    Some(TenantState::Serving) => OperationState::Serving,
                    Some(TenantState::Suspended | TenantState::Offboarded) => OperationState::Gone,
                    _ => OperationState::Applied,
                };
                let operation = Operation {
                    id: id.to_string(),
                    kind,
                    tenant: tenant.map(str::to_owned),
                    tenants: tenant.map(str::to_owned).into_iter().collect(),
                    state,
                    actor,
                    commit: None,
                    subject: plan.subject,
                    times: Times {
                        accepted: Some(accepted),
                        ended: state.is_end().then(now),
                        ..Times::default()
                    },
                    problem: None,
                };
                self.update(|state| {
                    state.operations.record_done(operation.clone());
                    ((), vec![Event::Operation(Box::new(operation.clone()))])
                });
                Ok(operation)
            }
        }
    }

    /// # Errors
    /// 400 for a callback URL that is never called.
    pub fn check_callback(&self, url: &str) -> Result<(), ApiError> {
        self.0.callbacks.check_url(url)
    }

    /// The operation of this id: one that this process knows, or one of the history.
    ///
    /// # Errors
    /// 404; 503 if the repository cannot be read.
    pub async fn operation(&self, id: &str) -> Result<Operation, ApiError> {
        if let Some(known) = self.read(|state| Some(state.operations.get(id)?.operation.clone())) {
            return Ok(known);
        }
        let unknown = || {
            let msg =
                "NotFound: there is no operation with this id; GET /operations lists the last ones";
            ApiError::new(StatusCode::NOT_FOUND, "operation_unknown", msg)
        };
        let parsed: RequestId = id.parse().map_err(|_| unknown())?;
        let head = self.read(|state| state.history.head().map(str::to_owned));
        let head = head.as_deref().and_then(Oid::parse).ok_or_else(not_read)?;
        let repository = self.0.repository.clone();
        let entry = on_blocking_thread(move || {
            let found = repository.commits_with_lines(&head, &[id_line(&parsed)])?;
            let is_its = |(_, message): &&(Oid, String)| {
                Recorded::read(message).id.as_ref() == Some(&parsed)
            };
            let Some((commit, _)) = found.iter().find(is_its) else {
                return Ok(None);
            };
            Ok(repository.log(commit, None, 1)?.into_iter().next())
        })
        .await
        .map_err(git_error)?;
        let entry: LogEntry = entry.ok_or_else(unknown)?;
        let mut tracked = operations::of_commit(&history::commit(0, entry)).ok_or_else(unknown)?;
        tracked.end_past();
        Ok(tracked.operation)
    }

    fn request_of(&self, change: &Change) -> Result<Request, ApiError> {
        Ok(match change.clone() {
            Change::Onboard {
                tenant,
                tier,
                release,
                labels,
            } => {
                if !self.read(|state| state.releases.contains_key(tenant.as_str())) {
                    self.check_cluster_namespace(&tenant)?;
                }
                let labels = Labels::try_from(labels).map_err(|error| {
                    ApiError::bad_request("invalid_label", format!("BadRequest: labels: {error}"))
                })?;
                Request::Onboard {
                    tenant,
                    tier,
                    release,
                    labels,
                }
            }
            Change::Move { tenant, to } => {
                // A basic tenant has no namespace of its own.
                if to != Tier::Basic {
                    self.check_cluster_namespace(&tenant)?;
                }
                Request::Move {
                    tenant,
                    to,
                    leave_data: false,
                }
            }
            Change::Release { tenant, release } => {
                let tier = self.tier_of(&tenant)?;
                Request::Deploy {
                    tier,
                    release,
                    wave: Wave::Canary {
                        tenants: vec![tenant],
                    },
                }
            }
            Change::Suspend { tenant } => Request::Suspend { tenant },
            Change::Resume { tenant } => Request::Resume { tenant },
            Change::Hold { tenant, reason } => Request::Hold { tenant, reason },
            Change::Unhold { tenant } => Request::Unhold { tenant },
            Change::Offboard {
                tenant,
                delete_data,
            } => Request::Offboard {
                tenant,
                tier: None,
                delete_data,
            },
            Change::Forget { tenant } => Request::Forget { tenant },
        })
    }

    /// Refuses an id that is a namespace of the cluster and no tenant's: the cluster would refuse the tenant's Namespace.
    fn check_cluster_namespace(&self, tenant: &TenantId) -> Result<(), ApiError> {
        let sources = self.0.sources.lock();
        let is_foreign = sources
            .observed
            .foreign_namespaces
            .contains(tenant.as_str());
        drop(sources);
        if is_foreign {
            let msg = format!(
                "UnprocessableContent: {tenant} is a namespace of the cluster that is no tenant's; choose another id"
            );
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return Err(ApiError::new(status, "namespace_taken", msg));
        }
        Ok(())
    }

    fn tier_of(&self, tenant: &TenantId) -> Result<Tier, ApiError> {
        let release: Option<Arc<Release>> =
            self.read(|state| state.releases.get(tenant.as_str()).cloned());
        let tier = release.and_then(|release| release.tier.parse().ok());
        tier.ok_or_else(|| no_tenant(tenant.as_str()))
    }
}

/// The id of an actor's `Idempotency-Key` in a namespace, so that a repeat has the same id; without a key, a new one.
pub(crate) fn id_of(namespace: &Uuid, actor: &Actor, key: Option<&str>) -> Uuid {
    key.map_or_else(Uuid::now_v7, |key| {
        Uuid::new_v5(namespace, format!("{}\n{key}", actor.name).as_bytes())
    })
}

/// 503: no source was read yet.
pub(crate) fn not_read() -> ApiError {
    let msg =
        "Unavailable: the repository has not been read yet; try again after Retry-After seconds";
    ApiError::unavailable("repository_unread", msg)
}

fn no_scratch(error: &std::io::Error) -> ApiError {
    let msg = format!(
        "Unavailable: no temporary folder for the preview: {error}; set TMPDIR to a writable folder"
    );
    ApiError::unavailable("no_scratch", msg)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "fits map_err; the error ends here"
)]
fn git_error(error: tenantctl::git::GitError) -> ApiError {
    let msg =
        format!("Unavailable: {error}; nothing was changed, try again after Retry-After seconds");
    ApiError::unavailable(error.code(), msg)
}

pub(crate) fn apply_error(error: ApplyError) -> ApiError {
    match error {
        ApplyError::Git(error) => git_error(error),
        error @ ApplyError::Contended { .. } => {
            ApiError::unavailable(error.code(), format!("Unavailable: {error}"))
        }
        ApplyError::PushUnanswered { source, .. } => {
            let msg = format!(
                "Unavailable: the push was not answered and may have arrived: {source}; repeat the request with the same \
                 Idempotency-Key, or see GET /activity"
            );
            ApiError::unavailable("push_not_answered", msg)
        }
    }
}

pub(crate) fn request_error(error: &RequestError) -> ApiError {
    if let RequestError::IdTaken { commit, .. } = error {
        let msg = format!(
            "UnprocessableContent: the Idempotency-Key belongs to another request, committed as {}; choose another key",
            commit.short()
        );
        return ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_key_reused",
            msg,
        );
    }
    match error.kind() {
        PlanErrorKind::Conflict => ApiError::new(
            StatusCode::CONFLICT,
            error.code(),
            format!("Conflict: {error}"),
        ),
        PlanErrorKind::NotFound => ApiError::new(
            StatusCode::NOT_FOUND,
            "tenant_unknown",
            format!("NotFound: {error}"),
        ),
        PlanErrorKind::Invalid => ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            error.code(),
            format!("UnprocessableContent: {error}"),
        ),
        PlanErrorKind::Repository => ApiError::unavailable(
            error.code(),
            format!("Unavailable: the repository is broken: {error}"),
        ),
    }
}
