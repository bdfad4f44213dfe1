//! Items: the conversion of a received message into an item, and the reasons why a message can never become one. Pure.
//!
//! Golden tests pin the format, because items outlive every release.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, TimeZone, Utc};
use tenantry_queue::message::Received;
use tenantry_tenancy::environment::Environment;
use tenantry_tenancy::event::{
    ACCEPTED_ATTRIBUTE, DEFAULT_BODY, GENERATION_ATTRIBUTE, ID_ATTRIBUTE, LISTED_AT,
    PRODUCER_ATTRIBUTE, SPELLED_OUT_BODY, TENANT_ATTRIBUTE, is_id_of_key, time_of_id,
};
use tenantry_tenancy::generation::{Generation, Owner};

/// Largest item (DynamoDB: 400 KB, names and values together).
const MAX_ITEM_BYTES: usize = 400 * 1024;
/// The item's time format, UTC.
const TIMESTAMP_FORMAT: &str = "%Y-%m-%dT%H:%M:%S+0000";
/// Longest id accepted from a message. DynamoDB's sort keys have up to 1,024 bytes; ids are UUIDs.
const MAX_ID_BYTES: usize = 128;
/// The producer environment of a message that does not name one.
const UNKNOWN_PRODUCER: &str = "unknown";

/// An event as the table stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// Hash key, and the attribute [`GENERATION_ATTRIBUTE`] for every owner after the first.
    pub(crate) owner: Owner,
    /// Range key.
    pub(crate) message_id: String,
    /// The environment that accepted the event.
    pub(crate) producer_environment: String,
    /// The environment that stored it.
    pub(crate) consumer_environment: String,
    /// The time at which SQS first accepted the message, so that a redelivery or a forwarded message is the same item.
    pub(crate) accepted_at: DateTime<Utc>,
    /// The client's JSON text, if the client sent one.
    pub(crate) payload: Option<String>,
}

/// Why a message can never become an item.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Poison {
    #[error("the message has no tenant_id attribute")]
    NoTenant,
    #[error("the message's tenant_id is not a tenant id")]
    InvalidTenant,
    #[error("the message's generation is not a number from 1 on")]
    InvalidGeneration,
    #[error("this environment does not serve the message's tenant")]
    ForeignTenant,
    #[error("the message belongs to another owner of the tenant's id")]
    StaleGeneration,
    #[error("the message's id is empty or longer than {MAX_ID_BYTES} bytes")]
    InvalidId,
    #[error("the item would have {0} bytes; a table accepts at most {MAX_ITEM_BYTES}")]
    TooLarge(usize),
}

impl Poison {
    /// Stable name for metrics and for the reason attribute of a dead-lettered message.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::NoTenant => "no_tenant",
            Self::InvalidTenant => "invalid_tenant",
            Self::InvalidGeneration => "invalid_generation",
            Self::ForeignTenant => "foreign_tenant",
            Self::StaleGeneration => "stale_generation",
            Self::InvalidId => "invalid_id",
            Self::TooLarge(_) => "too_large",
        }
    }
}

/// The owner of a message: of the first generation, if the message names none.
///
/// # Errors
/// [`Poison`] if the tenant is missing or is not a tenant id, or the generation is not one.
pub(crate) fn owner_of(message: &Received) -> Result<Owner, Poison> {
    let tenant = message
        .attribute(TENANT_ATTRIBUTE)
        .ok_or(Poison::NoTenant)?
        .parse()
        .map_err(|_| Poison::InvalidTenant)?;
    let generation = match message.attribute(GENERATION_ATTRIBUTE) {
        Some(number) => number.parse().map_err(|_| Poison::InvalidGeneration)?,
        None => Generation::FIRST,
    };
    Ok(Owner { tenant, generation })
}

/// Whether the message is of a producer that knows no generations, such as the public sample's. Each message of this project's
/// producers has an id of theirs; a forwarded message without one has the id that SQS gave it.
pub(crate) fn knows_no_generation(message: &Received) -> bool {
    let has_producers_id = message
        .attribute(ID_ATTRIBUTE)
        .is_some_and(|id| time_of_id(id).is_some() || is_id_of_key(id));
    !has_producers_id && message.attribute(GENERATION_ATTRIBUTE).is_none()
}

/// The time at which the message's first queue accepted it. No message was accepted after it was sent here.
pub(crate) fn accepted_at(message: &Received) -> DateTime<Utc> {
    let forwarded = message
        .attribute(ACCEPTED_ATTRIBUTE)
        .and_then(|text| text.parse().ok())
        .and_then(|ms| Utc.timestamp_millis_opt(ms).single());
    forwarded
        .filter(|at| (DateTime::UNIX_EPOCH..message.sent_at).contains(at))
        .unwrap_or(message.sent_at)
}

impl Item {
    /// The item of a message of the owner.
    ///
    /// # Errors
    /// [`Poison`] if DynamoDB cannot store the item.
    pub(crate) fn of(
        message: &Received,
        owner: Owner,
        consumer: &Environment,
    ) -> Result<Self, Poison> {
        let message_id = message
            .attribute(ID_ATTRIBUTE)
            .unwrap_or(&message.message_id);
        if message_id.is_empty() || message_id.len() > MAX_ID_BYTES {
            return Err(Poison::InvalidId);
        }
        let item = Self {
            owner,
            message_id: message_id.to_owned(),
            producer_environment: message
                .attribute(PRODUCER_ATTRIBUTE)
                .filter(|name| !name.is_empty())
                .unwrap_or(UNKNOWN_PRODUCER)
                .to_owned(),
            consumer_environment: consumer.as_str().to_owned(),
            accepted_at: accepted_at(message),
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

    /// The item as DynamoDB's attributes.
    pub(crate) fn into_attributes(self) -> HashMap<String, AttributeValue> {
        let (timestamp, listed_at) = (self.timestamp(), self.listed_at());
        let mut attributes: HashMap<_, _> = [
            ("tenant_id", self.owner.tenant.as_str().to_owned()),
            ("message_id", self.message_id),
            ("producer_environment", self.producer_environment),
            ("consumer_environment", self.consumer_environment),
            ("timestamp", timestamp),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), AttributeValue::S(value)))
        .collect();
        let optional = [
            ("payload", self.payload),
            (LISTED_AT, listed_at),
            (GENERATION_ATTRIBUTE, self.owner.generation.number()),
        ];
        for (name, value) in optional {
            attributes.extend(value.map(|value| (name.to_owned(), AttributeValue::S(value))));
        }
        attributes
    }

    /// Milliseconds and id, so that text order is time order. Only for ids that contain no time.
    fn listed_at(&self) -> Option<String> {
        let time = self.accepted_at.timestamp_millis();
        time_of_id(&self.message_id)
            .is_none()
            .then(|| format!("{time:013}#{}", self.message_id))
    }

    pub(crate) fn timestamp(&self) -> String {
        self.accepted_at.format(TIMESTAMP_FORMAT).to_string()
    }

    /// Size as DynamoDB counts it: the UTF-8 bytes of names and values.
    fn bytes(&self) -> usize {
        const NAMES: usize =
            "tenant_idmessage_idproducer_environmentconsumer_environmenttimestamp".len();
        const TIMESTAMP: usize = "2024-07-12T16:31:39+0000".len();
        NAMES
            + TIMESTAMP
            + self.owner.tenant.as_str().len()
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
            + self
                .owner
                .generation
                .number()
                .map_or(0, |number| GENERATION_ATTRIBUTE.len() + number.len())
    }
}

#[cfg(test)]
mod tests;
