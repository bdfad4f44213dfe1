//! Counts and faults, which tests ask the endpoint for.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;

use crate::support::{admin, code, count, ephemeral, eventually, queue, receive, sdk};

#[tokio::test]
async fn calls_are_counted_by_action_and_reset() {
    let endpoint = ephemeral().await;
    let (sqs, url) = queue(&endpoint.url(), "jobs").await;
    for _ in 0..3 {
        sqs.send_message()
            .queue_url(&url)
            .message_body("x")
            .send()
            .await
            .unwrap();
    }
    let _ = sqs.get_queue_url().queue_name("missing").send().await;
    let (_, calls) = admin("GET", &endpoint, "calls", "").await;
    let expected =
        serde_json::json!({"SQS.CreateQueue": 1, "SQS.GetQueueUrl": 1, "SQS.SendMessage": 3});
    assert_eq!(calls, expected);
    admin("DELETE", &endpoint, "calls", "").await;
    let (_, calls) = admin("GET", &endpoint, "calls", "").await;
    assert_eq!(calls, serde_json::json!({}));
    endpoint.shutdown().await;
}

#[tokio::test]
async fn errors_drops_and_delays_befall_the_calls_they_name() {
    let endpoint = ephemeral().await;
    let (sqs, url) = queue(&endpoint.url(), "jobs").await;
    let send = || sqs.send_message().queue_url(&url).message_body("x").send();
    let put = |rules: &'static str| admin("PUT", &endpoint, "faults", rules);

    put(r#"[{"action":"SQS.SendMessage","limit":1,"error":{"code":"ThrottlingException","status":400}}]"#)
        .await;
    assert_eq!(code(send().await), "ThrottlingException");
    assert!(send().await.is_ok());

    put(r#"[{"action":"SQS.*","limit":1,"drop":true}]"#).await;
    assert!(
        send().await.unwrap_err().as_service_error().is_none(),
        "no answer at all"
    );
    assert_eq!(count(&sqs, &url, "ApproximateNumberOfMessages").await, 1);

    put(r#"[{"action":"SQS.SendMessage","limit":1,"drop":true,"when":"after"}]"#).await;
    assert!(send().await.is_err());
    assert_eq!(
        count(&sqs, &url, "ApproximateNumberOfMessages").await,
        2,
        "the work was done"
    );

    put(r#"[{"action":"SQS.SendMessage","limit":1,"delay_ms":300}]"#).await;
    let started = Instant::now();
    let (slow, ()) = tokio::join!(send(), async {
        assert!(count(&sqs, &url, "ApproximateNumberOfMessages").await >= 2);
        assert!(
            started.elapsed() < Duration::from_millis(250),
            "a delay blocks no other call"
        );
    });
    slow.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(300));

    let (_, rules) = admin("GET", &endpoint, "faults", "").await;
    assert_eq!(
        (rules[0]["injected"].as_u64(), rules[0]["delay_ms"].as_u64()),
        (Some(1), Some(300))
    );
    admin("DELETE", &endpoint, "faults", "").await;
    assert_eq!(
        admin("GET", &endpoint, "faults", "").await.1,
        serde_json::json!([])
    );
    endpoint.shutdown().await;
}

#[tokio::test]
async fn a_wrong_rule_is_named() {
    let endpoint = ephemeral().await;
    let (status, answer) = admin(
        "PUT",
        &endpoint,
        "faults",
        r#"[{"action":"SQS.*","rate":7,"drop":true}]"#,
    )
    .await;
    assert_eq!(status, 400);
    assert!(answer["msg"].as_str().unwrap().contains("rate"), "{answer}");
    endpoint.shutdown().await;
}

#[tokio::test]
async fn entries_of_a_batch_fail_alone() {
    let endpoint = ephemeral().await;
    let (sqs, url) = queue(&endpoint.url(), "jobs").await;
    let rule =
        r#"[{"action":"SQS.SendMessageBatch","limit":2,"partial":{"code":"InternalError"}}]"#;
    admin("PUT", &endpoint, "faults", rule).await;
    let mut batch = sqs.send_message_batch().queue_url(&url);
    for n in 0..5 {
        let entry = SendMessageBatchRequestEntry::builder()
            .id(n.to_string())
            .message_body("x");
        batch = batch.entries(entry.build().unwrap());
    }
    let outcome = batch.send().await.unwrap();
    assert_eq!((outcome.successful.len(), outcome.failed.len()), (3, 2));
    assert!(
        outcome
            .failed
            .iter()
            .all(|f| f.code == "InternalError" && !f.sender_fault)
    );
    assert_eq!(count(&sqs, &url, "ApproximateNumberOfMessages").await, 3);
    endpoint.shutdown().await;
}

#[tokio::test]
async fn items_of_a_batch_write_stay_unprocessed() {
    let endpoint = ephemeral().await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&sdk(&endpoint.url()).await);
    crate::dynamodb::create_table(&dynamodb, "items").await;
    let rule = r#"[{"action":"DynamoDB.BatchWriteItem","limit":4,"unprocessed":true}]"#;
    admin("PUT", &endpoint, "faults", rule).await;
    let write = |n: usize| {
        let put = PutRequest::builder()
            .item("tenant_id", AttributeValue::S("t".into()))
            .item("message_id", AttributeValue::S(n.to_string()))
            .build();
        WriteRequest::builder().put_request(put.unwrap()).build()
    };
    let mut left: Vec<_> = (0..10).map(write).collect();
    let first = dynamodb
        .batch_write_item()
        .request_items("items", left)
        .send()
        .await
        .unwrap();
    left = first.unprocessed_items.unwrap().remove("items").unwrap();
    assert_eq!(left.len(), 4);
    assert_eq!(
        dynamodb
            .scan()
            .table_name("items")
            .send()
            .await
            .unwrap()
            .count,
        6
    );
    let second = dynamodb
        .batch_write_item()
        .request_items("items", left)
        .send()
        .await
        .unwrap();
    assert!(second.unprocessed_items.unwrap_or_default().is_empty());
    assert_eq!(
        dynamodb
            .scan()
            .table_name("items")
            .send()
            .await
            .unwrap()
            .count,
        10
    );
    endpoint.shutdown().await;
}

#[tokio::test]
async fn a_stale_receipt_handle_belongs_to_a_message_that_was_delivered_again() {
    let endpoint = ephemeral().await;
    let (sqs, url) = queue(&endpoint.url(), "jobs").await;
    sqs.send_message()
        .queue_url(&url)
        .message_body("x")
        .send()
        .await
        .unwrap();
    admin(
        "PUT",
        &endpoint,
        "faults",
        r#"[{"action":"SQS.ReceiveMessage","limit":1,"stale":true}]"#,
    )
    .await;
    let (first, second) = (receive(&sqs, &url).await, receive(&sqs, &url).await);
    assert_eq!(
        (first.len(), second.len()),
        (1, 1),
        "visible again at once, then leased as ever"
    );
    assert_eq!(first[0].message_id, second[0].message_id);
    let delete = |handle: &Option<String>| {
        sqs.delete_message()
            .queue_url(&url)
            .set_receipt_handle(handle.clone())
            .send()
    };
    delete(&first[0].receipt_handle).await.unwrap();
    assert_eq!(
        count(&sqs, &url, "ApproximateNumberOfMessagesNotVisible").await,
        1,
        "it deletes nothing"
    );
    delete(&second[0].receipt_handle).await.unwrap();
    assert_eq!(
        count(&sqs, &url, "ApproximateNumberOfMessagesNotVisible").await,
        0
    );
    endpoint.shutdown().await;
}

#[tokio::test]
async fn a_duplicate_has_the_id_of_its_original_and_a_late_message_is_overtaken() {
    let endpoint = ephemeral().await;
    let (sqs, url) = queue(&endpoint.url(), "jobs").await;
    let send = |body: &'static str| sqs.send_message().queue_url(&url).message_body(body).send();
    let put = |rules: &'static str| admin("PUT", &endpoint, "faults", rules);

    put(r#"[{"action":"SQS.SendMessage","limit":1,"duplicate":true}]"#).await;
    let id = send("twice").await.unwrap().message_id;
    let received = receive(&sqs, &url).await;
    assert_eq!(
        received.iter().map(|m| &m.message_id).collect::<Vec<_>>(),
        [&id, &id]
    );
    assert_ne!(received[0].receipt_handle, received[1].receipt_handle);

    put(r#"[{"action":"SQS.*","limit":1,"late_s":1}]"#).await;
    send("first").await.unwrap();
    send("second").await.unwrap();
    let next = receive(&sqs, &url).await;
    assert_eq!(
        next.iter().filter_map(|m| m.body()).collect::<Vec<_>>(),
        ["second"]
    );
    eventually("the late one comes", async || {
        receive(&sqs, &url)
            .await
            .iter()
            .any(|message| message.body() == Some("first"))
    })
    .await;
    endpoint.shutdown().await;
}
