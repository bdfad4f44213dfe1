//! Unregistered ids: they cost few calls, and never delay a registered tenant.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kit::http::{Connection, Request};
use kit::world::World;

/// Default rate and length; `RATE=1000 SECONDS=25` measures what the documentation says.
const RATE: u64 = 100;
const SECONDS: u64 = 8;
/// Connections of the flood.
const CONNECTIONS: u64 = 256;

fn setting(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(default, |text| text.parse().expect("a number"))
}

#[tokio::test]
async fn a_flood_of_made_up_ids_never_delays_a_registered_tenant_and_costs_few_calls() {
    flood(true).await;
}

#[tokio::test]
async fn a_flood_of_made_up_ids_never_delays_a_tenant_without_an_entry_in_the_index() {
    flood(false).await;
}

#[expect(clippy::print_stdout, reason = "the figures are for the reader")]
async fn flood(is_listed: bool) {
    let (rate, seconds) = (setting("RATE", RATE), setting("SECONDS", SECONDS));
    let world = World::new().await;
    let tenants: Vec<_> = (0..seconds).map(|n| format!("acme-{n}")).collect();
    for tenant in &tenants {
        world.aws.register(tenant, "basic", &world.pool).await;
        if is_listed {
            world
                .aws
                .put(&format!("/tenantry/tenants/{tenant}"), "basic")
                .await;
        }
    }
    let producer = world.producer().await;
    world.endpoint.forget_calls().await;

    let (is_over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let begun = Instant::now();
    let flood = join_all((0..CONNECTIONS).map(|_| async {
        let mut connection = None;
        while !is_over.load(Ordering::Relaxed) {
            let number = sent.fetch_add(1, Ordering::Relaxed);
            let due = Duration::from_secs_f64(number as f64 / rate as f64);
            tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
            let request = Request::event().tenant(format!("made-up-{number}"));
            if connection.is_none() {
                connection = Connection::open(producer.address).await.ok();
            }
            let Some(open) = &mut connection else {
                continue;
            };
            match open.exchange(&request.bytes()).await {
                Ok(answer) => assert!(matches!(answer.status, 404 | 503), "{}", answer.text()),
                Err(_) => connection = None,
            }
        }
    }));
    let cold = async {
        let mut slowest = Duration::ZERO;
        for tenant in &tenants {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let asked = Instant::now();
            let answer = producer.ask(&Request::event().tenant(tenant)).await;
            assert_eq!(answer.status, 200, "{tenant}: {}", answer.text());
            slowest = slowest.max(asked.elapsed());
        }
        is_over.store(true, Ordering::Relaxed);
        slowest
    };
    let (_, slowest) = tokio::join!(flood, cold);
    let calls = world.endpoint.calls().await.with_prefix("SSM.");
    let taken = begun.elapsed().as_secs_f64();
    let sent = sent.load(Ordering::Relaxed) as f64 / taken;
    println!(
        "{sent:.0} made-up ids per second: slowest cold tenant {slowest:.1?}, {:.1} calls to Parameter Store per second",
        calls as f64 / taken
    );
    // One call per cold tenant is not the flood's.
    let of_flood = calls.saturating_sub(tenants.len() as u64) as f64;
    assert!(of_flood <= 5.0 * taken, "{of_flood} calls in {taken:.1} s");
}
