use proptest::prelude::*;

use super::*;
use crate::generation::Generation;
use crate::tenant::TenantId;

fn owner(id: &str) -> Owner {
    id.parse::<TenantId>().expect("a valid id").into()
}

fn pool() -> Environment {
    "pool-1".parse().expect("valid")
}

fn event(payload: Option<&str>) -> Event {
    Event {
        owner: owner("tenant-3"),
        message_id: Uuid::from_u128(0x01a2_066a_d34e_77fd_ba12_9db3_e3b4_528a),
        payload: payload.map(|text| Payload::parse(text.as_bytes()).expect("JSON")),
    }
}

#[test]
fn golden_message_format() {
    let message = event(None).into_message(&pool());
    assert_eq!(message.body, r#"{"event":"Event raised!"}"#);
    assert_eq!(message.group, "tenant-3");
    assert_eq!(
        message.attributes,
        [
            ("tenant_id", "tenant-3".to_owned()),
            ("producer_environment", "pool-1".to_owned()),
            (
                "message_id",
                "01a2066a-d34e-77fd-ba12-9db3e3b4528a".to_owned()
            ),
        ]
    );
}

#[test]
fn golden_message_format_of_a_later_owner() {
    let mut event = event(None);
    event.owner.generation = Generation::at_millis(1_770_000_000_000);
    let message = event.into_message(&pool());
    assert_eq!(message.group, "tenant-3");
    assert_eq!(
        message.attributes[3..],
        [("generation", "1770000000000".to_owned())]
    );
}

#[test]
fn golden_derived_ids() {
    let first = owner("tenant-1");
    assert_eq!(
        id_of_key(&first, "order-7"),
        Uuid::new_v5(&KEY_NAMESPACE, b"tenant-1/order-7"),
        "as before there were generations"
    );
}

#[test]
fn characters_that_sqs_refuses_are_escaped_without_a_change_of_meaning() {
    let text = "{\"a\":\"\u{fffe}\u{ffff}\"}";
    let payload = Payload::parse(text.as_bytes()).expect("JSON");
    assert_eq!(payload.as_str(), r#"{"a":"\ufffe\uffff"}"#);
    let (sent, stored): (serde_json::Value, serde_json::Value) = (
        serde_json::from_str(text).expect("JSON"),
        serde_json::from_str(payload.as_str()).expect("JSON"),
    );
    assert_eq!(sent, stored);
}

#[test]
fn an_idempotency_key_gives_one_id_per_tenant() {
    let (one, two) = (owner("tenant-1"), owner("tenant-2"));
    let id = id_of_key(&one, "order-7");
    assert_eq!(id, id_of_key(&one, "order-7"));
    assert_ne!(id, id_of_key(&two, "order-7"));
    assert_ne!(id, id_of_key(&one, "order-8"));
    let later = Owner {
        generation: Generation::at_millis(7),
        ..one
    };
    assert_ne!(id, id_of_key(&later, "order-7"), "of another owner");
    assert!(is_id_of_key(&id.to_string()));
    assert!(!is_id_of_key(&Uuid::new_v4().to_string()));
}

#[test]
fn only_a_uuid_v7_gives_its_time() {
    assert_eq!(
        time_of_id("01a2066a-d34e-77fd-ba12-9db3e3b4528a"),
        Some(0x01a2_066a_d34e)
    );
    for id in [
        Uuid::new_v4().to_string(),
        id_of_key(&owner("tenant-1"), "k").to_string(),
        "x".to_owned(),
    ] {
        assert_eq!(time_of_id(&id), None, "{id}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_stay_valid_json(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(payload) = Payload::parse(&bytes) {
            prop_assert!(serde_json::from_str::<&RawValue>(payload.as_str()).is_ok());
        }
    }
}
