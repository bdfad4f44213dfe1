//! Gathers the state of a cluster's objects into one [`Observed`]. Pure; an object is read and dropped, so memory stays small.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tenantry_tenancy::environment::Environment;

use super::blocked::blocked;
use super::model::{Blocked, Figures};
use super::refused::Refused;
use super::time::Time;
use super::view::{AppliedTenant, Observed, Rollout};
use crate::layout::{NAMESPACE, TENANT_LABEL};

/// Kustomization of the tenants, and of the pools.
const TENANTS: &str = "tenants";
const POOLS: &str = "pooled-envs";
/// Namespace of Flux, its Kustomizations and sources.
const FLUX: &str = "flux-system";
/// Labels that name the release of a pod or a Deployment.
const INSTANCE: &str = "app.kubernetes.io/instance";

/// State of the objects read so far.
#[derive(Debug, Default)]
pub struct Gather {
    releases: BTreeMap<String, Seen>,
    /// Commit applied by the Kustomization of tenants, and of pools.
    commits: BTreeMap<&'static str, String>,
    blocked: Option<Blocked>,
    refused: Option<Refused>,
    foreign_namespaces: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Seen {
    ready: bool,
    since: Option<Time>,
    release: Option<String>,
    message: Option<String>,
    /// Reason with its rank. A pod's reason replaces that of a release that waits for the pod.
    blocked: Option<(u8, Blocked)>,
    restarts: u64,
    is_released: bool,
}

impl Gather {
    /// Reads an object; one of another kind is ignored.
    pub fn add(&mut self, object: &Value) {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str);
        let (Some(kind), Some(name)) = (text("/kind"), text("/metadata/name")) else {
            return;
        };
        let namespace = text("/metadata/namespace").unwrap_or_default();
        match (kind, namespace) {
            ("HelmRelease", NAMESPACE) => self.release(name, object),
            ("Terraform", _) => self.explain(name, 2, object),
            ("HelmChart", _) => {
                if let Some(tenant) = name
                    .strip_prefix(NAMESPACE)
                    .and_then(|rest| rest.strip_prefix('-'))
                {
                    self.explain(tenant, 3, object);
                }
            }
            ("Deployment", _) => {
                if let Some(instance) = label(object, INSTANCE) {
                    self.explain(instance, 4, object);
                }
            }
            ("Pod", _) => {
                let Some(instance) = label(object, INSTANCE) else {
                    return;
                };
                self.explain(instance, 5, object);
                let restarts = restarts(object);
                if let Some(seen) = self.releases.get_mut(instance) {
                    seen.restarts += restarts;
                }
            }
            ("Kustomization", FLUX) => {
                let which = [TENANTS, POOLS].into_iter().find(|known| *known == name);
                let Some(which) = which else { return };
                if let Some(commit) = text("/status/lastAppliedRevision").and_then(commit_of) {
                    self.commits.insert(which, commit.to_owned());
                }
                if which == TENANTS {
                    self.refused = Refused::read(object);
                }
                self.blocked = self.blocked.take().or_else(|| blocked(object));
            }
            ("Namespace", "") if label(object, TENANT_LABEL).is_none() => {
                self.foreign_namespaces.insert(name.to_owned());
            }
            ("GitRepository", FLUX) if name == FLUX => {
                self.blocked = blocked(object).or(self.blocked.take());
            }
            _ => {}
        }
    }

    fn release(&mut self, name: &str, object: &Value) {
        let seen = self.releases.entry(name.to_owned()).or_default();
        let number = |path: &str| object.pointer(path).and_then(Value::as_i64);
        let conditions = object
            .pointer("/status/conditions")
            .and_then(Value::as_array);
        let ready = conditions
            .into_iter()
            .flatten()
            .find(|one| one["type"] == "Ready");
        let text = |key: &str| ready.and_then(|ready| ready.get(key)?.as_str());
        let is_observed = number("/status/observedGeneration") == number("/metadata/generation");
        seen.is_released = true;
        seen.ready = is_observed && text("status") == Some("True");
        seen.since = text("lastTransitionTime").and_then(Time::parse);
        seen.message = text("message").filter(|_| !seen.ready).map(str::to_owned);
        let version = object
            .pointer("/status/history/0/chartVersion")
            .and_then(Value::as_str);
        seen.release = version.map(str::to_owned);
        if let Some(found) = blocked(object) {
            seen.explain(1, found);
        }
    }

    fn explain(&mut self, release: &str, weight: u8, object: &Value) {
        if let Some(found) = blocked(object) {
            self.releases
                .entry(release.to_owned())
                .or_default()
                .explain(weight, found);
        } else {
            self.releases.entry(release.to_owned()).or_default();
        }
    }

    /// What all objects say together.
    pub fn finish(self) -> Observed {
        let Self {
            releases,
            commits,
            blocked,
            refused,
            foreign_namespaces,
        } = self;
        let of = |(name, seen): (String, Seen)| {
            let is_pool = matches!(name.parse(), Ok(Environment::Pool(_)));
            let which = if is_pool { POOLS } else { TENANTS };
            let commit = commits.get(which).cloned();
            let blocked = seen.blocked.map(|(_, blocked)| blocked);
            let rollout = seen.is_released.then(|| Rollout {
                current: seen.ready && blocked.is_none(),
                commit,
                time: seen.since.unwrap_or(Time::of_millis(0)),
                release: seen.release,
                message: seen.message,
            });
            let figures = Figures {
                restarts: Some(seen.restarts),
                ..Figures::default()
            };
            let applied = AppliedTenant {
                rollout,
                blocked,
                figures,
            };
            (name, applied)
        };
        Observed {
            releases: releases.into_iter().map(of).collect(),
            blocked,
            refused,
            foreign_namespaces,
        }
    }
}

impl Seen {
    fn explain(&mut self, weight: u8, found: Blocked) {
        if self
            .blocked
            .as_ref()
            .is_none_or(|(known, _)| *known <= weight)
        {
            self.blocked = Some((weight, found));
        }
    }
}

fn label<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get("metadata")?.get("labels")?.get(name)?.as_str()
}

fn restarts(pod: &Value) -> u64 {
    let statuses = pod
        .pointer("/status/containerStatuses")
        .and_then(Value::as_array);
    let counts = statuses
        .into_iter()
        .flatten()
        .filter_map(|status| status.get("restartCount")?.as_u64());
    counts.sum()
}

/// The commit of a revision: `main@sha1:<commit>`.
pub(super) fn commit_of(revision: &str) -> Option<&str> {
    revision.rsplit_once(':').map(|(_, commit)| commit)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COMMIT: &str = "5f1d9a0d3c2b1a09f8e7d6c5b4a3928170605040";

    fn kustomization(name: &str) -> Value {
        json!({ "kind": "Kustomization", "metadata": { "namespace": "flux-system", "name": name },
            "status": { "lastAppliedRevision": format!("main@sha1:{COMMIT}"),
                "conditions": [{ "type": "Ready", "status": "True", "reason": "ReconciliationSucceeded" }] } })
    }

    fn release(name: &str, generation: i64, status: &str) -> Value {
        json!({ "kind": "HelmRelease", "metadata": { "namespace": "flux-tenants", "name": name, "generation": 2 },
            "status": { "observedGeneration": generation, "history": [{ "chartVersion": "0.1.0" }],
                "conditions": [{ "type": "Ready", "status": status, "reason": "UpgradeSucceeded",
                    "lastTransitionTime": "2026-02-06T00:22:54Z", "message": "Helm upgrade succeeded" }] } })
    }

    fn pod(instance: &str, restarts: u64, waiting: Option<&str>) -> Value {
        let state = waiting.map_or_else(
            || json!({ "running": {} }),
            |reason| json!({ "waiting": { "reason": reason } }),
        );
        json!({ "kind": "Pod", "metadata": { "namespace": instance, "name": "p", "labels": { INSTANCE: instance } },
            "status": { "containerStatuses": [{ "restartCount": restarts, "state": state }] } })
    }

    fn gathered(objects: &[Value]) -> Observed {
        let mut gather = Gather::default();
        objects.iter().for_each(|object| gather.add(object));
        gather.finish()
    }

    #[test]
    fn a_namespace_without_a_tenants_label_is_foreign() {
        let mut gather = Gather::default();
        for (name, labels) in [
            ("tenant-1", json!({ "tenantry.dev/tenant": "tenant-1" })),
            (
                "rook-ceph",
                json!({ "kubernetes.io/metadata.name": "rook-ceph" }),
            ),
            ("default", Value::Null),
        ] {
            gather.add(
                &json!({ "kind": "Namespace", "metadata": { "name": name, "labels": labels } }),
            );
        }
        let found = gather.finish().foreign_namespaces;
        assert_eq!(found, ["default", "rook-ceph"].map(str::to_owned).into());
    }

    #[test]
    fn a_ready_release_is_current_at_the_commit_of_its_kustomization() {
        let observed = gathered(&[
            kustomization("tenants"),
            release("tenant-1", 2, "True"),
            pod("tenant-1", 3, None),
        ]);
        let tenant = &observed.releases["tenant-1"];
        let rollout = tenant.rollout.as_ref().expect("released");
        assert!(
            rollout.current && rollout.commit.as_deref() == Some(COMMIT),
            "{rollout:?}"
        );
        assert_eq!(
            (rollout.release.as_deref(), tenant.figures.restarts),
            (Some("0.1.0"), Some(3))
        );
    }

    #[test]
    fn a_release_that_flux_has_not_read_yet_is_not_current() {
        let observed = gathered(&[kustomization("tenants"), release("tenant-1", 1, "True")]);
        assert!(
            !observed.releases["tenant-1"]
                .rollout
                .as_ref()
                .expect("released")
                .current
        );
        let pool = gathered(&[kustomization("tenants"), release("pool-1", 2, "True")]);
        assert_eq!(
            pool.releases["pool-1"]
                .rollout
                .as_ref()
                .expect("released")
                .commit,
            None,
            "pools have their own"
        );
    }

    #[test]
    fn a_pod_explains_a_release_that_waits() {
        let slow = json!({ "kind": "HelmRelease", "metadata": { "namespace": "flux-tenants", "name": "tenant-1", "generation": 2 },
            "status": { "observedGeneration": 2, "conditions": [{ "type": "Ready", "status": "False", "reason": "UpgradeFailed",
                "message": "Helm upgrade failed: context deadline exceeded" }] } });
        let observed = gathered(&[pod("tenant-1", 0, Some("ImagePullBackOff")), slow]);
        let blocked = observed.releases["tenant-1"]
            .blocked
            .as_ref()
            .expect("blocked");
        assert_eq!(blocked.code, "image_pull");
    }

    #[test]
    fn objects_of_others_are_ignored() {
        let other = json!({ "kind": "HelmRelease", "metadata": { "namespace": "kube-system", "name": "x" } });
        assert_eq!(
            gathered(&[other, json!({ "kind": "Secret" }), json!(7)]),
            Observed::default()
        );
    }
}
