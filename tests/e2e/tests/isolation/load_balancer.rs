//! `AUTH_SOURCE=alb`: only the header that the load balancer signed proves a tenant.

use kit::http::Request;
use kit::wait::{PATIENCE, until};
use kit::world::World;
use serde_json::{Value, json};

use crate::issuer::{AUDIENCE, Issuer, Key, now};

const ALB: &str =
    "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/app/tenants/0123456789abcdef";

#[tokio::test]
async fn only_what_the_load_balancer_signed_proves_a_tenant() {
    let (world, key, stranger) = (
        World::new().await,
        Key::new("3f1c-key"),
        Key::new("3f1c-key"),
    );
    let issuer = Issuer::publishing(&[&key]).await;
    let (name, keys) = (issuer.name(), format!("{}/keys", issuer.name()));
    let variables = [
        ("AUTH", "jwt"),
        ("AUTH_SOURCE", "alb"),
        ("AUTH_ALB_ARN", ALB),
        ("AUTH_ISSUER", &*name),
        ("AUTH_AUDIENCE", AUDIENCE),
        ("AUTH_CLAIM", "custom:tenant_id"),
        ("AUTH_JWKS", &*keys),
    ];
    let producer = world.service("producer", "pool-1", &variables).await;
    let header = |changes: &[(&str, Value)]| {
        let mut header = json!({
            "alg": "ES256", "kid": "3f1c-key", "signer": ALB, "iss": name, "client": AUDIENCE, "exp": now() + 120,
        });
        for (name, value) in changes {
            header[*name] = value.clone();
        }
        header
    };
    let claims = |tenant: &str| json!({"sub": "somebody", "custom:tenant_id": tenant});
    let ask = async |token: &str| {
        let answer = producer
            .ask(
                &Request::get("/producer")
                    .tenant("tenant-2")
                    .header("x-amzn-oidc-data", token),
            )
            .await;
        (answer.status, answer.field("code"))
    };
    // Names of every length, so that every padding occurs.
    for n in 0..3 {
        let claims = json!({"custom:tenant_id": "tenant-2", "sub": "s".repeat(n)});
        assert_eq!(
            ask(&key.load_balancers(&header(&[]), &claims)).await.0,
            200,
            "{n}"
        );
    }
    assert_eq!(issuer.reads(), 1, "a key is read once");
    let mismatch = (403, "tenant_mismatch".to_owned());
    assert_eq!(
        ask(&key.load_balancers(&header(&[]), &claims("tenant-4"))).await,
        mismatch
    );
    let invalid = (401, "token_invalid".to_owned());
    for changes in [
        [("signer", json!(ALB.replace("tenants", "attackers")))],
        [("signer", Value::Null)],
        [("exp", json!(now() - 31))],
        [("iss", json!("https://other.test"))],
        [("client", json!("elsewhere"))],
        [("kid", json!("../jwks.json"))],
        [("kid", json!("unknown"))],
        [("alg", json!("none"))],
    ] {
        assert_eq!(
            ask(&key.load_balancers(&header(&changes), &claims("tenant-2"))).await,
            invalid,
            "{changes:?}"
        );
    }
    assert_eq!(
        ask(&stranger.load_balancers(&header(&[]), &claims("tenant-2"))).await,
        invalid
    );
    // A bearer token proves nothing here.
    let bearer = Request::get("/producer")
        .tenant("tenant-2")
        .header("authorization", "Bearer a.b.c");
    assert_eq!(producer.ask(&bearer).await.status, 401);
    let other = Key::new("another-key");
    issuer.publish(&[&key, &other]);
    let of_other = other.load_balancers(
        &header(&[("kid", json!("another-key"))]),
        &claims("tenant-2"),
    );
    until(
        "the load balancer's next key is read",
        PATIENCE,
        async || ask(&of_other).await.0 == 200,
    )
    .await;
    assert_eq!(
        ask(&key.load_balancers(&header(&[]), &claims("tenant-2")))
            .await
            .0,
        200,
        "and the first one kept"
    );
}
