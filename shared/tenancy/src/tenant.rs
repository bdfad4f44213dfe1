//! [`TenantId`] and [`Tier`].
//!
//! Every `TenantId` is valid. Without another check it can become a namespace, part of a queue, table or role name, a load
//! balancer's header value, or a git path. This module does not know which tenants are registered; the registry does.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The request header that names the tenant. Header names are case-insensitive; clients send `tenantID`.
pub const TENANT_HEADER: &str = "tenantid";

/// Longest tenant id in characters; leaves room for suffixes within the 63 characters of a Kubernetes name.
pub const MAX_TENANT_ID_CHARS: usize = 32;

/// Names with another meaning in a cluster or in the GitOps repository: namespaces of the platform, and of what commonly runs
/// beside it. The chart, the Terraform module and the admission policy have copies; `tests/gitops/test_reserved.py` compares them
/// and requires every namespace of `gitops/` to be here.
const RESERVED: [&str; 45] = [
    "amazon",
    "argo",
    "argocd",
    "aws",
    "cattle-system",
    "cert-manager",
    "cilium",
    "cilium-system",
    "crossplane-system",
    "default",
    "eks",
    "envoy-gateway-system",
    "external-dns",
    "external-secrets",
    "flux",
    "flux-system",
    "gatekeeper-system",
    "gateway",
    "grafana",
    "harbor",
    "ingress-nginx",
    "istio-system",
    "karpenter",
    "keda",
    "kube",
    "kubecost",
    "kubernetes",
    "kyverno",
    "linkerd",
    "local-path-storage",
    "logging",
    "loki",
    "metallb-system",
    "monitoring",
    "observability",
    "onboarding-service",
    "opencost",
    "pool",
    "prometheus",
    "tenant-secrets",
    "tenantry",
    "tigera-operator",
    "traefik",
    "vault",
    "velero",
];
/// Prefixes of reserved names: pools are environments, the others are namespaces of systems and names of AWS.
const RESERVED_PREFIXES: [&str; 9] = [
    "amazon-",
    "argo-",
    "argocd-",
    "aws-",
    "flux-",
    "kube-",
    "kubernetes-",
    "pool-",
    "tenantry-",
];

/// A valid tenant id: a DNS-1123 label of 1 to 32 characters, lower case, not a reserved name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Arc<str>);

/// Rule of tenant ids that a text breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTenantId {
    #[error("a tenant id is empty; it needs 1 to {MAX_TENANT_ID_CHARS} characters")]
    Empty,
    #[error("a tenant id has at most {MAX_TENANT_ID_CHARS} characters")]
    TooLong,
    #[error("a tenant id has only a-z, 0-9 and -, and starts and ends with a letter or digit")]
    NotALabel,
    #[error(
        "this tenant id is a reserved name: a namespace of the platform, or one that may become one"
    )]
    Reserved,
}

/// A tenant's tier; decides which of the tenant's apps run in a silo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// Every app in the shared pool.
    Basic,
    /// Hybrid: the producer and payments in the pool, the consumer in a silo.
    Advanced,
    /// Every app in the tenant's own silo.
    Premium,
}

/// The text names no tier; tiers are case-sensitive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tier is one of basic, advanced, premium")]
pub struct InvalidTier;

impl TenantId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantId {
    type Err = InvalidTenantId;

    fn from_str(text: &str) -> Result<Self, InvalidTenantId> {
        check_label(text.as_bytes())?;
        if is_reserved(text) {
            return Err(InvalidTenantId::Reserved);
        }
        Ok(Self(text.into()))
    }
}

fn is_reserved(label: &str) -> bool {
    let mut prefixes = RESERVED_PREFIXES.iter();
    RESERVED.contains(&label) || prefixes.any(|prefix| label.starts_with(prefix))
}

/// Checks that the bytes are a DNS-1123 label of at most [`MAX_TENANT_ID_CHARS`].
///
/// # Errors
/// The first rule that the bytes break.
pub(crate) fn check_label(bytes: &[u8]) -> Result<(), InvalidTenantId> {
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return Err(InvalidTenantId::Empty);
    };
    if bytes.len() > MAX_TENANT_ID_CHARS {
        return Err(InvalidTenantId::TooLong);
    }
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if !alphanumeric(first)
        || !alphanumeric(last)
        || !bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
    {
        return Err(InvalidTenantId::NotALabel);
    }
    Ok(())
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantId({})", self.0)
    }
}

impl serde::Serialize for TenantId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Tier {
    /// Every tier, cheapest first.
    pub const ALL: [Self; 3] = [Self::Basic, Self::Advanced, Self::Premium];

    /// Name of the tier in parameters, headers and paths.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Advanced => "advanced",
            Self::Premium => "premium",
        }
    }
}

impl FromStr for Tier {
    type Err = InvalidTier;

    fn from_str(text: &str) -> Result<Self, InvalidTier> {
        Self::ALL
            .into_iter()
            .find(|tier| tier.as_str() == text)
            .ok_or(InvalidTier)
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_sample_tenants_are_valid() {
        for id in [
            "tenant-1",
            "tenant-t1d6c",
            "a",
            "0",
            "acme",
            &"x".repeat(32),
        ] {
            assert_eq!(id.parse::<TenantId>().expect(id).as_str(), id);
        }
    }

    #[test]
    fn an_invalid_id_is_refused_with_the_rule_it_breaks() {
        use InvalidTenantId::{Empty, NotALabel, Reserved, TooLong};
        let cases = [
            ("", Empty),
            (&*"x".repeat(33), TooLong),
            ("Tenant-1", NotALabel),
            ("-tenant", NotALabel),
            ("tenant-", NotALabel),
            ("tenant_1", NotALabel),
            ("../tenant", NotALabel),
            ("tenant\n", NotALabel),
            ("tenänt", NotALabel),
            ("*", NotALabel),
            ("pool-1", Reserved),
            ("kube-system", Reserved),
            ("default", Reserved),
            ("flux-system", Reserved),
            ("argo-workflows", Reserved),
            ("gateway", Reserved),
            ("aws", Reserved),
            ("monitoring", Reserved),
            ("keda", Reserved),
            ("tenantry-new", Reserved),
        ];
        for (text, reason) in cases {
            assert_eq!(text.parse::<TenantId>(), Err(reason), "{text:?}");
        }
    }

    #[test]
    fn tiers_are_case_sensitive_and_empty_is_unknown() {
        for tier in Tier::ALL {
            assert_eq!(tier.as_str().parse(), Ok(tier));
        }
        for text in ["", "Basic", "PREMIUM", " basic", "gold"] {
            assert_eq!(text.parse::<Tier>(), Err(InvalidTier), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_an_accepted_text_is_kept_unchanged(text in any::<String>()) {
            if let Ok(id) = text.parse::<TenantId>() {
                prop_assert_eq!(id.as_str(), text);
            }
        }

        #[test]
        fn every_unreserved_label_is_accepted(text in "[b-ejl-oq-z]([a-z0-9-]{0,30}[a-z0-9])?") {
            prop_assume!(!is_reserved(&text));
            prop_assert!(text.parse::<TenantId>().is_ok());
        }
    }
}
