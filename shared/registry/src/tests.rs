use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{BoxFuture, join_all};
use parking_lot::Mutex;
use tenantry_tenancy::generation::Generation;
use tenantry_tenancy::parameters::{REFUSED_PATH, TENANTS_PATH};
use tenantry_tenancy::tenant::Tier;

use super::*;

/// Entries in a page of parameters by path (AWS: 10).
const PAGE: usize = 10;

/// Parameters in memory that record each call and can fail or hang.
#[derive(Default)]
struct Store {
    values: Mutex<HashMap<String, String>>,
    calls: Mutex<Vec<Vec<String>>>,
    down: AtomicBool,
    hang: AtomicBool,
    /// Refuses reads by path, as the role of an older installation does.
    denies_paths: AtomicBool,
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

    /// Registers a tenant and lists it in the index, as the provisioners do.
    fn register_and_list(&self, tenant: &str, tier: &str) {
        self.put(&format!("/{tenant}/status"), "active");
        self.register(tenant, tier);
        self.put(&format!("{TENANTS_PATH}/{tenant}"), tier);
    }

    /// Suspends a tenant and lists it as refused, as the provisioners do.
    fn suspend_and_list(&self, tenant: &str) {
        self.put(&format!("/{tenant}/status"), "suspended");
        self.put(&format!("{REFUSED_PATH}/{tenant}"), "suspended");
    }

    fn remove(&self, prefix: &str) {
        self.values
            .lock()
            .retain(|name, _| !name.starts_with(prefix));
    }

    fn calls(&self) -> usize {
        self.calls.lock().len()
    }

    async fn answer(&self, names: Vec<String>) -> Result<(), SourceError> {
        self.calls.lock().push(names);
        tokio::time::sleep(Duration::from_millis(5)).await;
        if self.hang.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.down.load(Ordering::Relaxed) {
            return Err(SourceError("down".to_owned()));
        }
        Ok(())
    }
}

impl ParameterSource for Store {
    fn get(
        &self,
        names: Vec<String>,
    ) -> BoxFuture<'_, Result<HashMap<String, String>, SourceError>> {
        Box::pin(async move {
            assert!(names.len() <= MAX_NAMES_PER_CALL);
            self.answer(names.clone()).await?;
            let values = self.values.lock();
            Ok(names
                .into_iter()
                .filter_map(|name| values.get(&name).cloned().map(|value| (name, value)))
                .collect())
        })
    }

    fn by_path(
        &self,
        path: &'static str,
        recursive: bool,
        from: Option<String>,
    ) -> BoxFuture<'_, Result<ParameterPage, SourceError>> {
        Box::pin(async move {
            self.answer(vec![path.to_owned()]).await?;
            if self.denies_paths.load(Ordering::Relaxed) {
                return Err(SourceError("AccessDenied".to_owned()));
            }
            let prefix = format!("{}/", path.trim_end_matches('/'));
            let is_below = |name: &str| {
                name.strip_prefix(&prefix)
                    .is_some_and(|rest| recursive || !rest.contains('/'))
            };
            let values = self.values.lock();
            let mut below: Vec<_> = values
                .iter()
                .filter(|(name, _)| is_below(name))
                .filter(|(name, _)| from.as_ref().is_none_or(|from| *name > from))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            below.sort();
            let has_more = below.len() > PAGE;
            below.truncate(PAGE);
            let next = below.last().map(|(name, _)| name.clone());
            Ok(ParameterPage {
                parameters: below,
                next: next.filter(|_| has_more),
            })
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
    let found = join_all((0..100).map(|_| registry.lookup(&tenant))).await;
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
        registry.lookup_proved(&id("tenant-9")).await,
        Err(LookupError::Unknown)
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
        async move { registry.keep_fresh().await }
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
        calls_per_second: 1000,
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
    tokio::time::timeout(Duration::from_secs(14), registry.keep_fresh())
        .await
        .expect_err("it goes on");
    assert_eq!(store.calls() - loads, 5, "ten tenants in use, two per call");
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
    tokio::time::timeout(Duration::from_secs(3), registry.keep_fresh())
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
    let cold = join_all(ids[..100].iter().map(|id| registry.lookup(id))).await;
    assert!(cold.iter().all(Result::is_ok), "a cold start");
    assert!(store.calls() <= 100 / 2 + 5, "{} calls", store.calls());
    let before = store.calls();
    let answers = join_all(ids[100..].iter().map(|id| registry.lookup(id))).await;
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
        unknown > 150 && refused + unknown == 1900,
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
    join_all(unregistered.iter().map(|id| registry.lookup(id))).await;
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
        10,
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
    store.register("tenant-6", "basic");
    store.put("/tenant-6/status", "moving");
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
    assert_eq!(status("tenant-6").await, Ok(Status::Moving));
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

#[tokio::test]
async fn generation_and_the_environment_moved_from_are_read_where_they_exist() {
    let store = Arc::new(Store::default());
    for tenant in ["tenant-1", "tenant-2", "tenant-3"] {
        store.register(tenant, "basic");
    }
    store.put("/tenant-2/generation", "1770000000000");
    store.put("/tenant-2/moved_from", "pool-1");
    store.put("/tenant-3/generation", "second");
    let registry = registry(&store, RegistryLimits::default());
    let first = registry.lookup(&id("tenant-1")).await.expect("registered");
    assert_eq!(
        (first.generation, &first.moved_from),
        (Generation::FIRST, &None)
    );
    let moving = registry.lookup(&id("tenant-2")).await.expect("registered");
    assert_eq!(moving.generation.number().as_deref(), Some("1770000000000"));
    assert_eq!(moving.moved_from, Some("pool-1".parse().expect("valid")));
    assert!(matches!(
        registry.lookup(&id("tenant-3")).await,
        Err(LookupError::Misconfigured { .. })
    ));
}

/// A pool's registry whose background work runs until it is dropped.
struct Pool {
    store: Arc<Store>,
    registry: TenantRegistry,
    work: tokio::task::JoinHandle<()>,
}

impl Pool {
    async fn start(store: &Arc<Store>, table: Option<&'static str>) -> Self {
        let limits = RegistryLimits {
            reads_index: true,
            ..Default::default()
        };
        let metrics = Metrics::new("test", "pool-1");
        let registry = TenantRegistry::new(Arc::clone(store) as _, limits, &metrics, table);
        registry.read_index().await;
        let work = tokio::spawn({
            let registry = registry.clone();
            async move { registry.keep_fresh().await }
        });
        Self {
            store: Arc::clone(store),
            registry,
            work,
        }
    }

    async fn status(&self, tenant: &str) -> Result<Status, LookupError> {
        let found = self.registry.lookup(&id(tenant)).await;
        found.map(|tenant| tenant.status)
    }

    /// Calls per second during this time, in which every tenant of `ids` is looked up once per second.
    async fn calls_per_second(&self, seconds: u32, ids: &[TenantId]) -> f64 {
        let before = self.store.calls();
        for _ in 0..seconds {
            join_all(ids.iter().map(|id| self.registry.lookup(id))).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        (self.store.calls() - before) as f64 / f64::from(seconds)
    }

    /// Virtual seconds until lookups of these tenants have this outcome, while all of `ids` are in use.
    async fn seconds_until_all(
        &self,
        tenants: &[String],
        expected: &Result<Status, LookupError>,
        ids: &[TenantId],
    ) -> f64 {
        let begun = Instant::now();
        loop {
            let seen = join_all(tenants.iter().map(|tenant| self.status(tenant))).await;
            if seen.iter().all(|seen| seen == expected) {
                return begun.elapsed().as_secs_f64();
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "never seen");
            join_all(ids.iter().map(|id| self.registry.lookup(id))).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Virtual seconds until a lookup of the tenant, made twice per second, has this outcome.
    async fn seconds_until(
        &self,
        tenant: &str,
        is_seen: impl Fn(&Result<Status, LookupError>) -> bool,
    ) -> f64 {
        let begun = Instant::now();
        while !is_seen(&self.status(tenant).await) {
            assert!(begun.elapsed() < Duration::from_secs(600), "never seen");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        begun.elapsed().as_secs_f64()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.work.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_registration_older_than_its_refresh_age_is_read_again_before_it_answers() {
    let store = Arc::new(Store::default());
    for tenant in ["tenant-1", "tenant-2"] {
        store.register(tenant, "basic");
    }
    let pool = Pool::start(&store, None).await;
    for tenant in ["tenant-1", "tenant-2"] {
        assert_eq!(pool.status(tenant).await, Ok(Status::Active));
    }
    // Both are idle while they change.
    tokio::time::sleep(Duration::from_secs(400)).await;
    store.put("/tenant-1/status", "suspended");
    store.remove("/tenant-2/");
    assert_eq!(pool.status("tenant-1").await, Ok(Status::Suspended));
    assert_eq!(pool.status("tenant-2").await, Err(LookupError::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_change_by_hand_is_seen_within_fifteen_seconds_while_few_tenants_are_in_use() {
    for is_listed in [false, true] {
        let store = Arc::new(Store::default());
        for tenant in ["tenant-1", "tenant-2", "tenant-3"] {
            if is_listed {
                store.register_and_list(tenant, "basic");
            } else {
                store.register(tenant, "basic");
            }
        }
        let pool = Pool::start(&store, Some("payments_ddb")).await;
        let tenants = ["tenant-1", "tenant-2", "tenant-3"].map(id);
        pool.calls_per_second(20, &tenants).await;
        store.put("/tenant-1/status", "suspended");
        let suspended = pool
            .seconds_until("tenant-1", |seen| *seen == Ok(Status::Suspended))
            .await;
        store.remove("/tenant-2/");
        let removed = pool
            .seconds_until("tenant-2", |seen| *seen == Err(LookupError::Unknown))
            .await;
        assert!(
            suspended <= 15.0 && removed <= 15.0,
            "{suspended} {removed}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn requests_in_steady_state_wait_for_no_call() {
    for (count, settling) in [(20, 1), (100, 30), (1000, 60)] {
        let store = Arc::new(Store::default());
        let ids = listed(&store, count);
        let pool = Pool::start(&store, None).await;
        pool.calls_per_second(settling, &ids).await;
        for _ in 0..600 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let begun = Instant::now();
            join_all(ids.iter().map(|id| pool.registry.lookup(id))).await;
            assert_eq!(begun.elapsed(), Duration::ZERO, "one of {count} waited");
        }
    }
}

/// Registers and lists so many tenants.
fn listed(store: &Store, count: usize) -> Vec<TenantId> {
    let names = (0..count).map(|n| format!("tenant-{n}"));
    names
        .map(|name| {
            store.register_and_list(&name, "basic");
            id(&name)
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_status_alone_is_seen_within_fifteen_seconds_with_many_tenants_in_use() {
    for (count, most_calls) in [(100, 1.8), (500, 4.8)] {
        let store = Arc::new(Store::default());
        let ids = listed(&store, count);
        let pool = Pool::start(&store, Some("payments_ddb")).await;
        pool.calls_per_second(60, &ids).await;
        let rate = pool.calls_per_second(60, &ids).await;
        assert!(rate <= most_calls, "{rate} calls per second");
        let changed = [0, count / 2, count - 1].map(|n| format!("tenant-{n}"));
        for (value, expected) in [
            ("suspended", Ok(Status::Suspended)),
            ("active", Ok(Status::Active)),
            ("suspended", Ok(Status::Suspended)),
        ] {
            for tenant in &changed {
                store.put(&format!("/{tenant}/status"), value);
            }
            let slowest = pool.seconds_until_all(&changed, &expected, &ids).await;
            println!("{count} in use, {rate:.2} calls per second: {value} after {slowest} s");
            assert!(slowest <= 15.0, "{slowest} s");
        }
        for tenant in &changed {
            store.remove(&format!("/{tenant}/"));
        }
        let gone = Err(LookupError::Unknown);
        let slowest = pool.seconds_until_all(&changed, &gone, &ids).await;
        println!("{count} in use: offboarded after {slowest} s");
        assert!(slowest <= 15.0, "{slowest} s");
    }
}

#[tokio::test(start_paused = true)]
async fn the_status_of_an_idle_tenant_among_many_is_read_before_it_answers() {
    let store = Arc::new(Store::default());
    let ids = listed(&store, 100);
    let pool = Pool::start(&store, None).await;
    pool.calls_per_second(60, &ids).await;
    // One tenant is idle while it changes.
    pool.calls_per_second(60, &ids[1..]).await;
    store.put("/tenant-0/status", "suspended");
    pool.calls_per_second(15, &ids[1..]).await;
    let begun = Instant::now();
    assert_eq!(pool.status("tenant-0").await, Ok(Status::Suspended));
    assert!(begun.elapsed() <= Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn many_tenants_in_use_are_served_while_their_statuses_cannot_be_read() {
    let store = Arc::new(Store::default());
    let ids = listed(&store, 100);
    let pool = Pool::start(&store, None).await;
    pool.calls_per_second(60, &ids).await;
    store.hang.store(true, Ordering::Relaxed);
    let mut delayed = 0;
    for _ in 0..120 {
        let begun = Instant::now();
        let found = join_all(ids.iter().map(|id| pool.registry.lookup(id))).await;
        assert!(found.iter().all(Result::is_ok), "{found:?}");
        delayed += usize::from(begun.elapsed() > Duration::ZERO);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(delayed <= 2, "{delayed} rounds were delayed");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_tenants_in_use_cost_few_calls_and_a_refusal_is_seen_within_fifteen_seconds() {
    let store = Arc::new(Store::default());
    let tenants: Vec<_> = (0..1000).map(|n| format!("tenant-{n}")).collect();
    for tenant in &tenants {
        store.register_and_list(tenant, "basic");
    }
    // Tenants that were offboarded long ago.
    for n in 2000..2090 {
        store.register_and_list(&format!("tenant-{n}"), "basic");
        store.suspend_and_list(&format!("tenant-{n}"));
    }
    let pool = Pool::start(&store, Some("payments_ddb")).await;
    let ids: Vec<_> = tenants.iter().map(|tenant| id(tenant)).collect();
    pool.calls_per_second(90, &ids).await;
    let rate = pool.calls_per_second(60, &ids).await;
    println!("1,000 tenants in use, 90 refused: {rate:.2} calls per second");
    // Four for statuses, two for the ten pages of the list every 5 s, a third for the slow refresh.
    assert!(rate <= 6.5, "{rate} calls per second");
    store.suspend_and_list("tenant-7");
    let seen = pool
        .seconds_until("tenant-7", |seen| *seen == Ok(Status::Suspended))
        .await;
    assert!(seen <= 15.0, "{seen} s");
    // The tenant is resumed, and after that moved.
    store.put("/tenant-7/status", "active");
    store.remove(&format!("{REFUSED_PATH}/tenant-7"));
    let seen = pool
        .seconds_until("tenant-7", |seen| *seen == Ok(Status::Active))
        .await;
    assert!(seen <= 15.0, "{seen} s");
    store.put("/tenant-7/status", "moving");
    store.put(&format!("{REFUSED_PATH}/tenant-7"), "moving");
    let seen = pool
        .seconds_until("tenant-7", |seen| *seen == Ok(Status::Moving))
        .await;
    assert!(seen <= 15.0, "{seen} s");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_made_up_ids_per_second_never_delay_a_registered_tenant() {
    // With an index, and without one: then the names of the parameters list the tenants.
    for is_listed in [true, false] {
        let store = Arc::new(Store::default());
        for n in 0..200 {
            if is_listed {
                store.register_and_list(&format!("tenant-{n}"), "basic");
            } else {
                store.register(&format!("tenant-{n}"), "basic");
            }
        }
        flood_of_made_up_ids(&store).await;
    }
}

async fn flood_of_made_up_ids(store: &Arc<Store>) {
    let pool = Pool::start(store, None).await;
    let before = store.calls();
    let mut flood = tokio::task::JoinSet::new();
    let mut slowest = Duration::ZERO;
    const SECONDS: u32 = 25;
    for millisecond in 0..1000 * SECONDS {
        let registry = pool.registry.clone();
        let made_up = id(&format!("made-up-{millisecond}"));
        flood.spawn(async move { registry.lookup(&made_up).await });
        tokio::time::sleep(Duration::from_millis(1)).await;
        if millisecond % 1000 == 500 {
            let begun = Instant::now();
            let cold = format!("tenant-{}", millisecond / 1000);
            assert_eq!(pool.status(&cold).await, Ok(Status::Active), "{cold}");
            slowest = slowest.max(begun.elapsed());
        }
    }
    let calls = u32::try_from(store.calls() - before).expect("few");
    let rate = f64::from(calls) / f64::from(SECONDS);
    println!(
        "1,000 made-up ids per second: cold tenant after {slowest:?}, {rate:.2} calls per second"
    );
    assert!(slowest <= Duration::from_millis(100), "{slowest:?}");
    assert!(rate <= 5.0, "{rate} calls per second");
    let waiting = flood.len();
    while flood.try_join_next().is_some() {}
    assert!(
        flood.len() <= MAX_UNLISTED_WAITING,
        "{} of {waiting} still wait",
        flood.len()
    );
}

#[tokio::test(start_paused = true)]
async fn a_proved_id_that_no_index_lists_comes_before_made_up_ids() {
    let store = Arc::new(Store::default());
    let pool = Pool::start(&store, None).await;
    store.register("tenant-1", "basic");
    let mut flood = tokio::task::JoinSet::new();
    for n in 0..1000 {
        let (registry, made_up) = (pool.registry.clone(), id(&format!("made-up-{n}")));
        flood.spawn(async move { registry.lookup(&made_up).await });
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    pool.registry
        .lookup_proved(&id("tenant-1"))
        .await
        .expect("registered");
    assert!(begun.elapsed() <= Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn an_installation_without_an_index_starts_as_quickly_as_one_with_it() {
    let store = Arc::new(Store::default());
    (0..100).for_each(|n| store.register(&format!("tenant-{n}"), "basic"));
    store.denies_paths.store(true, Ordering::Relaxed);
    let pool = Pool::start(&store, None).await;
    let ids: Vec<_> = (0..100).map(|n| id(&format!("tenant-{n}"))).collect();
    let cold = join_all(ids.iter().map(|id| pool.registry.lookup(id))).await;
    assert!(cold.iter().all(Result::is_ok), "{cold:?}");
}

#[tokio::test(start_paused = true)]
async fn a_tenant_onboarded_during_a_flood_is_served_once_the_index_is_read_again() {
    let store = Arc::new(Store::default());
    store.register_and_list("tenant-1", "basic");
    let pool = Pool::start(&store, None).await;
    let mut flood = tokio::task::JoinSet::new();
    store.register_and_list("tenant-2", "basic");
    let begun = Instant::now();
    let mut n = 0;
    while begun.elapsed() < Duration::from_secs(20) {
        let (registry, made_up) = (pool.registry.clone(), id(&format!("made-up-{n}")));
        flood.spawn(async move { registry.lookup(&made_up).await });
        n += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let begun = Instant::now();
    assert_eq!(pool.status("tenant-2").await, Ok(Status::Active));
    assert!(begun.elapsed() <= Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_delays_requests_of_cached_tenants_only_once() {
    let store = Arc::new(Store::default());
    store.register("tenant-1", "basic");
    let pool = Pool::start(&store, None).await;
    let tenants = [id("tenant-1")];
    pool.calls_per_second(20, &tenants).await;
    store.hang.store(true, Ordering::Relaxed);
    let mut delayed = 0;
    for _ in 0..600 {
        let begun = Instant::now();
        assert_eq!(pool.status("tenant-1").await, Ok(Status::Active), "stale");
        delayed += usize::from(begun.elapsed() > Duration::ZERO);
        assert!(begun.elapsed() <= REFRESH_TIMEOUT);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(delayed <= 1, "{delayed} requests were delayed");
    store.hang.store(false, Ordering::Relaxed);
    store.put("/tenant-1/status", "suspended");
    let seen = pool
        .seconds_until("tenant-1", |seen| *seen == Ok(Status::Suspended))
        .await;
    assert!(seen <= 15.0, "{seen} s");
}

#[tokio::test(start_paused = true)]
async fn an_index_that_may_not_be_read_leaves_tenants_served() {
    let store = Arc::new(Store::default());
    store.register("tenant-1", "basic");
    store.down.store(true, Ordering::Relaxed);
    let pool = Pool::start(&store, None).await;
    store.down.store(false, Ordering::Relaxed);
    assert_eq!(pool.status("tenant-1").await, Ok(Status::Active));
}

#[tokio::test(start_paused = true)]
async fn one_failed_call_is_no_reason_to_use_an_old_registration() {
    let store = Arc::new(Store::default());
    store.register("tenant-1", "basic");
    store.register("tenant-2", "basic");
    let registry = registry(&store, RegistryLimits::default());
    registry.lookup(&id("tenant-1")).await.expect("registered");
    tokio::time::sleep(Duration::from_secs(60)).await;
    store.put("/tenant-1/status", "suspended");
    store.down.store(true, Ordering::Relaxed);
    registry.lookup(&id("tenant-2")).await.expect_err("down");
    store.down.store(false, Ordering::Relaxed);
    registry.lookup(&id("tenant-2")).await.expect("registered");
    let found = registry.lookup(&id("tenant-1")).await.expect("registered");
    assert_eq!(found.status, Status::Suspended);
}

#[tokio::test(start_paused = true)]
async fn many_old_registrations_at_once_are_read_again_or_refused_and_never_used_old() {
    let store = Arc::new(Store::default());
    let ids: Vec<_> = (0..400).map(|n| id(&format!("tenant-{n}"))).collect();
    let registry = registry(&store, RegistryLimits::default());
    for id in &ids {
        store.register(id.as_str(), "basic");
        registry.lookup(id).await.expect("registered");
    }
    tokio::time::sleep(Duration::from_secs(100)).await;
    for id in &ids {
        store.put(&format!("/{id}/status"), "suspended");
    }
    let found = join_all(ids.iter().map(|id| registry.lookup(id))).await;
    let is_suspended = |found: &&Result<Arc<Tenant>, LookupError>| {
        found
            .as_ref()
            .is_ok_and(|tenant| tenant.status == Status::Suspended)
    };
    let suspended = found.iter().filter(is_suspended).count();
    let busy = found
        .iter()
        .filter(|found| **found == Err(LookupError::Busy))
        .count();
    assert_eq!(suspended + busy, ids.len(), "none is active");
    assert!(suspended >= 160, "two per call, twenty calls per second");
}

#[tokio::test(start_paused = true)]
async fn many_idle_tenants_of_the_index_that_return_at_once_are_all_served() {
    let store = Arc::new(Store::default());
    let ids: Vec<_> = (0..400).map(|n| id(&format!("tenant-{n}"))).collect();
    for id in &ids {
        store.register_and_list(id.as_str(), "basic");
    }
    let pool = Pool::start(&store, None).await;
    for ids in ids.chunks(40) {
        join_all(ids.iter().map(|id| pool.registry.lookup(id))).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(300)).await;
    let found = join_all(ids.iter().map(|id| pool.registry.lookup(id))).await;
    let refused: Vec<_> = found.iter().filter(|found| found.is_err()).collect();
    assert!(refused.is_empty(), "{} refused", refused.len());
}

#[tokio::test(start_paused = true)]
async fn a_list_that_may_not_be_read_is_no_reason_to_use_an_old_registration() {
    let store = Arc::new(Store::default());
    let ids: Vec<_> = (0..60).map(|n| id(&format!("tenant-{n}"))).collect();
    for id in &ids {
        store.register_and_list(id.as_str(), "basic");
    }
    let pool = Pool::start(&store, None).await;
    store.denies_paths.store(true, Ordering::Relaxed);
    for ids in ids.chunks(20) {
        join_all(ids.iter().map(|id| pool.registry.lookup(id))).await;
    }
    // One tenant is idle.
    pool.calls_per_second(30, &ids[1..]).await;
    store.put("/tenant-0/status", "suspended");
    assert_eq!(pool.status("tenant-0").await, Ok(Status::Suspended));
}

#[tokio::test(start_paused = true)]
async fn a_move_that_the_list_names_is_seen_within_fifteen_seconds_among_many_tenants() {
    let store = Arc::new(Store::default());
    let ids: Vec<_> = (0..200).map(|n| id(&format!("tenant-{n}"))).collect();
    for id in &ids {
        store.register_and_list(id.as_str(), "basic");
    }
    let pool = Pool::start(&store, None).await;
    pool.calls_per_second(60, &ids).await;
    store.put("/tenant-7/tier", "advanced");
    store.put(&format!("{REFUSED_PATH}/tenant-7"), "moved");
    let begun = Instant::now();
    let tier = async || {
        let found = pool.registry.lookup(&id("tenant-7")).await;
        found.expect("registered").tier
    };
    while tier().await != Some(Tier::Advanced) {
        assert!(begun.elapsed() <= Duration::from_secs(15), "not seen");
        join_all(ids.iter().map(|id| pool.registry.lookup(id))).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_that_is_none_refuses_the_tenant_and_another_broken_parameter_does_not() {
    let store = Arc::new(Store::default());
    let registry = registry(&store, RegistryLimits::default());
    for tenant in ["tenant-1", "tenant-2"] {
        store.register(tenant, "basic");
        registry.lookup(&id(tenant)).await.expect("registered");
    }
    store.put("/tenant-1/status", "suspend");
    store.put("/tenant-1/tier", "none");
    store.put("/tenant-2/consumer_sqs", "not an arn");
    tokio::time::sleep(Duration::from_secs(11)).await;
    for _ in 0..2 {
        assert!(matches!(
            registry.lookup(&id("tenant-1")).await,
            Err(LookupError::Misconfigured { .. })
        ));
        registry.lookup(&id("tenant-2")).await.expect("in use");
    }
    store.put("/tenant-2/status", "suspended");
    tokio::time::sleep(Duration::from_secs(11)).await;
    let found = registry.lookup(&id("tenant-2")).await.expect("cached");
    assert_eq!(found.status, Status::Suspended);
}
