//! The event, its form as a message, and the ids of stored items.
//!
//! The producer turns a request into an [`Event`] and the event into an [`EventMessage`]; the consumer turns the message
//! into an item. The module is pure. Golden tests pin the format, because messages on a queue outlive a release.

use serde_json::value::RawValue;
use uuid::Uuid;

use crate::environment::Environment;
use crate::generation::Owner;

/// Body of a message whose request had no body.
pub const DEFAULT_BODY: &str = r#"{"event":"Event raised!"}"#;
/// Body of a message whose request spelled out [`DEFAULT_BODY`]; the space at the end distinguishes the two.
pub const SPELLED_OUT_BODY: &str = r#"{"event":"Event raised!"} "#;
/// Message attribute: the tenant that owns the message.
pub const TENANT_ATTRIBUTE: &str = "tenant_id";
/// Message attribute: the environment that accepted the message.
pub const PRODUCER_ATTRIBUTE: &str = "producer_environment";
/// Message attribute: the id that the response contained. Absent on messages of older producers.
pub const ID_ATTRIBUTE: &str = "message_id";
/// Message attribute of a forwarded message: when its first queue accepted it, in milliseconds since 1970.
pub const ACCEPTED_ATTRIBUTE: &str = "accepted_at";
/// Message and item attribute: the number of the owner's generation. Absent for the first one.
pub const GENERATION_ATTRIBUTE: &str = "generation";
/// Item attribute that sorts items whose id contains no time; all other items lack it.
pub const LISTED_AT: &str = "listed_at";
/// Sparse index: hash `tenant_id`, range [`LISTED_AT`]. Items without that attribute cost nothing.
pub const LISTED_INDEX: &str = "listed";
/// Largest payload that a producer may accept, in bytes: payload and attributes must fit one item (DynamoDB: 400 KB).
pub const MAX_PAYLOAD_BYTES: usize = 380 * 1024;
/// Namespace of message ids derived from idempotency keys: a random UUID that must never change.
const KEY_NAMESPACE: Uuid = Uuid::from_u128(0x5f0d_2c2e_93f6_4c4b_9d0e_7a1c_6b38_e4d5);

/// An accepted request, to be sent to the tenant's queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub owner: Owner,
    /// Id in the response, and key of the stored item.
    pub message_id: Uuid,
    /// The request's JSON text; `None` without a body.
    pub payload: Option<Payload>,
}

/// A valid JSON text, byte for byte as it will be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload(String);

/// The body is not JSON.
#[derive(Debug, thiserror::Error)]
#[error("the body is not valid JSON: {0}")]
pub struct NotJson(#[from] serde_json::Error);

/// An event as a message of the tenant's group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventMessage {
    pub body: String,
    pub group: String,
    pub attributes: Vec<(&'static str, String)>,
}

/// Derives an event's id from its idempotency key: the same owner and key give the same id.
pub fn id_of_key(owner: &Owner, key: &str) -> Uuid {
    // An owner's text has no slash, so two different pairs never give the same text.
    Uuid::new_v5(&KEY_NAMESPACE, format!("{owner}/{key}").as_bytes())
}

/// Attributes that keep the identity of a message in another queue: the id that SQS gave it, for a message without
/// [`ID_ATTRIBUTE`], and its time of acceptance. A message keeps those that it has already.
pub fn identity(sqs_id: &str, accepted_at_ms: i64) -> [(&'static str, String); 2] {
    [
        (ID_ATTRIBUTE, sqs_id.to_owned()),
        (ACCEPTED_ATTRIBUTE, accepted_at_ms.to_string()),
    ]
}

/// Reads the time from a UUIDv7, in milliseconds since 1970; returns `None` for other ids.
pub fn time_of_id(message_id: &str) -> Option<u64> {
    let id = Uuid::parse_str(message_id)
        .ok()
        .filter(|id| id.get_version() == Some(uuid::Version::SortRand))?;
    let (seconds, nanoseconds) = id.get_timestamp()?.to_unix();
    Some(seconds * 1000 + u64::from(nanoseconds / 1_000_000))
}

/// Returns true for an id of [`id_of_key`]. An item with such an id is written only if none exists, because a repeat may carry
/// another payload; every other repeat is a redelivery and identical.
pub fn is_id_of_key(message_id: &str) -> bool {
    Uuid::parse_str(message_id).is_ok_and(|id| id.get_version() == Some(uuid::Version::Sha1))
}

impl Payload {
    /// Checks that the bytes are one JSON text.
    ///
    /// # Errors
    /// [`NotJson`] with line and column of the first mistake.
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

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Event {
    /// Converts the event to a message; `producer` is the environment that accepted the event.
    pub fn into_message(self, producer: &Environment) -> EventMessage {
        let Owner { tenant, generation } = self.owner;
        let mut attributes = vec![
            (TENANT_ATTRIBUTE, tenant.as_str().to_owned()),
            (PRODUCER_ATTRIBUTE, producer.as_str().to_owned()),
            (ID_ATTRIBUTE, self.message_id.to_string()),
        ];
        attributes.extend(
            generation
                .number()
                .map(|number| (GENERATION_ATTRIBUTE, number)),
        );
        EventMessage {
            group: tenant.as_str().to_owned(),
            attributes,
            body: self
                .payload
                .map_or_else(|| DEFAULT_BODY.to_owned(), |payload| payload.0),
        }
    }
}

#[cfg(test)]
mod tests;
