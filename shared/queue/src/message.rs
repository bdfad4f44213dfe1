//! Messages: [`Outgoing`] before the send, [`Received`] after the receive.

use std::collections::HashMap;

use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName};
use chrono::{DateTime, TimeZone, Utc};

/// Most attributes of one message (SQS: 10).
pub const MAX_ATTRIBUTES: usize = 10;
/// Message attribute with the trace context in W3C form.
pub const TRACE_ATTRIBUTE: &str = "traceparent";
/// Data type of every attribute that this crate writes.
const STRING_TYPE: &str = "String";

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    body: String,
    group: String,
    attributes: Vec<(&'static str, String)>,
}

/// A received message, leased until its visibility time-out ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// Id assigned by SQS; empty if the response has none.
    pub message_id: String,
    /// Receipt handle of this delivery; deletes and lease extensions need it.
    pub receipt_handle: String,
    /// Body, uninterpreted.
    pub body: String,
    /// Attributes of type String, by name.
    pub attributes: HashMap<String, String>,
    /// Attributes of other types, kept so that a move to another queue loses none.
    pub untouched: Vec<(String, MessageAttributeValue)>,
    /// Message group; `None` without a group.
    pub group: Option<String>,
    /// Time at which SQS accepted the message (`SentTimestamp`, to the millisecond); 1970 if SQS sends none.
    pub sent_at: DateTime<Utc>,
    /// Number of deliveries, including this delivery (`ApproximateReceiveCount`).
    pub receive_count: u32,
}

impl Outgoing {
    /// Creates a message without attributes. SQS fair queues balance delivery among groups.
    pub const fn new(body: String, group: String) -> Self {
        Self {
            body,
            group,
            attributes: Vec::new(),
        }
    }

    /// Creates a message with string attributes; leaves out empty values.
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

    /// Adds a string attribute; leaves out an empty value, because SQS refuses it.
    pub fn attribute(&mut self, name: &'static str, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.attributes.push((name, value));
        }
    }

    /// Adds the trace context, unless the message already has [`MAX_ATTRIBUTES`].
    pub fn trace(&mut self, context: Option<String>) {
        if let Some(context) = context.filter(|_| self.attributes.len() < MAX_ATTRIBUTES) {
            self.attribute(TRACE_ATTRIBUTE, context);
        }
    }

    /// Returns the body.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// Returns the group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Returns the attributes in the order of their addition.
    pub fn attributes(&self) -> &[(&'static str, String)] {
        &self.attributes
    }

    /// Size in bytes as SQS counts it: body, and name, type and value of each attribute.
    pub fn bytes(&self) -> usize {
        let attribute =
            |(name, value): &(&str, String)| name.len() + STRING_TYPE.len() + value.len();
        self.body.len() + self.attributes.iter().map(attribute).sum::<usize>()
    }

    /// Attributes in the SDK's form.
    pub(crate) fn sdk_attributes(&self) -> HashMap<String, MessageAttributeValue> {
        self.attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), string_attribute(value)))
            .collect()
    }
}

impl Received {
    /// Returns a string attribute's value.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    /// Converts a message of the SDK; returns `None` without a receipt handle, because no call could acknowledge it.
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

    /// All attributes in the SDK's form, to move the message to another queue.
    pub(crate) fn sdk_attributes(&self) -> HashMap<String, MessageAttributeValue> {
        let strings = self
            .attributes
            .iter()
            .map(|(name, value)| (name.clone(), string_attribute(value)));
        strings.chain(self.untouched.iter().cloned()).collect()
    }
}

/// Creates a string attribute in the SDK's form.
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
    fn the_trace_context_is_left_out_when_a_message_has_ten_attributes() {
        let mut message = Outgoing::new("{}".to_owned(), "group-1".to_owned());
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
    fn the_size_includes_name_type_and_value_of_each_attribute() {
        let mut message = Outgoing::new("12345".to_owned(), "g".to_owned());
        assert_eq!(message.bytes(), 5);
        message.attribute("name", "value");
        assert_eq!(message.bytes(), 5 + 4 + 6 + 5);
    }

    #[test]
    fn a_received_message_keeps_attributes_of_every_type() {
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
