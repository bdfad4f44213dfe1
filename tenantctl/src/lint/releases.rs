//! The fields that the `HelmRelease` of a tenant, a pool or a template may have.
//!
//! Helm-controller installs a release with the rights of the account that the release names, and reads the Secrets that it names.
//! A post-renderer of a release can rewrite every object. The lists are those of the cluster's admission policies: a release that
//! passes lint passes admission. One refused object stops the reconciliation of all tenants.

use super::finding::Findings;
use crate::chart;
use crate::layout::{CHART_SOURCE, NAMESPACE, SHARED_VALUES, SOURCES};
use crate::yaml::Node;

const FIELDS: [&str; 20] = [
    "chart",
    "dependsOn",
    "driftDetection",
    "healthCheckExprs",
    "install",
    "interval",
    "maxHistory",
    "persistentClient",
    "releaseName",
    "rollback",
    "serviceAccountName",
    "storageNamespace",
    "suspend",
    "targetNamespace",
    "test",
    "timeout",
    "uninstall",
    "upgrade",
    "values",
    "valuesFrom",
];
const OF_CHART: [&str; 6] = [
    "chart",
    "interval",
    "reconcileStrategy",
    "sourceRef",
    "verify",
    "version",
];
const OF_INSTALL: [&str; 8] = [
    "disableHooks",
    "disableTakeOwnership",
    "disableWait",
    "disableWaitForJobs",
    "remediation",
    "skipCRDs",
    "strategy",
    "timeout",
];
const OF_UPGRADE: [&str; 9] = [
    "cleanupOnFail",
    "disableHooks",
    "disableTakeOwnership",
    "disableWait",
    "disableWaitForJobs",
    "preserveValues",
    "remediation",
    "strategy",
    "timeout",
];
const OF_INFRA: [&str; 10] = [
    "approvePlan",
    "deleteData",
    "destroyResourcesOnDeletion",
    "enabled",
    "guardUpgrades",
    "interval",
    "retain",
    "retryInterval",
    "tfVersion",
    "vars",
];
/// Sections of the values that the cluster sets for all tenants.
const OF_CLUSTER: [&str; 4] = ["auth", "aws", "identity", "networkPolicy"];
/// Variables of the Terraform module.
const VARIABLES: [&str; 5] = [
    "generation",
    "kms_key_arn",
    "message_retention_seconds",
    "tags",
    "ttl_attribute",
];
const OF_POOL: [&str; 2] = ["pooled_reader_principal_arns", "tenant_scoped_reads"];

/// Checks the fields that could give a tenant more than its own.
pub(super) fn check(findings: &mut Findings, release: &Node<'_>, is_pool: bool) {
    let closed = [
        (&["spec"][..], &FIELDS[..]),
        (&["spec", "chart"], &["spec"]),
        (&["spec", "chart", "spec"], &OF_CHART),
        (&["spec", "install"], &OF_INSTALL),
        (&["spec", "upgrade"], &OF_UPGRADE),
        (&["spec", "values", "infra"], &OF_INFRA),
        (&["spec", "values", "routing"], &["pool"]),
    ];
    for (path, allowed) in closed {
        for pair in release.at(path).map(Node::pairs).unwrap_or_default() {
            let key = pair.key.text().unwrap_or_default();
            if !allowed.contains(&key) && is_known(path, key) {
                refuse(findings, &pair.key, &format!("{}.{key}", path.join(".")));
            }
        }
    }
    check_values(findings, release, is_pool);
    check_source(findings, release);
    check_values_from(findings, release);
    let depends = release.at(&["spec", "dependsOn"]).map(Node::items);
    for namespace in depends
        .unwrap_or_default()
        .iter()
        .filter_map(|item| item.get("namespace"))
    {
        if namespace.text() != Some(NAMESPACE) {
            let message = format!("spec.dependsOn names a release outside {NAMESPACE}");
            findings.add("release", namespace, message, "remove the namespace");
        }
    }
}

/// Checks the values that belong to the cluster. A policy also refuses a section without a value, because it has no keys to read.
fn check_values(findings: &mut Findings, release: &Node<'_>, is_pool: bool) {
    let Some(values) = release.at(&["spec", "values"]) else {
        return;
    };
    for pair in OF_CLUSTER.iter().filter_map(|key| values.pair(key)) {
        let key = pair.key.text().unwrap_or_default();
        refuse(findings, &pair.key, &format!("spec.values.{key}"));
    }
    let variables = values.at(&["infra", "vars"]);
    for pair in variables.map(Node::pairs).unwrap_or_default() {
        let key = pair.key.text().unwrap_or_default();
        let is_allowed = VARIABLES.contains(&key) || (is_pool && OF_POOL.contains(&key));
        if !is_allowed {
            let name = format!("spec.values.infra.vars.{key}");
            refuse(findings, &pair.key, &name);
        }
    }
    for path in [&["routing"][..], &["infra"], &["infra", "vars"]] {
        let section = values.at(path);
        // A section whose value was forgotten is the finding of another check.
        if section.is_some_and(|node| node.is_null() && !node.span.is_empty()) {
            let name = format!("spec.values.{}", path.join("."));
            refuse(findings, values.reported_at(path), &name);
        }
    }
}

/// Fields of a `HelmRelease` that a tenant may not set.
const REFUSED: [&str; 15] = [
    "chartRef",
    "commonMetadata",
    "createNamespace",
    "crds",
    "disableOpenAPIValidation",
    "disableSchemaValidation",
    "force",
    "ignoreMissingValuesFiles",
    "kubeConfig",
    "metadata",
    "postRenderers",
    "replace",
    "serverSideApply",
    "valuesFiles",
    "waitStrategy",
];

/// Whether Flux or the chart has such a field. The schemas find one that does not exist.
fn is_known(path: &[&str], key: &str) -> bool {
    match path {
        ["spec", "values", section] => chart::at(&chart::DEFAULT_VALUES, &[section, key]).is_some(),
        _ => REFUSED.contains(&key),
    }
}

fn refuse(findings: &mut Findings, key: &Node<'_>, name: &str) {
    let message = format!(
        "{name} is not a tenant's to set: the cluster refuses the release, and with it every tenant"
    );
    let fix = "remove it; what all tenants share is in the values of the cluster";
    findings.add("release", key, message, fix);
}

/// Requires the tenants' source of the chart. A source that does not exist is the finding of another check.
fn check_source(findings: &mut Findings, release: &Node<'_>) {
    let Some(source) = release.at(&["spec", "chart", "spec", "sourceRef"]) else {
        return;
    };
    let text = |key| source.get(key).and_then(Node::text);
    let is_theirs = text("name") == Some(CHART_SOURCE)
        && text("namespace").is_none_or(|namespace| SOURCES.contains(&namespace));
    if !is_theirs {
        let message = format!("the chart is not from the HelmRepository {CHART_SOURCE}");
        let fix = format!("write {CHART_SOURCE}, as the tier's template does");
        findings.add("source", source.get("name").unwrap_or(source), message, fix);
    }
}

/// Requires that values come from the file, or from the values of the cluster: another object may be another tenant's Secret.
fn check_values_from(findings: &mut Findings, release: &Node<'_>) {
    let sources = release.at(&["spec", "valuesFrom"]).map(Node::items);
    for source in sources.unwrap_or_default() {
        let text = |key| source.get(key).and_then(Node::text);
        let is_secret = text("kind") != Some("ConfigMap");
        let is_targeted = source.get("targetPath").is_some();
        if is_secret || is_targeted || text("name") != Some(SHARED_VALUES) {
            let place = source.get("name").unwrap_or(source);
            let message = format!("spec.valuesFrom may name the ConfigMap {SHARED_VALUES} alone");
            let fix = "put the tenant's own values into spec.values";
            findings.add("source", place, message, fix);
        }
    }
}
