//! Deployments with gates: wave by wave, each watched for its bake time before the next begins.
//!
//! The history is the journal: the start, each wave and each decision is a commit with a `Deployment:` trailer. So a restart
//! continues where the process ended, and a bad wave stays held. [`next`] is pure and decides a step; [`drive`] takes the step.
//! A figure that the platform does not know is not compared.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tenantctl::apply::{Origin, note};
use tenantctl::git::{Oid, on_blocking_thread};
use tenantctl::plan::plan;
use tenantctl::release::releases;
use tenantctl::request::{FormerRelease, Percent, ReleaseVersion, Request, RequestId, Wave};
use tenantry_service::error::ApiError;
use tenantry_tenancy::tenant::{TenantId, Tier};
use utoipa::openapi::schema::{AdditionalProperties, Array, Object, OneOf, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use crate::access::{Actor, Verb};
use crate::control::{ControlPlane, apply_error, not_read, request_error};
use crate::history::Commit;
use crate::model::{
    Blocked, DeploymentState, DeploymentView, Figures, Gate, Operation, PoolView, TenantState,
    TenantView, Time, WaveState, WaveView,
};

/// Deployments kept.
const MAX_DEPLOYMENTS: usize = 50;
/// Waves of a deployment.
pub const MAX_WAVES: usize = 20;
/// Longest bake time: a day.
pub const MAX_BAKE_SECONDS: u64 = 86_400;
/// Pause between two checks of open deployments.
const TICK: Duration = Duration::from_millis(500);
/// Pause after a failed commit.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Namespace of ids that are derived from an `Idempotency-Key`.
const KEYS: Uuid = Uuid::from_u128(0x2d8b_5f0e_6a3c_4c55_9e8d_7a10_5b1c_90d4);

/// A deployment as requested: release, waves, bake time and gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub tier: String,
    pub release: String,
    pub waves: Vec<WavePlan>,
    pub bake_seconds: u64,
    pub gate: Gate,
}

/// The tenants of a wave
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WavePlan {
    /// These tenants
    Canary(Vec<String>),
    /// About this share of the tier, from 1 to 100: the same tenants each time
    Percent(#[serde(deserialize_with = "whole")] u8),
    /// Every tenant that does not have the release yet, and for the basic tier the pools
    Rest,
}

/// Reads a whole number, however it is written: JSON Schema takes `10.0` for an integer.
pub(crate) fn whole<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: TryFrom<u64>,
{
    let number = serde_json::Number::deserialize(deserializer)?;
    let of_float = |float: f64| {
        (float.fract() == 0.0 && (0.0..=1e15).contains(&float)).then(|| format!("{float:.0}"))
    };
    let whole = number
        .as_u64()
        .or_else(|| of_float(number.as_f64()?)?.parse().ok());
    let fitting = whole.and_then(|whole| T::try_from(whole).ok());
    fitting.ok_or_else(|| {
        serde::de::Error::custom(format!("{number} is not a whole number within its limits"))
    })
}

impl PartialSchema for WavePlan {
    fn schema() -> RefOr<Schema> {
        let one = |name: &str, schema: Schema| {
            Object::builder()
                .property(name, schema)
                .required(name)
                .additional_properties(Some(AdditionalProperties::FreeForm(false)))
        };
        let tenant = Object::builder()
            .schema_type(Type::String)
            .max_length(Some(32))
            .pattern(Some("^[a-z]([-a-z0-9]{0,30}[a-z0-9])?$"));
        let canary = Array::builder().items(tenant).min_items(Some(1)).build();
        let percent = Object::builder()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(100))
            .build();
        let rest = Object::builder()
            .schema_type(Type::String)
            .enum_values(Some(["rest"]))
            .description(Some(
                "Every tenant that does not have the release yet, and for the basic tier the pools",
            ));
        OneOf::builder()
            .item(one("canary", canary.into()).description(Some("These tenants")))
            .item(one("percent", percent.into()).description(Some(
                "About this share of the tier: the same tenants each time",
            )))
            .item(rest)
            .into()
    }
}

impl ToSchema for WavePlan {}

#[derive(Debug, Default)]
pub(crate) struct Deployments {
    by_id: HashMap<String, Deployment>,
    /// Oldest first.
    order: VecDeque<String>,
}

#[derive(Debug, Clone)]
struct Deployment {
    view: DeploymentView,
    plan: Plan,
    /// The commit that records the start: it has the former releases.
    start: String,
    /// Restarts when the present wave began to bake.
    restarts_before: Option<u64>,
}

/// The next step of a deployment.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    Commit(usize),
    Hold(usize, Blocked),
    Finish,
}

/// What a commit records of a deployment.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    id: String,
    #[serde(flatten)]
    event: JournalEvent,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum JournalEvent {
    Start {
        plan: Plan,
    },
    Wave {
        wave: usize,
    },
    /// The wave's tenants have the release already.
    Empty {
        wave: usize,
    },
    Held {
        wave: usize,
        code: String,
        reason: String,
    },
    Continued {
        wave: usize,
    },
    Done,
    Reverted,
}

impl WavePlan {
    fn name(&self) -> String {
        match self {
            Self::Canary(tenants) if tenants.len() <= 3 => format!("canary {}", tenants.join(", ")),
            Self::Canary(tenants) => format!("canary of {} tenants", tenants.len()),
            Self::Percent(share) => format!("{share}%"),
            Self::Rest => "rest".to_owned(),
        }
    }

    fn wave(&self) -> Result<Wave, ApiError> {
        let invalid = |why: String| {
            ApiError::bad_request("invalid_wave", format!("BadRequest: waves: {why}"))
        };
        Ok(match self {
            Self::Canary(tenants) => {
                let parsed = tenants.iter().map(|tenant| tenant.parse::<TenantId>());
                let parsed = parsed
                    .collect::<Result<_, _>>()
                    .map_err(|error| invalid(error.to_string()))?;
                Wave::Canary { tenants: parsed }
            }
            Self::Percent(share) => Wave::Percent(
                Percent::try_from(*share).map_err(|error| invalid(error.to_string()))?,
            ),
            Self::Rest => Wave::Rest,
        })
    }
}

impl Plan {
    fn request(&self, wave: usize) -> Result<Request, ApiError> {
        let invalid =
            |why: String| ApiError::bad_request("invalid_deployment", format!("BadRequest: {why}"));
        Ok(Request::Deploy {
            tier: self
                .tier
                .parse::<Tier>()
                .map_err(|error| invalid(format!("tier: {error}")))?,
            release: self
                .release
                .parse::<ReleaseVersion>()
                .map_err(|error| invalid(format!("release: {error}")))?,
            wave: self
                .waves
                .get(wave)
                .ok_or_else(|| invalid("waves is empty; name at least one".to_owned()))?
                .wave()?,
        })
    }
}

impl Deployments {
    /// Applies what a commit records of a deployment.
    pub(crate) fn record(&mut self, commit: &Commit) {
        let Some(entry) = commit.recorded.deployment.clone() else {
            return;
        };
        let Ok(Entry { id, event }) = serde_json::from_value(entry) else {
            return;
        };
        let time = commit.activity.time;
        if let JournalEvent::Start { plan } = event {
            if !self.by_id.contains_key(&id) {
                self.order.push_back(id.clone());
                self.by_id
                    .insert(id.clone(), Deployment::new(id, plan, commit));
            }
            while self.order.len() > MAX_DEPLOYMENTS
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_id.remove(&oldest);
            }
            return;
        }
        let Some(deployment) = self.by_id.get_mut(&id) else {
            return;
        };
        match event {
            JournalEvent::Start { .. } => {}
            JournalEvent::Wave { wave } | JournalEvent::Empty { wave } => {
                let is_empty = matches!(event, JournalEvent::Empty { .. });
                for before in deployment.view.waves.iter_mut().take(wave) {
                    before.state = WaveState::Good;
                    before.ended.get_or_insert(time);
                }
                if let Some(wave) = deployment.view.waves.get_mut(wave) {
                    wave.state = if is_empty {
                        WaveState::Good
                    } else {
                        WaveState::Applying
                    };
                    wave.tenants.clone_from(&commit.activity.tenants);
                    wave.commit = Some(commit.activity.commit.clone());
                    wave.committed = Some(time);
                    wave.ended = is_empty.then_some(time);
                }
                deployment.restarts_before = None;
            }
            JournalEvent::Held { wave, code, reason } => {
                deployment.view.state = DeploymentState::Held;
                deployment.view.problem = Some(held(&id, code, reason));
                if let Some(wave) = deployment.view.waves.get_mut(wave) {
                    wave.state = WaveState::Bad;
                    wave.ended = Some(time);
                }
            }
            JournalEvent::Continued { wave } => {
                deployment.view.state = DeploymentState::Running;
                deployment.view.problem = None;
                if let Some(wave) = deployment.view.waves.get_mut(wave) {
                    wave.state = WaveState::Good;
                }
            }
            JournalEvent::Done => {
                deployment.view.state = DeploymentState::Done;
                for wave in &mut deployment.view.waves {
                    wave.state = WaveState::Good;
                    wave.ended.get_or_insert(time);
                }
            }
            JournalEvent::Reverted => {
                deployment.view.state = DeploymentState::Reverted;
                for wave in deployment
                    .view
                    .waves
                    .iter_mut()
                    .filter(|wave| wave.commit.is_some())
                {
                    wave.state = WaveState::Reverted;
                }
            }
        }
    }

    /// Newest first.
    pub(crate) fn views(&self) -> Vec<DeploymentView> {
        let newest = self.order.iter().rev().filter_map(|id| self.by_id.get(id));
        newest.map(|deployment| deployment.view.clone()).collect()
    }

    pub(crate) fn view(&self, id: &str) -> Option<DeploymentView> {
        self.by_id.get(id).map(|deployment| deployment.view.clone())
    }

    /// Tenants of waves that are being applied or watched.
    pub(crate) fn open_tenants(&self) -> impl Iterator<Item = String> {
        let running = self
            .by_id
            .values()
            .filter(|one| one.view.state == DeploymentState::Running);
        let waves = running.flat_map(|one| &one.view.waves);
        let open =
            waves.filter(|wave| matches!(wave.state, WaveState::Applying | WaveState::Baking));
        open.flat_map(|wave| wave.tenants.clone())
    }

    /// Compares open waves with their tenants. Returns the deployments that changed.
    pub(crate) fn observe(
        &mut self,
        tenants: &BTreeMap<String, Arc<TenantView>>,
        pools: &BTreeMap<String, PoolView>,
        now: Time,
    ) -> Vec<DeploymentView> {
        let mut changed = Vec::new();
        for deployment in self.by_id.values_mut() {
            if deployment.view.state != DeploymentState::Running {
                continue;
            }
            let before = deployment.view.clone();
            deployment.observe(tenants, pools, now);
            if deployment.view != before {
                changed.push(deployment.view.clone());
            }
        }
        changed
    }

    /// The next step of each deployment that has one.
    fn steps(&self) -> Vec<(String, Plan, Step)> {
        let open = self.order.iter().filter_map(|id| self.by_id.get(id));
        let step =
            |one: &Deployment| Some((one.view.id.clone(), one.plan.clone(), next(&one.view)?));
        open.filter_map(step).collect()
    }
}

impl Deployment {
    fn new(id: String, plan: Plan, start: &Commit) -> Self {
        let wave = |wave: &WavePlan| WaveView {
            name: wave.name(),
            state: WaveState::Waiting,
            tenants: Vec::new(),
            commit: None,
            committed: None,
            serving: None,
            ended: None,
            figures: Figures::default(),
        };
        Self {
            view: DeploymentView {
                id,
                tier: plan.tier.clone(),
                release: plan.release.clone(),
                state: DeploymentState::Running,
                actor: start.activity.actor.clone(),
                started: start.activity.time,
                bake_seconds: plan.bake_seconds,
                gate: plan.gate,
                waves: plan.waves.iter().take(MAX_WAVES).map(wave).collect(),
                problem: None,
            },
            plan,
            start: start.activity.commit.clone(),
            restarts_before: None,
        }
    }

    fn observe(
        &mut self,
        tenants: &BTreeMap<String, Arc<TenantView>>,
        pools: &BTreeMap<String, PoolView>,
        now: Time,
    ) {
        let (gate, bake) = (self.view.gate, Duration::from_secs(self.view.bake_seconds));
        let is_open =
            |wave: &&mut WaveView| matches!(wave.state, WaveState::Applying | WaveState::Baking);
        let Some(wave) = self.view.waves.iter_mut().find(is_open) else {
            return;
        };
        let found: Vec<Member> = wave
            .tenants
            .iter()
            .map(|name| Member::of(name, tenants, pools))
            .collect();
        if let Some(blocked) = found.iter().find_map(|member| member.blocked.clone()) {
            wave.state = WaveState::Bad;
            self.view.problem = Some(blocked);
            return;
        }
        wave.figures = together(found.iter().map(|member| &member.figures));
        if wave.state == WaveState::Applying {
            if !found.iter().all(|member| member.settled) {
                return;
            }
            wave.state = WaveState::Baking;
            wave.serving = Some(now);
        }
        let before = *self
            .restarts_before
            .get_or_insert(wave.figures.restarts.unwrap_or_default());
        if let Some((code, reason)) = above(&gate, &wave.figures, before) {
            wave.state = WaveState::Bad;
            self.view.problem = Some(held(&self.view.id, code.to_owned(), reason));
            return;
        }
        // A tenant that no longer answers makes the wave bad; one that is changed by hand meanwhile only takes longer.
        let has_baked = wave.serving.is_some_and(|since| now.since(since) >= bake);
        if has_baked && found.iter().all(|member| member.settled) {
            wave.state = WaveState::Good;
            wave.ended = Some(now);
        }
    }
}

/// One tenant or pool of a wave.
struct Member {
    settled: bool,
    blocked: Option<Blocked>,
    figures: Figures,
}

impl Member {
    fn of(
        name: &str,
        tenants: &BTreeMap<String, Arc<TenantView>>,
        pools: &BTreeMap<String, PoolView>,
    ) -> Self {
        if let Some(pool) = pools.get(name) {
            return Self {
                settled: pool.applied.as_ref().is_some_and(|applied| applied.ready),
                blocked: pool.blocked.clone(),
                figures: pool.figures.clone(),
            };
        }
        let Some(tenant) = tenants.get(name) else {
            // The tenant was removed meanwhile.
            return Self {
                settled: true,
                blocked: None,
                figures: Figures::default(),
            };
        };
        let is_probed = match (&tenant.serving, &tenant.applied) {
            (Some(serving), Some(applied)) => serving.commit == applied.commit,
            _ => false,
        };
        let settled = match tenant.state {
            TenantState::Serving => is_probed,
            TenantState::Suspended | TenantState::Offboarded => true,
            TenantState::Committed | TenantState::Applied | TenantState::Blocked => false,
        };
        Self {
            settled,
            blocked: tenant
                .blocked
                .clone()
                .filter(|_| tenant.state == TenantState::Blocked),
            figures: tenant.figures.clone(),
        }
    }
}

/// The figures of a wave: the worst of its tenants, and the sum of restarts.
fn together<'a>(figures: impl Iterator<Item = &'a Figures>) -> Figures {
    let mut all = Figures::default();
    let larger = |one: Option<f64>, two: Option<f64>| match (one, two) {
        (Some(one), Some(two)) => Some(one.max(two)),
        (one, two) => one.or(two),
    };
    let sum = |one: Option<u64>, two: Option<u64>| match (one, two) {
        (Some(one), Some(two)) => Some(one + two),
        (one, two) => one.or(two),
    };
    for one in figures {
        all.requests_per_second = larger(all.requests_per_second, one.requests_per_second);
        all.error_ratio = larger(all.error_ratio, one.error_ratio);
        all.oldest_message_seconds = larger(all.oldest_message_seconds, one.oldest_message_seconds);
        all.queue_depth = all.queue_depth.max(one.queue_depth);
        all.dead_letters = all.dead_letters.max(one.dead_letters);
        all.restarts = sum(all.restarts, one.restarts);
        if all.last_error.is_none() {
            all.last_error.clone_from(&one.last_error);
        }
    }
    all
}

/// The first figure above its limit.
fn above(gate: &Gate, figures: &Figures, restarts_before: u64) -> Option<(&'static str, String)> {
    let restarts = figures
        .restarts
        .unwrap_or_default()
        .saturating_sub(restarts_before);
    if let Some(ratio) = figures
        .error_ratio
        .filter(|ratio| *ratio > gate.max_error_ratio)
    {
        let reason = format!(
            "{:.2}% of requests were answered with 5xx; the limit is {:.2}%",
            ratio * 100.0,
            gate.max_error_ratio * 100.0
        );
        return Some(("error_ratio", reason));
    }
    if let Some(age) = figures
        .oldest_message_seconds
        .filter(|age| *age > gate.max_oldest_message_seconds)
    {
        let reason = format!(
            "the oldest message is {age:.0} s old; the limit is {:.0} s",
            gate.max_oldest_message_seconds
        );
        return Some(("oldest_message", reason));
    }
    (restarts > gate.max_restarts).then(|| {
        let reason = format!(
            "pods restarted {restarts} times; the limit is {}",
            gate.max_restarts
        );
        ("restarts", reason)
    })
}

fn held(id: &str, code: String, reason: String) -> Blocked {
    Blocked {
        code,
        reason,
        remedy: format!(
            "POST /deployments/{id}/revert gives the tenants their former releases; POST /deployments/{id}/continue begins the \
             next wave"
        ),
        since: None,
        object: None,
    }
}

/// The next step of a deployment; `None` while a wave is applied or watched, and at the end.
fn next(view: &DeploymentView) -> Option<Step> {
    if view.state != DeploymentState::Running {
        return None;
    }
    for (at, wave) in view.waves.iter().enumerate() {
        match wave.state {
            WaveState::Good | WaveState::Reverted => {}
            WaveState::Waiting => return Some(Step::Commit(at)),
            WaveState::Applying | WaveState::Baking => return None,
            WaveState::Bad => {
                let problem = view.problem.clone();
                let problem = problem.unwrap_or_else(|| {
                    held(&view.id, "bad".to_owned(), "the wave was bad".to_owned())
                });
                return Some(Step::Hold(at, problem));
            }
        }
    }
    Some(Step::Finish)
}

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
        let id = match key {
            Some(key) => Uuid::new_v5(&KEYS, format!("{}\n{key}", actor.name).as_bytes()),
            None => Uuid::now_v7(),
        };
        let id = id.to_string();
        let known = self.read(|state| state.deployments.by_id.get(&id).cloned());
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
            .read(|state| state.deployments.by_id.get(id).cloned())
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
            let found = releases(&tree).map_err(|error| {
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
                    // Since the start, each tenant of the wave was put on hold or removed.
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

    /// Commits an entry of a deployment's journal, and applies it.
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
