//! Payment events: a charge was recorded, or an amount of a charge was refunded.
//!
//! A payment event is the payload of an [`Event`] of the tenant. The event is sent to the tenant's queue, and the queue's
//! consumer stores it. The JSON is versioned, and golden tests pin it. Within a version, fields are only added, and readers
//! ignore unknown fields. A changed meaning needs a new version.
//!
//! An event's id is derived from its content (UUIDv5). So repeated sends become one item, which is written only once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use tenantry_tenancy::event::{Event, NotJson, Payload};
use tenantry_tenancy::generation::Owner;

/// Version of the event format.
pub(crate) const VERSION: u32 = 1;
/// Namespace of the ids of payment events: a random UUID that never changes, different from the namespace of
/// idempotency keys, which clients choose.
const NAMESPACE: Uuid = Uuid::from_u128(0x8a1d_51c0_7b0e_4f39_a2c4_0d6e_93f1_57b2);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event")]
pub(crate) enum PaymentEvent {
    #[serde(rename = "payment.recorded")]
    Recorded(Recorded),
    #[serde(rename = "payment.refunded")]
    Refunded(Refunded),
}

/// A charge was recorded. Amounts are in the currency's minor units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recorded {
    pub(crate) version: u32,
    /// RFC 3339, UTC, milliseconds.
    pub(crate) occurred_at: String,
    pub(crate) tenant_id: String,
    pub(crate) charge_id: Uuid,
    pub(crate) amount: u64,
    /// Code of ISO 4217.
    pub(crate) currency: String,
    /// The client's own name for the charge.
    pub(crate) reference: String,
    /// The client's own notes.
    pub(crate) metadata: BTreeMap<String, String>,
}

/// An amount of a charge was refunded. Amounts are in the currency's minor units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refunded {
    pub(crate) version: u32,
    /// RFC 3339, UTC, milliseconds.
    pub(crate) occurred_at: String,
    pub(crate) tenant_id: String,
    pub(crate) charge_id: Uuid,
    pub(crate) refund_id: Uuid,
    pub(crate) amount: u64,
    /// Code of ISO 4217.
    pub(crate) currency: String,
    /// Sum of the charge's refunds, including this refund.
    pub(crate) refunded: u64,
    /// Amount of the charge.
    pub(crate) charged: u64,
    /// The client's own name for the charge.
    pub(crate) reference: String,
}

impl PaymentEvent {
    /// Returns the id under which the event is stored.
    pub(crate) fn id(&self) -> Uuid {
        let (kind, tenant, subject) = match self {
            Self::Recorded(event) => ("recorded", &event.tenant_id, event.charge_id),
            Self::Refunded(event) => ("refunded", &event.tenant_id, event.refund_id),
        };
        // A tenant id has no slash, so two events never have the same text.
        Uuid::new_v5(&NAMESPACE, format!("{tenant}/{kind}/{subject}").as_bytes())
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers serialize")
    }
}

/// Returns the owner's event with this id and JSON text.
///
/// # Errors
/// [`NotJson`] if the text is not JSON.
pub(crate) fn to_send(owner: Owner, id: Uuid, json: &str) -> Result<Event, NotJson> {
    Ok(Event {
        owner,
        message_id: id,
        payload: Some(Payload::parse(json.as_bytes())?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenantry_tenancy::event::is_id_of_key;
    use tenantry_tenancy::tenant::TenantId;

    const CHARGE: Uuid = Uuid::from_u128(0x01a2_066a_d34e_77fd_ba12_9db3_e3b4_528a);
    const REFUND: Uuid = Uuid::from_u128(0x01a2_066a_d350_7000_8000_0000_0000_0001);

    fn recorded() -> PaymentEvent {
        PaymentEvent::Recorded(Recorded {
            version: VERSION,
            occurred_at: "2026-12-01T09:30:00.123Z".to_owned(),
            tenant_id: "tenant-2".to_owned(),
            charge_id: CHARGE,
            amount: 1250,
            currency: "EUR".to_owned(),
            reference: "order-7".to_owned(),
            metadata: BTreeMap::from([("shop".to_owned(), "north".to_owned())]),
        })
    }

    fn refunded() -> PaymentEvent {
        PaymentEvent::Refunded(Refunded {
            version: VERSION,
            occurred_at: "2026-12-01T09:31:00.000Z".to_owned(),
            tenant_id: "tenant-2".to_owned(),
            charge_id: CHARGE,
            refund_id: REFUND,
            amount: 500,
            currency: "EUR".to_owned(),
            refunded: 750,
            charged: 1250,
            reference: "order-7".to_owned(),
        })
    }

    #[test]
    fn golden_a_recorded_charge() {
        let json = r#"{"event":"payment.recorded","version":1,"occurred_at":"2026-12-01T09:30:00.123Z","tenant_id":"tenant-2","charge_id":"01a2066a-d34e-77fd-ba12-9db3e3b4528a","amount":1250,"currency":"EUR","reference":"order-7","metadata":{"shop":"north"}}"#;
        assert_eq!(recorded().to_json(), json);
        assert_eq!(
            serde_json::from_str::<PaymentEvent>(json).expect("its own"),
            recorded()
        );
        assert_eq!(
            recorded().id().to_string(),
            "038678ff-dd7b-59dd-962d-cc1dbd266af9"
        );
    }

    #[test]
    fn golden_a_refund() {
        let json = r#"{"event":"payment.refunded","version":1,"occurred_at":"2026-12-01T09:31:00.000Z","tenant_id":"tenant-2","charge_id":"01a2066a-d34e-77fd-ba12-9db3e3b4528a","refund_id":"01a2066a-d350-7000-8000-000000000001","amount":500,"currency":"EUR","refunded":750,"charged":1250,"reference":"order-7"}"#;
        assert_eq!(refunded().to_json(), json);
        assert_eq!(
            serde_json::from_str::<PaymentEvent>(json).expect("its own"),
            refunded()
        );
        assert_eq!(
            refunded().id().to_string(),
            "e25b5846-f279-5add-9ff6-bf4765539b93"
        );
    }

    #[test]
    fn an_event_with_an_unknown_field_is_parsed() {
        let later = recorded()
            .to_json()
            .replacen('{', r#"{"new":{"a":[1]},"#, 1);
        assert_eq!(
            serde_json::from_str::<PaymentEvent>(&later).expect("readable"),
            recorded()
        );
    }

    #[test]
    fn an_id_is_stable_and_unique_to_its_event() {
        assert_eq!(recorded().id(), recorded().id());
        assert!(
            is_id_of_key(&recorded().id().to_string()),
            "its item is written only if none exists"
        );
        let PaymentEvent::Recorded(mut other) = recorded() else {
            panic!("recorded")
        };
        other.tenant_id = "tenant-3".to_owned();
        assert_ne!(PaymentEvent::Recorded(other).id(), recorded().id());
        assert_ne!(refunded().id(), recorded().id());
    }

    #[test]
    fn the_sent_payload_is_the_stored_text() {
        let sent = to_send(
            "tenant-2".parse::<TenantId>().expect("valid").into(),
            recorded().id(),
            &recorded().to_json(),
        );
        let sent = sent.expect("JSON");
        assert_eq!(sent.message_id, recorded().id());
        assert_eq!(
            sent.payload.expect("a payload").as_str(),
            recorded().to_json()
        );
    }
}
