//! What the API and the pages show beside tenants and pools: operations, deployments, activity, queues, events.
//!
//! [`Change`] is one change as a client asks for it, parsed; the API's bodies and the pages' forms both become one.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use tenantctl::request::{HoldReason, ReleaseVersion};
pub use tenantctl::status::{
    AppFigures, AppPlace, Applied, Blocked, Desired, Figures, PoolView, ProbedApp, Serving,
    TenantState, TenantView, Time,
};
use tenantry_tenancy::tenant::{TenantId, Tier};
use utoipa::ToSchema;

use crate::access::Verb;

/// A change on its way: from the request to the tenant's answer
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Operation {
    /// The request's id, as in the commit's trailer `Request-Id`
    pub id: String,
    /// `onboard`, `move`, `deploy`, …
    #[schema(example = "onboard")]
    pub kind: String,
    /// The tenant; none for a deployment to several
    pub tenant: Option<String>,
    /// Every tenant and pool that the commit changes
    pub tenants: Vec<String>,
    pub state: OperationState,
    /// Who asked for it
    pub actor: String,
    /// The commit; none if the repository was in the desired state already
    pub commit: Option<String>,
    /// The commit's subject
    pub subject: String,
    /// When each state was reached, as far as this process knows it
    pub times: Times,
    /// Why it failed, or what blocks it now
    pub problem: Option<Blocked>,
}

/// How far an operation is
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    /// The request is valid and is being committed
    Accepted,
    /// The commit is pushed
    Committed,
    /// The platform has applied the commit
    Applied,
    /// The tenants answer through the load balancer: the end
    Serving,
    /// Nothing of the tenant answers or runs any more: the end
    Gone,
    /// It will not be served; `problem` has the reason: the end
    Failed,
}

/// When each state was reached
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Times {
    pub accepted: Option<Time>,
    pub committed: Option<Time>,
    pub applied: Option<Time>,
    /// `serving`, `gone` or `failed`
    pub ended: Option<Time>,
}

impl OperationState {
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Serving | Self::Gone | Self::Failed)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Committed => "committed",
            Self::Applied => "applied",
            Self::Serving => "serving",
            Self::Gone => "gone",
            Self::Failed => "failed",
        }
    }
}

/// One change of tenants, as a client asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Onboard {
        tenant: TenantId,
        tier: Tier,
        release: ReleaseVersion,
        labels: BTreeMap<String, String>,
    },
    Move {
        tenant: TenantId,
        to: Tier,
    },
    Release {
        tenant: TenantId,
        release: ReleaseVersion,
    },
    Suspend {
        tenant: TenantId,
    },
    Resume {
        tenant: TenantId,
    },
    Hold {
        tenant: TenantId,
        reason: HoldReason,
    },
    Unhold {
        tenant: TenantId,
    },
    Offboard {
        tenant: TenantId,
        delete_data: bool,
    },
    /// Deletes the record of an offboarded tenant whose data may be deleted: the id is free.
    Forget {
        tenant: TenantId,
    },
}

impl Change {
    pub const fn verb(&self) -> Verb {
        match self {
            Self::Onboard { .. } => Verb::Onboard,
            Self::Move { .. } => Verb::Move,
            Self::Release { .. } => Verb::Deploy,
            Self::Suspend { .. } | Self::Resume { .. } => Verb::Suspend,
            Self::Hold { .. } | Self::Unhold { .. } => Verb::Hold,
            Self::Offboard {
                delete_data: false, ..
            } => Verb::Offboard,
            Self::Offboard { .. } | Self::Forget { .. } => Verb::DeleteData,
        }
    }

    pub const fn tenant(&self) -> &TenantId {
        match self {
            Self::Onboard { tenant, .. }
            | Self::Move { tenant, .. }
            | Self::Release { tenant, .. }
            | Self::Suspend { tenant }
            | Self::Resume { tenant }
            | Self::Hold { tenant, .. }
            | Self::Unhold { tenant }
            | Self::Offboard { tenant, .. }
            | Self::Forget { tenant } => tenant,
        }
    }
}

/// The commit that a change would make
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Preview {
    /// The commit's subject
    pub subject: String,
    /// The commit as a unified diff; empty if the repository is in the desired state already
    pub diff: String,
    /// The commit that the preview is based on
    pub base: String,
}

/// Which tenants a listing shows
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantQuery {
    pub tier: Option<Tier>,
    pub state: Option<TenantState>,
    /// Only tenants whose id contains this text.
    pub id_contains: Option<String>,
    /// Only tenants after this id.
    pub after: Option<String>,
    pub limit: usize,
}

/// One page of tenants, by id
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TenantPage {
    #[schema(value_type = Vec<TenantView>)]
    #[serde(serialize_with = "all_shared")]
    pub tenants: Vec<Arc<TenantView>>,
    /// Cursor of the next page; none on the last one
    pub next_cursor: Option<String>,
    /// How many tenants match, on all pages
    pub total: usize,
}

fn shared<S: Serializer>(tenant: &TenantView, serializer: S) -> Result<S::Ok, S::Error> {
    tenant.serialize(serializer)
}

fn all_shared<S: Serializer>(
    tenants: &[Arc<TenantView>],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(tenants.iter().map(|tenant| &**tenant))
}

/// A deployment of a release, wave by wave
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeploymentView {
    pub id: String,
    pub tier: String,
    /// The release as the chart's version
    pub release: String,
    pub state: DeploymentState,
    pub actor: String,
    pub started: Time,
    /// Seconds that each wave is watched before the next
    pub bake_seconds: u64,
    pub gate: Gate,
    pub waves: Vec<WaveView>,
    /// Why it is held
    pub problem: Option<Blocked>,
}

/// How far a deployment is
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentState {
    /// A wave is being applied or watched
    Running,
    /// A wave was bad: no further wave begins until a person decides
    Held,
    /// Every wave is deployed and was good
    Done,
    /// A person has reverted it: the tenants have their former releases
    Reverted,
}

/// Limits of a wave's figures; above one of them, the deployment is held
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Gate {
    /// Largest share of requests answered with 5xx, from 0 to 1
    #[schema(minimum = 0, maximum = 1)]
    pub max_error_ratio: f64,
    /// Largest age of the oldest message in a queue of the wave, in seconds
    #[schema(minimum = 0)]
    pub max_oldest_message_seconds: f64,
    /// Most restarts of pods during the bake time
    #[serde(deserialize_with = "crate::rollout::whole")]
    #[schema(minimum = 0, maximum = 1_000_000)]
    pub max_restarts: u64,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            max_error_ratio: 0.01,
            max_oldest_message_seconds: 60.0,
            max_restarts: 0,
        }
    }
}

/// One wave of a deployment
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WaveView {
    /// For people: `canary tenant-1`, `10%`, `rest`
    pub name: String,
    pub state: WaveState,
    /// The tenants and pools that the wave's commit changed
    pub tenants: Vec<String>,
    pub commit: Option<String>,
    pub committed: Option<Time>,
    /// When every tenant of the wave answered; the bake time begins
    pub serving: Option<Time>,
    pub ended: Option<Time>,
    /// The figures of the wave, as far as they are known
    pub figures: Figures,
}

/// How far a wave is
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaveState {
    Waiting,
    /// Committed, not all tenants answer yet
    Applying,
    /// Its figures are watched
    Baking,
    Good,
    Bad,
    Reverted,
}

/// One commit: who did what
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Activity {
    pub commit: String,
    pub time: Time,
    pub actor: String,
    pub subject: String,
    /// The operation, if the commit belongs to one
    pub operation: Option<String>,
    /// The tenants and pools that the commit changes
    pub tenants: Vec<String>,
}

/// One page of commits, newest first
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActivityPage {
    pub activity: Vec<Activity>,
    /// The commit after which the next page begins
    pub next_cursor: Option<String>,
}

/// A queue and its dead-letter queue
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueView {
    pub name: String,
    /// Messages that can be received
    pub visible: u64,
    /// Messages being handled
    pub in_flight: u64,
    pub delayed: u64,
    pub dead_letter: Option<DeadLetterView>,
}

/// A dead-letter queue
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterView {
    pub name: String,
    pub messages: u64,
}

/// A message as it lies in a queue; nothing of it changes
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeekedMessage {
    pub id: String,
    pub sent: Time,
    pub receive_count: u64,
    pub body: String,
    pub attributes: BTreeMap<String, String>,
}

/// A change of an operation, a tenant or a deployment
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Operation(Box<Operation>),
    #[schema(value_type = TenantView)]
    Tenant(#[serde(serialize_with = "shared")] Arc<TenantView>),
    Deployment(Box<DeploymentView>),
    /// A commit is on the branch
    Commit(Activity),
    /// A tenant is no longer in the repository
    TenantGone {
        id: String,
    },
}

/// The control plane's own health
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `local` or `Kubernetes`
    pub platform: String,
    pub repository: String,
    pub branch: String,
    /// The head of the branch
    pub head: Option<String>,
    pub head_time: Option<Time>,
    /// Each part: the repository, the platform, the probe, the lifecycle queues
    pub parts: Vec<Part>,
    pub version: String,
}

/// A part of the control plane
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Part {
    pub name: String,
    pub well: bool,
    /// What is wrong, or a figure
    pub detail: String,
    /// When it last worked
    pub last: Option<Time>,
}
