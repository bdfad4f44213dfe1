//! Queues of environments: figures, messages without receiving them, redrive.
//!
//! Amazon SQS cannot show a message without receiving it, and has no attribute for the age of the oldest message. The embedded
//! endpoint can. It is used if `AWS_ENDPOINT_URL` names one.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use axum::http::StatusCode;
use parking_lot::Mutex;
use serde::Deserialize;
use tenantctl::status::Time;
use tenantry_process::arn::QueueArn;
use tenantry_process::aws::AwsSettings;
use tenantry_process::retry::{classify, with_causes};
use tenantry_queue::receiver::SourceQueue;
use tenantry_service::error::ApiError;

use crate::control::now;
use crate::model::{DeadLetterView, Figures, PeekedMessage, QueueView};

/// Largest number of messages of one peek.
pub const MAX_PEEKED: usize = 100;
/// Parameters of a tenant; each may be absent.
const PARAMETERS: [&str; 6] = [
    "consumer_ddb",
    "consumer_sqs",
    "generation",
    "payments_ddb",
    "status",
    "tier",
];
const TIMEOUT: Duration = Duration::from_secs(3);
/// Environments whose queue is cached.
const MAX_KNOWN: usize = 10_000;

pub(crate) struct Queues {
    sqs: aws_sdk_sqs::Client,
    ssm: aws_sdk_ssm::Client,
    /// Base URL of the pages of an embedded endpoint.
    endpoint: Option<String>,
    client: reqwest::Client,
    known: Mutex<HashMap<String, SourceQueue>>,
}

/// Messages as the embedded endpoint shows them.
#[derive(Deserialize)]
struct Peeked {
    oldest_sent_ms: Option<i64>,
    messages: Vec<Shown>,
}

#[derive(Deserialize)]
struct Shown {
    message_id: String,
    sent_ms: i64,
    receive_count: u64,
    body: String,
    attributes: BTreeMap<String, String>,
}

impl Queues {
    pub(crate) fn new(aws: &AwsSettings, client: reqwest::Client) -> Self {
        let config = aws.with_retries();
        Self {
            sqs: aws_sdk_sqs::Client::new(&config),
            ssm: aws_sdk_ssm::Client::new(&config),
            endpoint: config
                .endpoint_url()
                .map(|url| url.trim_end_matches('/').to_owned()),
            client,
            known: Mutex::default(),
        }
    }

    /// The queue that the environment's parameter names.
    async fn find(&self, environment: &str) -> Result<SourceQueue, String> {
        if let Some(known) = self.known.lock().get(environment) {
            return Ok(known.clone());
        }
        let name = format!("/{environment}/consumer_sqs");
        let found = self.ssm.get_parameter().name(&name).send().await;
        let found =
            found.map_err(|error| format!("parameter {name}: {}", classify(&error).reason))?;
        let value = found
            .parameter
            .and_then(|parameter| parameter.value)
            .unwrap_or_default();
        let arn: QueueArn = value
            .parse()
            .map_err(|error| format!("parameter {name}: {error}"))?;
        let queue = SourceQueue::find(&self.sqs, &arn)
            .await
            .map_err(|error| error.to_string())?;
        let mut known = self.known.lock();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(environment.to_owned(), queue.clone());
        Ok(queue)
    }

    /// The parameters of a tenant, by name: where its messages, items and payments are, and what it may do.
    pub(crate) async fn parameters(&self, tenant: &str) -> Result<Vec<(String, String)>, ApiError> {
        let names = PARAMETERS.map(|name| format!("/{tenant}/{name}"));
        let found = self
            .ssm
            .get_parameters()
            .set_names(Some(names.to_vec()))
            .send()
            .await;
        let found = found.map_err(|error| {
            unavailable(&format!(
                "parameters of {tenant}: {}",
                classify(&error).reason
            ))
        })?;
        let named = found.parameters.unwrap_or_default().into_iter();
        let mut parameters: Vec<(String, String)> = named
            .filter_map(|parameter| Some((parameter.name?, parameter.value?)))
            .collect();
        parameters.sort();
        Ok(parameters)
    }

    /// Forgets a queue that may have been deleted, and made anew under another name.
    fn forget(&self, environment: &str) {
        self.known.lock().remove(environment);
    }

    pub(crate) async fn view(&self, environment: &str) -> Result<QueueView, ApiError> {
        self.read(environment)
            .await
            .map_err(|reason| unavailable(&reason))
    }

    async fn read(&self, environment: &str) -> Result<QueueView, String> {
        let queue = self.find(environment).await?;
        let counts = self.counts(&queue.url).await;
        if counts.is_err() {
            self.forget(environment);
        }
        let [visible, in_flight, delayed] = counts?;
        let dead_letter = match &queue.dead_letter_url {
            Some(url) => {
                let [visible, in_flight, delayed] = self.counts(url).await?;
                Some(DeadLetterView {
                    name: name_of(url).to_owned(),
                    messages: visible + in_flight + delayed,
                })
            }
            None => None,
        };
        Ok(QueueView {
            name: queue.arn.name().to_owned(),
            visible,
            in_flight,
            delayed,
            dead_letter,
        })
    }

    async fn counts(&self, url: &str) -> Result<[u64; 3], String> {
        let names = [
            Attribute::ApproximateNumberOfMessages,
            Attribute::ApproximateNumberOfMessagesNotVisible,
            Attribute::ApproximateNumberOfMessagesDelayed,
        ];
        let request = self.sqs.get_queue_attributes().queue_url(url);
        let answer = request
            .set_attribute_names(Some(names.to_vec()))
            .send()
            .await;
        let answer = answer
            .map_err(|error| format!("queue {}: {}", name_of(url), classify(&error).reason))?;
        let found = answer.attributes.unwrap_or_default();
        Ok(names.map(|name| {
            found
                .get(&name)
                .and_then(|text| text.parse().ok())
                .unwrap_or(0)
        }))
    }

    /// The figures of an environment's queue.
    pub(crate) async fn figures(&self, environment: &str) -> Result<Figures, String> {
        let view = self.read(environment).await?;
        let depth = view.visible + view.in_flight + view.delayed;
        let mut figures = Figures {
            queue_depth: Some(depth),
            dead_letters: view.dead_letter.map(|queue| queue.messages),
            ..Figures::default()
        };
        if depth == 0 {
            figures.oldest_message_seconds = Some(0.0);
        } else if let Ok(Some(peeked)) = self.ask(&view.name, 0).await {
            let oldest = peeked.oldest_sent_ms.map(Time::of_millis);
            figures.oldest_message_seconds =
                Some(oldest.map_or(0.0, |oldest| now().since(oldest).as_secs_f64()));
        }
        Ok(figures)
    }

    pub(crate) async fn peek(
        &self,
        environment: &str,
        dead: bool,
        limit: usize,
    ) -> Result<Vec<PeekedMessage>, ApiError> {
        let queue = self
            .find(environment)
            .await
            .map_err(|reason| unavailable(&reason))?;
        let name = if dead {
            let url = queue
                .dead_letter_url
                .as_deref()
                .ok_or_else(|| no_dead_letters(environment))?;
            name_of(url).to_owned()
        } else {
            queue.arn.name().to_owned()
        };
        let peeked = self
            .ask(&name, limit.clamp(1, MAX_PEEKED))
            .await
            .map_err(|reason| unavailable(&reason))?;
        let peeked = peeked.ok_or_else(|| {
            let msg = format!(
                "NotImplemented: Amazon SQS cannot show messages without receiving them; `aws sqs receive-message --queue-url \
                 {name} --visibility-timeout 1` receives one, which counts as a delivery"
            );
            ApiError::new(StatusCode::NOT_IMPLEMENTED, "peek_not_possible", msg)
        })?;
        let shown = peeked.messages.into_iter().map(|message| PeekedMessage {
            id: message.message_id,
            sent: Time::of_millis(message.sent_ms),
            receive_count: message.receive_count,
            body: message.body,
            attributes: message.attributes,
        });
        Ok(shown.collect())
    }

    /// Asks the embedded endpoint; `None` where there is none.
    async fn ask(&self, queue: &str, limit: usize) -> Result<Option<Peeked>, String> {
        let Some(endpoint) = &self.endpoint else {
            return Ok(None);
        };
        let url = format!("{endpoint}/_localaws/messages/{queue}/{limit}");
        let failed = |error: reqwest::Error| with_causes(&error.without_url());
        let request = self.client.get(url).timeout(TIMEOUT);
        let response = request.send().await.map_err(failed)?;
        if response.status() != 200 {
            return Ok(None);
        }
        let body = response.bytes().await.map_err(failed)?;
        serde_json::from_slice(&body)
            .map(Some)
            .map_err(|error| error.to_string())
    }

    pub(crate) async fn redrive(&self, environment: &str) -> Result<(), ApiError> {
        let queue = self
            .find(environment)
            .await
            .map_err(|reason| unavailable(&reason))?;
        let dead = queue
            .dead_letter_url
            .ok_or_else(|| no_dead_letters(environment))?;
        let arn = self
            .sqs
            .get_queue_attributes()
            .queue_url(&dead)
            .attribute_names(Attribute::QueueArn)
            .send()
            .await;
        let arn = arn
            .map_err(|error| unavailable(&classify(&error).reason))?
            .attributes;
        let arn = arn
            .and_then(|mut found| found.remove(&Attribute::QueueArn))
            .unwrap_or_default();
        let started = self
            .sqs
            .start_message_move_task()
            .source_arn(arn)
            .destination_arn(queue.arn.as_str())
            .send()
            .await;
        started.map(drop).map_err(|error| {
            let reason = classify(&error).reason;
            let is_running = error.into_service_error().is_unsupported_operation();
            if is_running {
                let msg = format!("Conflict: {reason}; wait until the running redrive has ended");
                return ApiError::new(StatusCode::CONFLICT, "redrive_running", msg);
            }
            unavailable(&reason)
        })
    }

    /// Sends an event to the queue of this name, for a lifecycle message with `reply_to`.
    pub(crate) async fn send(&self, queue: &str, body: &str) -> Result<(), String> {
        let url = self.sqs.get_queue_url().queue_name(queue).send().await;
        let url = url
            .map_err(|error| classify(&error).reason)?
            .queue_url
            .unwrap_or_default();
        let sent = self
            .sqs
            .send_message()
            .queue_url(url)
            .message_body(body)
            .send()
            .await;
        sent.map(drop).map_err(|error| classify(&error).reason)
    }
}

fn name_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or_default()
}

fn unavailable(reason: &str) -> ApiError {
    let msg = format!(
        "Unavailable: the queue cannot be read now: {reason}; try again after Retry-After seconds"
    );
    ApiError::unavailable("queue_unavailable", msg)
}

fn no_dead_letters(environment: &str) -> ApiError {
    let msg = format!(
        "NotFound: the queue of {environment} has no dead-letter queue; set a redrive policy first"
    );
    ApiError::new(StatusCode::NOT_FOUND, "no_dead_letter_queue", msg)
}
