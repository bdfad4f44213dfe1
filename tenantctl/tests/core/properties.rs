//! Any sequence of requests, and any untrusted text.

use proptest::prelude::*;
use tenantctl::lint::lint;
use tenantctl::plan::{Effect, PlanErrorKind, plan};
use tenantctl::release::releases;
use tenantctl::request::{HoldReason, Percent, ReleaseVersion, Request, Wave};
use tenantctl::tree::{RepoPath, Tree};
use tenantry_tenancy::tenant::{TenantId, Tier};

use crate::seed::{id, seed};

/// Few ids, so that requests collide: the seed's, two that YAML reads as truth values, and one that is a prefix of another.
fn tenant() -> impl Strategy<Value = TenantId> {
    prop::sample::select(vec![
        "tenant-1",
        "tenant-2",
        "tenant-3",
        "tenant-10",
        "a",
        "no",
        "true",
        "zz",
    ])
    .prop_map(id)
}

fn tier() -> impl Strategy<Value = Tier> {
    prop::sample::select(Tier::ALL.to_vec())
}

fn release() -> impl Strategy<Value = ReleaseVersion> {
    prop::sample::select(vec!["0.0", "0.1", "0.1.7", "12.34.56"])
        .prop_map(|text| text.parse().expect("a release"))
}

fn wave() -> impl Strategy<Value = Wave> {
    prop_oneof![
        Just(Wave::All),
        Just(Wave::Rest),
        (1..=100_u8).prop_map(|share| Wave::Percent(Percent::try_from(share).expect("a share"))),
        prop::collection::vec(tenant(), 0..4).prop_map(|tenants| Wave::Canary { tenants }),
    ]
}

fn reason() -> impl Strategy<Value = HoldReason> {
    ".{1,40}".prop_filter_map("a reason", |text| text.parse().ok())
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        4 => (tenant(), tier(), release()).prop_map(|(tenant, tier, release)| Request::Onboard { tenant, tier, release, labels: Default::default() }),
        2 => (tenant(), prop::option::of(tier()), any::<bool>())
            .prop_map(|(tenant, tier, delete_data)| Request::Offboard { tenant, tier, delete_data }),
        2 => (tier(), release(), wave()).prop_map(|(tier, release, wave)| Request::Deploy { tier, release, wave }),
        3 => (tenant(), tier(), any::<bool>()).prop_map(|(tenant, to, leave_data)| Request::Move { tenant, to, leave_data }),
        1 => tenant().prop_map(|tenant| Request::Forget { tenant }),
        1 => tenant().prop_map(|tenant| Request::Suspend { tenant }),
        1 => tenant().prop_map(|tenant| Request::Resume { tenant }),
        1 => (tenant(), reason()).prop_map(|(tenant, reason)| Request::Hold { tenant, reason }),
        1 => tenant().prop_map(|tenant| Request::Unhold { tenant }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_requests_leaves_a_clean_tree_and_can_be_repeated(requests in prop::collection::vec(request(), 1..24)) {
        let mut tree = seed();
        let ours = ["application-plane/production/tenants/", "application-plane/production/pooled-envs/"];
        let mut forgotten = Vec::new();
        for request in &requests {
            match plan(&tree, request) {
                Ok(done) => {
                    for effect in &done.effects {
                        if let Effect::Forgotten { tenant } = effect {
                            forgotten.push(tenant.clone());
                        }
                    }
                    for edit in &done.edits {
                        prop_assert!(ours.iter().any(|folder| edit.path.as_str().starts_with(folder)), "{}", edit.path);
                        prop_assert_ne!(&tree.read(&edit.path).expect("readable"), &edit.content, "an edit changes something");
                    }
                    prop_assert!(!done.subject.contains('\n') && done.subject.len() < 100, "{:?}", done.subject);
                    tree.apply(&done.edits);
                    let again = plan(&tree, request).expect("a repeated request has a plan");
                    prop_assert_eq!(again.edits, vec![], "{:?}", request);
                }
                Err(error) => prop_assert_ne!(error.kind(), PlanErrorKind::Repository, "{}", error),
            }
        }
        let findings = lint(&tree);
        prop_assert!(findings.is_empty(), "{:#?}", findings);
        // No tenant is lost: each has a file or a tombstone, unless it was forgotten.
        let known: Vec<String> = releases(&tree).expect("a clean tree has releases").into_iter().map(|release| release.tenant).collect();
        for tenant in ["pool-1", "tenant-1", "tenant-2", "tenant-3"] {
            let is_forgotten = forgotten.iter().any(|forgotten| forgotten.as_str() == tenant);
            prop_assert!(is_forgotten || known.iter().any(|known| known == tenant), "{} is lost", tenant);
        }
    }

    #[test]
    fn a_deployment_keeps_every_other_byte(tier in tier(), release in release(), comment in "[ -~]{0,30}") {
        let mut tree = seed();
        let files: Vec<(RepoPath, String)> = tree.files().map(|(path, text)| (path.clone(), text.to_owned())).collect();
        for (path, text) in files.into_iter().filter(|(_, text)| text.contains("kind: HelmRelease") && text.contains("helm-tenant-chart")) {
            tree.insert(path, format!("# {comment}\n{text}# {comment}\n"));
        }
        let done = plan(&tree, &Request::Deploy { tier, release, wave: Wave::All }).expect("a plan");
        for edit in &done.edits {
            let before = tree.read(&edit.path).expect("readable").expect("there");
            let wanted = before.replace("version: 0.0.x\n", &format!("version: {}\n", release.chart_version()));
            prop_assert_eq!(edit.content.as_ref(), Some(&wanted));
        }
    }

    #[test]
    fn untrusted_text_becomes_a_path_only_as_a_valid_id(text in "\\PC{0,40}|[a-z0-9./\n:#-]{0,40}") {
        if let Ok(tenant) = text.parse::<TenantId>() {
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'));
            let request = Request::Onboard { tenant, tier: Tier::Basic, release: "0.0".parse().expect("a release"), labels: Default::default() };
            let path = format!("application-plane/production/tenants/basic/{text}.yaml");
            match plan(&seed(), &request) {
                Ok(done) => prop_assert!(done.edits.iter().any(|edit| edit.path.as_str() == path)),
                Err(error) => prop_assert_eq!(error.code(), "leading_digit"),
            }
        }
        if let Ok(release) = text.parse::<ReleaseVersion>() {
            prop_assert_eq!(release.to_string(), text.clone());
        }
        prop_assert!(text.parse::<Tier>().is_err() || ["basic", "advanced", "premium"].contains(&text.as_str()));
        if let Ok(path) = text.parse::<RepoPath>() {
            prop_assert!(path.as_str().split('/').all(|step| !["", ".", ".."].contains(&step)));
        }
        if let Ok(reason) = text.parse::<HoldReason>() {
            prop_assert!(!reason.as_str().contains(['\n', '\r', '\0']));
        }
    }

    #[test]
    fn no_change_of_a_file_makes_lint_or_a_plan_panic(at in any::<prop::sample::Index>(), with in "[ -~\n\t]{0,12}", length in 0usize..20) {
        let file = crate::seed::path("tenants/premium/tenant-1.yaml");
        let mut tree = seed();
        let text = tree.read(&file).expect("readable").expect("there");
        let start = at.index(text.len());
        let end = (start + length).min(text.len());
        tree.insert(file, format!("{}{with}{}", &text[..start], &text[end..]));
        drop(lint(&tree));
        drop(releases(&tree));
        drop(plan(&tree, &Request::Offboard { tenant: id("tenant-1"), tier: None, delete_data: true }));
        drop(plan(&tree, &Request::Move { tenant: id("tenant-1"), to: Tier::Basic, leave_data: true }));
        drop(plan(&tree, &Request::Deploy { tier: Tier::Premium, release: "9.9".parse().expect("a release"), wave: Wave::All }));
    }
}
