//! Eight writers to one repository, each with a mirror of its own: no onboarding is lost, and the tree is clean.
//!
//! `ONBOARDINGS=200 cargo test -p tenantctl --test effects concurrency -- --nocapture` is the full size.

use std::sync::Mutex;
use std::time::Instant;

use tenantctl::apply::{ApplyOptions, ApplyOutcome, apply};
use tenantctl::lint::lint;
use tenantctl::request::{IdentifiedRequest, Request, RequestId};

use crate::http::HttpServer;
use crate::remote::{Remote, TENANTS, blocking};

const WRITERS: usize = 8;
const TIERS: [&str; 3] = ["basic", "advanced", "premium"];

#[test]
fn eight_writers_over_file_lose_no_onboarding() {
    let remote = Remote::seeded();
    onboard_at_once(&remote, &format!("file://{}", remote.address()));
}

#[test]
fn eight_writers_over_http_lose_no_onboarding() {
    let remote = Remote::seeded();
    let server = HttpServer::open(&remote);
    onboard_at_once(&remote, &server.url());
}

fn onboard_at_once(remote: &Remote, address: &str) {
    let tenants: usize = std::env::var("ONBOARDINGS").map_or(16, |text| text.parse().unwrap());
    let begun = Instant::now();
    let attempts = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let attempts = &attempts;
            scope.spawn(move || {
                let repository = remote.open(address, &format!("cache-{writer}"));
                for number in (writer..tenants).step_by(WRITERS) {
                    let applied = blocking(apply(
                        &repository,
                        identified(number),
                        &ApplyOptions::default(),
                    ));
                    let applied = applied
                        .unwrap_or_else(|error| panic!("tenant {number}: {error}"))
                        .unwrap();
                    assert!(
                        matches!(applied.outcome, ApplyOutcome::Committed(_)),
                        "{applied:?}"
                    );
                    attempts.lock().unwrap().push(applied.attempts);
                }
            });
        }
    });
    let mut attempts = attempts.into_inner().unwrap();
    attempts.sort_unstable();
    println!(
        "{tenants} tenants by {WRITERS} writers over {}: {:.1} s, attempts median {} most {}",
        address.split(':').next().unwrap_or_default(),
        begun.elapsed().as_secs_f64(),
        attempts[attempts.len() / 2],
        attempts[attempts.len() - 1],
    );
    assert_eq!(remote.commits(), 1 + tenants, "a commit a tenant");
    for (at, tier) in TIERS.iter().enumerate() {
        let folder = format!("{TENANTS}/{tier}");
        let (files, listed) = (
            remote.files(&folder),
            remote
                .read(&format!("{folder}/kustomization.yaml"))
                .unwrap(),
        );
        for number in (at..tenants).step_by(TIERS.len()) {
            assert!(
                files.contains(&format!("{folder}/acme-{number}.yaml")),
                "{number}"
            );
            assert_eq!(
                listed.matches(&format!("- acme-{number}.yaml\n")).count(),
                1,
                "{number}"
            );
        }
    }
    let repository = remote.open(address, "cache-0");
    let head = repository.lock().unwrap().fetch().unwrap();
    assert_eq!(lint(&repository.snapshot(&head).unwrap()), []);
}

fn identified(number: usize) -> IdentifiedRequest {
    let tenant = format!("acme-{number}").parse().unwrap();
    let (tier, release) = (
        TIERS[number % TIERS.len()].parse().unwrap(),
        "0.0".parse().unwrap(),
    );
    IdentifiedRequest {
        request: Request::Onboard {
            tenant,
            tier,
            release,
            labels: Default::default(),
        },
        id: RequestId::random(),
        may_be_repeat: false,
        reply_to: None,
    }
}
