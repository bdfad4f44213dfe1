//! Values of which the chart makes objects that admission refuses.
//!
//! The policies of Services, accounts, pods and routes see the release's objects only while Flux installs it. Each rule here is
//! one that can be read off the values of a file. A refused object stops the tenant's release; in a template, every later
//! tenant's.

use std::sync::LazyLock;

use regex_lite::Regex;

use super::finding::Findings;
use crate::yaml::Node;

const ALB: &str = "alb.ingress.kubernetes.io/";
/// Annotations of the load balancer controller that an Ingress may have; the chart itself sets the tenant's condition.
const OF_INGRESS: [&str; 9] = [
    "certificate-arn",
    "group.name",
    "healthcheck-interval-seconds",
    "healthcheck-path",
    "listen-ports",
    "scheme",
    "success-codes",
    "target-group-attributes",
    "target-type",
];
const ROLE_ANNOTATION: &str = "eks.amazonaws.com/role-arn";
/// Role of an app; the group is the environment.
static ROLE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("^arn:aws[a-z-]*:iam::[0-9]{12}:role/(?:[a-zA-Z0-9_-]+/)*[a-z0-9]+-role-([^/]*)$")
        .expect("the pattern is a regular expression")
});

/// Checks the values of an environment: `appDefaults` and each app's own.
pub(super) fn check(findings: &mut Findings, values: &Node<'_>, environment: &str) {
    let apps = values.get("apps").map(Node::pairs).unwrap_or_default();
    let apps = apps.iter().filter_map(|pair| {
        let name = pair.key.text()?;
        Some((format!("apps.{name}"), &pair.value))
    });
    let defaults = values.get("appDefaults");
    let defaults = defaults.map(|node| ("appDefaults".to_owned(), node));
    for (name, app) in defaults.into_iter().chain(apps) {
        check_app(findings, &name, app, environment);
    }
    check_module(findings, values);
}

fn check_app(findings: &mut Findings, name: &str, app: &Node<'_>, environment: &str) {
    let mut refuse = |place: &Node<'_>, path: &str, needed: &str, fix: &str| {
        let message = format!("{name}.{path} {needed}: the cluster refuses the object");
        findings.add("release", place, message, fix);
    };
    // The chart takes its default in place of null.
    let set = |path: &[&str]| app.at(path).filter(|node| !node.is_null());
    if let Some(kind) = set(&["service", "type"])
        && kind.text() != Some("ClusterIP")
    {
        let fix = "remove it: clients come through the route, which matches the tenant's header";
        refuse(kind, "service.type", "must be ClusterIP", fix);
    }
    // An empty roleArn is the derived one. The chart writes the annotations over its own, also an empty one.
    let role = set(&["serviceAccount", "roleArn"]).filter(|role| role.text() != Some(""));
    let annotation = set(&["serviceAccount", "annotations", ROLE_ANNOTATION]);
    for role in role.into_iter().chain(annotation) {
        if !is_own_role(role.text().unwrap_or_default(), environment) {
            let needed = format!("must name a role <app>-role-{environment}");
            let fix = "remove it: the chart derives the role of the app's account";
            refuse(role, "serviceAccount", &needed, fix);
        }
    }
    if let Some(class) = set(&["priorityClassName"])
        && class.text().unwrap_or_default().starts_with("system-")
    {
        let fix = "choose a PriorityClass of your own, or remove it";
        refuse(class, "priorityClassName", "must not be of the system", fix);
    }
    if let Some(class) = set(&["ingress", "className"])
        && class.text() != Some("alb")
    {
        let fix =
            "remove it: another controller does not know the condition on the tenant's header";
        refuse(class, "ingress.className", "must be alb", fix);
    }
    let annotations = set(&["ingress", "annotations"]).map(Node::pairs);
    for pair in annotations.unwrap_or_default() {
        let key = pair.key.text().unwrap_or_default();
        let is_refused = key.strip_prefix(ALB).is_some_and(|name| {
            let is_pools = name == "group.order" && environment.starts_with("pool-");
            !OF_INGRESS.contains(&name) && !is_pools
        });
        if is_refused {
            let needed = format!("must not have {key}");
            let fix = "remove it: all tenants share the load balancer and its rules";
            refuse(&pair.key, "ingress.annotations", &needed, fix);
        }
    }
}

/// Requires a source of the Terraform module that the runner may use.
fn check_module(findings: &mut Findings, values: &Node<'_>) {
    let Some(version) = values.at(&["infra", "tfVersion"]) else {
        return;
    };
    let text = version.text().unwrap_or_default();
    if !version.is_null() && !text.starts_with("terraform-") {
        let message =
            format!("infra.tfVersion is {text}: the cluster takes sources terraform-… alone");
        let fix = "name a source of infrastructure/base/sources";
        findings.add("source", version, message, fix);
    }
}

/// Whether a role is of an app of this environment, by the pattern of the policy.
fn is_own_role(arn: &str, environment: &str) -> bool {
    let role = ROLE.captures(arn).and_then(|found| found.get(1));
    role.is_some_and(|of| of.as_str() == environment)
}
