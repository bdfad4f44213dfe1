//! The event: a message on the wire, an item in the table.
//!
//! The producer turns a request into an [`Event`] and it into an [`Outgoing`] message; the consumer turns a
//! [`Received`] message into an [`Item`]. Both directions are pure, and both formats are pinned by golden tests: what
//! is on a queue or in a table outlives any release. A message that can never become an item says why ([`Poison`]).

pub mod payment;

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::environment::Environment;
use crate::queue::message::{Outgoing, Received};
use crate::tenant::TenantId;

/// The body of a message whose caller sent none.
pub const DEFAULT_BODY: &str = r#"{"event":"Event raised!"}"#;
/// The body of a message whose caller spelled out the default: one space tells the two apart.
const SPELLED_OUT_BODY: &str = r#"{"event":"Event raised!"} "#;
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
/// The item's time format, UTC.
const TIMESTAMP_FORMAT: &str = "%Y-%m-%dT%H:%M:%S+0000";
/// Largest item (DynamoDB: 400 KB, names and values together).
const MAX_ITEM_BYTES: usize = 400 * 1024;
/// Largest payload a producer may accept, in bytes: with its attributes it must fit one item.
pub const MAX_PAYLOAD_BYTES: usize = 380 * 1024;
/// Longest id taken from a message (the sort key's limit is 1,024 bytes; ids are UUIDs).
const MAX_ID_BYTES: usize = 128;
/// What the item says of a producer that did not name itself.
const UNKNOWN_PRODUCER: &str = "unknown";
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

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Hash key.
    pub tenant: TenantId,
    /// Range key.
    pub message_id: String,
    /// The environment that accepted the event.
    pub producer_environment: String,
    /// The environment that stored it.
    pub consumer_environment: String,
    /// When SQS accepted it, so that a redelivery writes the same item.
    pub accepted_at: DateTime<Utc>,
    /// The caller's JSON text, if it sent one.
    pub payload: Option<String>,
}

/// Why a message can never become an item.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Poison {
    /// No `tenant_id` attribute.
    #[error("the message has no tenant_id attribute")]
    NoTenant,
    /// The attribute is not a tenant id.
    #[error("the message's tenant_id is not a tenant id")]
    InvalidTenant,
    /// This environment does not serve the tenant.
    #[error("this environment does not serve the message's tenant")]
    ForeignTenant,
    /// The id is empty or too long to be a key.
    #[error("the message's id is empty or longer than {MAX_ID_BYTES} bytes")]
    InvalidId,
    /// The item would exceed DynamoDB's limit.
    #[error("the item would be {0} bytes; a table takes {MAX_ITEM_BYTES}")]
    TooLarge(usize),
}

impl Poison {
    /// A stable name for metrics and for the reason attribute of a message set aside.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoTenant => "no_tenant",
            Self::InvalidTenant => "invalid_tenant",
            Self::ForeignTenant => "foreign_tenant",
            Self::InvalidId => "invalid_id",
            Self::TooLarge(_) => "too_large",
        }
    }
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
    /// The event as a message.
    pub fn into_message(self, producer: &Environment) -> Outgoing {
        let mut message = Outgoing::new(
            self.payload
                .map_or_else(|| DEFAULT_BODY.to_owned(), |payload| payload.0),
            self.tenant.as_str().to_owned(),
        );
        message.attribute(TENANT_ATTRIBUTE, self.tenant.as_str());
        message.attribute(PRODUCER_ATTRIBUTE, producer.as_str());
        message.attribute(ID_ATTRIBUTE, self.message_id.to_string());
        message
    }
}

/// Whose message it is.
///
/// # Errors
/// [`Poison`] where it does not say, or says nonsense.
pub fn tenant_of(message: &Received) -> Result<TenantId, Poison> {
    message
        .attribute(TENANT_ATTRIBUTE)
        .ok_or(Poison::NoTenant)?
        .parse()
        .map_err(|_| Poison::InvalidTenant)
}

impl Item {
    /// The item of a message that belongs to the tenant.
    ///
    /// # Errors
    /// [`Poison`] where no table could take it.
    pub fn of(
        message: &Received,
        tenant: TenantId,
        consumer: &Environment,
    ) -> Result<Self, Poison> {
        let message_id = message
            .attribute(ID_ATTRIBUTE)
            .unwrap_or(&message.message_id);
        if message_id.is_empty() || message_id.len() > MAX_ID_BYTES {
            return Err(Poison::InvalidId);
        }
        let item = Self {
            tenant,
            message_id: message_id.to_owned(),
            producer_environment: message
                .attribute(PRODUCER_ATTRIBUTE)
                .filter(|name| !name.is_empty())
                .unwrap_or(UNKNOWN_PRODUCER)
                .to_owned(),
            consumer_environment: consumer.as_str().to_owned(),
            accepted_at: message.sent_at,
            payload: match message.body.as_str() {
                DEFAULT_BODY => None,
                SPELLED_OUT_BODY => Some(DEFAULT_BODY.to_owned()),
                body => Some(body.to_owned()),
            },
        };
        let bytes = item.bytes();
        if bytes > MAX_ITEM_BYTES {
            Err(Poison::TooLarge(bytes))
        } else {
            Ok(item)
        }
    }

    /// The item as DynamoDB takes it.
    pub fn into_attributes(self) -> HashMap<String, AttributeValue> {
        let (timestamp, listed_at) = (self.timestamp(), self.listed_at());
        let mut attributes: HashMap<_, _> = [
            ("tenant_id", self.tenant.as_str().to_owned()),
            ("message_id", self.message_id),
            ("producer_environment", self.producer_environment),
            ("consumer_environment", self.consumer_environment),
            ("timestamp", timestamp),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), AttributeValue::S(value)))
        .collect();
        let optional = [("payload", self.payload), (LISTED_AT, listed_at)];
        for (name, value) in optional {
            attributes.extend(value.map(|value| (name.to_owned(), AttributeValue::S(value))));
        }
        attributes
    }

    /// Milliseconds and id, so that text order is time order; only where the id alone does not tell the time.
    fn listed_at(&self) -> Option<String> {
        let time = self.accepted_at.timestamp_millis();
        time_of_id(&self.message_id)
            .is_none()
            .then(|| format!("{time:013}#{}", self.message_id))
    }

    /// The time as the item spells it.
    pub fn timestamp(&self) -> String {
        self.accepted_at.format(TIMESTAMP_FORMAT).to_string()
    }

    /// DynamoDB's measure: the UTF-8 bytes of names and values.
    fn bytes(&self) -> usize {
        const NAMES: usize =
            "tenant_idmessage_idproducer_environmentconsumer_environmenttimestamp".len();
        const TIMESTAMP: usize = "2024-07-12T16:31:39+0000".len();
        NAMES
            + TIMESTAMP
            + self.tenant.as_str().len()
            + self.message_id.len()
            + self.producer_environment.len()
            + self.consumer_environment.len()
            + self
                .payload
                .as_ref()
                .map_or(0, |payload| "payload".len() + payload.len())
            + self
                .listed_at()
                .map_or(0, |listed_at| LISTED_AT.len() + listed_at.len())
    }
}

#[cfg(test)]
mod tests;
