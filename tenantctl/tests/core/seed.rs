//! The seed as a tree in memory, and short forms of requests.

use std::sync::LazyLock;

use tenantctl::lint::{Finding, lint};
use tenantctl::plan::{Plan, PlanError, plan};
use tenantctl::request::Request;
use tenantctl::tree::{FolderTree, MemoryTree, RepoPath, Tree};
use tenantry_tenancy::tenant::{TenantId, Tier};

static SEED: LazyLock<MemoryTree> = LazyLock::new(|| {
    let folder = FolderTree::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../gitops"));
    MemoryTree::copy_of(&folder, &RepoPath::root()).expect("the seed can be read")
});

/// The seed: tenant-1 premium, tenant-2 basic, tenant-3 advanced.
pub(crate) fn seed() -> MemoryTree {
    SEED.clone()
}

pub(crate) fn id(text: &str) -> TenantId {
    text.parse().expect("a tenant id")
}

/// A path of the application plane.
pub(crate) fn path(below: &str) -> RepoPath {
    format!("application-plane/production/{below}")
        .parse()
        .expect("a path")
}

pub(crate) fn onboard(tenant: &str, tier: Tier, release: &str) -> Request {
    Request::Onboard {
        tenant: id(tenant),
        tier,
        release: release.parse().expect("a release"),
        labels: Default::default(),
    }
}

pub(crate) fn offboard(tenant: &str, delete_data: bool) -> Request {
    Request::Offboard {
        tenant: id(tenant),
        tier: None,
        delete_data,
    }
}

/// Plans a request and makes its edits.
pub(crate) fn run(tree: &mut MemoryTree, request: &Request) -> Result<Plan, PlanError> {
    let plan = plan(tree, request)?;
    tree.apply(&plan.edits);
    Ok(plan)
}

pub(crate) fn text(tree: &MemoryTree, below: &str) -> String {
    tree.read(&path(below))
        .expect("readable")
        .unwrap_or_else(|| panic!("{below} is not there"))
}

/// Replaces a part of a file, which must exist.
pub(crate) fn replace(tree: &mut MemoryTree, below: &str, from: &str, to: &str) {
    let before = text(tree, below);
    assert!(before.contains(from), "{below} does not have {from:?}");
    tree.insert(path(below), before.replacen(from, to, 1));
}

pub(crate) fn assert_clean(tree: &MemoryTree) {
    let findings = lint(tree);
    assert!(findings.is_empty(), "{findings:#?}");
}

/// Returns the finding of a rule, which must be the only finding.
pub(crate) fn only(tree: &MemoryTree, rule: &str) -> Finding {
    let findings = lint(tree);
    assert_eq!(
        findings
            .iter()
            .map(|finding| finding.rule)
            .collect::<Vec<_>>(),
        [rule],
        "{findings:#?}"
    );
    findings.into_iter().next().expect("one finding")
}
