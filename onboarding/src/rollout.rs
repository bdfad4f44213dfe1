//! Deployments with gates: wave by wave, each watched for its bake time before the next begins.
//!
//! The history is the journal: the start, each wave and each decision is a commit with a `Deployment:` trailer. So a restart
//! continues where the process ended, and a bad wave stays held. `journal` is pure and names the next step; `drive` takes it.
//! A figure that the platform does not know is not compared.

mod journal;
mod plan;

use std::collections::HashMap;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};
use tenantctl::apply::{Origin, note};
use tenantctl::git::{Oid, on_blocking_thread};
use tenantctl::plan::plan;
use tenantctl::release::release_states;
use tenantctl::request::{FormerRelease, ReleaseVersion, Request, RequestId};
use tenantry_service::error::ApiError;
use uuid::Uuid;

pub(crate) use self::journal::Deployments;
use self::journal::{Entry, JournalEvent, Step};
pub(crate) use self::plan::whole;
pub use self::plan::{Plan, WavePlan};
use crate::access::{Actor, Verb};
use crate::control::{ControlPlane, apply_error, id_of, not_read, request_error};
use crate::model::{DeploymentState, DeploymentView, Operation, WaveState};

/// Waves of a deployment.
pub const MAX_WAVES: usize = 20;
/// Longest bake time: a day.
pub const MAX_BAKE_SECONDS: u64 = 86_400;
/// Pause between two looks at open deployments.
const TICK: Duration = Duration::from_millis(500);
/// Pause after a failed commit.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Namespace of ids that are derived from an `Idempotency-Key`.
const KEYS: Uuid = Uuid::from_u128(0x2d8b_5f0e_6a3c_4c55_9e8d_7a10_5b1c_90d4);

/// Drives all deployments until it is dropped.
pub(crate) async fn drive(control: ControlPlane) {
    let mut changes = control.changes();
    loop {
        let steps = control.read(|state| state.deployments.steps());
        for (id, plan, step) in steps {
            if let Err(error) = control.step(&id, &plan, step).await {
                tracing::warn!(
                    deployment = id,
                    code = error.code(),
                    "step of a deployment failed, will retry"
                );
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
        tokio::select! {
            _ = changes.changed() => {}
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

impl ControlPlane {
    /// Starts a deployment. The answer is given once its start is in the history.
    ///
    /// # Errors
    /// 400, 404, 409 or 422 for a plan whose waves are refused; 403 without the role; 503 if the repository cannot be reached.
    pub async fn deploy(
        &self,
        actor: &Actor,
        plan: Plan,
        key: Option<&str>,
    ) -> Result<DeploymentView, ApiError> {
        actor.check(Verb::Deploy)?;
        if plan.waves.len() > MAX_WAVES || plan.bake_seconds > MAX_BAKE_SECONDS {
            let msg = format!(
                "BadRequest: a deployment has at most {MAX_WAVES} waves and a bake time of at most {MAX_BAKE_SECONDS} seconds"
            );
            return Err(ApiError::bad_request("invalid_deployment", msg));
        }
        let requests = (0..plan.waves.len().max(1)).map(|wave| plan.request(wave));
        let requests: Vec<Request> = requests.collect::<Result<_, _>>()?;
        let id = id_of(&KEYS, actor, key).to_string();
        let known = self.read(|state| state.deployments.get(&id));
        if let Some(known) = known {
            if known.plan == plan {
                return Ok(known.view);
            }
            let msg = "UnprocessableContent: the Idempotency-Key belongs to another deployment; choose another key";
            return Err(ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                msg,
            ));
        }
        self.check_waves(requests).await?;
        let subject = format!("Start deployment of {} to tier {}", plan.release, plan.tier);
        self.journal(
            &subject,
            actor.name.clone(),
            &id,
            JournalEvent::Start { plan },
        )
        .await?;
        tracing::info!(actor = actor.name, deployment = id, "deployment started");
        self.deployment(&id).ok_or_else(not_read)
    }

    /// Plans each wave on the head, so that a wave that would be refused is refused before the first one begins.
    async fn check_waves(&self, requests: Vec<Request>) -> Result<(), ApiError> {
        let head = self
            .read(|state| state.history.head().and_then(Oid::parse))
            .ok_or_else(not_read)?;
        let repository = self.0.repository.clone();
        on_blocking_thread(move || {
            let tree = repository
                .snapshot(&head)
                .map_err(|error| apply_error(error.into()))?;
            for request in requests {
                plan(&tree, &request).map_err(|error| request_error(&error.into()))?;
            }
            Ok(())
        })
        .await
    }

    /// Begins the next wave of a held deployment.
    ///
    /// # Errors
    /// 403 without the role; 404; 409 for a deployment that is not held.
    pub async fn continue_deployment(
        &self,
        actor: &Actor,
        id: &str,
    ) -> Result<DeploymentView, ApiError> {
        actor.check(Verb::Deploy)?;
        let view = self.held_deployment(id)?;
        let bad = view
            .waves
            .iter()
            .position(|wave| wave.state == WaveState::Bad)
            .unwrap_or_default();
        let subject = format!("Continue deployment {id}");
        self.journal(
            &subject,
            actor.name.clone(),
            id,
            JournalEvent::Continued { wave: bad },
        )
        .await?;
        self.deployment(id).ok_or_else(not_read)
    }

    /// Gives the tenants of all waves their former releases, by one commit.
    ///
    /// # Errors
    /// 403 without the role; 404; 409 for a deployment that is reverted.
    pub async fn revert_deployment(&self, actor: &Actor, id: &str) -> Result<Operation, ApiError> {
        actor.check(Verb::Deploy)?;
        let known = self
            .read(|state| state.deployments.get(id))
            .ok_or_else(|| unknown(id))?;
        if known.view.state == DeploymentState::Reverted {
            let msg = format!(
                "Conflict: deployment {id} is reverted already; GET /deployments/{id} shows it"
            );
            return Err(ApiError::new(StatusCode::CONFLICT, "already_reverted", msg));
        }
        let waves = known.view.waves.iter().filter(|wave| wave.commit.is_some());
        let names: Vec<String> = waves.flat_map(|wave| wave.tenants.clone()).collect();
        let release: ReleaseVersion = known.plan.release.parse().map_err(|_| unknown(id))?;
        let start = Oid::parse(&known.start).ok_or_else(|| unknown(id))?;
        let repository = self.0.repository.clone();
        let former = on_blocking_thread(move || {
            let tree = repository
                .snapshot(&start)
                .map_err(|error| apply_error(error.into()))?;
            let found = release_states(&tree).map_err(|error| {
                ApiError::unavailable(
                    "broken_repository",
                    format!("Unavailable: {error}; revert by hand with `git revert`"),
                )
            })?;
            let mut found: HashMap<String, String> = found
                .into_iter()
                .map(|release| (release.tenant, release.version))
                .collect();
            let former = names.into_iter().filter_map(|name| {
                Some(FormerRelease {
                    release: name.parse().ok()?,
                    deployed: release.chart_version(),
                    former: found.remove(&name)?,
                })
            });
            Ok::<_, ApiError>(former.collect::<Vec<_>>())
        })
        .await?;
        let deployment: RequestId = id.parse().map_err(|_| unknown(id))?;
        let request = Request::Restore {
            deployment,
            releases: former,
        };
        let request_id = format!("{id}.revert").parse().map_err(|_| unknown(id))?;
        let origin = origin(&actor.name, id, JournalEvent::Reverted);
        let operation = self.commit(request, request_id, true, origin, None).await?;
        if operation.commit.is_none() {
            let subject = format!("Revert deployment {id}: nothing to restore");
            self.journal(&subject, actor.name.clone(), id, JournalEvent::Reverted)
                .await?;
        }
        tracing::info!(actor = actor.name, deployment = id, "deployment reverted");
        Ok(operation)
    }

    fn held_deployment(&self, id: &str) -> Result<DeploymentView, ApiError> {
        let view = self.deployment(id).ok_or_else(|| unknown(id))?;
        if view.state == DeploymentState::Held {
            return Ok(view);
        }
        let msg =
            format!("Conflict: deployment {id} is not held; GET /deployments/{id} shows its state");
        Err(ApiError::new(StatusCode::CONFLICT, "not_held", msg))
    }

    /// Takes the next step of a deployment.
    async fn step(&self, id: &str, plan: &Plan, step: Step) -> Result<(), ApiError> {
        let actor = self
            .deployment(id)
            .map(|view| view.actor)
            .unwrap_or_default();
        match step {
            Step::Commit(wave) => {
                let request = plan.request(wave)?;
                let request_id: RequestId =
                    format!("{id}.{wave}").parse().map_err(|_| unknown(id))?;
                let origin = origin(&actor, id, JournalEvent::Wave { wave });
                match self.commit(request, request_id, true, origin, None).await {
                    Ok(Operation {
                        commit: Some(_), ..
                    }) => Ok(()),
                    Ok(_) => {
                        let subject =
                            format!("Wave {} of deployment {id} changes nothing", wave + 1);
                        self.journal(&subject, actor, id, JournalEvent::Empty { wave })
                            .await
                    }
                    Err(error) if error.status() == StatusCode::SERVICE_UNAVAILABLE => Err(error),
                    // Its tenants all are on hold, or have left, since the start.
                    Err(error) if error.code() == "held" => {
                        let subject = format!(
                            "Wave {} of deployment {id}: every tenant is on hold",
                            wave + 1
                        );
                        self.journal(&subject, actor, id, JournalEvent::Empty { wave })
                            .await
                    }
                    Err(error) => {
                        let reason = format!(
                            "the wave is refused ({}); lint the repository",
                            error.code()
                        );
                        let event = JournalEvent::Held {
                            wave,
                            code: error.code().to_owned(),
                            reason,
                        };
                        self.journal(&format!("Hold deployment {id}"), actor, id, event)
                            .await
                    }
                }
            }
            Step::Hold(wave, problem) => {
                tracing::warn!(
                    deployment = id,
                    wave,
                    code = problem.code,
                    reason = problem.reason,
                    "deployment held: a wave was bad"
                );
                let subject = format!("Hold deployment {id}: wave {} was bad", wave + 1);
                let event = JournalEvent::Held {
                    wave,
                    code: problem.code,
                    reason: problem.reason,
                };
                self.journal(&subject, actor, id, event).await
            }
            Step::Finish => {
                tracing::info!(deployment = id, "deployment done: every wave was good");
                self.journal(
                    &format!("Finish deployment {id}"),
                    actor,
                    id,
                    JournalEvent::Done,
                )
                .await
            }
        }
    }

    /// Commits a note of a deployment, and reads it.
    async fn journal(
        &self,
        subject: &str,
        actor: String,
        id: &str,
        event: JournalEvent,
    ) -> Result<(), ApiError> {
        let (repository, subject) = (self.0.repository.clone(), subject.to_owned());
        let origin = origin(&actor, id, event);
        let noted = on_blocking_thread(move || note(&repository, &subject, &origin)).await;
        noted.map_err(apply_error)?;
        self.fetch_now().await;
        Ok(())
    }
}

fn origin(actor: &str, id: &str, event: JournalEvent) -> Origin {
    let entry = Entry {
        id: id.to_owned(),
        event,
    };
    let entry: Value = serde_json::to_value(entry).unwrap_or_else(|_| json!({}));
    Origin {
        actor: actor.parse().ok(),
        deployment: Some(entry),
        callback: None,
    }
}

pub(crate) fn unknown(id: &str) -> ApiError {
    let shown: String = id.chars().take(40).collect();
    let msg =
        format!("NotFound: there is no deployment {shown:?}; GET /deployments lists the last ones");
    ApiError::new(StatusCode::NOT_FOUND, "deployment_unknown", msg)
}
