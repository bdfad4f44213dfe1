//! The object that the cluster refuses, as the Kustomization of the tenants reports it. Pure.
//!
//! Flux applies the objects of all tenants together: one that the API server refuses holds up the changes of all.

use serde_json::Value;

/// What a failed apply says behind the object's name.
const DRY_RUN: &str = " dry-run failed";
/// Reasons of the API server that another try does not mend.
const LASTING: [&str; 4] = ["Forbidden", "Invalid", "BadRequest", "NotFound"];
/// What the API server says, without a reason, of a field that the kind does not have.
const UNKNOWN_FIELD: &str = "failed to create typed patch object";
/// Longest reason kept.
const MAX_REASON_CHARS: usize = 300;

/// An object that the API server refuses, and the commits around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub kind: String,
    /// Empty for an object without a namespace.
    pub namespace: String,
    pub name: String,
    /// Sentence of the API server.
    pub reason: String,
    /// The commit that is applied.
    pub applied: String,
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
        let (kind, namespace, name, reason) = parse(ready["message"].as_str()?)?;
        let applied = text("/status/lastAppliedRevision").and_then(super::gather::commit_of)?;
        Some(Self {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            reason,
            applied: applied.to_owned(),
        })
    }
}

/// Kind, namespace, name and reason of a message such as `HelmRelease/flux-tenants/a dry-run failed (Forbidden): …`.
fn parse(message: &str) -> Option<(&str, &str, &str, String)> {
    let (before, after) = message.split_once(DRY_RUN)?;
    let (code, reason) = after.split_once(": ")?;
    let code = code.trim().trim_matches(['(', ')']);
    let is_lasting = LASTING.contains(&code) || (code.is_empty() && reason.contains(UNKNOWN_FIELD));
    if !is_lasting {
        return None;
    }
    let object = before.split_whitespace().next_back()?;
    let parts: Vec<&str> = object.split('/').collect();
    let (kind, namespace, name) = match parts[..] {
        [kind, name] => (kind, "", name),
        [kind, namespace, name] => (kind, namespace, name),
        _ => return None,
    };
    let words: Vec<&str> = reason.split_whitespace().collect();
    let reason = words.join(" ").chars().take(MAX_REASON_CHARS).collect();
    Some((kind, namespace, name, reason))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(message: &str) -> Option<Refused> {
        Refused::read(
            &json!({ "status": { "lastAppliedRevision": "main@sha1:5f1d9a0d",
            "conditions": [{ "type": "Ready", "status": "False", "message": message }] } }),
        )
    }

    #[test]
    fn the_refused_object_is_read_from_the_controllers_message() {
        let refused = read(
            "HelmRelease/flux-tenants/tenant-3 dry-run failed (Forbidden): ValidatingAdmissionPolicy 'x' denied\nrequest: no",
        );
        let refused = refused.expect("an object is named");
        assert_eq!(
            (&*refused.kind, &*refused.namespace, &*refused.name),
            ("HelmRelease", "flux-tenants", "tenant-3")
        );
        assert_eq!(
            refused.reason,
            "ValidatingAdmissionPolicy 'x' denied request: no"
        );
        assert_eq!(refused.applied, "5f1d9a0d");
        let namespace =
            read("Namespace/gateway dry-run failed (Invalid): metadata.labels: Invalid value");
        assert_eq!(
            namespace.map(|found| found.name),
            Some("gateway".to_owned())
        );
        let field = read(
            "HelmRelease/flux-tenants/a dry-run failed: failed to create typed patch object (x): .spec.b: field not declared",
        );
        assert_eq!(field.map(|found| found.name), Some("a".to_owned()));
    }

    #[test]
    fn what_another_try_may_mend_is_no_refusal() {
        for message in [
            "HelmRelease/flux-tenants/a dry-run failed (InternalError): failed calling webhook: connection refused",
            "HelmRelease/flux-tenants/a dry-run failed (Timeout): context deadline exceeded",
            "HelmRelease/flux-tenants/a dry-run failed: dial tcp: connection refused",
            "kustomize build failed: accumulating resources",
            "",
        ] {
            assert_eq!(read(message), None, "{message}");
        }
    }
}
