//! Fuzz targets: ids, ARNs, and messages from queue to table.

use std::fmt::Display;
use std::str::FromStr;

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use bolero::check;

use crate::arn::{QueueArn, TableArn};
use crate::environment::Environment;
use crate::event::{Event, Item, Payload, TENANT_ATTRIBUTE, tenant_of};
use crate::queue::message::{Received, string_attribute};
use crate::tenant::{TenantId, Tier};

/// Inputs made up for each target by each test run, beside those kept.
pub(crate) const GENERATED: usize = 20_000;

/// Parses a text of a stranger, which it has to be able to print again as it was.
fn parse<T: FromStr<Err: Display> + Display>(input: &[u8]) -> Option<T> {
    let text = String::from_utf8_lossy(input);
    match text.parse::<T>() {
        Ok(parsed) => {
            assert_eq!(parsed.to_string(), text, "printed as it was parsed");
            Some(parsed)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty(), "a reason");
            None
        }
    }
}

/// RFC 1123, by the letter, and the contract's bound.
fn is_label(text: &str) -> bool {
    let is_end = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=32).contains(&text.len())
        && text.bytes().all(|byte| is_end(byte) || byte == b'-')
        && text.bytes().next().is_some_and(is_end)
        && text.bytes().next_back().is_some_and(is_end)
}

#[test]
fn a_tenant_id_is_a_label_that_means_nothing_else() {
    check!(name = "tenant-id")
        .with_iterations(GENERATED)
        .for_each(|input: &[u8]| {
            if let Some(id) = parse::<TenantId>(input) {
                assert!(is_label(id.as_str()));
                assert!(
                    !["pool-", "kube-", "argo-"]
                        .iter()
                        .any(|prefix| id.as_str().starts_with(prefix))
                );
                assert_eq!(
                    id.as_str()
                        .parse::<Environment>()
                        .map(|silo| silo.admits(&id))
                        .ok(),
                    Some(true)
                );
            }
        });
}

#[test]
fn a_tier_is_one_of_three() {
    let mut is_replayed = false;
    check!(name = "tier")
        .with_iterations(GENERATED)
        .for_each(|input: &[u8]| {
            is_replayed |= input == b"premium";
            parse::<Tier>(input);
        });
    assert!(
        is_replayed,
        "what is kept in __fuzz__ is where bolero looks for it"
    );
}

#[test]
fn an_environment_is_a_label_and_a_silo_is_one_tenants() {
    let stranger: TenantId = "tenant-9".parse().expect("valid");
    check!(name = "environment")
        .with_iterations(GENERATED)
        .for_each(|input: &[u8]| {
            if let Some(environment) = parse::<Environment>(input) {
                assert!(is_label(environment.as_str()));
                match &environment {
                    Environment::Pool(_) => assert!(environment.admits(&stranger)),
                    Environment::Silo(owner) => {
                        assert_eq!(environment.admits(&stranger), *owner == stranger)
                    }
                }
            }
        });
}

#[test]
fn an_arn_names_one_queue_or_one_table() {
    check!(name = "arn")
        .with_iterations(GENERATED)
        .for_each(
            |input: &[u8]| match (parse::<QueueArn>(input), parse::<TableArn>(input)) {
                (Some(queue), None) => {
                    assert!(!queue.name().is_empty() && !queue.account().is_empty());
                    assert!(queue.as_str().ends_with(&format!(
                        ":{}:{}",
                        queue.account(),
                        queue.name()
                    )));
                }
                (None, Some(table)) => {
                    assert!(
                        table
                            .as_str()
                            .ends_with(&format!(":table/{}", table.name()))
                            && !table.name().contains('/')
                    );
                }
                (None, None) => {}
                (Some(_), Some(_)) => panic!("it cannot be both"),
            },
        );
}

#[test]
fn a_payload_reaches_the_table_as_its_sender_wrote_it() {
    let environment: Environment = "pool-1".parse().expect("valid");
    check!(name = "payload")
        .with_iterations(GENERATED)
        .for_each(|input: &[u8]| {
            let Ok(payload) = Payload::parse(input) else {
                return;
            };
            let sent = serde_json::from_slice::<serde_json::Value>(input);
            let tenant: TenantId = "tenant-2".parse().expect("valid");
            let event = Event {
                tenant: tenant.clone(),
                message_id: uuid::Uuid::nil(),
                payload: Some(payload),
            };
            let message = event.into_message(&environment);
            assert!(
                !message.body().contains(['\u{fffe}', '\u{ffff}']),
                "SQS refuses these"
            );
            let received = received(
                message.body(),
                message
                    .attributes()
                    .iter()
                    .map(|(name, value)| (*name, &**value)),
            );
            let item =
                Item::of(&received, tenant, &environment).expect("what a producer sends is stored");
            let stored = item.payload.as_deref().expect("it had a payload");
            // What JSON allows and the library does not make a value of (a lone surrogate, say) is stored as it is.
            if let Ok(sent) = sent {
                assert_eq!(
                    serde_json::from_str::<serde_json::Value>(stored).ok(),
                    Some(sent)
                );
            }
            if !stored.contains("\\uff") {
                assert_eq!(stored.trim(), String::from_utf8_lossy(input).trim());
            }
        });
}

/// A message of a stranger's: a line for each attribute, `name=value`, and what follows the empty line is the body.
#[test]
fn whatever_is_on_a_queue_becomes_an_item_of_the_tenant_it_names_or_is_set_aside() {
    let environment: Environment = "pool-1".parse().expect("valid");
    check!(name = "message")
        .with_iterations(GENERATED)
        .for_each(|input: &[u8]| {
            let text = String::from_utf8_lossy(input);
            let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
            let message = received(body, head.lines().filter_map(|line| line.split_once('=')));
            let Ok(tenant) = tenant_of(&message) else {
                return;
            };
            assert_eq!(message.attribute(TENANT_ATTRIBUTE), Some(tenant.as_str()));
            if let Ok(item) = Item::of(&message, tenant.clone(), &environment) {
                let attributes = item.clone().into_attributes();
                assert_eq!(
                    attributes["tenant_id"].as_s().map(String::as_str),
                    Ok(tenant.as_str())
                );
                let key = attributes["message_id"].as_s().expect("a text");
                assert!((1..=1024).contains(&key.len()), "a sort key");
                let again = Item::of(&message, tenant, &environment).expect("as before");
                assert_eq!(again, item, "a redelivery is the same item");
            }
        });
}

fn received<'a>(body: &str, attributes: impl Iterator<Item = (&'a str, &'a str)>) -> Received {
    let message = attributes.fold(
        Message::builder()
            .message_id("an-id-of-sqs")
            .receipt_handle("handle")
            .body(body),
        |message, (name, value)| match name {
            "SentTimestamp" => message.attributes(MessageSystemAttributeName::SentTimestamp, value),
            "ApproximateReceiveCount" => {
                message.attributes(MessageSystemAttributeName::ApproximateReceiveCount, value)
            }
            "MessageGroupId" => {
                message.attributes(MessageSystemAttributeName::MessageGroupId, value)
            }
            _ => message.message_attributes(name, string_attribute(value)),
        },
    );
    Received::from_sdk(message.build()).expect("it has a handle")
}
