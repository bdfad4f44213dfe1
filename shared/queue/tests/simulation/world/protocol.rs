//! The part of SQS's awsJson1.0 protocol that the engines use: parses requests, renders answers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::queue::{Entry, EntryError, Lease};
use crate::trace::Failure;

/// Start of every queue's URL.
pub(crate) const ENDPOINT: &str = "http://sqs.simulated";
/// Account of every queue.
const ACCOUNT: &str = "000000000000";

/// A parsed call. Queues are named without host and account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Request {
    FindQueue {
        queue: String,
    },
    ReadPolicy {
        queue: String,
    },
    Send {
        queue: String,
        entry: Entry,
    },
    SendBatch {
        queue: String,
        entries: Vec<Entry>,
    },
    Receive {
        queue: String,
        asked: usize,
        wait: Duration,
        visibility: Duration,
    },
    DeleteBatch {
        queue: String,
        entries: Vec<Target>,
    },
    ChangeBatch {
        queue: String,
        entries: Vec<Target>,
    },
    /// A call that no engine makes.
    Unknown {
        target: String,
    },
}

/// A batch entry that names a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) id: String,
    pub(crate) handle: String,
    /// New visibility time-out; zero for a delete.
    pub(crate) after: Duration,
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Url(String),
    Policy(Option<String>),
    Sent,
    /// Results per entry; the answer omits missing ones.
    Batch(Vec<(String, Result<(), EntryError>)>),
    Received(Vec<Lease>),
    /// There is no such queue.
    NoQueue,
}

impl Request {
    /// Parses a request's `X-Amz-Target` and body.
    pub(crate) fn parse(target: &str, body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let queue = || queue_of(&body);
        match target.rsplit('.').next().unwrap_or_default() {
            "GetQueueUrl" => Self::FindQueue {
                queue: text(&body["QueueName"]),
            },
            "GetQueueAttributes" => Self::ReadPolicy { queue: queue() },
            "SendMessage" => Self::Send {
                queue: queue(),
                entry: entry(&body),
            },
            "SendMessageBatch" => Self::SendBatch {
                queue: queue(),
                entries: each(&body, entry),
            },
            "ReceiveMessage" => Self::Receive {
                queue: queue(),
                asked: body["MaxNumberOfMessages"]
                    .as_u64()
                    .unwrap_or(1)
                    .try_into()
                    .unwrap_or(usize::MAX),
                wait: seconds(&body["WaitTimeSeconds"]),
                visibility: seconds(&body["VisibilityTimeout"]),
            },
            "DeleteMessageBatch" => Self::DeleteBatch {
                queue: queue(),
                entries: each(&body, delivery),
            },
            "ChangeMessageVisibilityBatch" => Self::ChangeBatch {
                queue: queue(),
                entries: each(&body, delivery),
            },
            other => Self::Unknown {
                target: other.to_owned(),
            },
        }
    }
}

impl Answer {
    /// Status and body.
    pub(crate) fn render(&self, epoch_ms: u64) -> (u16, String) {
        let body = match self {
            Self::Url(queue) => json!({ "QueueUrl": format!("{ENDPOINT}/{ACCOUNT}/{queue}") }),
            Self::Policy(None) => json!({}),
            Self::Policy(Some(arn)) => {
                let policy =
                    json!({ "deadLetterTargetArn": arn, "maxReceiveCount": 1000 }).to_string();
                json!({ "Attributes": { "RedrivePolicy": policy } })
            }
            Self::Sent => json!({ "MessageId": "sent", "MD5OfMessageBody": "-" }),
            Self::Batch(entries) => {
                let successful = entries.iter().filter(|(_, result)| result.is_ok());
                let successful: Vec<_> = successful
                    .map(
                        |(id, _)| json!({ "Id": id, "MessageId": "sent", "MD5OfMessageBody": "-" }),
                    )
                    .collect();
                let failed = entries
                    .iter()
                    .filter_map(|(id, result)| Some((id, result.as_ref().err()?)));
                let failed: Vec<_> = failed.map(|(id, error)| failed_entry(id, error)).collect();
                json!({ "Successful": successful, "Failed": failed })
            }
            Self::Received(leases) => {
                json!({ "Messages": leases.iter().map(|lease| message(lease, epoch_ms)).collect::<Vec<_>>() })
            }
            Self::NoQueue => return (400, error("QueueDoesNotExist")),
        };
        (200, body.to_string())
    }
}

/// Status and body of a failure; `None` without an answer.
pub(crate) fn render_failure(failure: &Failure) -> Option<(u16, String)> {
    match failure {
        Failure::Refused { status, code } => Some((*status, error(code))),
        Failure::Garbled => Some((200, "<html>".to_owned())),
        Failure::Reset => None,
    }
}

fn error(code: &str) -> String {
    json!({ "__type": format!("com.amazonaws.sqs#{code}"), "message": "simulated" }).to_string()
}

fn failed_entry(id: &str, error: &EntryError) -> Value {
    // Only the message shows that a queue refuses groups.
    let message = if error.code == super::GROUPS_REFUSED {
        "MessageGroupId is not valid here"
    } else {
        "simulated"
    };
    json!({ "Id": id, "Code": error.code, "SenderFault": error.sender_fault, "Message": message })
}

fn message(lease: &Lease, epoch_ms: u64) -> Value {
    let attribute = |(name, value): (&String, &String)| {
        (
            name.clone(),
            json!({ "DataType": "String", "StringValue": value }),
        )
    };
    let attributes: serde_json::Map<_, _> = lease.entry.attributes.iter().map(attribute).collect();
    let sent_ms = u128::from(epoch_ms) + lease.sent_at.as_millis();
    let mut system = json!({
        "SentTimestamp": sent_ms.to_string(),
        "ApproximateReceiveCount": lease.receive_count.to_string(),
    });
    if let Some(group) = &lease.entry.group {
        system["MessageGroupId"] = json!(group);
    }
    json!({
        "MessageId": format!("m{}", lease.message),
        "ReceiptHandle": lease.handle,
        "Body": lease.entry.body,
        "Attributes": system,
        "MessageAttributes": attributes,
    })
}

fn each<T>(body: &Value, read: fn(&Value) -> T) -> Vec<T> {
    body["Entries"]
        .as_array()
        .map_or_else(Vec::new, |entries| entries.iter().map(read).collect())
}

fn entry(value: &Value) -> Entry {
    let attributes: BTreeMap<_, _> = value["MessageAttributes"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), text(&value["StringValue"])))
        .collect();
    Entry {
        id: text(&value["Id"]),
        body: text(&value["MessageBody"]),
        group: value["MessageGroupId"].as_str().map(str::to_owned),
        attributes,
    }
}

fn delivery(value: &Value) -> Target {
    Target {
        id: text(&value["Id"]),
        handle: text(&value["ReceiptHandle"]),
        after: seconds(&value["VisibilityTimeout"]),
    }
}

fn queue_of(body: &Value) -> String {
    text(&body["QueueUrl"])
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn seconds(value: &Value) -> Duration {
    Duration::from_secs(value.as_u64().unwrap_or(0))
}
