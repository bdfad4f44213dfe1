//! Failures of the public sample's bash, `sed` and `printf`, one test each.

use tenantctl::lint::lint;
use tenantctl::plan::{PlanErrorKind, plan};
use tenantctl::request::{ReleaseVersion, Request, Wave};
use tenantry_tenancy::tenant::{TenantId, Tier};

use crate::seed::{assert_clean, offboard, onboard, only, replace, run, seed, text};

const HOSTILE: [&str; 26] = [
    "../tenant-1",
    "..",
    "a/../../b",
    "../../../clusters/production",
    "tenant\n",
    "tenant\n- evil.yaml",
    "tenant-1\r",
    "a b",
    "a: b",
    "a #b",
    "{a}",
    "[a]",
    "*a",
    "&a",
    "!a",
    "'a'",
    "\"a\"",
    "|",
    "$(id)",
    "`id`",
    "a;b",
    "tenänt",
    "tenant\u{200b}",
    "ТЕНАНТ",
    "\u{0}",
    "-rf",
];

#[test]
fn a_tenant_id_with_dots_or_a_newline_is_never_committed() {
    for text in HOSTILE {
        assert!(text.parse::<TenantId>().is_err(), "{text:?}");
    }
}

#[test]
fn a_tier_that_is_a_path_deletes_nothing() {
    for text in HOSTILE
        .iter()
        .chain(&["", "Basic", "offboarded", "premium/..", "basic\n"])
    {
        assert!(text.parse::<Tier>().is_err(), "{text:?}");
    }
}

#[test]
fn a_release_version_is_numbers_and_nothing_else() {
    let further = [
        "",
        "0",
        "0.",
        ".1",
        "0.0.x",
        "0.0.0.0",
        "v0.1",
        "0.1-rc",
        "latest",
        "*",
        ">=0",
        "00.1",
        "0.1 ",
        "4294967296.0",
        "-1.0",
        "+1.0",
        "٠.١",
    ];
    for text in HOSTILE.iter().chain(&further) {
        assert!(text.parse::<ReleaseVersion>().is_err(), "{text:?}");
    }
    for (text, version) in [("0.0", "0.0.x"), ("0.1", "0.1.x"), ("10.20.30", "10.20.30")] {
        let release: ReleaseVersion = text.parse().expect(text);
        assert_eq!(
            (
                release.chart_version().as_str(),
                release.to_string().as_str()
            ),
            (version, text)
        );
    }
}

#[test]
fn an_existing_tenant_is_found_in_any_tier() {
    for (tenant, tier) in [
        ("tenant-1", Tier::Premium),
        ("tenant-2", Tier::Basic),
        ("tenant-3", Tier::Advanced),
    ] {
        for asked in Tier::ALL {
            let answer = plan(&seed(), &onboard(tenant, asked, "0.0"));
            if asked == tier {
                assert_eq!(answer.expect("it is there").edits, []);
            } else {
                assert_eq!(
                    answer.expect_err("it is elsewhere").kind(),
                    PlanErrorKind::Conflict
                );
            }
        }
    }
}

#[test]
fn a_second_onboarding_adds_no_second_line() {
    let mut tree = seed();
    for _ in 0..3 {
        run(&mut tree, &onboard("acme", Tier::Basic, "0.0")).expect("onboarded");
    }
    let list = text(&tree, "tenants/basic/kustomization.yaml");
    assert_eq!(list.matches("acme.yaml").count(), 1, "{list}");
    assert_clean(&tree);
}

#[test]
fn a_duplicate_line_is_found_before_every_build_fails() {
    let mut tree = seed();
    replace(
        &mut tree,
        "tenants/basic/kustomization.yaml",
        "- tenant-2.yaml",
        "- tenant-2.yaml\n- tenant-2.yaml",
    );
    let finding = only(&tree, "list");
    assert_eq!(
        (finding.path.file_name(), finding.line),
        ("kustomization.yaml", Some(5))
    );
    assert!(finding.message.contains("twice"), "{finding:?}");
    run(&mut tree, &offboard("tenant-2", false)).expect("offboarding takes both lines");
    assert!(lint(&tree).is_empty());
}

#[test]
fn an_unknown_tier_is_an_error_of_the_request() {
    assert_eq!(
        "gold".parse::<Tier>().expect_err("no tier").to_string(),
        "a tier is one of basic, advanced, premium"
    );
}

#[test]
fn a_deployment_resets_no_image_tag_and_renames_no_pool() {
    let mut tree = seed();
    replace(
        &mut tree,
        "pooled-envs/pool-1.yaml",
        "tag: \"0.0.1\"",
        "tag: \"0.0.5\"",
    );
    let (before, pool) = (tree.clone(), text(&tree, "pooled-envs/pool-1.yaml"));
    let release = "0.2".parse().expect("a release");
    run(
        &mut tree,
        &Request::Deploy {
            tier: Tier::Basic,
            release,
            wave: Wave::All,
        },
    )
    .expect("deployed");
    assert_eq!(
        text(&tree, "pooled-envs/pool-1.yaml"),
        pool.replace("0.0.x", "0.2.x")
    );
    let names = |tree: &tenantctl::tree::MemoryTree| {
        tree.files()
            .map(|(path, _)| path.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&tree), names(&before));
}
