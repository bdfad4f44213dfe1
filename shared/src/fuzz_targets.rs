//! Fuzz targets: ids, ARNs, and messages from queue to table.

use std::fmt::Display;
use std::str::FromStr;

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use fuzz::{fuzz, outcome};

use crate::arn::{QueueArn, TableArn};
use crate::environment::Environment;
use crate::event::{
    DEFAULT_BODY, Event, ID_ATTRIBUTE, Item, PRODUCER_ATTRIBUTE, Payload, TENANT_ATTRIBUTE, tenant_of,
};
use crate::queue::message::{Received, TRACE_ATTRIBUTE, string_attribute};
use crate::tenant::{TenantId, Tier};

const NAMES: &[&str] =
    &["tenant-1", "pool-", "kube-", "argo-", "default", "basic", "advanced", "premium", "-", "a", "Z"];
const ARNS: &[&str] =
    &["arn:", "aws", "aws-cn", ":sqs:", ":dynamodb:", "us-east-1", ":000000000000:", "table/", "index/", ":"];

/// Parses a text of a stranger, which it has to be able to print again as it was.
fn parse<T: FromStr<Err: Display> + Display>(input: &[u8]) -> Result<T, String> {
    let text = String::from_utf8_lossy(input);
    let parsed = text.parse::<T>().map_err(|error| outcome(&error.to_string()))?;
    assert_eq!(parsed.to_string(), text, "printed as it was parsed");
    Ok(parsed)
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
    fuzz("tenant-id", NAMES, |input| match parse::<TenantId>(input) {
        Ok(id) => {
            assert!(is_label(id.as_str()));
            assert!(!["pool-", "kube-", "argo-"].iter().any(|prefix| id.as_str().starts_with(prefix)));
            assert_eq!(id.as_str().parse::<Environment>().map(|silo| silo.admits(&id)).ok(), Some(true));
            "an id".to_owned()
        }
        Err(outcome) => outcome,
    });
}

#[test]
fn a_tier_is_one_of_three() {
    fuzz("tier", NAMES, |input| match parse::<Tier>(input) {
        Ok(tier) => tier.to_string(),
        Err(outcome) => outcome,
    });
}

#[test]
fn an_environment_is_a_label_and_a_silo_is_one_tenants() {
    let stranger: TenantId = "tenant-9".parse().expect("valid");
    fuzz("environment", NAMES, |input| match parse::<Environment>(input) {
        Ok(environment) => {
            assert!(is_label(environment.as_str()));
            match &environment {
                Environment::Pool(_) => assert!(environment.admits(&stranger)),
                Environment::Silo(owner) => assert_eq!(environment.admits(&stranger), *owner == stranger),
            }
            format!("{:?}", std::mem::discriminant(&environment))
        }
        Err(outcome) => outcome,
    });
}

#[test]
fn an_arn_names_one_queue_or_one_table() {
    fuzz("arn", ARNS, |input| match (parse::<QueueArn>(input), parse::<TableArn>(input)) {
        (Ok(queue), Err(_)) => {
            assert!(!queue.name().is_empty() && !queue.account().is_empty());
            assert!(queue.as_str().ends_with(&format!(":{}:{}", queue.account(), queue.name())));
            "a queue".to_owned()
        }
        (Err(_), Ok(table)) => {
            assert!(
                table.as_str().ends_with(&format!(":table/{}", table.name())) && !table.name().contains('/')
            );
            "a table".to_owned()
        }
        // The reason quotes the whole text: no outcome of its own.
        (Err(_), Err(_)) => format!("neither, of {} parts", input.split(|byte| *byte == b':').count().min(7)),
        (Ok(_), Ok(_)) => panic!("it cannot be both"),
    });
}

#[test]
fn a_payload_reaches_the_table_as_its_sender_wrote_it() {
    let tokens =
        ["{", "}", "[", "]", "\"", "\\u0000", "\\ud800", "\\ufffe", ":", ",", "true", "null", DEFAULT_BODY];
    let environment: Environment = "pool-1".parse().expect("valid");
    fuzz("payload", &tokens, |input| {
        let payload = match Payload::parse(input) {
            Ok(payload) => payload,
            Err(error) => return outcome(&error.to_string()),
        };
        let sent = serde_json::from_slice::<serde_json::Value>(input);
        let tenant: TenantId = "tenant-2".parse().expect("valid");
        let event = Event { tenant: tenant.clone(), message_id: uuid::Uuid::nil(), payload: Some(payload) };
        let message = event.into_message(&environment);
        assert!(!message.body().contains(['\u{fffe}', '\u{ffff}']), "SQS refuses these");
        let received =
            received(message.body(), message.attributes().iter().map(|(name, value)| (*name, &**value)));
        let item = Item::of(&received, tenant, &environment).expect("what a producer sends is stored");
        let stored = item.payload.as_deref().expect("it had a payload");
        // What JSON allows and the library does not make a value of (a lone surrogate, say) is stored as it is.
        if let Ok(sent) = sent {
            assert_eq!(serde_json::from_str::<serde_json::Value>(stored).ok(), Some(sent));
        }
        if !stored.contains("\\uff") {
            assert_eq!(stored.trim(), String::from_utf8_lossy(input).trim());
        }
        stored.chars().next().map(String::from).unwrap_or_default()
    });
}

/// A message of a stranger's: a line for each attribute, `name=value`, and what follows the empty line is the body.
#[test]
fn whatever_is_on_a_queue_becomes_an_item_of_the_tenant_it_names_or_is_set_aside() {
    let tokens = [
        TENANT_ATTRIBUTE,
        PRODUCER_ATTRIBUTE,
        ID_ATTRIBUTE,
        TRACE_ATTRIBUTE,
        "=",
        "\n",
        "tenant-2",
        "SentTimestamp",
        "id",
    ];
    let environment: Environment = "pool-1".parse().expect("valid");
    fuzz("message", &tokens, |input| {
        let text = String::from_utf8_lossy(input);
        let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
        let message = received(body, head.lines().filter_map(|line| line.split_once('=')));
        let tenant = match tenant_of(&message) {
            Ok(tenant) => tenant,
            Err(poison) => return poison.code().to_owned(),
        };
        assert_eq!(message.attribute(TENANT_ATTRIBUTE), Some(tenant.as_str()));
        match Item::of(&message, tenant.clone(), &environment) {
            Ok(item) => {
                let attributes = item.clone().into_attributes();
                assert_eq!(attributes["tenant_id"].as_s().map(String::as_str), Ok(tenant.as_str()));
                let key = attributes["message_id"].as_s().expect("a text");
                assert!((1..=1024).contains(&key.len()), "a sort key");
                let again = Item::of(&message, tenant, &environment).expect("as before");
                assert_eq!(again, item, "a redelivery is the same item");
                format!("{:?}", attributes.keys().collect::<std::collections::BTreeSet<_>>())
            }
            Err(poison) => poison.code().to_owned(),
        }
    });
}

fn received<'a>(body: &str, attributes: impl Iterator<Item = (&'a str, &'a str)>) -> Received {
    let message = attributes.fold(
        Message::builder().message_id("an-id-of-sqs").receipt_handle("handle").body(body),
        |message, (name, value)| match name {
            "SentTimestamp" => message.attributes(MessageSystemAttributeName::SentTimestamp, value),
            "ApproximateReceiveCount" => {
                message.attributes(MessageSystemAttributeName::ApproximateReceiveCount, value)
            }
            "MessageGroupId" => message.attributes(MessageSystemAttributeName::MessageGroupId, value),
            _ => message.message_attributes(name, string_attribute(value)),
        },
    );
    Received::from_sdk(message.build()).expect("it has a handle")
}
