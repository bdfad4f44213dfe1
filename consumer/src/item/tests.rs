use chrono::TimeZone;
use proptest::prelude::*;

use tenantry_tenancy::event::{Event, EventMessage, MAX_PAYLOAD_BYTES, Payload, identity};
use tenantry_tenancy::tenant::TenantId;
use uuid::Uuid;

use super::*;

fn owner(id: &str) -> Owner {
    id.parse::<TenantId>().expect("a valid id").into()
}

fn pool() -> Environment {
    "pool-1".parse().expect("valid")
}

/// A sent message as the queue delivers it.
fn delivered(message: EventMessage) -> Received {
    Received {
        message_id: "0c5fd1f4-0000-4000-8000-5d1d7b3b9a11".to_owned(),
        receipt_handle: "handle".to_owned(),
        body: message.body,
        attributes: message
            .attributes
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        untouched: Vec::new(),
        group: Some(message.group),
        sent_at: Utc.with_ymd_and_hms(2024, 7, 12, 16, 31, 39).unwrap(),
        receive_count: 1,
    }
}

fn event(payload: Option<&str>) -> Event {
    Event {
        owner: owner("tenant-3"),
        message_id: Uuid::from_u128(0x01a2_066a_d34e_77fd_ba12_9db3_e3b4_528a),
        payload: payload.map(|text| Payload::parse(text.as_bytes()).expect("JSON")),
    }
}

#[test]
fn golden_the_item_in_the_table() {
    let received = delivered(event(Some(r#"{"order": 7}"#)).into_message(&pool()));
    let silo = "tenant-3".parse().expect("valid");
    let item = Item::of(&received, owner("tenant-3"), &silo)
        .expect("storable")
        .into_attributes();
    let expected = [
        ("tenant_id", "tenant-3"),
        ("message_id", "01a2066a-d34e-77fd-ba12-9db3e3b4528a"),
        ("producer_environment", "pool-1"),
        ("consumer_environment", "tenant-3"),
        ("timestamp", "2024-07-12T16:31:39+0000"),
        ("payload", r#"{"order": 7}"#),
    ];
    assert_eq!(item.len(), expected.len());
    for (name, value) in expected {
        assert_eq!(item[name], AttributeValue::S(value.to_owned()), "{name}");
    }
}

#[test]
fn golden_the_item_of_a_later_owner() {
    let mut event = event(None);
    event.owner.generation = Generation::at_millis(1_770_000_000_000);
    let received = delivered(event.into_message(&pool()));
    let item = Item::of(&received, owner_of(&received).expect("valid"), &pool());
    let item = item.expect("storable").into_attributes();
    assert_eq!(item["tenant_id"], AttributeValue::S("tenant-3".to_owned()));
    let number = AttributeValue::S("1770000000000".to_owned());
    assert_eq!(item["generation"], number);
    assert_eq!(item.len(), 6);
}

#[test]
fn a_message_of_an_older_producer_is_stored_under_its_sqs_id() {
    let mut received = delivered(event(None).into_message(&pool()));
    received.attributes.remove(ID_ATTRIBUTE);
    let item = Item::of(&received, owner("tenant-3"), &pool()).expect("storable");
    assert_eq!(item.message_id, received.message_id);
    assert_eq!(item.payload, None, "the client sent none");
    let listed_at = format!("1720801899000#{}", received.message_id);
    assert_eq!(
        item.into_attributes()[LISTED_AT],
        AttributeValue::S(listed_at),
        "the id contains no time"
    );
}

#[test]
fn only_a_message_without_id_and_generation_is_of_a_producer_that_knows_no_generation() {
    let mut received = delivered(event(None).into_message(&pool()));
    assert!(!knows_no_generation(&received));
    received.attributes.remove(ID_ATTRIBUTE);
    assert!(knows_no_generation(&received));
    let forwarded = identity("6d1f9c0a-5a0e-4b7e-9f53-0f6b1a0c2d3e", 1_720_801_899_000);
    let forwarded = forwarded.map(|(name, value)| (name.to_owned(), value));
    received.attributes.extend(forwarded);
    assert!(
        knows_no_generation(&received),
        "forwarded under the id of SQS"
    );
    let number = "1770000000000".to_owned();
    received
        .attributes
        .insert(GENERATION_ATTRIBUTE.to_owned(), number);
    assert!(!knows_no_generation(&received));
}

#[test]
fn a_payload_that_spells_out_the_default_body_is_still_a_payload() {
    let received = delivered(event(Some(DEFAULT_BODY)).into_message(&pool()));
    let item = Item::of(&received, owner("tenant-3"), &pool()).expect("storable");
    assert_eq!(item.payload.as_deref(), Some(DEFAULT_BODY));
}

#[test]
fn a_message_that_can_never_be_stored_has_a_reason() {
    let good = delivered(event(None).into_message(&pool()));
    let with = |name: &str, value: Option<&str>| {
        let mut message = good.clone();
        message.attributes.remove(name);
        message
            .attributes
            .extend(value.map(|value| (name.to_owned(), value.to_owned())));
        message
    };
    assert_eq!(
        owner_of(&with(TENANT_ATTRIBUTE, None)),
        Err(Poison::NoTenant)
    );
    assert_eq!(
        owner_of(&with(TENANT_ATTRIBUTE, Some("../x"))),
        Err(Poison::InvalidTenant)
    );
    assert_eq!(
        owner_of(&with(GENERATION_ATTRIBUTE, Some("second"))),
        Err(Poison::InvalidGeneration)
    );
    let item = |message: &Received| Item::of(message, owner("tenant-3"), &pool());
    assert_eq!(item(&with(ID_ATTRIBUTE, Some(""))), Err(Poison::InvalidId));
    assert_eq!(
        item(&with(ID_ATTRIBUTE, Some(&"x".repeat(129)))),
        Err(Poison::InvalidId)
    );
    let mut large = good.clone();
    large.body = "x".repeat(400 * 1024);
    assert!(matches!(item(&large), Err(Poison::TooLarge(_))));
}

#[test]
fn the_largest_payload_a_producer_accepts_fits_an_item() {
    let mut received = delivered(event(None).into_message(&pool()));
    received.body = format!("\"{}\"", "x".repeat(MAX_PAYLOAD_BYTES - 2));
    let longest = "t".repeat(32);
    received
        .attributes
        .insert(PRODUCER_ATTRIBUTE.to_owned(), longest.clone());
    assert!(
        Item::of(
            &received,
            owner(&longest),
            &longest.parse().expect("a silo")
        )
        .is_ok()
    );
}

proptest! {
    #[test]
    fn a_payload_is_stored_unchanged(text in "[^\u{fffe}\u{ffff}]{0,40}") {
        let json = serde_json::to_string(&text).expect("a string");
        let received = delivered(event(Some(&json)).into_message(&pool()));
        let item = Item::of(&received, owner("tenant-3"), &pool()).expect("storable");
        prop_assert_eq!(item.payload, Some(json));
    }
}
