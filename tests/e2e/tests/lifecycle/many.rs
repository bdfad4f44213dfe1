//! Many tenants in one process: `TENANTS=200 cargo test -p e2e --test lifecycle many -- --nocapture` measures it.

use std::time::Instant;

use kit::http::Request;
use kit::wait::until;

use crate::Installation;

/// Default number of tenants: enough that messages share pushes.
const TENANTS: usize = 30;
/// Time limit on any machine: many times the usual duration.
const WITHIN: std::time::Duration = std::time::Duration::from_secs(180);
const MIB: u64 = 1024 * 1024;
/// Most memory per app of a silo, in a debug build: many times the usual; a leak per commit would exceed it.
const BYTES_PER_TENANT: u64 = 4 * MIB;

#[tokio::test]
async fn many_tenants_of_every_tier_are_served_by_one_process_and_after_a_restart() {
    let given = std::env::var("TENANTS")
        .ok()
        .map(|text| text.parse().expect("TENANTS is a number"));
    let count: usize = given.unwrap_or(TENANTS);
    let mut installation = Installation::new().await;
    let idle = installation.local.process.peak_resident_bytes();
    let begun = Instant::now();
    let tenants: Vec<(String, &str)> = (0..count)
        .map(|n| (format!("t{n}"), ["basic", "advanced", "premium"][n % 3]))
        .collect();
    for (tenant, tier) in &tenants {
        installation.onboard(tenant, tier).await;
    }
    all_answer(&installation, &tenants).await;
    let onboarded = begun.elapsed();
    let used = installation.local.process.peak_resident_bytes();
    let begun = Instant::now();
    installation = installation.restart().await;
    all_answer(&installation, &tenants).await;
    let restarted = begun.elapsed();
    let again = installation.local.process.peak_resident_bytes();
    println!(
        "{count} tenants: onboarded by {count} messages in {onboarded:.1?}; ended, started and reconciled in {restarted:.1?}; \
         {:.0} MiB idle before, {:.0} MiB after, {:.0} MiB after the restart",
        idle as f64 / MIB as f64,
        used as f64 / MIB as f64,
        again as f64 / MIB as f64,
    );
    let bound = idle + count as u64 * BYTES_PER_TENANT;
    assert!(
        used.max(again) < bound,
        "{used} and {again} bytes, bound {bound}"
    );
    for (tenant, _) in tenants.iter().take(3) {
        installation.posts_and_lists(tenant).await;
    }
}

async fn all_answer(installation: &Installation, tenants: &[(String, &str)]) {
    for (tenant, tier) in tenants {
        let silo = if *tier == "premium" {
            tenant.as_str()
        } else {
            "pool-1"
        };
        until(&format!("{tenant} is served"), WITHIN, async || {
            let answer = installation
                .local
                .ask(&Request::get("/producer").tenant(tenant))
                .await;
            answer.status == 200 && answer.field("environment") == silo
        })
        .await;
    }
}
