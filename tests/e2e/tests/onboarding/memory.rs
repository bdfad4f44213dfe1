//! Memory of the process with many tenants.

use std::time::Duration;

use kit::http::Request;
use kit::process::{repository, status_bytes};
use kit::wait::until;

use crate::ControlPlane;
use crate::cluster::Cluster;

const MANY: usize = 1_000;
const MIB: u64 = 1024 * 1024;
/// Most memory of the process's own: with the 15 MiB of a release build's program, it makes 32 MiB.
const MOST: u64 = 17 * MIB;
/// Growth that is none: buffers of answers.
const SOME: u64 = 2 * MIB;
/// Longest wait for a thousand probes.
const PROBED: Duration = Duration::from_secs(480);

#[tokio::test]
async fn a_thousand_tenants_fit_and_the_memory_stays_as_it_is() {
    let cluster = Cluster::new(MANY).await;
    // As gitops/control-plane/onboarding sets it.
    let release = repository().join("gitops/control-plane/onboarding/release.yaml");
    let release = std::fs::read_to_string(release).expect("the release");
    let heap = [
        ("MALLOC_ARENA_MAX", "1"),
        ("MALLOC_MMAP_THRESHOLD_", "131072"),
        ("MALLOC_TRIM_THRESHOLD_", "131072"),
    ];
    for (name, value) in heap {
        let set = format!("- name: {name}\n        value: \"{value}\"");
        assert!(release.contains(&set), "{set}");
    }
    let plane = ControlPlane::over(cluster, &heap).await;
    let own = || status_bytes(plane.service.process.id(), "RssAnon").expect("it runs");
    let total = async |query: &str| {
        let page = plane.ask(&Request::get(&format!("/tenants?{query}"))).await;
        page.json()["total"].as_u64().expect("a number")
    };
    assert_eq!(total("limit=1000").await, MANY as u64 + 3);
    until("every tenant is probed", PROBED, async || {
        total("limit=1&state=serving").await == MANY as u64 + 3
    })
    .await;
    let probed = own();
    let refreshes = async || {
        let metrics = plane.service.metrics().await;
        metrics.sum("refresh_seconds_count", &[]) as u64
    };
    let first = refreshes().await;
    until("the cluster is read eight times more", PROBED, async || {
        for path in [
            "/tenants?limit=1000",
            "/console/tenants",
            "/console/tenants/tenant-1",
            "/activity",
        ] {
            assert_eq!(plane.ask(&Request::get(path)).await.status, 200, "{path}");
        }
        refreshes().await >= first + 8
    })
    .await;
    let after = own();
    println!("{MANY} tenants: {probed} bytes once probed, {after} after more reads");
    assert!(after <= MOST, "{after} bytes of its own, more than {MOST}");
    assert!(after <= probed + SOME, "it grew from {probed} to {after}");
}
