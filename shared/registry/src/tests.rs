use parking_lot::Mutex;

use super::*;

/// Parameters in memory that record each call and can fail or hang.
#[derive(Default)]
struct Store {
    values: Mutex<HashMap<String, String>>,
    calls: Mutex<Vec<Vec<String>>>,
    down: AtomicBool,
    hang: AtomicBool,
}

impl Store {
    fn put(&self, name: &str, value: &str) {
        self.values.lock().insert(name.to_owned(), value.to_owned());
    }

    fn register(&self, tenant: &str, tier: &str) {
        self.put(
            &format!("/{tenant}/consumer_sqs"),
            "arn:aws:sqs:us-east-1:000000000000:consumer-pool-1-x7k",
        );
        self.put(&format!("/{tenant}/tier"), tier);
    }

    fn calls(&self) -> usize {
        self.calls.lock().len()
    }
}

impl ParameterSource for Store {
    fn get(
        &self,
        names: Vec<String>,
    ) -> BoxFuture<'_, Result<HashMap<String, String>, SourceError>> {
        Box::pin(async move {
            assert!(names.len() <= MAX_NAMES_PER_CALL);
            self.calls.lock().push(names.clone());
            tokio::time::sleep(Duration::from_millis(5)).await;
            if self.hang.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            if self.down.load(Ordering::Relaxed) {
                return Err(SourceError("down".to_owned()));
            }
            let values = self.values.lock();
            Ok(names
                .into_iter()
                .filter_map(|name| values.get(&name).cloned().map(|value| (name, value)))
                .collect())
        })
    }
}

fn registry(store: &Arc<Store>, limits: RegistryLimits) -> TenantRegistry {
    TenantRegistry::new(
        Arc::clone(store) as _,
        limits,
        &Metrics::new("test", "pool-1"),
        None,
    )
}

fn id(text: &str) -> TenantId {
    text.parse().expect("a valid id")
}

#[tokio::test(start_paused = true)]
async fn a_hundred_concurrent_requests_load_a_tenant_once_and_later_ones_use_the_cache() {
    let store = Arc::new(Store::default());
    store.register("tenant-2", "basic");
    let registry = registry(&store, RegistryLimits::default());
    let tenant = id("tenant-2");
    let found = futures_util::future::join_all((0..100).map(|_| registry.lookup(&tenant))).await;
    assert!(found.iter().all(|found| {
        found
            .as_ref()
            .is_ok_and(|tenant| tenant.tier == Some(Tier::Basic))
    }));
    for _ in 0..1000 {
        registry.lookup(&tenant).await.expect("known");
    }
    assert_eq!(store.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_name_is_cached_briefly_and_found_once_it_is_registered() {
    let store = Arc::new(Store::default());
    let limits = RegistryLimits {
        unknown_for: Duration::from_millis(1),
        ..Default::default()
    };
    let registry = registry(&store, limits);
    assert_eq!(
        registry.lookup(&id("tenant-9")).await,
        Err(LookupError::Unknown)
    );
    assert_eq!(
        registry.lookup(&id("tenant-9")).await,
        Err(LookupError::Unknown)
    );
    assert_eq!(store.calls(), 1, "the second answer came from the cache");
    store.register("tenant-9", "basic");
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while registry.lookup(&id("tenant-9")).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "still unknown");
        std::thread::yield_now();
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_after_a_negative_answer_makes_no_second_call() {
    let store = Arc::new(Store::default());
    let registry = registry(&store, RegistryLimits::default());
    registry.lookup(&id("tenant-9")).await.expect_err("unknown");
    assert_eq!(
        registry.0.load(&id("tenant-9")).await.err(),
        Some(LookupError::Unknown)
    );
    assert_eq!(store.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn cached_tenants_stay_in_use_while_parameter_store_is_down() {
    let store = Arc::new(Store::default());
    store.register("tenant-1", "premium");
    let limits = RegistryLimits {
        refresh_after: Duration::from_secs(1),
        ..Default::default()
    };
    let registry = registry(&store, limits);
    registry.lookup(&id("tenant-1")).await.expect("registered");
    store.down.store(true, Ordering::Relaxed);
    let refresher = tokio::spawn({
        let registry = registry.clone();
        async move { registry.refresh_forever().await }
    });
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(
            registry.lookup(&id("tenant-1")).await.expect("stale").tier,
            Some(Tier::Premium)
        );
    }
    assert!(store.calls() > 10, "it kept trying");
    assert!(
        matches!(
            registry.lookup(&id("tenant-4")).await,
            Err(LookupError::Unavailable(_))
        ),
        "not unknown: the lookup failed"
    );
    refresher.abort();
}

#[tokio::test(start_paused = true)]
async fn tenants_in_use_are_refreshed_several_per_call_and_idle_ones_are_not() {
    let store = Arc::new(Store::default());
    let limits = RegistryLimits {
        refresh_after: Duration::from_secs(10),
        calls_per_second: std::num::NonZeroU32::new(1000).expect("not zero"),
        ..Default::default()
    };
    let registry = registry(&store, limits);
    for number in 0..20 {
        let name = format!("tenant-{number}");
        store.register(&name, "basic");
        registry.lookup(&id(&name)).await.expect("registered");
    }
    for number in 0..10 {
        registry
            .lookup(&id(&format!("tenant-{number}")))
            .await
            .expect("known");
        store.register(&format!("tenant-{number}"), "advanced");
    }
    let loads = store.calls();
    tokio::time::timeout(Duration::from_secs(14), registry.refresh_forever())
        .await
        .expect_err("it goes on");
    assert_eq!(
        store.calls() - loads,
        4,
        "ten tenants in use, three per call"
    );
    assert_eq!(
        registry.lookup(&id("tenant-3")).await.expect("known").tier,
        Some(Tier::Advanced)
    );
}

#[tokio::test(start_paused = true)]
async fn an_unregistered_tenant_leaves_the_cache_at_the_next_refresh() {
    let store = Arc::new(Store::default());
    store.register("tenant-5", "basic");
    let registry = registry(
        &store,
        RegistryLimits {
            refresh_after: Duration::from_secs(1),
            ..Default::default()
        },
    );
    registry.lookup(&id("tenant-5")).await.expect("registered");
    registry.lookup(&id("tenant-5")).await.expect("in use");
    store.values.lock().clear();
    tokio::time::timeout(Duration::from_secs(3), registry.refresh_forever())
        .await
        .expect_err("it goes on");
    assert_eq!(
        registry.lookup(&id("tenant-5")).await,
        Err(LookupError::Unknown)
    );
}

#[tokio::test(start_paused = true)]
async fn uncached_tenants_are_loaded_several_per_call_at_a_bounded_rate() {
    let store = Arc::new(Store::default());
    (0..100).for_each(|number| store.register(&format!("tenant-{number}"), "basic"));
    let registry = registry(&store, RegistryLimits::default());
    let ids: Vec<_> = (0..2000)
        .map(|number| id(&format!("tenant-{number}")))
        .collect();
    let cold =
        futures_util::future::join_all(ids[..100].iter().map(|id| registry.lookup(id))).await;
    assert!(cold.iter().all(Result::is_ok), "a cold start");
    assert!(store.calls() <= 100 / 3 + 5, "{} calls", store.calls());
    let before = store.calls();
    let answers =
        futures_util::future::join_all(ids[100..].iter().map(|id| registry.lookup(id))).await;
    let calls = store.calls() - before;
    assert!(calls <= 20 * 5 + 5, "{calls} calls in {LOAD_TIMEOUT:?}");
    let refused = answers
        .iter()
        .filter(|answer| matches!(answer, Err(LookupError::Unavailable(_))))
        .count();
    let unknown = answers
        .iter()
        .filter(|answer| **answer == Err(LookupError::Unknown))
        .count();
    assert!(
        unknown > 200 && refused + unknown == 1900,
        "{unknown} unknown, {refused} refused"
    );
}

#[tokio::test]
async fn lookup_since_reads_again_what_was_read_earlier() {
    let store = Arc::new(Store::default());
    let registry = registry(&store, RegistryLimits::default());
    let tenant = id("tenant-7");
    assert_eq!(registry.lookup(&tenant).await, Err(LookupError::Unknown));
    store.register("tenant-7", "basic");
    assert_eq!(
        registry.lookup(&tenant).await,
        Err(LookupError::Unknown),
        "cached"
    );
    registry
        .lookup_since(&tenant, Utc::now())
        .await
        .expect("registered since");
    store.register("tenant-7", "advanced");
    let found = registry
        .lookup_since(&tenant, Utc::now())
        .await
        .expect("registered");
    assert_eq!(found.tier, Some(Tier::Advanced), "a registered tenant, too");
    let calls = store.calls();
    let long_ago = Utc::now() - TimeDelta::seconds(60);
    registry
        .lookup_since(&tenant, long_ago)
        .await
        .expect("registered");
    assert_eq!(
        store.calls(),
        calls,
        "a later read is served from the cache"
    );
}

#[tokio::test]
async fn a_failed_lookup_since_leaves_the_cached_tenant_in_use() {
    let store = Arc::new(Store::default());
    store.register("tenant-8", "advanced");
    let registry = registry(&store, RegistryLimits::default());
    let tenant = id("tenant-8");
    registry.lookup(&tenant).await.expect("registered");
    store.down.store(true, Ordering::Relaxed);
    let answer = registry.lookup_since(&tenant, Utc::now()).await;
    assert!(
        matches!(answer, Err(LookupError::Unavailable(_))),
        "the lookup failed: {answer:?}"
    );
    assert_eq!(
        registry.lookup(&tenant).await.expect("stale").tier,
        Some(Tier::Advanced)
    );
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_answered_though_the_request_that_loads_is_cancelled() {
    let store = Arc::new(Store::default());
    store.register("tenant-1", "basic");
    store.register("tenant-2", "basic");
    let registry = registry(&store, RegistryLimits::default());
    // Uses up the permits, so that both requests wait for the next one.
    let unregistered: Vec<_> = (0..105)
        .map(|number| id(&format!("unregistered-{number}")))
        .collect();
    futures_util::future::join_all(unregistered.iter().map(|id| registry.lookup(id))).await;
    let (one, two) = (id("tenant-1"), id("tenant-2"));
    let (mut first, mut second) = (
        Box::pin(registry.lookup(&one)),
        Box::pin(registry.lookup(&two)),
    );
    let before = store.calls();
    while store.calls() == before {
        tokio::select! {
            biased;
            _ = &mut first => unreachable!("a call takes 5 ms"),
            _ = &mut second => unreachable!("a call takes 5 ms"),
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }
    assert_eq!(
        store.calls.lock().last().unwrap().len(),
        6,
        "both in one call"
    );
    drop(first);
    second.await.expect("registered");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_never_answers_gives_an_error_within_the_deadline() {
    let store = Arc::new(Store::default());
    store.hang.store(true, Ordering::Relaxed);
    let started = Instant::now();
    let answer = registry(&store, RegistryLimits::default())
        .lookup(&id("tenant-1"))
        .await;
    assert!(matches!(answer, Err(LookupError::Unavailable(_))));
    assert!(started.elapsed() <= LOAD_TIMEOUT + Duration::from_millis(10));
}

#[tokio::test]
async fn the_error_for_an_invalid_parameter_names_the_parameter() {
    let store = Arc::new(Store::default());
    store.put("/tenant-1/consumer_sqs", "not an arn");
    let error = registry(&store, RegistryLimits::default())
        .lookup(&id("tenant-1"))
        .await
        .expect_err("wrong");
    assert!(
        error.to_string().contains("/tenant-1/consumer_sqs"),
        "{error}"
    );
}

#[tokio::test]
async fn an_environment_needs_both_queue_and_table() {
    let store = Store::default();
    let pool = "pool-1".parse().expect("valid");
    store.put(
        "/pool-1/consumer_sqs",
        "arn:aws:sqs:us-east-1:000000000000:consumer-pool-1-x7k",
    );
    assert_eq!(
        environment_resources(&store, &pool).await,
        Err(LookupError::Unknown)
    );
    store.put(
        "/pool-1/consumer_ddb",
        "arn:aws:dynamodb:us-east-1:000000000000:table/consumer-pool-1-x7k",
    );
    let (queue, table) = environment_resources(&store, &pool)
        .await
        .expect("both there");
    assert_eq!(
        (queue.name(), table.name()),
        ("consumer-pool-1-x7k", "consumer-pool-1-x7k")
    );
}

#[tokio::test]
async fn a_tenant_is_active_unless_its_status_says_otherwise() {
    let store = Arc::new(Store::default());
    for tenant in ["tenant-1", "tenant-2", "tenant-3", "tenant-4"] {
        store.register(tenant, "basic");
    }
    store.put("/tenant-2/status", "active");
    store.put("/tenant-3/status", "suspended");
    store.put("/tenant-4/status", "paused");
    store.put("/tenant-5/status", "suspended");
    let registry = registry(&store, RegistryLimits::default());
    let status = async |tenant| {
        registry
            .lookup(&id(tenant))
            .await
            .map(|tenant| tenant.status)
    };
    assert_eq!(status("tenant-1").await, Ok(Status::Active));
    assert_eq!(status("tenant-2").await, Ok(Status::Active));
    assert_eq!(status("tenant-3").await, Ok(Status::Suspended));
    assert!(matches!(
        status("tenant-4").await,
        Err(LookupError::Misconfigured { .. })
    ));
    assert_eq!(
        status("tenant-5").await,
        Err(LookupError::Unknown),
        "a status alone is no registration"
    );
}
