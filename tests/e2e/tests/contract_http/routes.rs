//! Every route as a client uses it. A test compares the list with the services' documents, and no service starts with a
//! document that differs from its routes.

use std::collections::BTreeSet;

use kit::http::Request;
pub(crate) use kit::service::Service;
use kit::world::World;

/// The services, in the order in which [`start`] starts them.
const SERVICES: [&str; 3] = ["producer", "consumer", "payments"];
/// The id of a charge that does not exist.
const NO_CHARGE: &str = "01a2066a-d34e-77fd-ba12-9db3e3b4528a";

pub(crate) struct Route {
    pub(crate) service: &'static str,
    pub(crate) method: &'static str,
    /// The path as the document spells it.
    pub(crate) path: &'static str,
    /// A body that is accepted.
    pub(crate) body: &'static str,
}

pub(crate) const ROUTES: &[Route] = &[
    route("producer", "GET", "/producer", ""),
    route("producer", "POST", "/producer", r#"{"n":1}"#),
    route("producer", "GET", "/producer/readiness-probe", ""),
    route("producer", "GET", "/producer/openapi.json", ""),
    route("consumer", "GET", "/consumer", ""),
    route("consumer", "GET", "/consumer/messages", ""),
    route("consumer", "GET", "/consumer/readiness-probe", ""),
    route("consumer", "GET", "/consumer/openapi.json", ""),
    route("payments", "GET", "/payments", ""),
    route("payments", "GET", "/payments/charges", ""),
    route(
        "payments",
        "POST",
        "/payments/charges",
        r#"{"amount":1,"currency":"EUR","reference":"r"}"#,
    ),
    route("payments", "GET", "/payments/charges/{id}", ""),
    route(
        "payments",
        "POST",
        "/payments/charges/{id}/refunds",
        r#"{"amount":1}"#,
    ),
    route("payments", "GET", "/payments/readiness-probe", ""),
    route("payments", "GET", "/payments/openapi.json", ""),
];

const fn route(
    service: &'static str,
    method: &'static str,
    path: &'static str,
    body: &'static str,
) -> Route {
    Route {
        service,
        method,
        path,
        body,
    }
}

impl Route {
    /// A request without header or body.
    pub(crate) fn request(&self) -> Request {
        Request::new(self.method, &self.concrete())
    }

    /// The path, with the id of a resource that does not exist.
    pub(crate) fn concrete(&self) -> String {
        self.path.replace("{id}", NO_CHARGE)
    }

    pub(crate) fn of<'s>(&self, services: &'s [Service; 3]) -> &'s Service {
        let at = SERVICES
            .iter()
            .position(|name| *name == self.service)
            .expect("one of the services");
        &services[at]
    }
}

/// The pool's services.
pub(crate) async fn start(world: &World) -> [Service; 3] {
    let [producer, consumer, payments] = SERVICES.map(|name| world.service(name, "pool-1", &[]));
    let (producer, consumer, payments) = tokio::join!(producer, consumer, payments);
    [producer, consumer, payments]
}

#[tokio::test]
async fn each_document_lists_exactly_the_known_routes() {
    let world = World::new().await;
    let services = start(&world).await;
    for (name, service) in SERVICES.iter().zip(&services) {
        let answer = service
            .ask(&Request::get(&format!("/{name}/openapi.json")))
            .await;
        assert_eq!(
            answer.status,
            200,
            "no tenant is needed to read it: {}",
            answer.text()
        );
        let document = answer.json();
        assert_eq!(document["openapi"], "3.1.0");
        assert_eq!(document["info"]["version"], kit::VERSION);
        let paths = document["paths"].as_object().expect("paths");
        let described: BTreeSet<_> = paths
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().expect("methods").keys();
                methods.map(move |method| format!("{} {path}", method.to_uppercase()))
            })
            .collect();
        let own = ROUTES.iter().filter(|route| route.service == *name);
        let known: BTreeSet<_> = own
            .map(|route| format!("{} {}", route.method, route.path))
            .collect();
        assert_eq!(described, known, "{name}");
    }
    for route in ROUTES {
        let answer = route
            .of(&services)
            .ask(&route.request().tenant("tenant-2"))
            .await;
        let code = answer.field("code");
        assert!(
            !["no_route", "method_not_allowed"].contains(&&*code),
            "{} {}: {code}",
            route.method,
            route.path
        );
    }
}

#[tokio::test]
async fn open_routes_answer_alike_whatever_the_tenant_header_says() {
    let world = World::new().await;
    let services = start(&world).await;
    let silo = world.service("consumer", "tenant-1", &[]).await;
    let all = SERVICES.iter().copied().zip(&services);
    for (name, service) in all.chain([("consumer", &silo)]) {
        for route in ["openapi.json", "readiness-probe"] {
            let path = format!("/{name}/{route}");
            let without = service.ask(&Request::get(&path)).await.status;
            for tenant in ["tenant-2", "tenant-9", "*"] {
                let answer = service.ask(&Request::get(&path).tenant(tenant)).await;
                assert_eq!(answer.status, without, "{path} as {tenant}");
            }
        }
    }
}
