//! The event on the wire, and the ids it is stored under.
//!
//! The producer turns a request into an [`Event`] and the event into an [`EventMessage`]; the consumer makes an item of it.
//! Pure. The format is pinned by golden tests: messages on a queue outlive any release.

use serde_json::value::RawValue;
use uuid::Uuid;

use crate::environment::Environment;
use crate::tenant::TenantId;

/// The body of a message whose caller sent none.
pub const DEFAULT_BODY: &str = r#"{"event":"Event raised!"}"#;
/// The body of a message whose caller spelled out the default: one space tells the two apart.
pub const SPELLED_OUT_BODY: &str = r#"{"event":"Event raised!"} "#;
/// Message attribute: whose message it is.
pub const TENANT_ATTRIBUTE: &str = "tenant_id";
/// Message attribute: the environment that accepted it.
pub const PRODUCER_ATTRIBUTE: &str = "producer_environment";
/// Message attribute: the id its caller was given. Absent on messages of older producers.
pub const ID_ATTRIBUTE: &str = "message_id";
/// Item attribute by which an item is listed whose id does not tell its time; absent from all others.
pub const LISTED_AT: &str = "listed_at";
/// Index of the items that have it: hash `tenant_id`, range [`LISTED_AT`]. Sparse, so it costs nothing for the others.
pub const LISTED_INDEX: &str = "listed";
/// Largest payload a producer may accept, in bytes: with its attributes it must fit one item.
pub const MAX_PAYLOAD_BYTES: usize = 380 * 1024;
/// Namespace of message ids derived from idempotency keys; a random UUID fixed for good.
const KEY_NAMESPACE: Uuid = Uuid::from_u128(0x5f0d_2c2e_93f6_4c4b_9d0e_7a1c_6b38_e4d5);

/// An accepted request on its way to the tenant's queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Whose event it is.
    pub tenant: TenantId,
    /// What the caller is told and the item is stored under.
    pub message_id: Uuid,
    /// The JSON text the caller sent, if any.
    pub payload: Option<Payload>,
}

/// A caller's JSON text, checked, byte for byte as it will be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload(String);

/// The body is not JSON.
#[derive(Debug, thiserror::Error)]
#[error("the body is not valid JSON: {0}")]
pub struct NotJson(#[from] serde_json::Error);

/// An event on the wire: a message of the tenant's group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventMessage {
    pub body: String,
    pub group: String,
    pub attributes: [(&'static str, String); 3],
}

/// The id of an event sent under an idempotency key: the same key of the same tenant gives the same id.
pub fn id_of_key(tenant: &TenantId, key: &str) -> Uuid {
    // A tenant id has no slash, so no two pairs run together.
    Uuid::new_v5(&KEY_NAMESPACE, format!("{tenant}/{key}").as_bytes())
}

/// When an event was accepted, by its id alone, in milliseconds since 1970; none for ids without a time.
pub fn time_of_id(message_id: &str) -> Option<u64> {
    let id = Uuid::parse_str(message_id)
        .ok()
        .filter(|id| id.get_version() == Some(uuid::Version::SortRand))?;
    let (seconds, nanoseconds) = id.get_timestamp()?.to_unix();
    Some(seconds * 1000 + u64::from(nanoseconds / 1_000_000))
}

/// Whether the id was derived from an idempotency key. Such an item is written only where none exists, because a
/// repeat may carry another payload; every other repeat is a redelivery and identical.
pub fn is_id_of_key(message_id: &str) -> bool {
    Uuid::parse_str(message_id).is_ok_and(|id| id.get_version() == Some(uuid::Version::Sha1))
}

impl Payload {
    /// Checks that the bytes are one JSON text.
    ///
    /// # Errors
    /// [`NotJson`] with the place of the first mistake.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotJson> {
        let text = serde_json::from_slice::<&RawValue>(bytes)?.get();
        // JSON allows two characters that SQS does not; inside a JSON text they only occur in strings.
        let text = text
            .replace('\u{fffe}', "\\ufffe")
            .replace('\u{ffff}', "\\uffff");
        Ok(Self(if text == DEFAULT_BODY {
            SPELLED_OUT_BODY.to_owned()
        } else {
            text
        }))
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Event {
    /// The event as a message, accepted by this environment.
    pub fn into_message(self, producer: &Environment) -> EventMessage {
        EventMessage {
            group: self.tenant.as_str().to_owned(),
            attributes: [
                (TENANT_ATTRIBUTE, self.tenant.as_str().to_owned()),
                (PRODUCER_ATTRIBUTE, producer.as_str().to_owned()),
                (ID_ATTRIBUTE, self.message_id.to_string()),
            ],
            body: self
                .payload
                .map_or_else(|| DEFAULT_BODY.to_owned(), |payload| payload.0),
        }
    }
}

#[cfg(test)]
mod tests;
