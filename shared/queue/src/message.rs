//! A message before it is sent and after it was received.

use std::collections::HashMap;

use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName};
use chrono::{DateTime, TimeZone, Utc};

/// Attributes one message takes (SQS: 10).
pub const MAX_ATTRIBUTES: usize = 10;
/// Message attribute that carries the trace context, in W3C form.
pub const TRACE_ATTRIBUTE: &str = "traceparent";
/// The data type of every attribute written here.
const STRING_TYPE: &str = "String";

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    body: String,
    group: String,
    attributes: Vec<(&'static str, String)>,
}

/// A message that a queue handed over, leased until its visibility time-out ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// The id SQS gave it.
    pub message_id: String,
    /// What acknowledges this delivery.
    pub receipt_handle: String,
    /// The body.
    pub body: String,
    /// Its string attributes.
    pub attributes: HashMap<String, String>,
    /// Its attributes of other types, kept for when the message is moved.
    pub untouched: Vec<(String, MessageAttributeValue)>,
    /// Its group, where it has one.
    pub group: Option<String>,
    /// When SQS accepted it (`SentTimestamp`, milliseconds).
    pub sent_at: DateTime<Utc>,
    /// How often it was handed over, this time included.
    pub receive_count: u32,
}

impl Outgoing {
    /// A message of a group (SQS fair queues share a queue out among groups), without attributes.
    pub const fn new(body: String, group: String) -> Self {
        Self {
            body,
            group,
            attributes: Vec::new(),
        }
    }

    /// A message of a group with these string attributes; empty values are left out.
    pub fn from_parts(
        body: String,
        group: String,
        attributes: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Self {
        let mut message = Self::new(body, group);
        for (name, value) in attributes {
            message.attribute(name, value);
        }
        message
    }

    /// Adds a string attribute; an empty value is left out, because SQS refuses it.
    pub fn attribute(&mut self, name: &'static str, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.attributes.push((name, value));
        }
    }

    /// Adds the trace context where an attribute is left for it.
    pub fn trace(&mut self, context: Option<String>) {
        if let Some(context) = context.filter(|_| self.attributes.len() < MAX_ATTRIBUTES) {
            self.attribute(TRACE_ATTRIBUTE, context);
        }
    }

    /// The body.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// The group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The attributes in the order they were added.
    pub fn attributes(&self) -> &[(&'static str, String)] {
        &self.attributes
    }

    /// What counts towards SQS's limits: body, and each attribute's name, type and value, in bytes.
    pub fn bytes(&self) -> usize {
        let attribute =
            |(name, value): &(&str, String)| name.len() + STRING_TYPE.len() + value.len();
        self.body.len() + self.attributes.iter().map(attribute).sum::<usize>()
    }

    /// The attributes as the SDK takes them.
    pub(crate) fn sdk_attributes(&self) -> HashMap<String, MessageAttributeValue> {
        self.attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), string_attribute(value)))
            .collect()
    }
}

impl Received {
    /// A string attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    /// What SQS handed over; `None` for an answer without receipt handle, which nothing could acknowledge.
    pub fn from_sdk(message: Message) -> Option<Self> {
        let system = message.attributes.unwrap_or_default();
        let number = |name| {
            system
                .get(&name)
                .and_then(|text: &String| text.parse::<i64>().ok())
        };
        let sent_at = number(MessageSystemAttributeName::SentTimestamp);
        let (mut attributes, mut untouched) = (HashMap::new(), Vec::new());
        for (name, value) in message.message_attributes.unwrap_or_default() {
            match value
                .string_value
                .clone()
                .filter(|_| value.data_type == STRING_TYPE)
            {
                Some(text) => drop(attributes.insert(name, text)),
                None => untouched.push((name, value)),
            }
        }
        Some(Self {
            message_id: message.message_id.unwrap_or_default(),
            receipt_handle: message.receipt_handle?,
            body: message.body.unwrap_or_default(),
            attributes,
            untouched,
            group: system
                .get(&MessageSystemAttributeName::MessageGroupId)
                .cloned(),
            sent_at: sent_at
                .and_then(|ms| Utc.timestamp_millis_opt(ms).single())
                .unwrap_or(DateTime::UNIX_EPOCH),
            receive_count: number(MessageSystemAttributeName::ApproximateReceiveCount)
                .and_then(|count| count.try_into().ok())
                .unwrap_or(1),
        })
    }

    /// Every attribute as the SDK takes it, to move the message elsewhere.
    pub(crate) fn sdk_attributes(&self) -> HashMap<String, MessageAttributeValue> {
        let strings = self
            .attributes
            .iter()
            .map(|(name, value)| (name.clone(), string_attribute(value)));
        strings.chain(self.untouched.iter().cloned()).collect()
    }
}

/// A string attribute as the SDK takes it.
pub fn string_attribute(value: &str) -> MessageAttributeValue {
    MessageAttributeValue::builder()
        .data_type(STRING_TYPE)
        .string_value(value)
        .build()
        .expect("the data type is set")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_is_left_out_when_ten_attributes_are_taken() {
        let mut message = Outgoing::new("{}".to_owned(), "tenant-1".to_owned());
        for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
            message.attribute(name, "x");
        }
        let mut full = message.clone();
        full.attribute("j", "x");
        message.trace(Some("00-trace".to_owned()));
        full.trace(Some("00-trace".to_owned()));
        assert!(
            message
                .attributes()
                .iter()
                .any(|(name, _)| *name == TRACE_ATTRIBUTE)
        );
        assert!(
            full.attributes()
                .iter()
                .all(|(name, _)| *name != TRACE_ATTRIBUTE)
        );
        assert_eq!(
            (message.attributes().len(), full.attributes().len()),
            (10, 10)
        );
    }

    #[test]
    fn attributes_count_towards_the_size_with_name_type_and_value() {
        let mut message = Outgoing::new("12345".to_owned(), "g".to_owned());
        assert_eq!(message.bytes(), 5);
        message.attribute("name", "value");
        assert_eq!(message.bytes(), 5 + 4 + 6 + 5);
    }

    #[test]
    fn a_received_message_keeps_every_attribute_for_a_move() {
        let binary = MessageAttributeValue::builder()
            .data_type("Binary")
            .binary_value(aws_sdk_sqs::primitives::Blob::new([1, 2]))
            .build()
            .expect("complete");
        let message = Message::builder()
            .message_id("id")
            .receipt_handle("handle")
            .body("{}")
            .attributes(MessageSystemAttributeName::SentTimestamp, "1720801899000")
            .attributes(MessageSystemAttributeName::ApproximateReceiveCount, "3")
            .message_attributes("text", string_attribute("x"))
            .message_attributes("blob", binary.clone())
            .build();
        let received = Received::from_sdk(message).expect("it has a handle");
        assert_eq!(received.attribute("text"), Some("x"));
        assert_eq!(received.receive_count, 3);
        assert_eq!(received.sent_at.to_rfc3339(), "2024-07-12T16:31:39+00:00");
        assert_eq!(received.sdk_attributes()["blob"], binary);
        assert_eq!(received.sdk_attributes().len(), 2);
    }
}
