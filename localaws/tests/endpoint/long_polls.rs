//! Long polls.

use std::time::{Duration, Instant};

use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::support::{admin, count, ephemeral, eventually, queue, receive};

/// Limit on the median time from a confirmed send to the response of a waiting receive.
const WAKE_MAX: Duration = Duration::from_millis(20);

/// Waits until the endpoint has counted `n` receives.
async fn receives_arrived(endpoint: &localaws::Endpoint, n: u64) {
    eventually("the receives arrive", async || {
        let (_, calls) = admin("GET", endpoint, "calls", "").await;
        calls["SQS.ReceiveMessage"].as_u64().unwrap_or(0) >= n
    })
    .await;
}

#[tokio::test]
async fn a_send_wakes_a_waiting_receive_at_once() {
    let endpoint = ephemeral().await;
    let (sqs, url) = queue(&endpoint.url(), "jobs").await;
    let mut wakes = Vec::new();
    for round in 1..=20 {
        let waiting = tokio::spawn({
            let receive = sqs
                .receive_message()
                .queue_url(&url)
                .wait_time_seconds(20)
                .send();
            async move {
                let messages = receive.await.unwrap().messages.unwrap();
                (Instant::now(), messages)
            }
        });
        receives_arrived(&endpoint, round).await;
        sqs.send_message()
            .queue_url(&url)
            .message_body("x")
            .send()
            .await
            .unwrap();
        let confirmed = Instant::now();
        let (woken, messages) = waiting.await.unwrap();
        wakes.push(woken.saturating_duration_since(confirmed));
        let handle = messages[0].receipt_handle.as_deref().unwrap();
        sqs.delete_message()
            .queue_url(&url)
            .receipt_handle(handle)
            .send()
            .await
            .unwrap();
    }
    wakes.sort_unstable();
    assert!(wakes[wakes.len() / 2] < WAKE_MAX, "{wakes:?}");
    endpoint.shutdown().await;
}

#[tokio::test]
async fn a_receive_on_an_empty_queue_waits_its_full_time() {
    let endpoint = ephemeral().await;
    let (sqs, url) = queue(&endpoint.url(), "jobs").await;
    let started = Instant::now();
    let empty = sqs
        .receive_message()
        .queue_url(&url)
        .wait_time_seconds(1)
        .send()
        .await
        .unwrap();
    assert_eq!(empty.messages, None);
    assert!(
        (0.99..2.0).contains(&started.elapsed().as_secs_f64()),
        "{:?}",
        started.elapsed()
    );
    endpoint.shutdown().await;
}

#[tokio::test]
async fn the_end_of_a_delay_or_visibility_timeout_wakes_a_waiting_receive() {
    let endpoint = ephemeral().await;
    let (sqs, url) = queue(&endpoint.url(), "jobs").await;
    sqs.send_message()
        .queue_url(&url)
        .message_body("x")
        .delay_seconds(1)
        .send()
        .await
        .unwrap();
    for visibility_s in [1, 30] {
        let started = Instant::now();
        let wait = sqs
            .receive_message()
            .queue_url(&url)
            .wait_time_seconds(10)
            .visibility_timeout(visibility_s);
        let messages = wait.send().await.unwrap().messages.unwrap_or_default();
        assert_eq!(messages.len(), 1);
        assert!(
            (0.9..1.5).contains(&started.elapsed().as_secs_f64()),
            "{:?}",
            started.elapsed()
        );
    }
    endpoint.shutdown().await;
}

#[tokio::test]
async fn a_shortened_visibility_timeout_wakes_a_waiting_receive() {
    let endpoint = ephemeral().await;
    let (sqs, url) = queue(&endpoint.url(), "jobs").await;
    sqs.send_message()
        .queue_url(&url)
        .message_body("x")
        .send()
        .await
        .unwrap();
    let handle = receive(&sqs, &url).await.remove(0).receipt_handle.unwrap();
    let waiting = tokio::spawn(
        sqs.receive_message()
            .queue_url(&url)
            .wait_time_seconds(20)
            .send(),
    );
    receives_arrived(&endpoint, 2).await;
    let started = Instant::now();
    let shorten = sqs
        .change_message_visibility()
        .queue_url(&url)
        .receipt_handle(handle)
        .visibility_timeout(0);
    shorten.send().await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().messages.unwrap().len(), 1);
    assert!(started.elapsed() < Duration::from_secs(1));
    endpoint.shutdown().await;
}

#[tokio::test]
async fn a_batch_of_five_wakes_five_waiting_receives() {
    let endpoint = ephemeral().await;
    let (sqs, url) = queue(&endpoint.url(), "jobs").await;
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            tokio::spawn(
                sqs.receive_message()
                    .queue_url(&url)
                    .wait_time_seconds(20)
                    .send(),
            )
        })
        .collect();
    receives_arrived(&endpoint, 5).await;
    let mut batch = sqs.send_message_batch().queue_url(&url);
    for n in 0..5 {
        let entry = aws_sdk_sqs::types::SendMessageBatchRequestEntry::builder()
            .id(n.to_string())
            .message_body("x");
        batch = batch.entries(entry.build().unwrap());
    }
    batch.send().await.unwrap();
    for receive in waiting {
        assert_eq!(receive.await.unwrap().unwrap().messages.unwrap().len(), 1);
    }
    endpoint.shutdown().await;
}

#[tokio::test]
async fn a_client_that_disconnects_while_it_waits_receives_no_message() {
    let endpoint = ephemeral().await;
    let (sqs, url) = queue(&endpoint.url(), "jobs").await;
    let mut client = TcpStream::connect(endpoint.addr()).await.unwrap();
    let body = format!(r#"{{"QueueUrl":"{url}","WaitTimeSeconds":20,"MaxNumberOfMessages":10}}"#);
    let request = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\nx-amz-target: AmazonSQS.ReceiveMessage\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    client.write_all(request.as_bytes()).await.unwrap();
    receives_arrived(&endpoint, 1).await;
    drop(client);
    // The message must go to the second receive, not to the closed connection.
    let waiting = tokio::spawn(
        sqs.receive_message()
            .queue_url(&url)
            .wait_time_seconds(20)
            .send(),
    );
    receives_arrived(&endpoint, 2).await;
    sqs.send_message()
        .queue_url(&url)
        .message_body("x")
        .send()
        .await
        .unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().messages.unwrap().len(), 1);
    assert_eq!(
        count(&sqs, &url, "ApproximateNumberOfMessagesNotVisible").await,
        1
    );
    endpoint.shutdown().await;
}

#[tokio::test]
async fn released_receives_answer_empty_and_later_ones_do_not_wait() {
    let endpoint = ephemeral().await;
    let (sqs, url) = queue(&endpoint.url(), "jobs").await;
    let waiting = tokio::spawn(
        sqs.receive_message()
            .queue_url(&url)
            .wait_time_seconds(20)
            .send(),
    );
    receives_arrived(&endpoint, 1).await;
    let started = Instant::now();
    endpoint.release_long_polls();
    assert_eq!(waiting.await.unwrap().unwrap().messages, None);
    let later = sqs
        .receive_message()
        .queue_url(&url)
        .wait_time_seconds(20)
        .send()
        .await
        .unwrap();
    assert_eq!(later.messages, None);
    sqs.send_message()
        .queue_url(&url)
        .message_body("x")
        .send()
        .await
        .unwrap();
    assert_eq!(
        receive(&sqs, &url).await.len(),
        1,
        "messages in the queue are still received"
    );
    assert!(started.elapsed() < Duration::from_secs(2));
    endpoint.shutdown().await;
}

#[tokio::test]
async fn deleting_the_queue_ends_a_waiting_receive() {
    let endpoint = ephemeral().await;
    let (sqs, url) = queue(&endpoint.url(), "jobs").await;
    let waiting = tokio::spawn(
        sqs.receive_message()
            .queue_url(&url)
            .wait_time_seconds(20)
            .send(),
    );
    receives_arrived(&endpoint, 1).await;
    sqs.delete_queue().queue_url(&url).send().await.unwrap();
    assert_eq!(
        crate::support::code(waiting.await.unwrap()),
        "AWS.SimpleQueueService.NonExistentQueue"
    );
    endpoint.shutdown().await;
}
