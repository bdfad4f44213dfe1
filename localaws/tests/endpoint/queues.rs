//! SQS through the endpoint.

use aws_sdk_sqs::{
    primitives::Blob,
    types::{
        ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
        MessageAttributeValue, MessageSystemAttributeName, MessageSystemAttributeValue,
        QueueAttributeName, SendMessageBatchRequestEntry,
    },
};

use crate::support::{code, count, ephemeral, queue, receive};
use kit::http::Request;

fn attribute(data_type: &str, value: &str) -> MessageAttributeValue {
    MessageAttributeValue::builder()
        .data_type(data_type)
        .string_value(value)
        .build()
        .unwrap()
}

fn entry(id: &str, body: &str) -> SendMessageBatchRequestEntry {
    SendMessageBatchRequestEntry::builder()
        .id(id)
        .message_body(body)
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_message_arrives_with_body_attributes_and_digests() {
    let endpoint = ephemeral().await;
    let (sqs, url) = queue(&endpoint.url(), "jobs").await;
    let bytes = MessageAttributeValue::builder()
        .data_type("Binary.png")
        .binary_value(Blob::new([0, 255]));
    let trace = MessageSystemAttributeValue::builder()
        .data_type("String")
        .string_value("Root=1");
    let sent = sqs
        .send_message()
        .queue_url(&url)
        .message_body("{\"a\":\"ü\"}")
        .message_attributes("tenant_id", attribute("String", "tenant-1"))
        .message_attributes("n", attribute("Number.int", "42"))
        .message_attributes("b", bytes.build().unwrap())
        .message_system_attributes("AWSTraceHeader".into(), trace.build().unwrap())
        .message_group_id("tenant-1")
        .send()
        .await
        .unwrap();
    let message = receive(&sqs, &url).await.remove(0);
    assert_eq!(message.message_id, sent.message_id);
    assert_eq!(message.body.as_deref(), Some("{\"a\":\"ü\"}"));
    assert_eq!(message.md5_of_body, sent.md5_of_message_body);
    assert_eq!(
        message.md5_of_message_attributes,
        sent.md5_of_message_attributes
    );
    let attributes = message.message_attributes.unwrap();
    assert_eq!(attributes["tenant_id"], attribute("String", "tenant-1"));
    assert_eq!(attributes["n"], attribute("Number.int", "42"));
    assert_eq!(
        attributes["b"].binary_value.as_ref().unwrap().as_ref(),
        [0, 255]
    );
    let system = message.attributes.unwrap();
    assert_eq!(
        system[&MessageSystemAttributeName::MessageGroupId],
        "tenant-1"
    );
    assert_eq!(
        system[&MessageSystemAttributeName::AwsTraceHeader],
        "Root=1"
    );
    assert_eq!(
        system[&MessageSystemAttributeName::ApproximateReceiveCount],
        "1"
    );
    assert_eq!(
        system[&MessageSystemAttributeName::SenderId],
        "000000000000"
    );
    endpoint.shutdown().await;
}

#[tokio::test]
async fn only_requested_attributes_are_returned_and_the_digest_covers_them() {
    let endpoint = ephemeral().await;
    let (sqs, url) = queue(&endpoint.url(), "jobs").await;
    let send = |name: &'static str, body: &'static str| {
        let send = sqs.send_message().queue_url(&url).message_body(body);
        send.message_attributes(name, attribute("String", "x"))
            .message_attributes("common", attribute("String", "y"))
    };
    let both = send("trace.id", "1").send().await.unwrap();
    let all = sqs
        .receive_message()
        .queue_url(&url)
        .visibility_timeout(0)
        .message_attribute_names(".*");
    let all = all.send().await.unwrap().messages.unwrap().remove(0);
    assert_eq!(
        all.md5_of_message_attributes,
        both.md5_of_message_attributes
    );
    assert_eq!(all.attributes, None);
    let prefix = sqs
        .receive_message()
        .queue_url(&url)
        .visibility_timeout(0)
        .message_attribute_names("trace.*");
    let prefix = prefix.send().await.unwrap().messages.unwrap().remove(0);
    assert_eq!(
        prefix
            .message_attributes
            .unwrap()
            .into_keys()
            .collect::<Vec<_>>(),
        ["trace.id"]
    );
    assert_ne!(
        prefix.md5_of_message_attributes,
        both.md5_of_message_attributes
    );
    let none = sqs
        .receive_message()
        .queue_url(&url)
        .send()
        .await
        .unwrap()
        .messages
        .unwrap()
        .remove(0);
    assert_eq!(
        (none.message_attributes, none.md5_of_message_attributes),
        (None, None)
    );
    endpoint.shutdown().await;
}

#[tokio::test]
async fn entries_of_a_batch_succeed_and_fail_one_by_one() {
    let endpoint = ephemeral().await;
    let (sqs, url) = queue(&endpoint.url(), "jobs").await;
    let batch = sqs
        .send_message_batch()
        .queue_url(&url)
        .entries(entry("good", "x"))
        .entries(entry("bad", "\u{1}"));
    let outcome = batch.send().await.unwrap();
    assert_eq!(outcome.successful[0].id, "good");
    let failed = &outcome.failed[0];
    assert_eq!(
        (
            failed.id.as_str(),
            failed.code.as_str(),
            failed.sender_fault
        ),
        ("bad", "InvalidMessageContents", true)
    );
    let message = receive(&sqs, &url).await.remove(0);
    let handle = message.receipt_handle.unwrap();
    let change = |id: &str, handle: &str| {
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
            .id(id)
            .receipt_handle(handle);
        entry.visibility_timeout(60).build().unwrap()
    };
    let changed = sqs.change_message_visibility_batch().queue_url(&url);
    let changed = changed
        .entries(change("1", &handle))
        .entries(change("2", "corrupt"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            changed.successful[0].id.as_str(),
            changed.failed[0].code.as_str()
        ),
        ("1", "ReceiptHandleIsInvalid")
    );
    let delete = |id: &str, handle: &str| {
        DeleteMessageBatchRequestEntry::builder()
            .id(id)
            .receipt_handle(handle)
            .build()
            .unwrap()
    };
    let deleted = sqs.delete_message_batch().queue_url(&url);
    let deleted = deleted
        .entries(delete("1", &handle))
        .entries(delete("2", "corrupt"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            deleted.successful[0].id.as_str(),
            deleted.failed[0].code.as_str()
        ),
        ("1", "ReceiptHandleIsInvalid")
    );
    assert_eq!(
        count(&sqs, &url, "ApproximateNumberOfMessagesNotVisible").await,
        0
    );
    endpoint.shutdown().await;
}

#[tokio::test]
async fn a_batch_over_a_limit_is_refused_whole() {
    let endpoint = ephemeral().await;
    let (sqs, url) = queue(&endpoint.url(), "jobs").await;
    let send = |entries: Vec<SendMessageBatchRequestEntry>| {
        sqs.send_message_batch()
            .queue_url(&url)
            .set_entries(Some(entries))
            .send()
    };
    let numbered = |n: usize| {
        (0..n)
            .map(|n| entry(&n.to_string(), "x"))
            .collect::<Vec<_>>()
    };
    let half = "x".repeat(512 * 1_024);
    for (entries, expected) in [
        (vec![], "AWS.SimpleQueueService.EmptyBatchRequest"),
        (
            numbered(11),
            "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
        ),
        (
            vec![entry("a", "x"), entry("a", "y")],
            "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
        ),
        (
            vec![entry("a b", "x")],
            "AWS.SimpleQueueService.InvalidBatchEntryId",
        ),
        (
            vec![entry(&"i".repeat(81), "x")],
            "AWS.SimpleQueueService.InvalidBatchEntryId",
        ),
        (
            vec![entry("a", &half), entry("b", &half), entry("c", "x")],
            "AWS.SimpleQueueService.BatchRequestTooLong",
        ),
    ] {
        assert_eq!(code(send(entries).await), expected);
    }
    assert_eq!(send(numbered(10)).await.unwrap().successful.len(), 10);
    assert_eq!(
        send(vec![entry("a", &half), entry("b", &half)])
            .await
            .unwrap()
            .successful
            .len(),
        2
    );
    assert_eq!(count(&sqs, &url, "ApproximateNumberOfMessages").await, 12);
    endpoint.shutdown().await;
}

#[tokio::test]
async fn the_size_limit_of_a_message_includes_its_attributes() {
    let endpoint = ephemeral().await;
    let (sqs, url) = queue(&endpoint.url(), "jobs").await;
    let send = |body: usize| {
        let send = sqs
            .send_message()
            .queue_url(&url)
            .message_body("x".repeat(body));
        send.message_attributes("name", attribute("String", "value"))
            .send()
    };
    let attribute_bytes = "name".len() + "String".len() + "value".len();
    assert!(send(1_048_576 - attribute_bytes).await.is_ok());
    assert_eq!(
        code(send(1_048_576 - attribute_bytes + 1).await),
        "InvalidParameterValue"
    );
    let mut eleven = sqs.send_message().queue_url(&url).message_body("x");
    for n in 0..11 {
        eleven = eleven.message_attributes(format!("a{n}"), attribute("String", "x"));
    }
    assert_eq!(code(eleven.send().await), "InvalidParameterValue");
    assert_eq!(
        code(
            sqs.send_message()
                .queue_url(&url)
                .message_body("")
                .send()
                .await
        ),
        "MissingParameter"
    );
    let group = sqs
        .send_message()
        .queue_url(&url)
        .message_body("x")
        .message_group_id("g".repeat(129));
    assert_eq!(code(group.send().await), "InvalidParameterValue");
    endpoint.shutdown().await;
}

#[tokio::test]
async fn creating_a_queue_again_requires_the_same_attributes() {
    let endpoint = ephemeral().await;
    let (sqs, url) = queue(&endpoint.url(), "jobs").await;
    let create = |name: &str, visibility: &str| {
        sqs.create_queue()
            .queue_name(name)
            .attributes(QueueAttributeName::VisibilityTimeout, visibility)
            .send()
    };
    assert_eq!(create("jobs", "30").await.unwrap().queue_url.unwrap(), url);
    assert_eq!(code(create("jobs", "31").await), "QueueAlreadyExists");
    assert_eq!(
        code(create("other", "43201").await),
        "InvalidAttributeValue"
    );
    assert_eq!(code(create("no good", "30").await), "InvalidParameterValue");
    assert_eq!(
        code(create("jobs.fifo", "30").await),
        "AWS.SimpleQueueService.UnsupportedOperation"
    );
    sqs.delete_queue().queue_url(&url).send().await.unwrap();
    let gone = sqs.get_queue_url().queue_name("jobs").send().await;
    assert!(
        gone.as_ref()
            .unwrap_err()
            .as_service_error()
            .unwrap()
            .is_queue_does_not_exist()
    );
    assert_eq!(code(gone), "AWS.SimpleQueueService.NonExistentQueue");
    endpoint.shutdown().await;
}

#[tokio::test]
async fn queues_are_listed_by_prefix_and_page() {
    let endpoint = ephemeral().await;
    let sqs = queue(&endpoint.url(), "b-0").await.0;
    for n in 0..25 {
        sqs.create_queue()
            .queue_name(format!("a-{n:02}"))
            .send()
            .await
            .unwrap();
    }
    let mut pages = sqs
        .list_queues()
        .queue_name_prefix("a-")
        .max_results(10)
        .into_paginator()
        .send();
    let mut sizes = Vec::new();
    while let Some(page) = pages.next().await {
        sizes.push(page.unwrap().queue_urls.unwrap_or_default().len());
    }
    assert_eq!(sizes, [10, 10, 5]);
    assert_eq!(
        sqs.list_queues()
            .send()
            .await
            .unwrap()
            .queue_urls
            .unwrap()
            .len(),
        26
    );
    endpoint.shutdown().await;
}

#[tokio::test]
async fn a_message_received_too_often_moves_to_the_dead_letter_queue() {
    let endpoint = ephemeral().await;
    let (sqs, dlq) = queue(&endpoint.url(), "jobs-dlq").await;
    let policy = |target: &str| {
        format!(
            r#"{{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:{target}","maxReceiveCount":"1"}}"#
        )
    };
    let create = |target: &str| {
        sqs.create_queue()
            .queue_name("jobs")
            .attributes(QueueAttributeName::RedrivePolicy, policy(target))
            .send()
    };
    assert_eq!(code(create("nowhere").await), "InvalidParameterValue");
    let url = create("jobs-dlq").await.unwrap().queue_url.unwrap();
    let sources = sqs
        .list_dead_letter_source_queues()
        .queue_url(&dlq)
        .send()
        .await
        .unwrap();
    assert_eq!(sources.queue_urls, std::slice::from_ref(&url));
    let sent = sqs
        .send_message()
        .queue_url(&url)
        .message_body("poison")
        .send()
        .await
        .unwrap();
    let first = receive(&sqs, &url).await.remove(0);
    let back = sqs
        .change_message_visibility()
        .queue_url(&url)
        .visibility_timeout(0);
    back.receipt_handle(first.receipt_handle.unwrap())
        .send()
        .await
        .unwrap();
    assert!(receive(&sqs, &url).await.is_empty());
    let dead_letter = receive(&sqs, &dlq).await.remove(0);
    assert_eq!(dead_letter.message_id, sent.message_id);
    let system = dead_letter.attributes.unwrap();
    assert_eq!(
        system[&MessageSystemAttributeName::DeadLetterQueueSourceArn],
        "arn:aws:sqs:us-east-1:000000000000:jobs"
    );
    endpoint.shutdown().await;
}

#[tokio::test]
async fn a_stale_handle_deletes_nothing_and_only_a_message_in_flight_can_be_extended() {
    let endpoint = ephemeral().await;
    let (sqs, url) = queue(&endpoint.url(), "jobs").await;
    sqs.send_message()
        .queue_url(&url)
        .message_body("x")
        .send()
        .await
        .unwrap();
    let take = || async {
        let receive = sqs
            .receive_message()
            .queue_url(&url)
            .visibility_timeout(0)
            .send()
            .await;
        receive
            .unwrap()
            .messages
            .unwrap()
            .remove(0)
            .receipt_handle
            .unwrap()
    };
    let (stale, fresh) = (take().await, take().await);
    let change = sqs
        .change_message_visibility()
        .queue_url(&url)
        .receipt_handle(&fresh)
        .visibility_timeout(5);
    assert_eq!(
        code(change.send().await),
        "AWS.SimpleQueueService.MessageNotInflight"
    );
    sqs.delete_message()
        .queue_url(&url)
        .receipt_handle(&stale)
        .send()
        .await
        .unwrap();
    assert_eq!(count(&sqs, &url, "ApproximateNumberOfMessages").await, 1);
    sqs.delete_message()
        .queue_url(&url)
        .receipt_handle(&fresh)
        .send()
        .await
        .unwrap();
    assert_eq!(count(&sqs, &url, "ApproximateNumberOfMessages").await, 0);
    sqs.delete_message()
        .queue_url(&url)
        .receipt_handle(&fresh)
        .send()
        .await
        .unwrap();
    let gone = sqs
        .change_message_visibility()
        .queue_url(&url)
        .receipt_handle(&fresh)
        .visibility_timeout(5);
    assert_eq!(code(gone.send().await), "InvalidParameterValue");
    endpoint.shutdown().await;
}

#[tokio::test]
async fn a_quiet_group_is_served_next_to_a_noisy_one() {
    let endpoint = ephemeral().await;
    let (sqs, url) = queue(&endpoint.url(), "jobs").await;
    let send = |group: &'static str| {
        sqs.send_message()
            .queue_url(&url)
            .message_body("x")
            .message_group_id(group)
            .send()
    };
    for _ in 0..50 {
        send("noisy").await.unwrap();
    }
    send("quiet").await.unwrap();
    let groups: Vec<_> = receive(&sqs, &url)
        .await
        .into_iter()
        .map(|m| {
            m.attributes
                .unwrap()
                .remove(&MessageSystemAttributeName::MessageGroupId)
                .unwrap()
        })
        .collect();
    assert_eq!(groups.len(), 10);
    assert!(groups[..2].contains(&"quiet".to_owned()), "{groups:?}");
    endpoint.shutdown().await;
}

#[tokio::test]
async fn tags_and_purge_change_the_queue_and_an_unknown_attribute_is_refused() {
    let endpoint = ephemeral().await;
    let (sqs, url) = queue(&endpoint.url(), "jobs").await;
    sqs.tag_queue()
        .queue_url(&url)
        .tags("team", "a")
        .tags("cost", "b")
        .send()
        .await
        .unwrap();
    sqs.untag_queue()
        .queue_url(&url)
        .tag_keys("cost")
        .send()
        .await
        .unwrap();
    let tags = sqs
        .list_queue_tags()
        .queue_url(&url)
        .send()
        .await
        .unwrap()
        .tags
        .unwrap();
    assert_eq!(
        tags.into_iter().collect::<Vec<_>>(),
        [("team".to_owned(), "a".to_owned())]
    );
    sqs.send_message()
        .queue_url(&url)
        .message_body("now")
        .send()
        .await
        .unwrap();
    sqs.send_message()
        .queue_url(&url)
        .message_body("later")
        .delay_seconds(900)
        .send()
        .await
        .unwrap();
    assert_eq!(
        count(&sqs, &url, "ApproximateNumberOfMessagesDelayed").await,
        1
    );
    sqs.purge_queue().queue_url(&url).send().await.unwrap();
    assert_eq!(
        count(&sqs, &url, "ApproximateNumberOfMessagesDelayed").await,
        0
    );
    assert!(receive(&sqs, &url).await.is_empty());
    let unknown = sqs
        .get_queue_attributes()
        .queue_url(&url)
        .attribute_names("Nonsense".into())
        .send()
        .await;
    assert_eq!(code(unknown), "InvalidAttributeName");
    endpoint.shutdown().await;
}

#[tokio::test]
async fn a_queue_is_found_under_any_host_name_and_its_url_has_the_host_of_the_request() {
    let endpoint = ephemeral().await;
    let (sqs, url) = queue(&endpoint.url(), "jobs").await;
    assert_eq!(url, format!("{}/000000000000/jobs", endpoint.url()));
    let foreign = "https://sqs.us-east-1.amazonaws.com/000000000000/jobs";
    sqs.send_message()
        .queue_url(foreign)
        .message_body("x")
        .send()
        .await
        .unwrap();
    assert_eq!(count(&sqs, &url, "ApproximateNumberOfMessages").await, 1);
    let by_name = endpoint.url().replace("127.0.0.1", "localhost");
    let (_, named) = queue(&by_name, "jobs").await;
    assert_eq!(named, format!("{by_name}/000000000000/jobs"));
    endpoint.shutdown().await;
}

#[tokio::test]
async fn a_malformed_request_gets_an_error_response() {
    let endpoint = ephemeral().await;
    for (path, expected) in [
        ("/", 200),
        ("/nowhere", 404),
        ("/?Action=ListQueues&Version=2012-11-05", 400),
        ("/?Action=Nonsense&Version=2011-06-15", 400),
        ("/_localaws/nowhere", 404),
    ] {
        let answer = Request::get(path).ask(endpoint.addr()).await;
        assert_eq!(answer.status, expected, "{path}");
    }
    endpoint.shutdown().await;
}
