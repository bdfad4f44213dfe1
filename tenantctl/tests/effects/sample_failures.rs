//! Failures of the sample's scripts, one test each, on the program with a real bare repository.

use serde_json::json;

use crate::http::{HttpServer, Push};
use crate::program::Program;
use crate::remote::{Remote, TENANTS};

/// Ids that the sample commits.
const HOSTILE_IDS: [&str; 9] = [
    "../x",
    "../../clusters/production",
    "a/b",
    "a\nb",
    "a b",
    "",
    "A",
    "*",
    "- x: y",
];
/// Tiers that the sample turns into paths.
const HOSTILE_TIERS: [&str; 6] = [
    "../../../clusters/production",
    "..",
    "basic/..",
    "",
    "Basic",
    "basic\n../../..",
];

#[test]
fn a_hostile_tenant_id_is_refused_and_nothing_is_committed() {
    let remote = Remote::seeded();
    let program = Program::of(&remote);
    let head = remote.head();
    for id in HOSTILE_IDS {
        for command in [
            &["onboard", "--tier=basic", "--release=0.0", "--", id][..],
            &["offboard", "--", id],
            &["move", "--to=basic", "--", id],
            &["suspend", "--", id],
        ] {
            assert_eq!(program.run(command).code, 2, "{command:?}");
        }
        let canary = format!("--canary={id}");
        assert_eq!(
            program
                .run(&["deploy", "--tier=basic", "--release=0.0", &canary])
                .code,
            2,
            "{id:?}"
        );
    }
    assert_eq!(remote.head(), head);
}

#[test]
fn a_hostile_tier_deletes_nothing() {
    let remote = Remote::seeded();
    let program = Program::of(&remote);
    let (head, clusters) = (remote.head(), remote.files("clusters"));
    assert!(!clusters.is_empty());
    for tier in HOSTILE_TIERS {
        let flag = format!("--tier={tier}");
        for command in [
            &["onboard", "tenant-9", &flag, "--release=0.0"][..],
            &["offboard", "tenant-1", &flag],
            &["deploy", &flag, "--release=0.1"],
            &["move", "tenant-1", &format!("--to={tier}")],
        ] {
            assert_eq!(program.run(command).code, 2, "{command:?}");
        }
    }
    assert_eq!((remote.head(), remote.files("clusters")), (head, clusters));
}

#[test]
fn an_unknown_tier_ends_with_a_code_of_its_own() {
    let remote = Remote::seeded();
    let ran = Program::of(&remote).onboard("tenant-9", "gold");
    assert_eq!(ran.code, 2);
    for tier in ["basic", "advanced", "premium"] {
        assert!(ran.stderr.contains(tier), "{}", ran.stderr);
    }
}

#[test]
fn an_existing_tenant_is_found() {
    let remote = Remote::seeded();
    let program = Program::of(&remote);
    let head = remote.head();
    let ran = program.onboard("tenant-1", "basic");
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(
        ran.stderr.contains("tenant-1") && ran.stderr.contains("premium"),
        "{}",
        ran.stderr
    );
    let (code, answer) = program.json(&["onboard", "tenant-1", "--tier=premium", "--release=0.7"]);
    assert_eq!((code, &answer["code"]), (3, &json!("other_release")));
    assert_eq!(remote.head(), head);
}

#[test]
fn a_second_onboarding_is_a_success_without_a_second_line() {
    let remote = Remote::seeded();
    let program = Program::of(&remote);
    assert_eq!(program.onboard("tenant-9", "advanced").code, 0);
    let (head, listed) = (
        remote.head(),
        remote
            .read(&format!("{TENANTS}/advanced/kustomization.yaml"))
            .unwrap(),
    );
    assert_eq!(listed.matches("tenant-9.yaml").count(), 1);
    let again = program.onboard("tenant-9", "advanced");
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.stdout.contains("Nothing to do"), "{}", again.stdout);
    assert_eq!(remote.head(), head);
    program.done(&["lint"]);
}

#[test]
fn a_rejected_push_ends_with_a_code_of_its_own() {
    let remote = std::sync::Arc::new(Remote::seeded());
    let server = HttpServer::open(&remote);
    let program = Program::at(&server.url(), &remote).with("GITOPS_ATTEMPTS", "2");
    server.next_pushes(Push::rivals(&remote, 2));
    let ran = program.onboard("tenant-9", "basic");
    assert_eq!(ran.code, 7, "{ran:?}");
    remote.hook("pre-receive", "exit 1");
    let ran = program.onboard("tenant-9", "basic");
    assert_eq!(ran.code, 6, "{ran:?}");
    assert_eq!(remote.read(&format!("{TENANTS}/basic/tenant-9.yaml")), None);
}

#[test]
fn a_deployment_keeps_image_tags_pool_names_and_manual_changes() {
    let remote = Remote::seeded();
    let program = Program::of(&remote);
    // A hybrid tenant has a tag of its own and names a pool.
    let file = format!("{TENANTS}/advanced/tenant-3.yaml");
    let before = remote.read(&file).unwrap();
    let marked = before
        .lines()
        .find(|line| line.contains("$imagepolicy"))
        .expect("a tag is marked")
        .to_owned();
    let newer = marked.replacen("tag: ", "tag: prd-20261123080452-was-", 1);
    let edited = format!(
        "# by hand\n{}",
        before.replace(&marked, &newer).replace("pool-1", "pool-2")
    );
    assert!(edited.contains("pool-2"));
    remote.write(&file, &edited);
    program.done(&["deploy", "--tier=advanced", "--release=0.7"]);
    let after = remote.read(&file).unwrap();
    let changed: Vec<_> = edited
        .lines()
        .zip(after.lines())
        .filter(|(before, after)| before != after)
        .collect();
    assert_eq!(edited.lines().count(), after.lines().count());
    let [(old, new)] = changed[..] else {
        panic!("{changed:?}")
    };
    assert!(
        old.contains("version:") && new.contains("0.7.x"),
        "{old} -> {new}"
    );
}

#[test]
fn concurrent_runs_lose_no_onboarding() {
    let remote = Remote::seeded();
    let before = remote.commits();
    let program = Program::of(&remote);
    std::thread::scope(|scope| {
        for number in 0..6 {
            // Each writer has its own mirror, so they share the remote alone.
            let program = program.at_home(&format!("home-{number}"));
            scope.spawn(move || {
                let ran = program.onboard(&format!("acme-{number}"), "basic");
                assert_eq!(ran.code, 0, "{ran:?}");
            });
        }
    });
    assert_eq!(remote.commits(), before + 6);
    let listed = remote
        .read(&format!("{TENANTS}/basic/kustomization.yaml"))
        .unwrap();
    assert!(
        (0..6).all(|number| listed.matches(&format!("- acme-{number}.yaml\n")).count() == 1),
        "{listed}"
    );
    program.done(&["lint"]);
}
