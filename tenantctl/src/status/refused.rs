//! What the cluster refuses, as the Kustomization of the tenants reports it. Pure.
//!
//! Flux builds and applies the objects of all tenants together: a file that kustomize cannot build, or an object that the API
//! server refuses, holds up the changes of all.

use serde_json::Value;

use crate::layout::NAMESPACE;

/// What Flux says behind the object's name: of a failed dry run, and of an object whose place or kind does not exist.
const DRY_RUN: &str = " dry-run failed";
const NO_NAMESPACE: &str = " namespace not specified: ";
const NOT_FOUND: &str = " not found: ";
/// Reason of the condition if kustomize builds nothing.
const BUILD_FAILED: &str = "BuildFailed";
/// Reasons of the API server that another try does not mend.
const LASTING: [&str; 3] = ["Forbidden", "Invalid", "BadRequest"];
/// What the API server says, without a reason, of a field that the kind does not have.
const UNKNOWN_FIELD: &str = "failed to create typed patch object";
/// What Flux's client says, without a reason, of a kind or version that the server does not have.
const UNKNOWN_KIND: &str = "no matches for kind ";
/// The kind of every tenant. If the server does not have it, Flux is being installed or updated.
const OUR_KIND: &str = "\"HelmRelease\" in version \"helm.toolkit.fluxcd.io/v2\"";
/// Longest reason kept.
const MAX_REASON_CHARS: usize = 300;

/// What the cluster refuses, and the commits around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The object that the API server refuses; `None` if kustomize cannot build the tenants' files.
    pub object: Option<RefusedObject>,
    /// Sentence of the API server, or of kustomize.
    pub reason: String,
    /// The commit that is applied.
    pub applied: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedObject {
    pub kind: String,
    /// Empty for an object without a namespace.
    pub namespace: String,
    pub name: String,
}

impl Refused {
    /// Reads the condition of a Kustomization.
    pub(super) fn read(kustomization: &Value) -> Option<Self> {
        let text = |path: &str| kustomization.pointer(path).and_then(Value::as_str);
        let conditions = kustomization.pointer("/status/conditions")?.as_array()?;
        let ready = conditions.iter().find(|one| one["type"] == "Ready")?;
        if ready["status"] != "False" {
            return None;
        }
        let message = ready["message"].as_str()?;
        let (object, reason) = if ready["reason"] == BUILD_FAILED {
            (None, message)
        } else {
            let (object, reason) = refused_object(message)?;
            (Some(object), reason)
        };
        let words: Vec<&str> = reason.split_whitespace().collect();
        let applied = text("/status/lastAppliedRevision").and_then(super::gather::commit_of)?;
        Some(Self {
            object,
            reason: words.join(" ").chars().take(MAX_REASON_CHARS).collect(),
            applied: applied.to_owned(),
        })
    }

    /// The name of the refused object, for a log line.
    pub fn name(&self) -> &str {
        self.object
            .as_ref()
            .map_or("tenants", |object| &object.name)
    }
}

/// The object and the reason of a message such as `HelmRelease/flux-tenants/a dry-run failed (Forbidden): …`; none if another try
/// may mend it.
fn refused_object(message: &str) -> Option<(RefusedObject, &str)> {
    if let Some((before, after)) = message.split_once(DRY_RUN) {
        let (code, reason) = after.split_once(':')?;
        let code = code.trim().trim_matches(['(', ')']);
        let is_unknown = reason.contains(UNKNOWN_FIELD)
            || (reason.contains(UNKNOWN_KIND) && !reason.contains(OUR_KIND));
        let is_lasting = LASTING.contains(&code) || (code.is_empty() && is_unknown);
        return is_lasting.then_some((object(before)?, reason));
    }
    if let Some((before, reason)) = message.split_once(NO_NAMESPACE) {
        // A Namespace needs none, so its server is not ready.
        let object = object(before).filter(|object| object.kind != "Namespace")?;
        return Some((object, reason));
    }
    let (before, reason) = message.split_once(NOT_FOUND)?;
    // The namespace of the tenants may be missing for a while; another one is in no tenant's file.
    let is_lasting =
        |object: &RefusedObject| !object.namespace.is_empty() && object.namespace != NAMESPACE;
    Some((object(before).filter(is_lasting)?, reason))
}

/// The object that ends a text: `Kind/name`, or `Kind/namespace/name`.
fn object(text: &str) -> Option<RefusedObject> {
    let last = text.split_whitespace().next_back()?;
    let parts: Vec<&str> = last.split('/').collect();
    let (kind, namespace, name) = match parts[..] {
        [kind, name] => (kind, "", name),
        [kind, namespace, name] => (kind, namespace, name),
        _ => return None,
    };
    Some(RefusedObject {
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(reason: &str, message: &str) -> Option<Refused> {
        Refused::read(
            &json!({ "status": { "lastAppliedRevision": "main@sha1:5f1d9a0d",
            "conditions": [{ "type": "Ready", "status": "False", "reason": reason, "message": message }] } }),
        )
    }

    fn read(message: &str) -> Option<Refused> {
        with("ReconciliationFailed", message)
    }

    /// Kind, namespace and name of the refused object.
    fn refused(message: &str) -> Option<[String; 3]> {
        let object = read(message)?.object?;
        Some([object.kind, object.namespace, object.name])
    }

    #[test]
    fn the_refused_object_is_read_from_the_controllers_message() {
        let found = read(
            "HelmRelease/flux-tenants/tenant-3 dry-run failed (Forbidden): ValidatingAdmissionPolicy 'x' denied\nrequest: no",
        );
        let found = found.expect("an object is named");
        assert_eq!(
            found.reason,
            "ValidatingAdmissionPolicy 'x' denied request: no"
        );
        assert_eq!(found.applied, "5f1d9a0d");
        for (message, object) in [
            (
                "HelmRelease/flux-tenants/tenant-3 dry-run failed (Forbidden): denied",
                ["HelmRelease", "flux-tenants", "tenant-3"],
            ),
            (
                "Namespace/gateway dry-run failed (Invalid): metadata.labels: Invalid value",
                ["Namespace", "", "gateway"],
            ),
            (
                "HelmRelease/flux-tenants/a dry-run failed: failed to create typed patch object (x): .spec.b: field not declared",
                ["HelmRelease", "flux-tenants", "a"],
            ),
            (
                "HelmRelease/flux-tenants/a dry-run failed: no matches for kind \"HelmRelease\" in version \"helm.toolkit.fluxcd.io/v2beta1\"",
                ["HelmRelease", "flux-tenants", "a"],
            ),
            (
                "Foo/flux-tenants/a dry-run failed:\nno matches for kind \"Foo\" in version \"example.com/v1\"",
                ["Foo", "flux-tenants", "a"],
            ),
            (
                "HelmRelease/a namespace not specified: the server could not find the requested resource (patch helmreleases.helm.toolkit.fluxcd.io a)",
                ["HelmRelease", "", "a"],
            ),
            (
                "HelmRelease/elsewhere/a not found: namespaces \"elsewhere\" not found",
                ["HelmRelease", "elsewhere", "a"],
            ),
        ] {
            assert_eq!(
                refused(message),
                Some(object.map(str::to_owned)),
                "{message}"
            );
        }
    }

    #[test]
    fn a_build_that_fails_names_no_object() {
        for message in [
            "kustomize build failed: accumulating resources: accumulation err='accumulating resources from 'a.yaml': open \
             /tmp/kustomization-1/a.yaml: no such file or directory'",
            "kustomize build failed: may not add resource with an already registered id: Namespace.v1.[noGrp]/a.[noNs]",
            "kustomize build failed: map[string]interface {}(nil): yaml: line 4: mapping values are not allowed in this context",
        ] {
            let found = with(BUILD_FAILED, message).expect("a build failed");
            assert_eq!(found.object, None);
            assert!(
                found.reason.starts_with("kustomize build failed: "),
                "{found:?}"
            );
        }
    }

    #[test]
    fn what_another_try_may_mend_is_no_refusal() {
        for message in [
            "HelmRelease/flux-tenants/a dry-run failed (InternalError): failed calling webhook: connection refused",
            "HelmRelease/flux-tenants/a dry-run failed (Timeout): context deadline exceeded",
            "HelmRelease/flux-tenants/a dry-run failed: dial tcp: connection refused",
            "HelmRelease/flux-tenants/a dry-run failed: no matches for kind \"HelmRelease\" in version \"helm.toolkit.fluxcd.io/v2\"",
            "HelmRelease/flux-tenants/a not found: namespaces \"flux-tenants\" not found",
            "Namespace/a namespace not specified: the server could not find the requested resource",
            "kustomization path not found: stat /tmp/a: no such file or directory",
            "",
        ] {
            assert_eq!(read(message), None, "{message}");
        }
    }
}
