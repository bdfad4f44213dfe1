//! Requests and responses of the SQS JSON protocol.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::attributes::{AttributeValue, RawAttribute};

/// Declares requests. Every member is optional, so that this endpoint, not serde, reports a missing one.
macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        pub(crate) struct $name {
            $($(#[$attr])* pub(crate) $field: $type,)*
        }
    )*};
}

requests! {
    CreateQueue {
        queue_name: Option<String>,
        attributes: Option<BTreeMap<String, String>>,
        #[serde(rename = "tags")] tags: Option<BTreeMap<String, String>>,
    }
    GetQueueUrl {
        queue_name: Option<String>,
        #[serde(rename = "QueueOwnerAWSAccountId")] owner: Option<String>,
    }
    ListQueues { queue_name_prefix: Option<String>, max_results: Option<i64>, next_token: Option<String>, }
    /// `DeleteQueue`, `PurgeQueue` and `ListQueueTags`.
    QueueRequest { queue_url: Option<String>, }
    ListDeadLetterSourceQueues {
        queue_url: Option<String>,
        max_results: Option<i64>,
        next_token: Option<String>,
    }
    GetQueueAttributes { queue_url: Option<String>, attribute_names: Option<Vec<String>>, }
    SetQueueAttributes { queue_url: Option<String>, attributes: Option<BTreeMap<String, String>>, }
    TagQueue { queue_url: Option<String>, tags: Option<BTreeMap<String, String>>, }
    UntagQueue { queue_url: Option<String>, tag_keys: Option<Vec<String>>, }
    /// `SendMessage`, and one entry of `SendMessageBatch`.
    SendEntry {
        id: Option<String>,
        message_body: Option<String>,
        delay_seconds: Option<i64>,
        message_attributes: Option<BTreeMap<String, RawAttribute>>,
        message_system_attributes: Option<BTreeMap<String, RawAttribute>>,
        message_group_id: Option<String>,
        message_deduplication_id: Option<String>,
    }
    SendMessage { queue_url: Option<String>, #[serde(flatten)] entry: SendEntry, }
    SendMessageBatch { queue_url: Option<String>, entries: Option<Vec<SendEntry>>, }
    ReceiveMessage {
        queue_url: Option<String>,
        max_number_of_messages: Option<i64>,
        visibility_timeout: Option<i64>,
        wait_time_seconds: Option<i64>,
        attribute_names: Option<Vec<String>>,
        message_system_attribute_names: Option<Vec<String>>,
        message_attribute_names: Option<Vec<String>>,
    }
    /// `DeleteMessage` and `ChangeMessageVisibility`, and one entry of their batches.
    ReceiptEntry {
        id: Option<String>,
        receipt_handle: Option<String>,
        visibility_timeout: Option<i64>,
    }
    /// `DeleteMessage` and `ChangeMessageVisibility`.
    ReceiptRequest { queue_url: Option<String>, #[serde(flatten)] entry: ReceiptEntry, }
    /// `DeleteMessageBatch` and `ChangeMessageVisibilityBatch`.
    ReceiptBatchRequest { queue_url: Option<String>, entries: Option<Vec<ReceiptEntry>>, }
    /// `StartMessageMoveTask` and `ListMessageMoveTasks`.
    MoveTaskRequest {
        source_arn: Option<String>,
        destination_arn: Option<String>,
        max_number_of_messages_per_second: Option<i64>,
        max_results: Option<i64>,
    }
    /// `CancelMessageMoveTask`.
    CancelMoveTask { task_handle: Option<String>, }
}

/// Response of operations without output.
#[derive(Serialize)]
pub(crate) struct Empty {}

/// Response of `CreateQueue` and `GetQueueUrl`.
#[derive(Serialize)]
pub(crate) struct QueueUrl {
    #[serde(rename = "QueueUrl")]
    pub(crate) queue_url: String,
}

/// Response of `ListQueues`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct QueueUrls {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) queue_urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_token: Option<String>,
}

/// Response of `ListDeadLetterSourceQueues`; AWS spells this one in lower case.
#[derive(Serialize)]
pub(crate) struct SourceQueueUrls {
    #[serde(rename = "queueUrls")]
    pub(crate) queue_urls: Vec<String>,
    #[serde(rename = "NextToken", skip_serializing_if = "Option::is_none")]
    pub(crate) next_token: Option<String>,
}

/// Response of `GetQueueAttributes`.
#[derive(Serialize)]
pub(crate) struct QueueAttributes {
    #[serde(rename = "Attributes", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) attributes: BTreeMap<&'static str, String>,
}

/// Response of `ListQueueTags`.
#[derive(Serialize)]
pub(crate) struct QueueTags {
    #[serde(rename = "Tags", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tags: BTreeMap<String, String>,
}

/// Response of `SendMessage`, and successful entry of `SendMessageBatch`.
#[derive(Serialize)]
pub(crate) struct SentMessage {
    #[serde(rename = "Id", skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    #[serde(rename = "MessageId")]
    pub(crate) message_id: String,
    #[serde(rename = "MD5OfMessageBody")]
    pub(crate) body_md5: String,
    #[serde(
        rename = "MD5OfMessageAttributes",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) attributes_md5: Option<String>,
    #[serde(
        rename = "MD5OfMessageSystemAttributes",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) system_attributes_md5: Option<String>,
}

/// Successful entry of a batch without output.
#[derive(Serialize)]
pub(crate) struct SucceededEntry {
    #[serde(rename = "Id")]
    pub(crate) id: String,
}

/// Response of a batch operation.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BatchResult<T> {
    pub(crate) successful: Vec<T>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) failed: Vec<FailedEntry>,
}

/// Failed entry of a batch.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct FailedEntry {
    pub(crate) id: String,
    pub(crate) sender_fault: bool,
    pub(crate) code: String,
    pub(crate) message: String,
}

/// Response of `ReceiveMessage`.
#[derive(Serialize)]
pub(crate) struct Messages<'a> {
    #[serde(rename = "Messages", skip_serializing_if = "Vec::is_empty")]
    pub(crate) messages: Vec<Message<'a>>,
}

#[derive(Serialize)]
pub(crate) struct Message<'a> {
    #[serde(rename = "MessageId")]
    pub(crate) message_id: String,
    #[serde(rename = "ReceiptHandle")]
    pub(crate) receipt_handle: String,
    #[serde(rename = "MD5OfBody")]
    pub(crate) body_md5: String,
    #[serde(rename = "Body")]
    pub(crate) body: &'a str,
    #[serde(rename = "Attributes", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) attributes: BTreeMap<&'static str, String>,
    #[serde(
        rename = "MD5OfMessageAttributes",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) attributes_md5: Option<String>,
    #[serde(
        rename = "MessageAttributes",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub(crate) message_attributes: BTreeMap<&'a str, &'a AttributeValue>,
}

/// Response of `StartMessageMoveTask`.
#[derive(Serialize)]
pub(crate) struct MoveTaskStarted {
    #[serde(rename = "TaskHandle")]
    pub(crate) task_handle: String,
}

/// Response of `CancelMessageMoveTask`.
#[derive(Serialize)]
pub(crate) struct MoveTaskCancelled {
    #[serde(rename = "ApproximateNumberOfMessagesMoved")]
    pub(crate) moved: usize,
}

/// Response of `ListMessageMoveTasks`.
#[derive(Serialize)]
pub(crate) struct MoveTaskList {
    #[serde(rename = "Results")]
    pub(crate) results: Vec<MoveTaskState>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MoveTaskState {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) task_handle: Option<String>,
    pub(crate) status: &'static str,
    pub(crate) source_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) destination_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_number_of_messages_per_second: Option<i64>,
    pub(crate) approximate_number_of_messages_moved: usize,
    pub(crate) approximate_number_of_messages_to_move: usize,
    /// Of a failed task alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure_reason: Option<&'static str>,
    pub(crate) started_timestamp: u64,
}
