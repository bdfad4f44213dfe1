//! Hostile requests: every byte that a header can have.

use kit::http::Request;
use kit::service::Service;
use kit::world::World;

/// Values that are no tenant id.
fn no_tenant_ids() -> Vec<Vec<u8>> {
    let mut values: Vec<Vec<u8>> = [
        "",
        "Tenant-2",
        "TENANT-2",
        "tenant_2",
        "tenant.2",
        "tenant-2,tenant-2",
        "tenant-2, tenant-4",
        "tenant 2",
        "tenant\t2",
        "-tenant",
        "tenant-",
        "*",
        "tenant-*",
        "?",
        "..",
        "../tenant-2",
        "tenant-2/../../pool-1",
        "/tenant-2",
        "%74enant-2",
        "\"tenant-2\"",
        "${jndi:ldap://x}",
        "' OR 1=1 --",
        "null",
        "pool-1",
        "pool-",
        "kube-system",
        "kube-public",
        "default",
        "flux-system",
        "argo-workflows",
        "argo-",
        "ten\u{e4}nt",
        "\u{2028}",
        "t\u{200b}enant",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    // `null` is a label like any other, so it is not registered rather than invalid.
    values.retain(|value| value != b"null");
    values.extend((0x80..=0xff).map(|byte| vec![byte]));
    values.extend((0x80..=0xff).map(|byte| [b"tenant-2", &[byte][..]].concat()));
    values
        .extend([33, 63, 64, 255, 256, 1024, 8 * 1024, 20 * 1024].map(|length| vec![b'a'; length]));
    values.push(vec![0xff; 4096]);
    values
}

async fn assert_each_is_refused(service: &Service, route: &Request) {
    for value in no_tenant_ids() {
        let answer = service.ask(&route.clone().tenant(&value)).await;
        let shown = String::from_utf8_lossy(&value[..value.len().min(40)]).into_owned();
        assert_eq!(answer.status, 400, "{shown:?}: {}", answer.text());
        assert_eq!(answer.field("code"), "invalid_tenant_id", "{shown:?}");
        assert_eq!(
            Some(&*answer.field("request_id")),
            answer.header("x-request-id")
        );
        let body = answer.text();
        assert!(
            value.len() < 8 || !body.contains(&shown),
            "the answer repeats the request: {body}"
        );
    }
}

#[tokio::test]
async fn a_value_that_is_no_tenant_id_is_a_400_in_the_pool() {
    let world = World::new().await;
    let producer = world.producer().await;
    assert_each_is_refused(&producer, &Request::get("/producer")).await;
    assert_each_is_refused(&producer, &Request::event()).await;
    let consumer = world.consumer().await;
    assert_each_is_refused(&consumer, &Request::get("/consumer")).await;
    assert_each_is_refused(&consumer, &Request::get("/consumer/messages")).await;
    assert!(
        producer.log().len() > 100,
        "every line is JSON, whatever the bytes"
    );
}

#[tokio::test]
async fn a_value_that_is_no_tenant_id_is_a_400_in_a_silo() {
    let world = World::new().await;
    let producer = world.service("producer", "tenant-1", &[]).await;
    assert_each_is_refused(&producer, &Request::event()).await;
    let payments = world.service("payments", "tenant-1", &[]).await;
    assert_each_is_refused(&payments, &Request::get("/payments")).await;
}

#[tokio::test]
async fn a_tenant_named_twice_is_a_400_even_where_both_agree() {
    let world = World::new().await;
    for (name, environment) in [
        ("producer", "pool-1"),
        ("producer", "tenant-1"),
        ("consumer", "pool-1"),
    ] {
        let service = world.service(name, environment, &[]).await;
        for second in ["tenant-1", "tenant-2", ""] {
            let request = Request::get(&format!("/{name}"))
                .tenant("tenant-1")
                .header("TENANTID", second);
            let answer = service.ask(&request).await;
            assert_eq!(
                (answer.status, &*answer.field("code")),
                (400, "tenant_repeated"),
                "{name} of {environment}"
            );
        }
    }
}

#[tokio::test]
async fn a_label_of_32_characters_is_a_tenant_id_and_space_around_it_is_not_part_of_it() {
    let world = World::new().await;
    let longest = "t".repeat(32);
    world.aws.register(&longest, "basic", &world.pool).await;
    let producer = world.producer().await;
    for value in [longest.clone(), format!("  {longest}\t ")] {
        let answer = producer
            .ask(&Request::get("/producer").tenant(&value))
            .await;
        assert_eq!(
            (answer.status, &*answer.field("tenant_id")),
            (200, &*longest),
            "{}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn bytes_that_http_forbids_never_cause_a_5xx_and_never_stop_the_service() {
    let world = World::new().await;
    let producer = world.producer().await;
    let forbidden = [
        b"\x00".to_vec(),
        b"a\x00b".to_vec(),
        b"\x01".to_vec(),
        b"\x1b[31m".to_vec(),
        b"\x7f".to_vec(),
    ];
    let oversized = [vec![b'a'; 64 * 1024], vec![b'a'; 1024 * 1024]];
    for value in forbidden.into_iter().chain(oversized) {
        for name in [
            "tenantID",
            "tier",
            "Idempotency-Key",
            "x-request-id",
            "traceparent",
        ] {
            let request = Request::event().header(name, &value);
            // The server may also close the connection.
            if let Ok(answer) = request.send(producer.address).await {
                assert!(
                    (400..500).contains(&answer.status),
                    "{name} {value:?}: {}",
                    answer.status
                );
            }
        }
    }
    for path in [
        "/".repeat(100 * 1024),
        "/producer?".to_owned() + &"x".repeat(100 * 1024),
        "\u{e4}".to_owned(),
    ] {
        if let Ok(answer) = Request::get(&path)
            .tenant("tenant-2")
            .send(producer.address)
            .await
        {
            assert!(
                (400..500).contains(&answer.status),
                "a path of {} bytes: {}",
                path.len(),
                answer.status
            );
        }
    }
    let many = (0..200).fold(Request::event(), |request, at| {
        request.header(&format!("x-{at}"), "1")
    });
    if let Ok(answer) = many.send(producer.address).await {
        assert!(
            (400..500).contains(&answer.status),
            "200 headers: {}",
            answer.status
        );
    }
    producer.post("tenant-2", "").await;
}

#[tokio::test]
async fn hostile_bodies_are_stored_or_refused_and_never_a_5xx() {
    let world = World::new().await;
    let producer = world.producer().await;
    let consumer = world.consumer().await;
    let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let bodies = [
        "null".to_owned(),
        "\"\"".to_owned(),
        "0".to_owned(),
        "1e999999".to_owned(),
        " {} ".to_owned(),
        "\u{feff}{}".to_owned(),
        "{\"a\":1,\"a\":2}".to_owned(),
        "\"\\u0000\"".to_owned(),
        "\"\\ud800\"".to_owned(),
        "\"\u{fffe}\u{ffff}\u{10ffff}\"".to_owned(),
        "{\"event\":\"Event raised!\"}".to_owned(),
        deep(100),
        deep(100_000),
    ];
    let mut accepted = 0;
    for body in bodies {
        let start: String = body.chars().take(30).collect();
        let answer = producer
            .ask(&Request::event().tenant("tenant-2").body(body))
            .await;
        assert!(
            [200, 400].contains(&answer.status),
            "{start:?}: {} {}",
            answer.status,
            answer.text()
        );
        accepted += usize::from(answer.status == 200);
    }
    assert!(accepted >= 8, "JSON is accepted: {accepted}");
    world.stored(accepted, &world.pool).await;
    let listed = consumer
        .ask(&Request::get("/consumer/messages?limit=100").tenant("tenant-2"))
        .await;
    assert_eq!(listed.status, 200, "{}", listed.text());
}

#[tokio::test]
async fn hostile_queries_are_400_and_never_a_5xx() {
    let world = World::new().await;
    let consumer = world.consumer().await;
    for query in [
        "limit=0",
        "limit=-1",
        "limit=101",
        "limit=",
        "limit=ten",
        "limit=1e1",
        "limit=99999999999999999999",
        "limit=1&limit=2",
        "cursor=",
        "cursor=%00",
        "cursor=%ff%fe",
        "cursor=../../",
        "cursor=dGVuYW50LTQvYWJj",
        "cursor=dGVuYW50LTIv",
        "surprise=1",
    ] {
        let request = Request::get(&format!("/consumer/messages?{query}")).tenant("tenant-2");
        let answer = consumer.ask(&request).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
        assert!(
            !answer.field("code").is_empty() && !answer.field("msg").is_empty(),
            "{query}: {}",
            answer.text()
        );
    }
}
