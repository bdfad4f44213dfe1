//! One SendMessage per POST.

use anyhow::Context as _;
use aws_sdk_sqs::types::MessageAttributeValue;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tenantry_process::aws::AwsSettings;
use uuid::Uuid;

use super::{Identity, tenant_in};
use crate::stub::{ENVIRONMENT, RESOURCE};

#[derive(Clone)]
struct Queue {
    client: aws_sdk_sqs::Client,
    url: String,
}

pub(super) async fn router() -> anyhow::Result<Router> {
    let client = aws_sdk_sqs::Client::new(&AwsSettings::from_env().await?.without_retries());
    let found = client.get_queue_url().queue_name(RESOURCE).send().await?;
    let url = found.queue_url.context("the queue has a URL")?;
    Ok(Router::new()
        .route("/producer", get(async || "ok").post(accept))
        .with_state(Queue { client, url }))
}

async fn accept(State(queue): State<Queue>, headers: HeaderMap, body: String) -> Response {
    let Some(tenant) = tenant_in(&headers) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let id = Uuid::now_v7().to_string();
    let sent = queue
        .client
        .send_message()
        .queue_url(&queue.url)
        .message_body(body)
        .message_group_id(tenant)
        .message_attributes("tenant_id", text(tenant))
        .message_attributes("producer_environment", text(ENVIRONMENT))
        .message_attributes("message_id", text(&id))
        .send()
        .await;
    match sent {
        Ok(_) => Json(Identity::new(Some(tenant), Some(id))).into_response(),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

fn text(value: &str) -> MessageAttributeValue {
    let built = MessageAttributeValue::builder()
        .data_type("String")
        .string_value(value)
        .build();
    built.expect("the data type is set")
}
