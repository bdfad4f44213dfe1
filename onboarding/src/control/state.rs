//! The state in memory: views of all tenants and pools, operations, deployments, history.

use std::collections::BTreeMap;
use std::sync::Arc;

use tenantctl::release::Release;

use super::broken::Broken;
use crate::history::History;
use crate::model::{Figures, Part, PoolView, TenantPage, TenantQuery, TenantView};
use crate::operations::Operations;
use crate::rollout::Deployments;

#[derive(Default)]
pub(crate) struct State {
    pub(crate) history: History,
    /// The oldest commit of the branch, once it is known.
    pub(crate) first_commit: Option<String>,
    /// As the last readable commit has them.
    pub(crate) releases: BTreeMap<String, Arc<Release>>,
    /// The order of that commit.
    pub(crate) read: u64,
    pub(crate) broken: Option<Broken>,
    pub(crate) tenants: BTreeMap<String, Arc<TenantView>>,
    pub(crate) pools: BTreeMap<String, PoolView>,
    pub(crate) operations: Operations,
    pub(crate) deployments: Deployments,
    /// Figures of queues, by environment.
    pub(crate) queues: BTreeMap<String, Figures>,
    /// State of each source, by name.
    pub(crate) sources: BTreeMap<&'static str, Part>,
}

impl State {
    pub(crate) fn page(&self, query: &TenantQuery) -> TenantPage {
        let is_wanted = |tenant: &&Arc<TenantView>| {
            query.tier.is_none_or(|tier| tenant.tier == tier.as_str())
                && query.state.is_none_or(|state| tenant.state == state)
                && query
                    .id_contains
                    .as_ref()
                    .is_none_or(|text| tenant.id.contains(text.as_str()))
        };
        let total = self.tenants.values().filter(is_wanted).count();
        let after = query.after.as_deref().unwrap_or_default();
        let mut found = self
            .tenants
            .range::<str, _>((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded))
            .map(|(_, tenant)| tenant)
            .filter(is_wanted);
        let tenants: Vec<Arc<TenantView>> = found
            .by_ref()
            .take(query.limit.clamp(1, super::MAX_LIMIT))
            .cloned()
            .collect();
        let next_cursor = found.next().and(tenants.last()).map(|last| last.id.clone());
        TenantPage {
            tenants,
            next_cursor,
            total,
        }
    }
}
