//! Fuzz targets: conversion of messages into items.

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use bolero::check;
use tenantry_queue::message::{Received, string_attribute};
use tenantry_tenancy::environment::Environment;
use tenantry_tenancy::event::{Event, Payload, TENANT_ATTRIBUTE};
use tenantry_tenancy::generation::Owner;
use tenantry_tenancy::tenant::TenantId;

use crate::item::{Item, owner_of};

/// Generated inputs of each target per test run, beside the kept ones.
const GENERATED: usize = 20_000;

#[test]
fn a_payload_is_stored_as_its_client_wrote_it() {
    let environment: Environment = "pool-1".parse().expect("valid");
    check!(name = "payload")
        .with_iterations(GENERATED)
        .for_each(|input: &[u8]| {
            let Ok(payload) = Payload::parse(input) else {
                return;
            };
            let sent = serde_json::from_slice::<serde_json::Value>(input);
            let owner = Owner::from("tenant-2".parse::<TenantId>().expect("valid"));
            let event = Event {
                owner: owner.clone(),
                message_id: uuid::Uuid::nil(),
                payload: Some(payload),
            };
            let message = event.into_message(&environment);
            assert!(
                !message.body.contains(['\u{fffe}', '\u{ffff}']),
                "SQS rejects these"
            );
            let received = received(
                &message.body,
                message
                    .attributes
                    .iter()
                    .map(|(name, value)| (*name, &**value)),
            );
            let item = Item::of(&received, owner, &environment)
                .expect("every event of a producer can be stored");
            let stored = item.payload.as_deref().expect("the event has a payload");
            // Some JSON texts are no value for the library, for example a lone surrogate. Such texts are stored unchanged.
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

/// Input: one line `name=value` per attribute, an empty line, the body.
#[test]
fn any_message_is_an_item_of_the_tenant_it_names_or_poison() {
    let environment: Environment = "pool-1".parse().expect("valid");
    check!(name = "message")
        .with_iterations(GENERATED)
        .for_each(|input: &[u8]| {
            let text = String::from_utf8_lossy(input);
            let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
            let message = received(body, head.lines().filter_map(|line| line.split_once('=')));
            let Ok(owner) = owner_of(&message) else {
                return;
            };
            let tenant = owner.tenant.clone();
            assert_eq!(message.attribute(TENANT_ATTRIBUTE), Some(tenant.as_str()));
            if let Ok(item) = Item::of(&message, owner.clone(), &environment) {
                let attributes = item.clone().into_attributes();
                assert_eq!(
                    attributes["tenant_id"].as_s().map(String::as_str),
                    Ok(tenant.as_str())
                );
                let key = attributes["message_id"].as_s().expect("a text");
                assert!((1..=1024).contains(&key.len()), "a sort key");
                let again = Item::of(&message, owner, &environment).expect("still storable");
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
    Received::from_sdk(message.build()).expect("the message has a handle")
}
