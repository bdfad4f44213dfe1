//! Turns conditions of Kubernetes objects into a reason and the command that mends it. Pure.
//!
//! The objects are those of Flux (`HelmRelease`, `HelmChart`, `Kustomization`, `GitRepository`), of the Terraform controller, pods
//! and Deployments, as the Kubernetes API returns them. A cause is found by the condition's reason, else by the words that the
//! programs use; an unknown cause keeps its own message.

use serde_json::Value;

use super::model::Blocked;
use super::time::Time;

/// Longest message quoted.
const MAX_MESSAGE_CHARS: usize = 400;

/// One condition of an object.
#[derive(Debug, Clone, Copy)]
struct Condition<'a> {
    status: &'a str,
    reason: &'a str,
    message: &'a str,
    since: Option<Time>,
}

/// An object with its name.
struct Subject<'a> {
    kind: &'a str,
    namespace: &'a str,
    name: &'a str,
    object: &'a Value,
}

/// Why an object does not progress; `None` while it progresses, and when it is ready.
pub fn blocked(object: &Value) -> Option<Blocked> {
    let text = |path: &str| {
        object
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let subject = Subject {
        kind: text("/kind"),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
        object,
    };
    match subject.kind {
        "HelmRelease" => helm_release(&subject),
        "HelmChart" | "HelmRepository" => {
            failing(&subject, "Ready").map(|found| chart(&subject, found))
        }
        "Kustomization" => failing(&subject, "Ready").map(|found| kustomization(&subject, found)),
        "GitRepository" => failing(&subject, "Ready").map(|found| {
            let remedy = format!(
                "flux -n {} reconcile source git {}",
                subject.namespace, subject.name
            );
            subject.says(
                "source_unreachable",
                "the repository cannot be fetched",
                found,
                remedy,
            )
        }),
        "Terraform" => terraform(&subject),
        "Pod" => pod(&subject),
        "Deployment" => deployment(&subject),
        _ => None,
    }
}

impl Subject<'_> {
    fn condition(&self, kind: &str) -> Option<Condition<'_>> {
        let conditions = self.object.pointer("/status/conditions")?.as_array()?;
        let found = conditions
            .iter()
            .find(|one| one.get("type").and_then(Value::as_str) == Some(kind))?;
        let text = |key: &str| found.get(key).and_then(Value::as_str).unwrap_or_default();
        Some(Condition {
            status: text("status"),
            reason: text("reason"),
            message: text("message"),
            since: Time::parse(text("lastTransitionTime")),
        })
    }

    fn says(&self, code: &str, what: &str, condition: Condition<'_>, remedy: String) -> Blocked {
        let Self {
            kind,
            namespace,
            name,
            ..
        } = self;
        let words = condition
            .message
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        let message: String = words.chars().take(MAX_MESSAGE_CHARS).collect();
        Blocked {
            code: code.to_owned(),
            reason: if message.is_empty() {
                what.to_owned()
            } else {
                format!("{what}: {message}")
            },
            remedy,
            since: condition.since,
            object: Some(format!("{kind}/{namespace}/{name}")),
        }
    }

    /// The command that makes Flux try at once.
    fn reconcile(&self) -> String {
        let kind = match self.kind {
            "HelmRelease" => "helmrelease",
            "Kustomization" => "kustomization",
            other => {
                return format!(
                    "kubectl -n {} describe {} {}",
                    self.namespace,
                    other.to_lowercase(),
                    self.name
                );
            }
        };
        let reset = if kind == "helmrelease" {
            " --reset"
        } else {
            " --with-source"
        };
        format!(
            "flux -n {} reconcile {kind} {}{reset}",
            self.namespace, self.name
        )
    }
}

/// The condition, if it is false.
fn failing<'a>(subject: &'a Subject<'_>, kind: &str) -> Option<Condition<'a>> {
    subject
        .condition(kind)
        .filter(|condition| condition.status == "False")
}

/// Causes that every failed apply may have, whichever object reports it.
fn common(subject: &Subject<'_>, found: Condition<'_>) -> Option<Blocked> {
    let message = found.message.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if has(&[
        "exceeded quota",
        "limited to 0",
        "must specify limits",
        "quotaexceeded",
        "limitexceeded",
    ]) {
        let remedy = format!(
            "raise the quota, or lower replicaCount or resources in the tenant's file; `kubectl describe resourcequota -A` shows \
             what is used; then: {}",
            subject.reconcile()
        );
        return Some(subject.says("quota_exceeded", "a quota is used up", found, remedy));
    }
    let is_refused = has(&[
        "admission webhook",
        "denied request",
        "denied the request",
        "validatingadmissionpolicy",
        "violates podsecurity",
    ]);
    if is_refused {
        let remedy = format!(
            "correct the tenant's file as the message says (`tenantctl lint` finds most of it) and push; then: {}",
            subject.reconcile()
        );
        return Some(subject.says(
            "admission_refused",
            "the cluster refuses an object",
            found,
            remedy,
        ));
    }
    if has(&["imagepullbackoff", "errimagepull", "failed to pull image"]) {
        return Some(subject.says(
            "image_pull",
            "an image cannot be pulled",
            found,
            image_remedy(subject.namespace),
        ));
    }
    None
}

fn image_remedy(namespace: &str) -> String {
    format!(
        "correct apps.<app>.image.tag in the tenant's file and push; if the tag exists: kubectl -n {namespace} get events \
         --field-selector reason=Failed"
    )
}

fn is_missing_version(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("with version matching")
        || message.contains("no chart version found")
        || message.contains("failed to get chart version")
        || (message.contains("chart")
            && message.contains("not found")
            && message.contains("version"))
}

fn chart(subject: &Subject<'_>, found: Condition<'_>) -> Blocked {
    if is_missing_version(found.message) || found.reason == "InvalidChartReference" {
        let remedy = "deploy a version that exists (`tenantctl deploy --tier TIER --release RELEASE --canary TENANT`), or publish \
                      this one"
            .to_owned();
        return subject.says(
            "chart_version_not_found",
            "the chart has no such version",
            found,
            remedy,
        );
    }
    let remedy = format!("flux get sources chart -n {}", subject.namespace);
    subject.says(
        "source_unreachable",
        "the chart cannot be fetched",
        found,
        remedy,
    )
}

fn helm_release(subject: &Subject<'_>) -> Option<Blocked> {
    if subject
        .object
        .pointer("/spec/suspend")
        .and_then(Value::as_bool)
        == Some(true)
    {
        let found = Condition {
            status: "False",
            reason: "Suspended",
            message: "",
            since: None,
        };
        let remedy = format!(
            "flux -n {} resume helmrelease {}",
            subject.namespace, subject.name
        );
        return Some(subject.says(
            "flux_suspended",
            "Flux does not reconcile the release: it is suspended",
            found,
            remedy,
        ));
    }
    let stalled = subject
        .condition("Stalled")
        .filter(|condition| condition.status == "True");
    let ready = failing(subject, "Ready");
    // Flux mirrors the rollback into Ready; Released keeps the failure itself.
    let released = failing(subject, "Released");
    let found = stalled.or(ready)?;
    let cause = released.unwrap_or(found);
    if found.reason == "SourceNotReady" || found.reason == "ArtifactFailed" {
        // Flux reports this before the first reconciliation of a new version. It is no failure.
        if found.message.contains("has not been reconciled") {
            return None;
        }
        return Some(chart(subject, found));
    }
    if is_missing_version(found.message) {
        return Some(chart(subject, found));
    }
    if found.reason == "DependencyNotReady" {
        return Some(subject.says(
            "dependency",
            "it waits for another release",
            found,
            "flux get helmreleases -A".to_owned(),
        ));
    }
    if let Some(common) = common(subject, cause) {
        return Some(common);
    }
    let in_progress = ["Progressing", "ProgressingWithRetry", "DependencyNotReady"];
    if in_progress.contains(&found.reason) {
        return None;
    }
    let is_install = cause.reason.starts_with("Install")
        || cause
            .message
            .to_ascii_lowercase()
            .contains("install failed");
    let (code, what) = if is_install {
        ("install_failed", "the first install failed")
    } else {
        (
            "upgrade_failed",
            "the upgrade failed; the former release runs on",
        )
    };
    Some(subject.says(code, what, cause, subject.reconcile()))
}

fn kustomization(subject: &Subject<'_>, found: Condition<'_>) -> Blocked {
    if let Some(common) = common(subject, found) {
        return common;
    }
    match found.reason {
        "BuildFailed" => {
            let remedy = "`tenantctl lint` names file and line; correct it, or `git revert` the commit, and push".to_owned();
            subject.says("broken_commit", "the commit cannot be built", found, remedy)
        }
        "DependencyNotReady" => subject.says(
            "dependency",
            "it waits for another Kustomization",
            found,
            "flux get kustomizations".to_owned(),
        ),
        "ArtifactFailed" | "SourceNotReady" => {
            let remedy = "flux -n flux-system reconcile source git flux-system".to_owned();
            subject.says(
                "source_unreachable",
                "the repository cannot be fetched",
                found,
                remedy,
            )
        }
        _ => subject.says(
            "apply_failed",
            "the commit cannot be applied",
            found,
            subject.reconcile(),
        ),
    }
}

fn terraform(subject: &Subject<'_>) -> Option<Blocked> {
    let locked = subject
        .condition("StateLocked")
        .filter(|condition| condition.status == "True");
    let ready = failing(subject, "Ready");
    let is_locked = |message: &str| {
        let message = message.to_ascii_lowercase();
        message.contains("acquiring the state lock")
            || message.contains("already locked by another")
    };
    let held = ready.filter(|found| is_locked(found.message)).or(locked);
    if let Some(found) = held {
        let pending = subject
            .object
            .pointer("/status/lock/pending")
            .and_then(Value::as_str);
        let id = pending
            .filter(|id| !id.is_empty())
            .or_else(|| lock_id(found.message))
            .unwrap_or("ID");
        let remedy = format!(
            "if no runner of {name} works (kubectl -n {namespace} get pod {name}-tf-runner): kubectl -n {namespace} patch terraform \
             {name} --type merge -p '{{\"spec\":{{\"tfstate\":{{\"forceUnlock\":\"yes\",\"lockIdentifier\":\"{id}\"}}}}}}'",
            name = subject.name,
            namespace = subject.namespace,
        );
        return Some(subject.says(
            "terraform_lock",
            "a runner that has ended holds the lock of the state",
            found,
            remedy,
        ));
    }
    let found = ready?;
    if let Some(common) = common(subject, found) {
        return Some(common);
    }
    let is_failure = found.reason.ends_with("Failed") || found.reason == "ArtifactFailed";
    is_failure.then(|| {
        let remedy = format!(
            "correct what the message says; then: kubectl -n {} annotate terraform {} --overwrite \
             reconcile.fluxcd.io/requestedAt=\"$(date +%s)\"",
            subject.namespace, subject.name
        );
        subject.says(
            "terraform_failed",
            "the queue, tables and roles cannot be made",
            found,
            remedy,
        )
    })
}

/// The id in the text of a Terraform error: `Lock Info: ID: <id>`.
fn lock_id(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("ID:")?;
    rest.split_whitespace().next()
}

fn pod(subject: &Subject<'_>) -> Option<Blocked> {
    if let Some(found) =
        failing(subject, "PodScheduled").filter(|found| found.reason == "Unschedulable")
    {
        let remedy =
            "add a node, or lower resources.requests in the tenant's file and push".to_owned();
        return Some(subject.says("unschedulable", "no node has room for a pod", found, remedy));
    }
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let statuses = lists
        .iter()
        .filter_map(|list| subject.object.pointer(list)?.as_array())
        .flatten();
    let waiting = statuses.filter_map(|status| status.pointer("/state/waiting"));
    let since = subject.condition("Ready").and_then(|ready| ready.since);
    waiting
        .filter_map(|waiting| {
            let text = |key: &str| waiting.get(key).and_then(Value::as_str).unwrap_or_default();
            let found = Condition {
                status: "False",
                reason: text("reason"),
                message: text("message"),
                since,
            };
            let logs = format!(
                "kubectl -n {} logs {} --previous",
                subject.namespace, subject.name
            );
            match found.reason {
                "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" | "ErrImageNeverPull" => {
                    Some(subject.says(
                        "image_pull",
                        "an image cannot be pulled",
                        found,
                        image_remedy(subject.namespace),
                    ))
                }
                "CrashLoopBackOff" => Some(subject.says(
                    "crash_loop",
                    "a container ends again and again",
                    found,
                    logs,
                )),
                "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
                    let remedy = format!(
                        "kubectl -n {} describe pod {}",
                        subject.namespace, subject.name
                    );
                    Some(subject.says(
                        "container_config",
                        "a container cannot be started",
                        found,
                        remedy,
                    ))
                }
                _ => None,
            }
        })
        .next()
}

fn deployment(subject: &Subject<'_>) -> Option<Blocked> {
    let refused = subject
        .condition("ReplicaFailure")
        .filter(|condition| condition.status == "True");
    if let Some(found) = refused {
        let other = || {
            let remedy = format!(
                "kubectl -n {} describe deployment {}",
                subject.namespace, subject.name
            );
            subject.says("replica_failure", "pods cannot be created", found, remedy)
        };
        return Some(common(subject, found).unwrap_or_else(other));
    }
    let slow = failing(subject, "Progressing")
        .filter(|found| found.reason == "ProgressDeadlineExceeded")?;
    let remedy = format!(
        "kubectl -n {} get pods; kubectl -n {} describe deployment {}",
        subject.namespace, subject.namespace, subject.name
    );
    Some(subject.says(
        "not_progressing",
        "new pods do not become ready",
        slow,
        remedy,
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(kind: &str, name: &str, status: Value) -> Value {
        json!({ "kind": kind, "metadata": { "namespace": "flux-tenants", "name": name }, "status": status })
    }

    fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({ "type": kind, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-02-06T00:22:54Z", "observedGeneration": 2 })
    }

    fn with(kind: &str, conditions: &[Value]) -> Value {
        object(kind, "tenant-7", json!({ "conditions": conditions }))
    }

    fn code(object: &Value) -> Option<String> {
        blocked(object).map(|blocked| blocked.code)
    }

    #[test]
    fn a_chart_version_that_does_not_exist_is_named_with_the_command() {
        let message = "HelmChart 'flux-tenants/flux-tenants-tenant-7' is not ready: invalid chart reference: failed to get chart \
                       version for remote reference: no 'helm-tenant-chart' chart with version matching '9.9.x' found";
        let found = blocked(&with(
            "HelmRelease",
            &[condition("Ready", "False", "SourceNotReady", message)],
        ))
        .expect("blocked");
        assert_eq!(found.code, "chart_version_not_found");
        assert!(
            found.reason.contains("9.9.x") && found.remedy.contains("tenantctl deploy"),
            "{found:?}"
        );
        assert_eq!(
            found.object.as_deref(),
            Some("HelmRelease/flux-tenants/tenant-7")
        );
        assert_eq!(found.since, Time::parse("2026-02-06T00:22:54Z"));
        let chart = condition(
            "Ready",
            "False",
            "InvalidChartReference",
            "no chart version found for helm-tenant-chart-9.9.x",
        );
        assert_eq!(
            code(&with("HelmChart", &[chart])).as_deref(),
            Some("chart_version_not_found")
        );
        let first = "HelmChart 'flux-tenants/flux-tenants-tenant-7' is not ready: latest generation of object has not been reconciled";
        assert_eq!(
            code(&with(
                "HelmRelease",
                &[condition("Ready", "False", "SourceNotReady", first)]
            )),
            None
        );
    }

    #[test]
    fn a_lock_of_a_dead_runner_is_named_with_its_id() {
        for message in [
            "error running Plan: rpc error: code = Internal desc = error acquiring the state lock\nLock Info:\n  ID:        \
             9d74cff4-b430-37cf-5ccf-14d3251fffcf\n  Operation: OperationTypeApply\n  Who:       runner@tenant-7-tf-runner",
            "exit status 1\nError loading state: the state is already locked by another terraform client\nLock Info:\n  ID:        \
             9d74cff4-b430-37cf-5ccf-14d3251fffcf\n  Path:",
        ] {
            let ready = condition("Ready", "False", "TFExecPlanFailed", message);
            let found = blocked(&with("Terraform", &[ready])).expect("blocked");
            assert_eq!(found.code, "terraform_lock");
            assert!(
                found
                    .remedy
                    .contains("9d74cff4-b430-37cf-5ccf-14d3251fffcf")
                    && found.remedy.contains("forceUnlock"),
                "{found:?}"
            );
            assert!(!found.reason.contains('\n'));
        }
        let held = condition("StateLocked", "True", "TFExecLockHeld", "Locked by runner");
        let status = json!({ "conditions": [held], "lock": { "pending": "abc" } });
        let found = blocked(&object("Terraform", "tenant-7", status)).expect("blocked");
        assert!(
            found.code == "terraform_lock" && found.remedy.contains("\"abc\""),
            "{found:?}"
        );
        let other = condition(
            "Ready",
            "False",
            "TFExecApplyFailed",
            "error running Apply: AccessDenied: not authorized",
        );
        assert_eq!(
            code(&with("Terraform", &[other])).as_deref(),
            Some("terraform_failed")
        );
        let running = condition("Ready", "Unknown", "Progressing", "Initializing");
        assert_eq!(code(&with("Terraform", &[running])), None);
    }

    #[test]
    fn a_failed_upgrade_is_told_after_its_rollback_too() {
        let upgrade = "Helm upgrade failed for release flux-tenants/tenant-7 with chart helm-tenant-chart@0.1.0: context deadline exceeded";
        let failed = condition("Released", "False", "UpgradeFailed", upgrade);
        let rolled = "Helm rollback to previous release flux-tenants/tenant-7.v1 with chart helm-tenant-chart@0.0.1 succeeded";
        let ready = condition("Ready", "False", "RollbackSucceeded", rolled);
        let stalled = condition(
            "Stalled",
            "True",
            "RetriesExceeded",
            "Failed to upgrade after 3 attempt(s)",
        );
        for conditions in [
            vec![failed.clone()],
            vec![failed.clone(), ready.clone()],
            vec![stalled, ready, failed],
        ] {
            let mut conditions = conditions;
            if conditions.len() == 1 {
                conditions.push(condition("Ready", "False", "UpgradeFailed", upgrade));
            }
            let found = blocked(&with("HelmRelease", &conditions)).expect("blocked");
            assert_eq!(found.code, "upgrade_failed");
            assert!(
                found.reason.contains("context deadline exceeded")
                    && found.remedy.contains("--reset"),
                "{found:?}"
            );
        }
        let install = condition(
            "Ready",
            "False",
            "InstallFailed",
            "Helm install failed for release flux-tenants/tenant-7",
        );
        assert_eq!(
            code(&with("HelmRelease", &[install])).as_deref(),
            Some("install_failed")
        );
    }

    #[test]
    fn quota_admission_and_images_are_found_whichever_object_reports_them() {
        let quota = "pods \"tenant-7-producer-6d\" is forbidden: exceeded quota: compute, requested: limits.memory=1Gi, used: \
                     limits.memory=4Gi, limited: limits.memory=4Gi";
        let failure = condition("ReplicaFailure", "True", "FailedCreate", quota);
        assert_eq!(
            code(&with("Deployment", &[failure])).as_deref(),
            Some("quota_exceeded")
        );
        let refused = "Helm upgrade failed for release flux-tenants/tenant-7 with chart helm-tenant-chart@0.1.0: cannot patch \
                       \"tenant-7\" with kind Ingress: ValidatingAdmissionPolicy 'tenant-routes' with binding 'tenant-routes' denied \
                       request: a route of a tenant names its own host";
        let ready = condition("Ready", "False", "UpgradeFailed", refused);
        assert_eq!(
            code(&with("HelmRelease", std::slice::from_ref(&ready))).as_deref(),
            Some("admission_refused")
        );
        assert_eq!(
            code(&with("Kustomization", &[ready])).as_deref(),
            Some("admission_refused")
        );
        let pod = object(
            "Pod",
            "tenant-7-producer-6d",
            json!({
            "conditions": [condition("Ready", "False", "ContainersNotReady", "")],
            "containerStatuses": [{ "name": "producer", "restartCount": 0, "state": { "waiting": {
                "reason": "ImagePullBackOff",
                "message": "Back-off pulling image \"registry/producer:9.9.9\": ErrImagePull: not found" } } }] }),
        );
        let found = blocked(&pod).expect("blocked");
        assert!(
            found.code == "image_pull" && found.reason.contains("producer:9.9.9"),
            "{found:?}"
        );
    }

    #[test]
    fn pods_that_cannot_run_say_why() {
        let message =
            "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available";
        let full = with(
            "Pod",
            &[condition("PodScheduled", "False", "Unschedulable", message)],
        );
        assert_eq!(code(&full).as_deref(), Some("unschedulable"));
        let crash = object(
            "Pod",
            "p",
            json!({ "containerStatuses": [{ "state": { "waiting": { "reason": "CrashLoopBackOff",
            "message": "back-off 5m0s restarting failed container" } } }] }),
        );
        let found = blocked(&crash).expect("blocked");
        assert!(
            found.code == "crash_loop" && found.remedy.contains("--previous"),
            "{found:?}"
        );
        let starting = object(
            "Pod",
            "p",
            json!({ "containerStatuses": [{ "state": { "waiting": { "reason": "ContainerCreating" } } }] }),
        );
        assert_eq!(code(&starting), None);
    }

    #[test]
    fn a_commit_that_cannot_be_built_is_broken() {
        let message = "kustomize build failed: accumulating resources: accumulation err='accumulating resources from 'tenant-7.yaml': \
                       yaml: line 12: did not find expected key'";
        let found = blocked(&with(
            "Kustomization",
            &[condition("Ready", "False", "BuildFailed", message)],
        ))
        .expect("blocked");
        assert!(
            found.code == "broken_commit" && found.reason.contains("line 12"),
            "{found:?}"
        );
        let fetch = condition(
            "Ready",
            "False",
            "GitOperationFailed",
            "failed to checkout and determine revision: unable to clone",
        );
        assert_eq!(
            code(&with("GitRepository", &[fetch])).as_deref(),
            Some("source_unreachable")
        );
    }

    #[test]
    fn what_is_ready_or_on_its_way_is_not_blocked() {
        for (kind, status, reason) in [
            ("HelmRelease", "True", "UpgradeSucceeded"),
            ("HelmRelease", "Unknown", "Progressing"),
            ("Kustomization", "True", "ReconciliationSucceeded"),
            ("Terraform", "True", "TerraformOutputsWritten"),
        ] {
            assert_eq!(
                code(&with(kind, &[condition("Ready", status, reason, "fine")])),
                None,
                "{kind} {reason}"
            );
        }
        assert_eq!(blocked(&json!({})), None);
        assert_eq!(
            blocked(&json!({ "kind": "HelmRelease", "status": { "conditions": "none" } })),
            None
        );
        let paused = json!({ "kind": "HelmRelease", "metadata": { "namespace": "n", "name": "t" }, "spec": { "suspend": true } });
        assert_eq!(code(&paused).as_deref(), Some("flux_suspended"));
    }
}
