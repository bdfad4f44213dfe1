//! The embedded endpoint with a pool of two tenants, and the pool's consumer.

use std::net::SocketAddr;

use anyhow::Context as _;
use futures_util::future::try_join_all;
use kit::endpoint::Controls;
use kit::http::{Connection, Request};
use kit::process::fixed_port;
use serde_json::{Value, json};
use uuid::Uuid;

use super::stored::Stored;
use super::{NOISY, QUIET};
use crate::candidate::{Binaries, Role, Side, program};
use crate::load::{ask, body};
use crate::process::{Child, command_with_clean_env, own_binary, wait_until_open};
use crate::stub::{ACCOUNT, ENVIRONMENT, REGION, RESOURCE};

/// Milliseconds added to every call.
const LATENCY_MS: u64 = 5;
/// Connections of the flood: enough to send faster than the consumer drains.
const FLOOD_CONNECTIONS: u64 = 16;
/// A header that each call must have; the endpoint does not check it.
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/any/aws4_request, \
                             SignedHeaders=host, Signature=0";
/// Messages of one send (SQS: 10).
const BATCH: u64 = 10;

pub(super) struct World {
    pub(super) stored: Stored,
    address: SocketAddr,
    queue_url: String,
    _consumer: Child,
    _endpoint: Child,
}

impl World {
    pub(super) async fn start(binaries: &Binaries) -> anyhow::Result<Self> {
        let (endpoint, address) = endpoint().await?;
        let queue_url = provision(address).await?;
        let port = fixed_port();
        let command = program(
            Side::Ours,
            Role::Consumer,
            &format!("http://{address}"),
            port,
            binaries,
        )?;
        let (consumer, log) = Child::start_piped("consumer", command)?;
        wait_until_open(SocketAddr::from(([127, 0, 0, 1], port))).await?;
        Ok(Self {
            stored: Stored::follow(log),
            address,
            queue_url,
            _consumer: consumer,
            _endpoint: endpoint,
        })
    }

    /// Sends one message of the quiet tenant; returns its id.
    pub(super) async fn send_quiet(&self) -> anyhow::Result<String> {
        let (id, mut message) = message(QUIET);
        message["QueueUrl"] = json!(self.queue_url);
        ask(
            self.address,
            &aws("AmazonSQS.SendMessage", &message.to_string()),
        )
        .await?;
        Ok(id)
    }

    /// Sends messages of the noisy tenant as fast as the endpoint accepts them.
    pub(super) async fn flood(&self, messages: u64) -> anyhow::Result<()> {
        let calls = messages / BATCH / FLOOD_CONNECTIONS;
        try_join_all((0..FLOOD_CONNECTIONS).map(|_| self.send_batches(calls)))
            .await
            .map(drop)
    }

    async fn send_batches(&self, calls: u64) -> anyhow::Result<()> {
        let mut connection = Connection::open(self.address).await?;
        for _ in 0..calls {
            let entry = |index: u64| {
                let (_, mut message) = message(NOISY);
                message["Id"] = json!(index.to_string());
                message
            };
            let entries: Vec<Value> = (0..BATCH).map(entry).collect();
            let batch = json!({ "QueueUrl": self.queue_url, "Entries": entries }).to_string();
            let request = aws("AmazonSQS.SendMessageBatch", &batch);
            body(connection.exchange(&request.bytes()).await?)?;
        }
        Ok(())
    }
}

/// Starts the embedded endpoint as a process of its own.
async fn endpoint() -> anyhow::Result<(Child, SocketAddr)> {
    let port = fixed_port();
    let mut command = command_with_clean_env(own_binary()?);
    command.args(["endpoint", "--port", &port.to_string()]);
    let process = Child::start("the embedded endpoint", command)?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    wait_until_open(address).await?;
    Ok((process, address))
}

/// Creates queue, table and parameters of the pool and its tenants, and adds the latency; returns the queue's URL.
async fn provision(address: SocketAddr) -> anyhow::Result<String> {
    let call =
        async |action: &str, body: Value| ask(address, &aws(action, &body.to_string())).await;
    let created = call("AmazonSQS.CreateQueue", json!({ "QueueName": RESOURCE })).await?;
    let created: Value = serde_json::from_slice(&created)?;
    let attribute = |name: &str| json!({ "AttributeName": name, "AttributeType": "S" });
    let key = |name: &str, kind: &str| json!({ "AttributeName": name, "KeyType": kind });
    let table = json!({
        "TableName": RESOURCE,
        "AttributeDefinitions": [attribute("tenant_id"), attribute("message_id")],
        "KeySchema": [key("tenant_id", "HASH"), key("message_id", "RANGE")],
        "BillingMode": "PAY_PER_REQUEST",
    });
    call("DynamoDB_20120810.CreateTable", table).await?;
    for holder in [ENVIRONMENT, NOISY, QUIET] {
        let queue = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{RESOURCE}");
        let table = format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{RESOURCE}");
        for (name, value) in [
            ("consumer_sqs", queue),
            ("consumer_ddb", table),
            ("tier", "basic".to_owned()),
        ] {
            let parameter =
                json!({ "Name": format!("/{holder}/{name}"), "Value": value, "Type": "String" });
            call("AmazonSSM.PutParameter", parameter).await?;
        }
    }
    let delay = json!([{ "action": "*", "delay_ms": LATENCY_MS }]);
    Controls::of(address).inject(delay).await;
    created["QueueUrl"]
        .as_str()
        .map(str::to_owned)
        .context("a created queue has a URL")
}

/// Returns the request of an AWS call; the endpoint checks no signatures.
fn aws(action: &str, body: &str) -> Request {
    Request::new("POST", "/")
        .header("x-amz-target", action)
        .header("content-type", "application/x-amz-json-1.0")
        .header("authorization", AUTHORIZATION)
        .header("x-amz-date", "20260101T000000Z")
        .body(body)
}

/// Returns a message's id and the message as the producer sends it.
fn message(tenant: &str) -> (String, Value) {
    let id = Uuid::now_v7().to_string();
    let text = |value: &str| json!({ "DataType": "String", "StringValue": value });
    let message = json!({
        "MessageBody": "{\"event\":\"Event raised!\"}",
        "MessageGroupId": tenant,
        "MessageAttributes": {
            "tenant_id": text(tenant),
            "producer_environment": text(ENVIRONMENT),
            "message_id": text(&id),
        },
    });
    (id, message)
}
