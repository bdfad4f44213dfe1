//! The effect of each request on the repository.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tenantctl::plan::{Effect, PlanErrorKind, plan, plan_for};
use tenantctl::release::releases;
use tenantctl::request::{Request, Wave};
use tenantctl::tree::{FolderEntry, MemoryTree, RepoPath, Tree, TreeError};
use tenantry_tenancy::generation::Generation;
use tenantry_tenancy::tenant::Tier;

use crate::seed::{assert_clean, id, offboard, onboard, only, path, replace, run, seed, text};

fn deploy(tier: Tier, release: &str, wave: Wave) -> Request {
    Request::Deploy {
        tier,
        release: release.parse().expect("a release"),
        wave,
    }
}

fn hold(tenant: &str, reason: &str) -> Request {
    Request::Hold {
        tenant: id(tenant),
        reason: reason.parse().expect("a reason"),
    }
}

#[test]
fn the_sample_tenants_are_what_onboarding_writes() {
    for (tenant, tier) in [
        ("tenant-1", Tier::Premium),
        ("tenant-2", Tier::Basic),
        ("tenant-3", Tier::Advanced),
    ] {
        let mut tree = seed();
        let file = format!("tenants/{tier}/{tenant}.yaml");
        tree.remove(&path(&file));
        let list = format!("tenants/{tier}/kustomization.yaml");
        replace(
            &mut tree,
            &list,
            &format!("resources:\n- {tenant}.yaml\n"),
            "resources: []\n",
        );
        run(&mut tree, &onboard(tenant, tier, "0.0")).expect("onboarded");
        assert_eq!(text(&tree, &file), text(&seed(), &file));
        assert_eq!(tree, seed());
    }
}

#[test]
fn onboarding_edits_two_files_and_a_repeat_none() {
    let mut tree = seed();
    for (tenant, tier, release, version) in [
        ("acme", Tier::Premium, "0.1", "0.1.x"),
        ("beta", Tier::Basic, "0.1.3", "0.1.3"),
        ("c", Tier::Advanced, "1.0", "1.0.x"),
    ] {
        let plan = run(&mut tree, &onboard(tenant, tier, release)).expect("onboarded");
        let paths: Vec<&str> = plan.edits.iter().map(|edit| edit.path.as_str()).collect();
        let folder = format!("application-plane/production/tenants/{tier}");
        assert_eq!(plan.edits.len(), 2);
        assert!(
            paths.contains(&format!("{folder}/{tenant}.yaml").as_str()),
            "{paths:?}"
        );
        assert!(
            paths.contains(&format!("{folder}/kustomization.yaml").as_str()),
            "{paths:?}"
        );
        let file = text(&tree, &format!("tenants/{tier}/{tenant}.yaml"));
        assert!(file.contains(&format!("version: {version}\n")), "{file}");
        assert!(!file.contains("tenant-template"), "{file}");
        assert_clean(&tree);
        assert_eq!(
            run(&mut tree, &onboard(tenant, tier, release))
                .expect("again")
                .edits,
            []
        );
    }
}

#[test]
fn an_id_that_yaml_reads_as_another_type_stays_text() {
    let mut tree = seed();
    for tenant in ["null", "true", "false", "yes", "no", "y", "n", "on", "off"] {
        run(&mut tree, &onboard(tenant, Tier::Premium, "0.0")).expect(tenant);
        let file = text(&tree, &format!("tenants/premium/{tenant}.yaml"));
        assert!(
            file.contains(&format!("tenantId: \"{tenant}\"\n")),
            "{file}"
        );
    }
    assert_clean(&tree);
}

#[test]
fn the_placeholder_cannot_be_onboarded() {
    let error =
        plan(&seed(), &onboard("tenant-template", Tier::Basic, "0.0")).expect_err("reserved");
    assert_eq!(
        (error.code(), error.kind()),
        ("template_name", PlanErrorKind::Invalid)
    );
}

#[test]
fn an_id_with_a_leading_digit_is_not_onboarded_and_found_by_lint() {
    for tenant in ["0", "123", "1e3", "0x10", "1st"] {
        let error = plan(&seed(), &onboard(tenant, Tier::Basic, "0.0")).expect_err(tenant);
        assert_eq!(
            (error.code(), error.kind()),
            ("leading_digit", PlanErrorKind::Invalid)
        );
        assert!(
            error.to_string().contains("begins with a letter"),
            "{error}"
        );
    }
    // A tenant from before this rule is found by lint, and can be offboarded.
    let mut tree = seed();
    let named = |text: String| text.replace("tenant-1", "1st");
    let (file, list) = (
        "tenants/premium/tenant-1.yaml",
        "tenants/premium/kustomization.yaml",
    );
    let (tenant, listed) = (named(text(&tree, file)), named(text(&tree, list)));
    tree.remove(&path(file));
    tree.insert(path("tenants/premium/1st.yaml"), tenant);
    tree.insert(path(list), listed);
    let finding = only(&tree, "id");
    assert!(
        finding.message.contains("1st-<app>") && finding.fix.contains("letter"),
        "{finding:?}"
    );
    assert_eq!(
        plan(&tree, &onboard("1st", Tier::Premium, "0.0"))
            .expect("it is there")
            .edits,
        []
    );
    run(&mut tree, &offboard("1st", false)).expect("offboarded");
    assert_clean(&tree);
}

#[test]
fn an_existing_id_with_another_tier_or_release_is_a_conflict() {
    for (tier, release, code) in [
        (Tier::Premium, "0.1", "other_release"),
        (Tier::Basic, "0.0", "other_tier"),
    ] {
        let error = plan(&seed(), &onboard("tenant-1", tier, release)).expect_err("conflict");
        assert_eq!(
            (error.code(), error.kind()),
            (code, PlanErrorKind::Conflict),
            "{error}"
        );
    }
}

#[test]
fn an_unlisted_tenant_is_listed_again() {
    let mut tree = seed();
    replace(
        &mut tree,
        "tenants/premium/kustomization.yaml",
        "\n- tenant-1.yaml",
        " []",
    );
    run(&mut tree, &onboard("tenant-1", Tier::Premium, "0.0")).expect("listed");
    assert_eq!(tree, seed());
}

#[test]
fn a_deployment_changes_the_version_and_no_other_byte() {
    let mut tree = seed();
    // Changes by automation and by hand.
    replace(
        &mut tree,
        "tenants/basic/tenant-2.yaml",
        "tier: basic\n    apps:",
        "tier: basic\n    # by hand\n    apps:",
    );
    replace(
        &mut tree,
        "pooled-envs/pool-1.yaml",
        "tag: \"0.0.1\" # {\"$imagepolicy\": \"flux-system:producer:tag\"}",
        "tag: \"0.0.7\" # {\"$imagepolicy\": \"flux-system:producer:tag\"}",
    );
    let before = tree.clone();
    let plan = run(&mut tree, &deploy(Tier::Basic, "0.1", Wave::All)).expect("deployed");
    let changed: Vec<&str> = plan
        .edits
        .iter()
        .map(|edit| edit.path.file_name())
        .collect();
    assert_eq!(
        changed,
        ["pool-1.yaml", "tenant-2.yaml"],
        "basic tenants run in the pools"
    );
    for (path, text) in before.files() {
        let wanted = if changed.contains(&path.file_name()) {
            text.replace("0.0.x", "0.1.x")
        } else {
            text.to_owned()
        };
        assert_eq!(tree.read(path).expect("readable"), Some(wanted), "{path}");
    }
    assert_clean(&tree);
    assert_eq!(
        run(&mut tree, &deploy(Tier::Basic, "0.1", Wave::All))
            .expect("again")
            .edits,
        []
    );
}

#[test]
fn waves_go_from_canary_to_a_share_to_the_rest_and_skip_tenants_on_hold() {
    let mut tree = seed();
    for number in 10..30 {
        run(
            &mut tree,
            &onboard(&format!("t{number}"), Tier::Basic, "0.0"),
        )
        .expect("onboarded");
    }
    run(&mut tree, &hold("t15", "a fair on Friday")).expect("held");
    let versions = |tree: &MemoryTree| -> BTreeMap<String, String> {
        let all = releases(tree).expect("releases").into_iter();
        all.filter(|release| ["basic", "pool"].contains(&release.tier.as_str()))
            .map(|release| (release.tenant, release.version))
            .collect()
    };
    let count = |tree: &MemoryTree| {
        versions(tree)
            .values()
            .filter(|version| *version == "0.1.x")
            .count()
    };

    let canary = Wave::Canary {
        tenants: vec![id("t12"), id("t15"), id("t12")],
    };
    let plan = run(&mut tree, &deploy(Tier::Basic, "0.1", canary)).expect("canary");
    assert_eq!(plan.edits.len(), 1);
    let skipped = Effect::Skipped {
        release: "t15".to_owned(),
        reason: "a fair on Friday".to_owned(),
    };
    assert!(plan.effects.contains(&skipped), "{:?}", plan.effects);
    assert_eq!(count(&tree), 1);

    let share = || Wave::Percent(50.try_into().expect("a share"));
    run(&mut tree, &deploy(Tier::Basic, "0.1", share())).expect("half");
    assert!((9..=12).contains(&count(&tree)), "{}", count(&tree));
    assert_eq!(
        run(&mut tree, &deploy(Tier::Basic, "0.1", share()))
            .expect("again")
            .edits,
        []
    );
    assert_eq!(
        versions(&tree)["pool-1"],
        "0.0.x",
        "a pool serves everyone and is no canary"
    );

    run(&mut tree, &deploy(Tier::Basic, "0.1", Wave::Rest)).expect("the rest");
    let old: Vec<String> = versions(&tree)
        .into_iter()
        .filter(|(_, version)| version != "0.1.x")
        .map(|(tenant, _)| tenant)
        .collect();
    assert_eq!(old, ["t15"]);
    run(&mut tree, &Request::Unhold { tenant: id("t15") }).expect("no longer held");
    let plan = run(&mut tree, &deploy(Tier::Basic, "0.1", Wave::Rest)).expect("the last");
    assert_eq!(plan.edits.len(), 1);
    assert_clean(&tree);
}

#[test]
fn a_canary_of_another_tier_or_without_tenants_is_refused() {
    let tree = seed();
    let canary = |tenant: &str| {
        deploy(
            Tier::Basic,
            "0.1",
            Wave::Canary {
                tenants: vec![id(tenant)],
            },
        )
    };
    assert_eq!(
        plan(&tree, &canary("tenant-1"))
            .expect_err("premium")
            .code(),
        "other_tier"
    );
    assert_eq!(
        plan(&tree, &canary("unknown")).expect_err("unknown").code(),
        "not_found"
    );
    let empty = deploy(
        Tier::Basic,
        "0.1",
        Wave::Canary {
            tenants: Vec::new(),
        },
    );
    assert_eq!(plan(&tree, &empty).expect_err("empty").code(), "empty_wave");
}

#[test]
fn offboarding_keeps_the_data_under_protection_and_the_id_taken() {
    for (tenant, tier, retained) in [
        ("tenant-1", Tier::Premium, "[consumer, payments]"),
        ("tenant-3", Tier::Advanced, "[consumer]"),
        ("tenant-2", Tier::Basic, ""),
    ] {
        let mut tree = seed();
        let plan = run(&mut tree, &offboard(tenant, false)).expect("offboarded");
        assert_eq!(
            plan.edits.len(),
            4,
            "file, tombstone and both lists: {:?}",
            plan.edits
        );
        assert_clean(&tree);
        let stone = text(&tree, &format!("tenants/offboarded/{tenant}.yaml"));
        assert!(
            stone.contains(&format!("tenantry.dev/offboarded-from: {tier}\n")),
            "{stone}"
        );
        assert!(!stone.contains("kind: Namespace"), "{stone}");
        assert!(!stone.contains("deleteData"), "{stone}");
        assert_eq!(stone.contains("retain:"), !retained.is_empty(), "{stone}");
        assert!(stone.contains(retained), "{stone}");
        let release = releases(&tree)
            .expect("releases")
            .into_iter()
            .find(|release| release.tenant == tenant)
            .expect("a tombstone");
        assert!(
            release.apps.values().all(|app| !app.enabled && !app.route),
            "{release:?}"
        );
        assert!(release.infra && !release.delete_data, "{release:?}");
        assert_eq!(release.offboarded_from.as_deref(), Some(tier.as_str()));

        for other in Tier::ALL {
            let error =
                tenantctl::plan::plan(&tree, &onboard(tenant, other, "0.0")).expect_err("taken");
            assert_eq!(
                (error.code(), error.kind()),
                ("offboarded", PlanErrorKind::Conflict)
            );
            assert!(error.to_string().contains("--delete-data"), "{error}");
        }
        assert_eq!(
            run(&mut tree, &offboard(tenant, false))
                .expect("again")
                .edits,
            []
        );

        let plan = run(&mut tree, &offboard(tenant, true)).expect("unprotected");
        assert_eq!(plan.edits.len(), 1);
        assert!(
            text(&tree, &format!("tenants/offboarded/{tenant}.yaml"))
                .contains("deleteData: true\n")
        );
        assert_clean(&tree);
        assert_eq!(
            run(&mut tree, &offboard(tenant, true))
                .expect("again")
                .edits,
            []
        );
        assert_eq!(
            run(&mut tree, &offboard(tenant, false))
                .expect("a repeat does not restore the protection")
                .edits,
            []
        );
        assert_eq!(
            tenantctl::plan::plan(&tree, &onboard(tenant, tier, "0.0"))
                .expect_err("still taken")
                .code(),
            "offboarded"
        );
    }
}

#[test]
fn offboarding_with_deletion_at_once_is_one_plan() {
    let mut tree = seed();
    let plan = run(&mut tree, &offboard("tenant-1", true)).expect("offboarded");
    assert_eq!(plan.effects.len(), 2, "{:?}", plan.effects);
    assert_clean(&tree);
    assert_eq!(
        run(&mut tree, &offboard("tenant-1", true))
            .expect("again")
            .edits,
        []
    );
}

#[test]
fn a_forgotten_tenant_leaves_no_file_and_its_id_is_free() {
    for (tenant, tier) in [
        ("tenant-1", Tier::Premium),
        ("tenant-2", Tier::Basic),
        ("tenant-3", Tier::Advanced),
    ] {
        let mut tree = seed();
        let forget = Request::Forget { tenant: id(tenant) };
        let refused = |tree: &MemoryTree| {
            let error = plan(tree, &forget).expect_err("not yet");
            assert_eq!(error.kind(), PlanErrorKind::Conflict);
            error.code()
        };
        assert_eq!(refused(&tree), "not_offboarded");
        run(&mut tree, &offboard(tenant, false)).expect("offboarded");
        assert_eq!(refused(&tree), "data_protected");
        run(&mut tree, &offboard(tenant, true)).expect("unprotected");
        let plan = run(&mut tree, &forget).expect("forgotten");
        assert_eq!(
            plan.edits.len(),
            2,
            "the tombstone and its list: {:?}",
            plan.edits
        );
        assert_eq!(plan.effects, [Effect::Forgotten { tenant: id(tenant) }]);
        assert_clean(&tree);
        assert_eq!(run(&mut tree, &forget).expect("again").edits, []);
        run(&mut tree, &onboard(tenant, tier, "0.0")).expect("the id is free");
        assert_eq!(tree, seed(), "as if it had never been away");
    }
}

#[test]
fn offboarding_an_unknown_tenant_or_another_tier_is_refused() {
    let mut tree = seed();
    assert_eq!(
        plan(&tree, &offboard("unknown", false))
            .expect_err("unknown")
            .kind(),
        PlanErrorKind::NotFound
    );
    let wrong = Request::Offboard {
        tenant: id("tenant-1"),
        tier: Some(Tier::Basic),
        delete_data: true,
    };
    assert_eq!(
        plan(&tree, &wrong).expect_err("premium").code(),
        "other_tier"
    );
    run(&mut tree, &offboard("tenant-1", false)).expect("offboarded");
    assert_eq!(
        plan(&tree, &wrong).expect_err("was premium").code(),
        "other_tier"
    );
}

#[test]
fn an_offboarded_tenant_accepts_no_other_request() {
    let mut tree = seed();
    run(&mut tree, &offboard("tenant-1", false)).expect("offboarded");
    let tenant = || id("tenant-1");
    for request in [
        Request::Suspend { tenant: tenant() },
        Request::Resume { tenant: tenant() },
        hold("tenant-1", "why"),
        Request::Unhold { tenant: tenant() },
        Request::Move {
            tenant: tenant(),
            to: Tier::Basic,
            leave_data: true,
        },
    ] {
        assert_eq!(plan(&tree, &request).expect_err("off").code(), "gone");
    }
}

#[test]
fn a_move_keeps_the_release_and_manual_changes() {
    let mut tree = seed();
    let file = "tenants/advanced/tenant-3.yaml";
    replace(&mut tree, file, "version: 0.0.x", "version: 0.0.9");
    replace(
        &mut tree,
        file,
        "tag: \"0.0.1\" # {\"$imagepolicy\"",
        "tag: \"0.0.8\" # {\"$imagepolicy\"",
    );
    replace(
        &mut tree,
        file,
        "    infra:\n",
        "    appDefaults:\n      replicaCount: 5 # asked for by sales\n    infra:\n",
    );
    replace(
        &mut tree,
        file,
        "    pod-security.kubernetes.io/enforce: restricted\n",
        "    pod-security.kubernetes.io/enforce: restricted\n    team: red\n",
    );
    let quota = "apiVersion: v1\nkind: ResourceQuota\nmetadata:\n  name: quota # ours\n  namespace: tenant-3\nspec:\n  hard:\n    pods: \"9\"\n";
    let with_quota = format!("{}---\n{quota}", text(&tree, file));
    tree.insert(path(file), with_quota);
    run(&mut tree, &hold("tenant-3", "why: #1")).expect("held");
    // The cluster refuses the quota, so lint finds it; a move copies it all the same.
    assert!(only(&tree, "id").message.contains("ResourceQuota"));
    let before = tree.clone();
    let request = Request::Move {
        tenant: id("tenant-3"),
        to: Tier::Premium,
        leave_data: false,
    };
    let plan = run(&mut tree, &request).expect("queue and table stay, so no data is left behind");
    assert_eq!(plan.edits.len(), 4, "both files and both lists");
    assert!(only(&tree, "id").message.contains("ResourceQuota"));
    let moved = text(&tree, "tenants/premium/tenant-3.yaml");
    for kept in [
        "version: 0.0.9\n",
        "tag: \"0.0.8\" # {\"$imagepolicy\": \"flux-system:consumer:tag\"}\n",
        "replicaCount: 5 # asked for by sales\n",
        "team: red\n",
        quota,
        "tenantry.dev/hold: \"why: #1\"\n",
        "releaseName: tenant-3\n",
        "tier: premium\n",
    ] {
        assert!(moved.contains(kept), "{kept:?} is lost in\n{moved}");
    }
    let release = releases(&tree)
        .expect("releases")
        .into_iter()
        .find(|release| release.tenant == "tenant-3")
        .expect("there");
    assert!(
        release.apps.values().all(|app| app.enabled && app.route),
        "{release:?}"
    );
    assert_eq!(run(&mut tree, &request).expect("again").edits, []);

    let back = Request::Move {
        tenant: id("tenant-3"),
        to: Tier::Advanced,
        leave_data: false,
    };
    run(&mut tree, &back).expect("moved back");
    // The payments table of the silo stays until its data is moved.
    let advanced = text(&tree, file);
    let line = advanced
        .lines()
        .find(|line| line.contains("retain:"))
        .expect("it is retained");
    assert!(
        line.contains("payments") && !line.contains("consumer"),
        "{line}"
    );
    let without = advanced.replace(&format!("{line}\n"), "");
    tree.insert(path(file), without);
    let said = |tree: &MemoryTree| releases(tree).expect("releases");
    assert_eq!(said(&tree), said(&before));
    assert!(only(&tree, "id").message.contains("ResourceQuota"));
}

#[test]
fn a_move_takes_the_data_along_unless_it_is_told_to_leave_it() {
    let stays = |tree: &MemoryTree, tenant: &str| {
        let releases = releases(tree).expect("releases");
        releases
            .iter()
            .any(|release| release.tenant == tenant && release.leave_data)
    };
    for (tenant, from, to) in [
        ("tenant-1", Tier::Premium, Tier::Basic),
        ("tenant-2", Tier::Basic, Tier::Premium),
        ("tenant-2", Tier::Basic, Tier::Advanced),
        ("tenant-3", Tier::Advanced, Tier::Basic),
    ] {
        let mut tree = seed();
        let request = |to, leave_data| Request::Move {
            tenant: id(tenant),
            to,
            leave_data,
        };
        run(&mut tree, &request(to, false)).expect("moved");
        assert_clean(&tree);
        assert!(!stays(&tree, tenant));
        let fresh = {
            let mut tree = seed();
            run(&mut tree, &onboard("fresh", to, "0.0")).expect("onboarded");
            text(&tree, &format!("tenants/{to}/fresh.yaml")).replace("fresh", tenant)
        };
        let moved = text(&tree, &format!("tenants/{to}/{tenant}.yaml"));
        let retained = |line: &&str| line.contains("retain:");
        assert_eq!(
            moved
                .lines()
                .filter(|line| !retained(line))
                .collect::<Vec<_>>(),
            fresh.lines().collect::<Vec<_>>(),
            "as onboarding would write it, beside the resources that stay"
        );
        let releases = releases(&tree).expect("releases");
        let release = releases
            .into_iter()
            .rfind(|release| release.tenant == tenant);
        let expected: &[&str] = match (from, to) {
            (Tier::Premium, Tier::Basic) => &["consumer", "payments"],
            (Tier::Advanced, Tier::Basic) => &["consumer"],
            _ => &[],
        };
        assert_eq!(release.expect("there").retain, expected, "{tenant} to {to}");
        let mut left = seed();
        run(&mut left, &request(to, true)).expect("moved");
        assert_clean(&left);
        assert!(stays(&left, tenant));
        run(&mut left, &request(from, false)).expect("moved back");
        assert_clean(&left);
        assert!(!stays(&left, tenant), "each move decides anew");
        if from != Tier::Basic {
            assert_eq!(left, seed(), "nothing of the silo is left to be retained");
        }
    }
}

#[test]
fn suspending_and_holding_are_undone_to_the_byte() {
    let mut tree = seed();
    for tenant in ["tenant-1", "tenant-2", "tenant-3"] {
        for (there, back) in [
            (
                Request::Suspend { tenant: id(tenant) },
                Request::Resume { tenant: id(tenant) },
            ),
            (
                hold(tenant, "a: \"b\" # {c} 'd' – ü"),
                Request::Unhold { tenant: id(tenant) },
            ),
        ] {
            assert_eq!(run(&mut tree, &back).expect("nothing to undo").edits, []);
            assert_eq!(run(&mut tree, &there).expect("done").edits.len(), 1);
            assert_eq!(run(&mut tree, &there).expect("again").edits, []);
            assert_clean(&tree);
            run(&mut tree, &back).expect("undone");
            assert_eq!(tree, seed());
        }
    }
    run(
        &mut tree,
        &Request::Suspend {
            tenant: id("tenant-1"),
        },
    )
    .expect("suspended");
    let suspended: Vec<String> = releases(&tree)
        .expect("releases")
        .into_iter()
        .filter(|release| release.suspended)
        .map(|release| release.tenant)
        .collect();
    assert_eq!(suspended, ["tenant-1"]);
}

#[test]
fn releases_follow_the_kustomizations_and_have_the_sample_placement() {
    let all = releases(&seed()).expect("releases");
    let names: Vec<&str> = all.iter().map(|release| release.tenant.as_str()).collect();
    assert_eq!(names, ["pool-1", "tenant-1", "tenant-2", "tenant-3"]);
    let runs = |tenant: usize, app: &str| {
        let placement = &all[tenant].apps[app];
        if placement.enabled {
            names[tenant].to_owned()
        } else {
            placement.env_id.clone().unwrap_or_default()
        }
    };
    let table =
        [1, 2, 3].map(|tenant| ["producer", "consumer", "payments"].map(|app| runs(tenant, app)));
    assert_eq!(
        table,
        [
            ["tenant-1", "tenant-1", "tenant-1"],
            ["pool-1", "pool-1", "pool-1"],
            ["pool-1", "tenant-3", "pool-1"],
        ]
        .map(|row| row.map(str::to_owned))
    );
    assert_eq!(
        all[1].merged_values()["appDefaults"]["replicaCount"],
        3,
        "the chart's default"
    );
}

#[test]
fn a_broken_file_is_named_with_its_line() {
    let mut tree = seed();
    replace(
        &mut tree,
        "tenants/basic/tenant-2.yaml",
        "  name: tenant-2\n",
        "  name: tenant-2\n   namespace: x\n",
    );
    let error = releases(&tree).expect_err("broken").to_string();
    assert!(error.contains("tenants/basic/tenant-2.yaml:5"), "{error}");
    let error = plan(&tree, &deploy(Tier::Basic, "0.1", Wave::All)).expect_err("broken");
    assert_eq!(
        (error.code(), error.kind()),
        ("broken_repository", PlanErrorKind::Repository)
    );
    assert!(
        error.to_string().contains("tenants/basic/tenant-2.yaml:5"),
        "{error}"
    );

    let mut tree = seed();
    replace(
        &mut tree,
        "tenants/basic/kustomization.yaml",
        "- tenant-2.yaml",
        "- tenant-2.yaml\n- tenant-9.yaml",
    );
    let error = releases(&tree)
        .expect_err("listed and not there")
        .to_string();
    assert!(
        error.contains("tenants/basic/kustomization.yaml:5"),
        "{error}"
    );
}

/// Counts reads.
struct Counting(MemoryTree, Mutex<usize>);

impl Tree for Counting {
    fn read(&self, path: &RepoPath) -> Result<Option<String>, TreeError> {
        *self.1.lock().expect("no panic while locked") += 1;
        self.0.read(path)
    }

    fn list(&self, folder: &RepoPath) -> Result<Vec<FolderEntry>, TreeError> {
        panic!("{folder} is listed: a plan reads what it needs")
    }
}

#[test]
fn a_plan_for_one_tenant_reads_at_most_eight_files() {
    let mut tree = seed();
    for number in 0..200 {
        run(
            &mut tree,
            &onboard(&format!("t{number}"), Tier::Basic, "0.0"),
        )
        .expect("onboarded");
    }
    let counting = Counting(tree, Mutex::new(0));
    for request in [
        onboard("new", Tier::Basic, "0.0"),
        offboard("t7", true),
        hold("t8", "why"),
        Request::Suspend { tenant: id("t9") },
    ] {
        *counting.1.lock().expect("no panic") = 0;
        plan(&counting, &request).expect("a plan");
        let reads = *counting.1.lock().expect("no panic");
        assert!(reads <= 8, "{reads} reads for {request:?}");
    }
}

#[test]
fn a_tenant_keeps_its_generation_and_its_ids_next_owner_has_another() {
    let mut tree = seed();
    let onboarded_at = |tree: &mut MemoryTree, time| {
        let request = onboard("acme", Tier::Advanced, "0.0");
        let plan = plan_for(tree, &request, Generation::at_millis(time)).expect("a plan");
        tree.apply(&plan.edits);
    };
    let generation = |tree: &MemoryTree| {
        let all = releases(tree).expect("readable");
        let acme = all.into_iter().find(|release| release.tenant == "acme");
        acme.and_then(|release| release.generation)
    };
    onboarded_at(&mut tree, 1_770_000_000_000);
    let file = text(&tree, "tenants/advanced/acme.yaml");
    assert!(
        file.contains("      vars:\n        generation: \"1770000000000\"\n"),
        "{file}"
    );
    assert_clean(&tree);
    // A repeat does not change it.
    onboarded_at(&mut tree, 1_770_000_000_001);
    let first = Some("1770000000000".to_owned());
    assert_eq!(generation(&tree), first);
    for request in [
        Request::Move {
            tenant: id("acme"),
            to: Tier::Premium,
            leave_data: false,
        },
        Request::Suspend { tenant: id("acme") },
        deploy(Tier::Premium, "0.1", Wave::All),
        offboard("acme", true),
    ] {
        run(&mut tree, &request).expect("planned");
        assert_eq!(generation(&tree), first, "{request:?}");
        assert_clean(&tree);
    }
    run(&mut tree, &Request::Forget { tenant: id("acme") }).expect("forgotten");
    onboarded_at(&mut tree, 1_770_000_000_002);
    assert_eq!(generation(&tree), Some("1770000000002".to_owned()));
}
