//! Answers to requests of the AWS JSON protocol. Pure except for the ledger.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::ops::Range;

use md5::{Digest, Md5};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::ledger::Ledger;
use super::{ACCOUNT, ENVIRONMENT, REGION, RESOURCE, TENANT};

/// Suffix of the dead-letter queue's name.
const DEAD_LETTERS: &str = "-dlq";
/// Body of every message of a backlog.
const BODY: &str = r#"{\"event\":\"Event raised!\"}"#;
/// MD5 digest of `BODY`, which SDKs check.
const BODY_MD5: &str = "022ba2dcaaa130c503b2915f50d73bed";
/// The time at which SQS accepted the messages of a backlog.
const SENT_TIMESTAMP_MS: &str = "1720801899000";

pub(super) enum Answer {
    Now(String),
    /// Up to `max` messages, within `wait_s` seconds.
    Messages {
        max: u64,
        wait_s: u64,
    },
    /// An error of the protocol.
    Refused(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    queue_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Queue<'a> {
    #[serde(borrow)]
    queue_url: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Send<'a> {
    #[serde(borrow)]
    message_body: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", bound(deserialize = "T: Deserialize<'de>"))]
struct Batch<T> {
    entries: Vec<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SendEntry<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    message_body: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HandleEntry<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    receipt_handle: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Handle<'a> {
    #[serde(borrow)]
    receipt_handle: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Receive {
    #[serde(default = "default_max_messages")]
    max_number_of_messages: u64,
    #[serde(default)]
    wait_time_seconds: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WriteItems {
    request_items: HashMap<String, Vec<IgnoredAny>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OneName {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ManyNames {
    names: Vec<String>,
}

const fn default_max_messages() -> u64 {
    1
}

/// Answers one call; `own_url` is the URL of the stub.
pub(super) fn answer(action: &str, body: &[u8], own_url: &str, ledger: &mut Ledger) -> Answer {
    ledger.count_call(action);
    let name = action.rsplit('.').next().unwrap_or(action);
    let text = match name {
        "ReceiveMessage" => {
            return match serde_json::from_slice::<Receive>(body) {
                Ok(asked) => Answer::Messages {
                    max: asked.max_number_of_messages,
                    wait_s: asked.wait_time_seconds,
                },
                Err(error) => Answer::Refused(error.to_string()),
            };
        }
        "SendMessage" => send(body, ledger),
        "SendMessageBatch" => send_batch(body, ledger),
        "DeleteMessage" => delete(body, ledger),
        "DeleteMessageBatch" => delete_batch(body, ledger),
        "ChangeMessageVisibility" => Ok("{}".to_owned()),
        "ChangeMessageVisibilityBatch" => serde_json::from_slice::<Batch<HandleEntry<'_>>>(body)
            .map(|batch| confirm(&batch.entries)),
        "PutItem" => {
            ledger.count_stored(1);
            Ok("{}".to_owned())
        }
        "BatchWriteItem" => write_items(body, ledger),
        "TransactWriteItems" => Ok("{}".to_owned()),
        "Query" => Ok(r#"{"Items":[],"Count":0,"ScannedCount":0}"#.to_owned()),
        "GetQueueUrl" => serde_json::from_slice(body).map(|Named { queue_name }| {
            json!({ "QueueUrl": queue_url(own_url, &queue_name) }).to_string()
        }),
        "GetQueueAttributes" => queue_attributes(body),
        "GetParameter" => serde_json::from_slice(body).map(|OneName { name }| one_parameter(&name)),
        "GetParameters" => {
            serde_json::from_slice(body).map(|ManyNames { names }| parameters(&names))
        }
        _ => return Answer::Refused(format!("the stub has no {action}")),
    };
    text.map_or_else(|error| Answer::Refused(error.to_string()), Answer::Now)
}

/// Returns the messages with these numbers as the body of a receive.
pub(super) fn messages(numbers: Range<u64>) -> String {
    if numbers.is_empty() {
        return "{}".to_owned();
    }
    let mut text = String::with_capacity(1024 * 8);
    for number in numbers {
        text.push_str(if text.is_empty() {
            r#"{"Messages":["#
        } else {
            ","
        });
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            concat!(
                r#"{{"MessageId":"{id}","ReceiptHandle":"{number}","MD5OfBody":"{md5}","Body":"{body}","#,
                r#""Attributes":{{"SentTimestamp":"{sent}","ApproximateReceiveCount":"1","#,
                r#""MessageGroupId":"{tenant}"}},"MessageAttributes":{{"#,
                r#""tenant_id":{{"DataType":"String","StringValue":"{tenant}"}},"#,
                r#""producer_environment":{{"DataType":"String","StringValue":"{environment}"}},"#,
                r#""message_id":{{"DataType":"String","StringValue":"{id}"}}}}}}"#
            ),
            id = message_id(number),
            number = number,
            md5 = BODY_MD5,
            body = BODY,
            sent = SENT_TIMESTAMP_MS,
            tenant = TENANT,
            environment = ENVIRONMENT,
        );
    }
    text.push_str("]}");
    text
}

/// Returns a UUID of version 7, like the producer's ids.
fn message_id(number: u64) -> String {
    format!("0190a7f0-0000-7000-8000-{number:012x}")
}

fn send(body: &[u8], ledger: &mut Ledger) -> serde_json::Result<String> {
    let sent: Send<'_> = serde_json::from_slice(body)?;
    ledger.count_sent(1);
    let md5 = md5_hex(&sent.message_body);
    Ok(format!(
        r#"{{"MessageId":"{}","MD5OfMessageBody":"{md5}"}}"#,
        message_id(0)
    ))
}

fn send_batch(body: &[u8], ledger: &mut Ledger) -> serde_json::Result<String> {
    let batch: Batch<SendEntry<'_>> = serde_json::from_slice(body)?;
    ledger.count_sent(batch.entries.len() as u64);
    let entry = |entry: &SendEntry<'_>| {
        let md5 = md5_hex(&entry.message_body);
        format!(
            r#"{{"Id":"{}","MessageId":"{}","MD5OfMessageBody":"{md5}"}}"#,
            entry.id,
            message_id(0)
        )
    };
    Ok(format!(
        r#"{{"Successful":[{}],"Failed":[]}}"#,
        joined(batch.entries.iter().map(entry))
    ))
}

fn delete(body: &[u8], ledger: &mut Ledger) -> serde_json::Result<String> {
    let handle: Handle<'_> = serde_json::from_slice(body)?;
    delete_one(&handle.receipt_handle, ledger);
    Ok("{}".to_owned())
}

fn delete_batch(body: &[u8], ledger: &mut Ledger) -> serde_json::Result<String> {
    let batch: Batch<HandleEntry<'_>> = serde_json::from_slice(body)?;
    batch
        .entries
        .iter()
        .for_each(|entry| delete_one(&entry.receipt_handle, ledger));
    Ok(confirm(&batch.entries))
}

fn delete_one(handle: &str, ledger: &mut Ledger) {
    if let Ok(number) = handle.parse() {
        ledger.delete(number);
    }
}

fn confirm(entries: &[HandleEntry<'_>]) -> String {
    let entry = |entry: &HandleEntry<'_>| format!(r#"{{"Id":"{}"}}"#, entry.id);
    format!(
        r#"{{"Successful":[{}],"Failed":[]}}"#,
        joined(entries.iter().map(entry))
    )
}

fn write_items(body: &[u8], ledger: &mut Ledger) -> serde_json::Result<String> {
    let writes: WriteItems = serde_json::from_slice(body)?;
    ledger.count_stored(
        writes
            .request_items
            .values()
            .map(|items| items.len() as u64)
            .sum(),
    );
    Ok(r#"{"UnprocessedItems":{}}"#.to_owned())
}

fn queue_attributes(body: &[u8]) -> serde_json::Result<String> {
    let queue: Queue<'_> = serde_json::from_slice(body)?;
    let policy = json!({ "deadLetterTargetArn": format!("{}{DEAD_LETTERS}", queue_arn()), "maxReceiveCount": 5 });
    let attributes = if queue.queue_url.ends_with(DEAD_LETTERS) {
        json!({})
    } else {
        json!({ "RedrivePolicy": policy.to_string(), "QueueArn": queue_arn() })
    };
    Ok(json!({ "Attributes": attributes }).to_string())
}

fn one_parameter(name: &str) -> String {
    json!({ "Parameter": parameter(name) }).to_string()
}

fn parameters(names: &[String]) -> String {
    let found: Vec<Value> = names.iter().map(|name| parameter(name)).collect();
    json!({ "Parameters": found, "InvalidParameters": [] }).to_string()
}

/// Returns a parameter. Every tenant is registered in the pool.
fn parameter(name: &str) -> Value {
    let value = match name.rsplit('/').next() {
        Some("consumer_sqs") => queue_arn(),
        Some("consumer_ddb" | "payments_ddb") => {
            format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{RESOURCE}")
        }
        Some("status") => "active".to_owned(),
        _ => "basic".to_owned(),
    };
    json!({ "Name": name, "Type": "String", "Value": value, "Version": 1 })
}

fn queue_arn() -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{RESOURCE}")
}

fn queue_url(own_url: &str, name: &str) -> String {
    format!("{own_url}/{ACCOUNT}/{name}")
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    let mut text = String::with_capacity(1024);
    for part in parts {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&part);
    }
    text
}

fn md5_hex(text: &str) -> String {
    let mut hex = String::with_capacity(32);
    for byte in Md5::digest(text.as_bytes()) {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "http://127.0.0.1:1";

    fn ask(action: &str, body: &Value, ledger: &mut Ledger) -> Value {
        match answer(action, body.to_string().as_bytes(), URL, ledger) {
            Answer::Now(text) => serde_json::from_str(&text).expect("an answer is JSON"),
            Answer::Messages { .. } | Answer::Refused(_) => {
                panic!("{action}: another answer was expected")
            }
        }
    }

    #[test]
    fn a_batch_is_confirmed_entry_by_entry_with_digests() {
        let mut ledger = Ledger::default();
        let entries = json!({"Entries": [{"Id": "0", "MessageBody": "a\"b", "MessageGroupId": "g"},
                                         {"Id": "1", "MessageBody": ""}]});
        let answer = ask("AmazonSQS.SendMessageBatch", &entries, &mut ledger);
        assert_eq!(answer["Successful"][0]["Id"], "0");
        assert_eq!(answer["Successful"][0]["MD5OfMessageBody"], md5_hex("a\"b"));
        assert_eq!(
            answer["Successful"][1]["MD5OfMessageBody"],
            "d41d8cd98f00b204e9800998ecf8427e"
        );
        assert_eq!((ledger.counts().sent, ledger.counts().all()), (2, 1));
    }

    #[test]
    fn a_received_message_has_the_digest_of_its_body_and_can_be_deleted() {
        let mut ledger = Ledger::default();
        ledger.restart(3);
        let received: Value = serde_json::from_str(&messages(ledger.take(10))).expect("JSON");
        let all = received["Messages"].as_array().expect("messages");
        assert_eq!(all.len(), 3);
        assert_eq!(
            all[0]["MD5OfBody"],
            md5_hex(all[0]["Body"].as_str().expect("text"))
        );
        let handles: Vec<_> = all
            .iter()
            .enumerate()
            .map(|(index, message)| json!({"Id": index.to_string(), "ReceiptHandle": message["ReceiptHandle"]}))
            .collect();
        let answer = ask(
            "AmazonSQS.DeleteMessageBatch",
            &json!({ "Entries": handles }),
            &mut ledger,
        );
        assert_eq!(answer["Successful"].as_array().map(Vec::len), Some(3));
        assert!(ledger.counts().drained_after_us.is_some());
        assert_eq!(messages(ledger.take(10)), "{}");
    }

    #[test]
    fn items_are_counted_one_by_one() {
        let mut ledger = Ledger::default();
        let writes = json!({"RequestItems": {"t": [{"PutRequest": {}}, {"PutRequest": {}}]}});
        ask("DynamoDB_20120810.BatchWriteItem", &writes, &mut ledger);
        ask("DynamoDB_20120810.PutItem", &json!({}), &mut ledger);
        assert_eq!(ledger.counts().stored, 3);
    }

    #[test]
    fn the_queue_has_a_dead_letter_queue_that_has_none() {
        let mut ledger = Ledger::default();
        let mut attributes = |name: &str| {
            let url = ask(
                "AmazonSQS.GetQueueUrl",
                &json!({ "QueueName": name }),
                &mut ledger,
            );
            ask("AmazonSQS.GetQueueAttributes", &url, &mut ledger)["Attributes"].clone()
        };
        assert!(
            attributes(RESOURCE)["RedrivePolicy"]
                .as_str()
                .expect("a policy")
                .contains(DEAD_LETTERS)
        );
        assert_eq!(attributes(&format!("{RESOURCE}{DEAD_LETTERS}")), json!({}));
    }

    #[test]
    fn every_tenant_is_of_the_pool() {
        let names = json!({"Names": ["/tenant-9/consumer_sqs", "/tenant-9/tier"]});
        let found = ask("AmazonSSM.GetParameters", &names, &mut Ledger::default());
        assert_eq!(found["Parameters"][0]["Value"], queue_arn());
        assert_eq!(found["Parameters"][1]["Value"], "basic");
    }

    #[test]
    fn an_unknown_action_and_a_malformed_body_are_refused() {
        let refused = |action, body| {
            matches!(
                answer(action, body, URL, &mut Ledger::default()),
                Answer::Refused(_)
            )
        };
        assert!(refused("AmazonSQS.CreateQueue", b"{}") && refused("AmazonSQS.SendMessage", b"{"));
    }
}
