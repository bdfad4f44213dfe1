//! What is known of a tenant or a pool, as the API and the pages show it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

use super::time::Time;

/// A tenant: what Git asks for, what is applied, what answers
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TenantView {
    /// The tenant's id
    #[schema(example = "tenant-2")]
    pub id: String,
    /// Its tier; of an offboarded tenant, its former tier
    #[schema(example = "basic")]
    pub tier: String,
    pub state: TenantState,
    /// Since when the tenant is in this state
    pub since: Option<Time>,
    /// The release as the chart's version
    #[schema(example = "0.1.x")]
    pub release: String,
    /// Whether the tenant has no routes, on purpose
    pub suspended: bool,
    /// Reason why deployments skip the tenant
    pub held: Option<String>,
    /// Whether the data of an offboarded tenant may be deleted
    pub delete_data: bool,
    /// Where each app runs, by app
    #[schema(value_type = BTreeMap<String, AppPlace>)]
    #[serde(serialize_with = "shared", deserialize_with = "owned")]
    pub apps: Arc<BTreeMap<String, AppPlace>>,
    /// The operator's own labels
    pub labels: BTreeMap<String, String>,
    /// The file of the tenant in the repository
    pub path: String,
    /// By Git
    pub desired: Option<Desired>,
    /// By the reconciler, or by the cluster
    pub applied: Option<Applied>,
    /// As probed through the load balancer
    pub serving: Option<Serving>,
    /// Why nothing progresses
    pub blocked: Option<Blocked>,
    pub figures: Figures,
}

/// The state of a tenant, in one word
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TenantState {
    /// In Git, not applied yet
    Committed,
    /// Applied, not answering yet
    Applied,
    /// Answers through the load balancer
    Serving,
    /// Has no routes, on purpose
    Suspended,
    /// Does not progress; `blocked` has the reason
    Blocked,
    /// Offboarded; its data stays
    Offboarded,
}

impl TenantState {
    pub const ALL: [Self; 6] = [
        Self::Committed,
        Self::Applied,
        Self::Serving,
        Self::Suspended,
        Self::Blocked,
        Self::Offboarded,
    ];

    /// The word, as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Applied => "applied",
            Self::Serving => "serving",
            Self::Suspended => "suspended",
            Self::Blocked => "blocked",
            Self::Offboarded => "offboarded",
        }
    }
}

/// Where an app of a tenant runs
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppPlace {
    /// The environment: a pool, or the tenant's own silo
    #[schema(example = "pool-1")]
    pub environment: String,
    /// Whether the load balancer routes requests to it
    pub routed: bool,
}

/// What Git asks for
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Desired {
    /// The last commit that changed the tenant
    pub commit: String,
    pub time: Time,
    /// Who made that commit
    pub actor: String,
    /// The release as the chart's version
    pub release: String,
}

/// What is applied
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// The commit that is applied
    pub commit: Option<String>,
    pub time: Time,
    /// The release that is installed, if the platform knows it
    pub release: Option<String>,
    /// Whether everything of the tenant is ready
    pub ready: bool,
    /// What is being done, in the platform's own words
    pub message: Option<String>,
}

/// What answers through the load balancer
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Serving {
    /// The commit that was applied when the tenant was probed
    pub commit: Option<String>,
    /// When the tenant was probed
    pub time: Time,
    /// Since when the answer is the same
    pub since: Time,
    /// Whether every routed app answers from its environment
    pub answers: bool,
    /// By app
    #[schema(value_type = BTreeMap<String, ProbedApp>)]
    #[serde(serialize_with = "shared", deserialize_with = "owned")]
    pub apps: Arc<BTreeMap<String, ProbedApp>>,
}

fn shared<T: Serialize, S: Serializer>(
    apps: &BTreeMap<String, T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    apps.serialize(serializer)
}

fn owned<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Arc<BTreeMap<String, T>>, D::Error> {
    BTreeMap::deserialize(deserializer).map(Arc::new)
}

/// The answer of one app
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProbedApp {
    /// The status of the answer; none if there was no answer
    pub status: Option<u16>,
    /// The environment that answered
    pub environment: Option<String>,
    /// Why the answer is not the expected one
    pub error: Option<String>,
}

/// Why nothing progresses
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Blocked {
    /// Stable code, for machines
    #[schema(example = "chart_version_not_found")]
    pub code: String,
    /// Sentence for people, with the platform's own message
    pub reason: String,
    /// The command, or the step, that mends it
    pub remedy: String,
    /// Since when, if the platform knows it
    pub since: Option<Time>,
    /// The object that says so, for example `HelmRelease/flux-tenants/tenant-1`
    pub object: Option<String>,
}

/// Live figures of a tenant; each is absent where the platform does not know it
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Figures {
    /// Requests per second in the environments that serve the tenant
    pub requests_per_second: Option<f64>,
    /// Share of requests answered with 5xx, from 0 to 1
    pub error_ratio: Option<f64>,
    /// Messages in the tenant's queue, visible and in flight
    pub queue_depth: Option<u64>,
    /// Age of the oldest message in seconds
    pub oldest_message_seconds: Option<f64>,
    /// Messages in the dead-letter queue
    pub dead_letters: Option<u64>,
    /// Restarts of pods since they were created
    pub restarts: Option<u64>,
    /// Messages that the consumer of the tenant's environment stores per second
    pub stored_per_second: Option<f64>,
    /// By app, where the platform counts them apart
    pub apps: BTreeMap<String, AppFigures>,
    /// The last error, in one sentence
    pub last_error: Option<String>,
}

/// Live figures of one app in the environment that serves the tenant
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AppFigures {
    pub requests_per_second: Option<f64>,
    /// Share of requests answered with 5xx, from 0 to 1
    pub error_ratio: Option<f64>,
}

/// A pool: the environment that tenants share
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolView {
    #[schema(example = "pool-1")]
    pub id: String,
    pub release: String,
    /// The apps that run in it
    pub apps: Vec<String>,
    /// How many tenants have an app in it
    pub tenants: usize,
    pub desired: Option<Desired>,
    pub applied: Option<Applied>,
    pub blocked: Option<Blocked>,
    pub figures: Figures,
}
