//! Cost of 10,000 tenants. The bounds are for a release build: `cargo test --release -p tenantctl --test core -- --ignored`.

use std::time::{Duration, Instant};

use tenantctl::lint::lint;
use tenantctl::plan::plan;
use tenantctl::release::releases;
use tenantctl::request::{Request, Wave};
use tenantctl::tree::{FolderTree, MemoryTree, Tree};
use tenantry_tenancy::tenant::Tier;

use crate::seed::{onboard, path, run, seed, text};

const TENANTS: usize = 10_000;

/// Copies one onboarded tenant many times: another test measures onboarding.
fn many(count: usize) -> MemoryTree {
    let mut tree = seed();
    for tier in Tier::ALL {
        run(&mut tree, &onboard("many-0", tier, "0.0")).expect("onboarded");
        let file = text(&tree, &format!("tenants/{tier}/many-0.yaml"));
        tree.remove(&path(&format!("tenants/{tier}/many-0.yaml")));
        let list = format!("tenants/{tier}/kustomization.yaml");
        let mut lines = text(&tree, &list).replace("- many-0.yaml\n", "");
        for number in (0..count).filter(|number| number % 3 == tier as usize) {
            let id = format!("many-{number:05}");
            lines += &format!("- {id}.yaml\n");
            tree.insert(
                path(&format!("tenants/{tier}/{id}.yaml")),
                file.replace("many-0", &id),
            );
        }
        tree.insert(path(&list), lines);
    }
    tree
}

fn timed<T>(name: &str, work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    let took = start.elapsed();
    println!("{name}: {took:?}");
    (result, took)
}

#[test]
#[ignore = "measures; needs a release build"]
fn ten_thousand_tenants_are_linted_in_two_seconds() {
    let tree = many(TENANTS);
    let (findings, took) = timed("lint", || lint(&tree));
    assert!(findings.is_empty(), "{findings:#?}");
    assert!(took < Duration::from_secs(2), "{took:?}");

    let folder = tempfile::tempdir().expect("a scratch folder");
    for (path, text) in tree.files() {
        let file = folder.path().join(path.as_str());
        std::fs::create_dir_all(file.parent().expect("below the root")).expect("a folder");
        std::fs::write(file, text).expect("written");
    }
    let on_disk = FolderTree::new(folder.path());
    let (findings, took) = timed("lint on disk", || lint(&on_disk));
    assert!(findings.is_empty(), "{findings:#?}");
    assert!(took < Duration::from_secs(2), "{took:?}");

    let (_, took) = timed("plan of an onboarding", || {
        plan(&on_disk as &dyn Tree, &onboard("new", Tier::Basic, "0.0")).expect("a plan")
    });
    assert!(took < Duration::from_millis(300), "{took:?}");
    let wave = Request::Deploy {
        tier: Tier::Basic,
        release: "0.1".parse().expect("a release"),
        wave: Wave::All,
    };
    timed("plan of a deployment to 3,333", || {
        plan(&on_disk, &wave).expect("a plan")
    });
    timed("releases", || releases(&on_disk).expect("releases"));
}

#[test]
fn the_tree_of_many_tenants_is_clean() {
    let findings = lint(&many(30));
    assert!(findings.is_empty(), "{findings:#?}");
}
