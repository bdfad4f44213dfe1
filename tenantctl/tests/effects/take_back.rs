//! What the cluster refuses is taken back, and nothing else is.

use tenantctl::apply::{Origin, take_back};
use tenantctl::git::{Oid, Pushed, Repository};
use tenantctl::lint::lint;
use tenantctl::plan::plan;
use tenantctl::request::Request;
use tenantctl::status::{Refused, RefusedObject};
use tenantctl::tree::{Edit, RepoPath, Tree};

use crate::remote::Remote;

const TENANTS: &str = "application-plane/production/tenants";

/// A repository whose head is applied.
struct Cluster {
    remote: Remote,
    repository: Repository,
    applied: Oid,
}

impl Cluster {
    fn new() -> Self {
        let remote = Remote::seeded();
        let repository = remote.open(&remote.address(), "cache");
        let applied = repository.lock().unwrap().fetch().unwrap();
        Self {
            remote,
            repository,
            applied,
        }
    }

    /// A commit made by hand.
    fn push(&self, edits: &[Edit]) {
        let mut lock = self.repository.lock().unwrap();
        let head = lock.fetch().unwrap();
        let commit = lock.commit(&head, edits, "By hand\n").unwrap();
        assert!(matches!(lock.push(&commit, &head), Ok(Pushed::Accepted)));
    }

    fn request(&self, request: &Request) -> Vec<Edit> {
        let head = self.repository.lock().unwrap().fetch().unwrap();
        plan(&self.repository.snapshot(&head).unwrap(), request)
            .unwrap()
            .edits
    }

    fn onboarding(&self, tenant: &str) -> Vec<Edit> {
        self.request(&Request::Onboard {
            tenant: tenant.parse().unwrap(),
            tier: "basic".parse().unwrap(),
            release: "0.0".parse().unwrap(),
            labels: Default::default(),
        })
    }

    fn text(&self, path: &str) -> Option<String> {
        let head = self.repository.lock().unwrap().fetch().unwrap();
        let path: RepoPath = format!("{TENANTS}/{path}").parse().unwrap();
        self.repository
            .snapshot(&head)
            .unwrap()
            .read(&path)
            .unwrap()
    }

    fn take_back(&self, kind: &str, name: &str) -> Option<Oid> {
        let namespace = if kind == "Namespace" {
            ""
        } else {
            "flux-tenants"
        };
        self.take_back_refused(Some(RefusedObject {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }))
    }

    /// Kustomize cannot build what the branch has.
    fn take_back_build(&self) -> Option<Oid> {
        self.take_back_refused(None)
    }

    fn take_back_refused(&self, object: Option<RefusedObject>) -> Option<Oid> {
        let refused = Refused {
            object,
            reason: "set spec.serviceAccountName to tenant-reconciler".to_owned(),
            applied: self.applied.as_str().to_owned(),
        };
        let origin = Origin {
            actor: "onboarding-service".parse().ok(),
            ..Origin::default()
        };
        take_back(&self.repository, &refused, &origin).unwrap()
    }
}

impl Cluster {
    fn is_clean(&self) {
        let head = self.repository.lock().unwrap().fetch().unwrap();
        let findings = lint(&self.repository.snapshot(&head).unwrap());
        assert!(findings.is_empty(), "{findings:#?}");
    }
}

fn without_account(edits: Vec<Edit>) -> Vec<Edit> {
    let account = "  serviceAccountName: tenant-reconciler\n";
    let without = |mut edit: Edit| {
        edit.content = edit.content.map(|text| text.replace(account, ""));
        edit
    };
    edits.into_iter().map(without).collect()
}

#[test]
fn a_refused_tenant_is_taken_back_and_the_others_stay() {
    let cluster = Cluster::new();
    cluster.push(&without_account(cluster.onboarding("bad-1")));
    cluster.push(&cluster.onboarding("good"));
    let commit = cluster.take_back("HelmRelease", "bad-1").expect("a commit");
    assert_eq!(cluster.text("basic/bad-1.yaml"), None);
    assert!(cluster.text("basic/good.yaml").is_some());
    let list = cluster.text("basic/kustomization.yaml").unwrap();
    assert!(
        list.contains("good.yaml") && !list.contains("bad-1"),
        "{list}"
    );
    let entries = cluster.repository.log(&commit, None, 1).unwrap();
    let message = &entries[0].message;
    assert!(
        message.starts_with("Take back bad-1: the cluster refuses it\n\nset spec.service"),
        "{message}"
    );
    assert!(message.contains("Actor: onboarding-service"), "{message}");
    assert_eq!(
        cluster.take_back("HelmRelease", "bad-1"),
        None,
        "it is taken back already"
    );
    drop(cluster.remote);
}

#[test]
fn one_commit_takes_back_every_file_that_lint_refuses() {
    let cluster = Cluster::new();
    for tenant in ["bad-1", "bad-2", "bad-3"] {
        cluster.push(&without_account(cluster.onboarding(tenant)));
    }
    let list = cluster.text("basic/kustomization.yaml");
    cluster.push(&cluster.onboarding("good"));
    cluster.take_back("HelmRelease", "bad-2").expect("a commit");
    for tenant in ["bad-1", "bad-2", "bad-3"] {
        assert_eq!(cluster.text(&format!("basic/{tenant}.yaml")), None);
    }
    let left = list.unwrap().replace("- bad-1.yaml\n", "- good.yaml\n");
    let left = left
        .replace("- bad-2.yaml\n", "")
        .replace("- bad-3.yaml\n", "");
    let found = cluster.text("basic/kustomization.yaml").unwrap();
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&found), sorted(&left));
}

#[test]
fn a_changed_tenant_gets_its_applied_file_where_it_was() {
    let cluster = Cluster::new();
    let before = cluster
        .text("advanced/tenant-3.yaml")
        .expect("the seed has it");
    let moved = cluster.request(&Request::Move {
        tenant: "tenant-3".parse().unwrap(),
        to: "premium".parse().unwrap(),
        leave_data: false,
    });
    cluster.push(&without_account(moved));
    cluster
        .take_back("HelmRelease", "tenant-3")
        .expect("a commit");
    assert_eq!(cluster.text("advanced/tenant-3.yaml"), Some(before));
    assert_eq!(cluster.text("premium/tenant-3.yaml"), None);
}

#[test]
fn an_object_under_another_files_name_is_found() {
    let cluster = Cluster::new();
    let path = format!("{TENANTS}/basic/mine.yaml").parse().unwrap();
    let content = Some("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: gateway\n".to_owned());
    cluster.push(&[Edit { path, content }]);
    cluster.take_back("Namespace", "gateway").expect("a commit");
    assert_eq!(cluster.text("basic/mine.yaml"), None);
}

#[test]
fn what_no_changed_file_has_is_left_alone() {
    let cluster = Cluster::new();
    cluster.push(&cluster.onboarding("good"));
    assert_eq!(
        cluster.take_back("HelmRelease", "tenant-1"),
        None,
        "unchanged: the policies changed"
    );
    assert_eq!(cluster.take_back("HelmRelease", "absent"), None);
    assert!(cluster.text("basic/good.yaml").is_some());
}

fn edit(path: &str, content: Option<&str>) -> Edit {
    Edit {
        path: format!("{TENANTS}/{path}").parse().unwrap(),
        content: content.map(str::to_owned),
    }
}

const LIST: &str = "basic/kustomization.yaml";

#[test]
fn files_that_kustomize_cannot_build_are_taken_back_and_others_commits_stay() {
    let cluster = Cluster::new();
    let seed = cluster.text(LIST).expect("the seed has a list");
    let tenant_2 = cluster
        .text("basic/tenant-2.yaml")
        .expect("the seed has it");
    cluster.push(&cluster.onboarding("before"));
    let listed = cluster.text(LIST).expect("a list");
    // Each of these stops the build.
    for (name, edits) in [
        (
            "a file that is not YAML",
            vec![edit("basic/tenant-2.yaml", Some("a: b: c\n"))],
        ),
        (
            "a list that is not YAML",
            vec![edit(LIST, Some("resources:\n- a: b: c\n"))],
        ),
        (
            "a list without entries",
            vec![
                edit(LIST, Some("resources: []\n")),
                edit("basic/x.yaml", Some("a: b: c\n")),
            ],
        ),
        (
            "a missing file",
            vec![edit(LIST, Some(&format!("{listed}- absent.yaml\n")))],
        ),
        (
            "an entry twice",
            vec![edit(LIST, Some(&format!("{listed}- ./before.yaml\n")))],
        ),
        ("a removed file", vec![edit("basic/tenant-2.yaml", None)]),
        (
            "a tenant twice",
            vec![
                edit("premium/tenant-2.yaml", Some(&tenant_2)),
                edit(
                    "premium/kustomization.yaml",
                    Some("resources:\n- tenant-1.yaml\n- tenant-2.yaml\n"),
                ),
            ],
        ),
    ] {
        cluster.push(&edits);
        assert!(cluster.take_back_build().is_some(), "{name}");
        assert_eq!(
            cluster.text("basic/tenant-2.yaml").as_ref(),
            Some(&tenant_2),
            "{name}"
        );
        assert_eq!(cluster.text("premium/tenant-2.yaml"), None, "{name}");
        assert_eq!(cluster.text(LIST).as_ref(), Some(&listed), "{name}");
        assert!(cluster.text("basic/before.yaml").is_some(), "{name}");
        cluster.is_clean();
        assert_eq!(
            cluster.take_back_build(),
            None,
            "{name}: it is taken back already"
        );
    }
    // A bad entry below which others went on.
    cluster.push(&[edit(LIST, Some(&format!("{listed}- absent.yaml\n")))]);
    cluster.push(&cluster.onboarding("after"));
    let commit = cluster.take_back_build().expect("a commit");
    let list = cluster.text(LIST).expect("a list");
    assert!(
        list.contains("- after.yaml") && list.contains("- before.yaml"),
        "{list}"
    );
    assert!(!list.contains("absent"), "{list}");
    assert!(seed.lines().all(|line| list.contains(line)), "{list}");
    cluster.is_clean();
    let entries = cluster.repository.log(&commit, None, 1).unwrap();
    assert!(
        entries[0]
            .message
            .starts_with("Take back files of tenants: kustomize cannot build them\n\n")
    );
}

#[test]
fn a_build_that_fails_for_another_reason_changes_nothing() {
    let cluster = Cluster::new();
    assert_eq!(cluster.take_back_build(), None, "nothing changed");
    cluster.push(&cluster.onboarding("good"));
    assert_eq!(cluster.take_back_build(), None, "lint finds nothing");
    // Not a tenant's file: an administrator's.
    let path: RepoPath = "application-plane/production/pooled-envs/pool-1.yaml"
        .parse()
        .unwrap();
    let content = Some("a: b: c\n".to_owned());
    cluster.push(&[Edit { path, content }]);
    assert_eq!(cluster.take_back_build(), None, "a pool");
    assert!(cluster.text("basic/good.yaml").is_some());
}
