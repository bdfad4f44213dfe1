//! Every route of the services, read from their OpenAPI documents, so that a new route is tested too.

use kit::aws::Depth;
use kit::http::Request;
use kit::service::Service;
use kit::world::World;
use serde_json::json;

/// The id of a charge that may exist.
const SOME_ID: &str = "01a2066a-d34e-77fd-ba12-9db3e3b4528a";
const SERVICES: [&str; 3] = ["producer", "consumer", "payments"];

/// A route of a service.
#[derive(Debug)]
pub(crate) struct Route {
    method: String,
    path: String,
}

impl Route {
    /// A complete request of a tenant, without proof of the tenant.
    pub(crate) fn request(&self, tenant: &str) -> Request {
        let request =
            Request::new(&self.method, &self.path.replace("{id}", SOME_ID)).tenant(tenant);
        match self.path.as_str() {
            _ if self.method == "GET" => request,
            "/producer" => request.body(r#"{"of":"another tenant"}"#),
            "/payments/charges" => {
                let charge = json!({"amount": 100, "currency": "EUR", "reference": "order-1"});
                request.key("key-1").body(charge.to_string())
            }
            "/payments/charges/{id}/refunds" => request.key("key-2").body(r#"{"amount":1}"#),
            path => panic!("{path}: add a body that the route accepts"),
        }
    }

    /// Whether its answer is the same for every caller.
    pub(crate) fn is_open(&self) -> bool {
        self.path.ends_with("/readiness-probe") || self.path.ends_with("/openapi.json")
    }
}

/// The routes of a service's own document.
pub(crate) async fn every_route(service: &Service, name: &str) -> Vec<Route> {
    let document = service
        .ask(&Request::get(&format!("/{name}/openapi.json")))
        .await
        .json();
    let paths = document["paths"]
        .as_object()
        .expect("a document has paths")
        .clone();
    let routes: Vec<_> = paths
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods
                .as_object()
                .expect("methods")
                .keys()
                .filter(|name| *name != "parameters");
            methods.map(|method| Route {
                method: method.to_uppercase(),
                path: path.clone(),
            })
        })
        .collect();
    let has = |method: &str, path: &str| {
        routes
            .iter()
            .any(|route| route.method == method && route.path == path)
    };
    assert!(
        has("GET", &format!("/{name}")) && has("GET", &format!("/{name}/readiness-probe")),
        "{routes:?}"
    );
    routes
}

#[tokio::test]
async fn a_silo_answers_only_its_owner_on_every_route() {
    let world = World::new().await;
    for name in SERVICES {
        let service = world.service(name, "tenant-1", &[]).await;
        for route in every_route(&service, name).await {
            if route.is_open() {
                continue;
            }
            for stranger in ["tenant-2", "tenant-9"] {
                let answer = service.ask(&route.request(stranger)).await;
                let got = (answer.status, answer.field("code"));
                assert_eq!(
                    got,
                    (403, "foreign_tenant".to_owned()),
                    "{route:?} as {stranger}: {}",
                    answer.text()
                );
            }
            let owner = service.ask(&route.request("tenant-1")).await;
            assert!(
                owner.status < 500 && owner.status != 403,
                "{route:?}: {}",
                owner.text()
            );
        }
    }
    for elsewhere in [&world.pool, &world.hybrid] {
        assert_eq!(
            world.aws.depth(&elsewhere.queue).await,
            Depth::EMPTY,
            "{}",
            elsewhere.queue
        );
    }
}

#[tokio::test]
async fn a_pool_refuses_unknown_and_suspended_tenants_on_every_route() {
    let world = World::new().await;
    world.aws.put("/tenant-4/status", "suspended").await;
    for name in SERVICES {
        let service = world.service(name, "pool-1", &[]).await;
        for route in every_route(&service, name).await {
            for (tenant, expected) in [
                ("tenant-9", (404, "tenant_unknown")),
                ("tenant-4", (403, "tenant_suspended")),
            ] {
                let answer = service.ask(&route.request(tenant)).await;
                if route.is_open() {
                    assert_eq!(answer.status, 200, "{route:?} is the same for every caller");
                } else {
                    assert_eq!(
                        (answer.status, &*answer.field("code")),
                        expected,
                        "{route:?}: {}",
                        answer.text()
                    );
                }
            }
        }
    }
    assert_eq!(
        world.aws.depth(&world.pool.queue).await.visible,
        0,
        "nothing of theirs was accepted"
    );
}

#[tokio::test]
async fn no_tier_moves_a_tenants_data() {
    let world = World::new().await;
    let producer = world.producer().await;
    let resources = [&world.pool, &world.silo, &world.hybrid];
    let mut accepted = [0, 0, 0];
    for (tenant, own, tier) in [
        ("tenant-1", 1, "premium"),
        ("tenant-2", 0, "basic"),
        ("tenant-3", 2, "advanced"),
    ] {
        for said in [
            "",
            "basic",
            "advanced",
            "premium",
            "Basic",
            "gold",
            "basic,premium",
        ] {
            let answer = producer
                .ask(&Request::event().tenant(tenant).header("tier", said))
                .await;
            assert_eq!(
                answer.status == 200,
                said == tier,
                "{tenant} as {said:?}: {}",
                answer.text()
            );
            accepted[own] += u64::from(answer.status == 200);
        }
        let two = Request::event()
            .tenant(tenant)
            .header("tier", tier)
            .header("tier", "basic");
        let answer = producer.ask(&two).await;
        accepted[own] += u64::from(answer.status == 200);
        for (at, of) in resources.iter().enumerate() {
            assert_eq!(
                world.aws.depth(&of.queue).await.visible,
                accepted[at],
                "{tenant}: {}",
                of.queue
            );
        }
    }
    assert!(accepted.iter().all(|count| *count > 0), "{accepted:?}");
}
