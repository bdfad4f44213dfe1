//! A naive reference, as processes of its own.
//!
//! The producer looks up the queue per request and sends one message. The consumer receives, puts under a random id and
//! deletes, one by one. Neither retries. The only purpose of the reference is to show that the checker notices losses and
//! duplicates.

use std::time::Duration;

use anyhow::Context as _;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::{Message, MessageAttributeValue};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use tenantry_process::arn::{QueueArn, TableArn};
use tenantry_process::aws::AwsSettings;
use tokio::net::TcpListener;

use crate::fleet::Role;
use crate::side::Acknowledge;

/// Wait of a receive, in seconds.
const WAIT_S: i32 = 1;
/// Pause after a failed receive.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone)]
struct Clients {
    sqs: aws_sdk_sqs::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    ssm: aws_sdk_ssm::Client,
}

impl Clients {
    fn new(config: &aws_config::SdkConfig) -> Self {
        Self {
            sqs: aws_sdk_sqs::Client::new(config),
            dynamodb: aws_sdk_dynamodb::Client::new(config),
            ssm: aws_sdk_ssm::Client::new(config),
        }
    }
}

/// Runs a service until its process ends.
///
/// # Errors
/// A variable is missing, or the port is in use.
pub async fn run(role: Role, acknowledge: Acknowledge) -> anyhow::Result<()> {
    let variable = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let listener = TcpListener::bind(format!("127.0.0.1:{}", variable("PORT")?)).await?;
    let address = listener.local_addr()?.to_string();
    announce(&json!({ "message": "listening", "address": address, "admin": address }).to_string());
    let clients = Clients::new(&AwsSettings::from_env().await?.without_retries());
    let environment = variable("ENVIRONMENT")?;
    match role {
        Role::Producer => {
            let router = Router::new()
                .route("/producer", post(accept))
                .with_state((clients, environment));
            axum::serve(listener, router.merge(probe(role))).await?;
        }
        Role::Consumer => {
            let serving = async { Ok(axum::serve(listener, probe(role)).await?) };
            tokio::try_join!(serving, consume(&clients, &environment, acknowledge))?;
        }
    }
    Ok(())
}

/// Always ready.
fn probe(role: Role) -> Router {
    Router::new().route(
        &format!("/{}/readiness-probe", role.name()),
        get(async || "ok"),
    )
}

#[expect(
    clippy::print_stdout,
    reason = "the process that starts this one reads the address from the line"
)]
fn announce(line: &str) {
    println!("{line}");
}

async fn parameter(clients: &Clients, name: &str) -> anyhow::Result<String> {
    let found = clients.ssm.get_parameter().name(name).send().await?;
    found
        .parameter
        .and_then(|parameter| parameter.value)
        .context("a parameter has a value")
}

async fn queue_url(clients: &Clients, holder: &str) -> anyhow::Result<String> {
    let arn: QueueArn = parameter(clients, &format!("/{holder}/consumer_sqs"))
        .await?
        .parse()?;
    let found = clients
        .sqs
        .get_queue_url()
        .queue_name(arn.name())
        .send()
        .await?;
    found.queue_url.context("a queue has a URL")
}

async fn accept(
    State((clients, environment)): State<(Clients, String)>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let Some(tenant) = headers
        .get("tenantid")
        .and_then(|value| value.to_str().ok())
    else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match send(&clients, &environment, tenant, body).await {
        Ok(id) => Json(json!({ "message_id": id })).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn send(
    clients: &Clients,
    environment: &str,
    tenant: &str,
    body: String,
) -> anyhow::Result<Option<String>> {
    let text = |value: &str| {
        MessageAttributeValue::builder()
            .data_type("String")
            .string_value(value)
            .build()
    };
    let sent = clients
        .sqs
        .send_message()
        .queue_url(queue_url(clients, tenant).await?)
        .message_body(body)
        .message_attributes("tenant_id", text(tenant)?)
        .message_attributes("producer_environment", text(environment)?)
        .send()
        .await?;
    Ok(sent.message_id)
}

async fn consume(
    clients: &Clients,
    environment: &str,
    acknowledge: Acknowledge,
) -> anyhow::Result<()> {
    let resources = async || -> anyhow::Result<(String, TableArn)> {
        let table = parameter(clients, &format!("/{environment}/consumer_ddb"))
            .await?
            .parse()?;
        Ok((queue_url(clients, environment).await?, table))
    };
    // The start is retried, as a kubelet would.
    let (url, table) = loop {
        match resources().await {
            Ok(found) => break found,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    };
    loop {
        let receive = clients
            .sqs
            .receive_message()
            .queue_url(&url)
            .max_number_of_messages(10);
        let received = receive
            .wait_time_seconds(WAIT_S)
            .message_attribute_names("All")
            .send()
            .await;
        let Ok(received) = received else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        for message in received.messages.unwrap_or_default() {
            let delete = clients
                .sqs
                .delete_message()
                .queue_url(&url)
                .set_receipt_handle(message.receipt_handle.clone());
            // A failure is not retried: the checker must notice it.
            match acknowledge {
                Acknowledge::Before => {
                    let _ = delete.send().await;
                    let _ = store(clients, table.name(), environment, &message).await;
                }
                Acknowledge::After => {
                    if store(clients, table.name(), environment, &message)
                        .await
                        .is_ok()
                    {
                        let _ = delete.send().await;
                    }
                }
            }
        }
    }
}

async fn store(
    clients: &Clients,
    table: &str,
    environment: &str,
    message: &Message,
) -> anyhow::Result<()> {
    let attributes = message
        .message_attributes
        .as_ref()
        .context("a message has attributes")?;
    let tenant = attributes
        .get("tenant_id")
        .and_then(|value| value.string_value.clone());
    let text = |value: &str| AttributeValue::S(value.to_owned());
    clients
        .dynamodb
        .put_item()
        .table_name(table)
        .item(
            "tenant_id",
            AttributeValue::S(tenant.context("a message names its tenant")?),
        )
        .item("message_id", text(&uuid::Uuid::new_v4().to_string()))
        .item("consumer_environment", text(environment))
        .item("payload", text(message.body.as_deref().unwrap_or_default()))
        .send()
        .await?;
    Ok(())
}
