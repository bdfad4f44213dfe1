//! Measures the batch calls per second of a running endpoint: sends, then receives with deletes.
//!
//! `cargo run --release -p localaws --example throughput -- http://127.0.0.1:4566 [calls] [connections] [body bytes]`

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

#[derive(Clone)]
struct QueueClient {
    http: Client<HttpConnector, Full<Bytes>>,
    url: String,
    queue: String,
}

impl QueueClient {
    async fn call(&self, action: &str, body: String) -> anyhow::Result<Bytes> {
        let request = Request::post(&self.url)
            .header("x-amz-target", format!("AmazonSQS.{action}"))
            .header("content-type", "application/x-amz-json-1.0")
            .body(Full::new(body.into()))?;
        let response = self.http.request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            bail!("{action}: {status} {}", String::from_utf8_lossy(&body));
        }
        Ok(body)
    }

    async fn send(self, calls: usize, body: String) -> anyhow::Result<usize> {
        for _ in 0..calls {
            self.call("SendMessageBatch", body.clone()).await?;
        }
        Ok(calls)
    }

    /// Receives and deletes until the queue is empty; returns the number of calls of each.
    async fn drain(self) -> anyhow::Result<usize> {
        let receive = json!({"QueueUrl": self.queue, "MaxNumberOfMessages": 10,
            "MessageAttributeNames": ["All"], "MessageSystemAttributeNames": ["All"]})
        .to_string();
        let mut rounds = 0;
        loop {
            let received: Value =
                serde_json::from_slice(&self.call("ReceiveMessage", receive.clone()).await?)?;
            let Some(messages) = received["Messages"].as_array() else {
                return Ok(rounds);
            };
            let entries: Vec<_> = messages
                .iter()
                .enumerate()
                .map(|(n, message)| json!({"Id": n.to_string(), "ReceiptHandle": message["ReceiptHandle"]}))
                .collect();
            let delete = json!({"QueueUrl": self.queue, "Entries": entries}).to_string();
            self.call("DeleteMessageBatch", delete).await?;
            rounds += 1;
        }
    }
}

async fn all<F>(tasks: impl Iterator<Item = F>) -> anyhow::Result<(usize, Duration)>
where
    F: Future<Output = anyhow::Result<usize>> + Send + 'static,
{
    let started = Instant::now();
    let mut running: JoinSet<_> = tasks.collect();
    let mut total = 0;
    while let Some(done) = running.join_next().await {
        total += done??;
    }
    Ok((total, started.elapsed()))
}

#[tokio::main(flavor = "current_thread")]
#[expect(
    clippy::print_stdout,
    reason = "the result is the output of the program"
)]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().context("the endpoint's URL")?;
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (calls, connections, body_bytes) = (number(10_000)?, number(16)?, number(200)?);
    let mut client = QueueClient {
        http: Client::builder(TokioExecutor::new()).build_http(),
        url,
        queue: String::new(),
    };
    let name = format!("throughput-{}", std::process::id());
    let created: Value = serde_json::from_slice(
        &client
            .call("CreateQueue", json!({"QueueName": name}).to_string())
            .await?,
    )?;
    client.queue = created["QueueUrl"]
        .as_str()
        .context("a queue URL")?
        .to_owned();

    let attribute = |value: &str| json!({"DataType": "String", "StringValue": value});
    let entries: Vec<_> = (0..10)
        .map(|n| {
            json!({
                "Id": n.to_string(),
                "MessageBody": "x".repeat(body_bytes),
                "MessageGroupId": format!("tenant-{n}"),
                "MessageAttributes": {"tenant_id": attribute("tenant-1"),
                    "message_id": attribute("8d9ff8ef-5b39-4b55-a0d9-1b0c6a2f64d8"),
                    "producer_environment": attribute("pool-1")},
            })
        })
        .collect();
    let body = json!({"QueueUrl": client.queue, "Entries": entries}).to_string();
    let per_connection = calls / connections;
    let (sent, took) =
        all((0..connections).map(|_| client.clone().send(per_connection, body.clone()))).await?;
    println!(
        "send    {:>7.0} batch calls/s ({sent} calls, {took:.2?})",
        sent as f64 / took.as_secs_f64()
    );
    let (rounds, took) = all((0..connections).map(|_| client.clone().drain())).await?;
    let rate = 2.0 * rounds as f64 / took.as_secs_f64();
    println!(
        "receive {rate:>7.0} calls/s, half receives, half deletes ({rounds} of each, {took:.2?})"
    );
    client
        .call("DeleteQueue", json!({"QueueUrl": client.queue}).to_string())
        .await?;
    Ok(())
}
