//! The consumer: stores the messages of the environment's queue in its table, and lists a tenant's stored messages.
//!
//! Consumption starts with the process and does not depend on probes. A message is deleted only after its item is
//! stored, and writes are idempotent, so neither a crash nor a redelivery loses or duplicates a message. An application
//! team replaces `item`; the rest stays.

mod credentials;
mod item;
mod late;
mod messages;
mod openapi;
mod role;
mod store;
mod table;
mod writer;

#[cfg(test)]
mod fuzz_targets;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::Method;
use tenantry_process::arn::{QueueArn, TableArn};
use tenantry_process::aws::AwsSettings;
use tenantry_process::config::{ProcessConfig, number, seconds};
use tenantry_process::run::{Configured, RunError, Worker, retry_forever};
use tenantry_queue::receiver::{Receiver, ReceiverLimits, SourceQueue};
use tenantry_registry::{LookupError, environment_resources};
use tenantry_service::config::ServiceConfig;
use tenantry_service::stack::Routes;
use tenantry_service::{Parts, Service};
use tenantry_tenancy::environment::Environment;
use tokio_util::sync::CancellationToken;

use self::credentials::TenantCredentials;
use self::late::Forwarder;
use self::messages::{Messages, Reader};
use self::role::RoleArn;
use self::store::{ServedTenants, Store};
use self::table::Table;
use self::writer::Writer;

/// Name of the service: its path prefix, and `microservice` in its answers.
pub const NAME: &str = "consumer";

/// Stores the events of the environment's queue in its table
#[derive(Debug, Clone, clap::Parser)]
#[command(name = NAME, version)]
pub struct Config {
    /// Settings of every service.
    #[command(flatten)]
    pub service: ServiceConfig,

    /// Seconds that an idle poll waits for messages; a drain may take as long. 20 costs three calls per minute
    #[arg(long, env, value_name = "RECEIVE_WAIT_SECONDS", default_value = "20", value_parser = seconds(1, 20))]
    pub receive_wait_seconds: Duration,

    /// Polls in flight while the queue has many messages
    #[arg(long, env, value_name = "MAX_POLLS", default_value_t = 16, value_parser = number(1, 64))]
    pub max_polls: usize,

    /// Messages received and not yet stored
    #[arg(long, env, value_name = "MAX_IN_HAND", default_value_t = 400, value_parser = number(1, 10_000))]
    pub max_in_hand: usize,

    /// Seconds that a received message is hidden from other consumers; extended while the message is being stored
    #[arg(long, env, value_name = "VISIBILITY_SECONDS", default_value = "60", value_parser = seconds(2, 43_200))]
    pub visibility_seconds: Duration,

    /// Role to assume per tenant to list messages, with the session tag `tenant`; if unset, the service's own
    /// credentials are used
    #[arg(long, env, value_name = "TENANT_ROLE_ARN")]
    pub tenant_role_arn: Option<RoleArn>,
}

impl Config {
    fn receiver_limits(&self) -> ReceiverLimits {
        ReceiverLimits {
            poll_wait: self.receive_wait_seconds,
            max_polls: self.max_polls,
            max_in_hand: self.max_in_hand,
            max_of_one_group: match self.service.environment {
                Environment::Pool(_) => self.max_in_hand.div_ceil(8) * 7,
                // A silo has one tenant, so its group may use every permit.
                Environment::Silo(_) => self.max_in_hand,
            },
            visibility: self.visibility_seconds,
            ..ReceiverLimits::default()
        }
    }
}

impl Configured for Config {
    fn process(&self) -> &ProcessConfig {
        &self.service.process
    }
}

/// The environment's queue and table, set once its parameters are found.
type Resources = Arc<OnceLock<(QueueArn, TableArn)>>;

/// Runs the service until the token is canceled and all work is finished.
///
/// # Errors
/// [`RunError`]: invalid AWS settings, a port in use, or a drain that exceeds the grace period.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), RunError> {
    let aws = AwsSettings::from_env().await?;
    service(&config, &aws)
        .serve(&config.service, shutdown)
        .await
}

/// Assembles the service.
pub fn service(config: &Config, aws: &AwsSettings) -> Service {
    let parts = Parts::new(
        (NAME, env!("CARGO_PKG_VERSION")),
        &config.service,
        aws,
        None,
    );
    let (resources, once) = (Resources::default(), aws.without_retries());
    let dynamodb = aws_sdk_dynamodb::Client::new(&once);
    let credentials = config.tenant_role_arn.as_ref().map(|role| {
        let sts = aws_sdk_sts::Client::new(&once);
        TenantCredentials::new(sts, role.clone(), NAME, &parts.metrics)
    });
    let reader = Reader::new(dynamodb.clone(), credentials);
    let messages = Messages::new(parts.http.clone(), reader, Arc::clone(&resources));
    let routes = Routes::new().tenant(Method::GET, "/consumer/messages", messages::list);
    let router = parts.http.finish(routes, messages, openapi::document());
    let (readiness, metrics) = (parts.readiness.clone(), parts.metrics.clone());
    let upkeep = parts.upkeep();
    let consume = Consume {
        parts,
        limits: config.receiver_limits(),
        sqs: aws_sdk_sqs::Client::new(&once),
        dynamodb,
        resources,
    };
    Service {
        router,
        worker: Worker {
            name: NAME,
            readiness,
            metrics,
            background: Box::new(|shutdown| {
                Box::pin(async move {
                    tokio::join!(shutdown.run_until_cancelled(upkeep), consume.run(&shutdown));
                })
            }),
        },
    }
}

/// The background work: finds the environment's queue and table, then runs the receiver.
struct Consume {
    parts: Parts,
    limits: ReceiverLimits,
    sqs: aws_sdk_sqs::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    resources: Resources,
}

impl Consume {
    /// Waits for queue and table, then consumes until shutdown.
    async fn run(self, shutdown: &CancellationToken) {
        let receiving = self.parts.readiness.condition("queue");
        let storing = self.parts.readiness.condition("table");
        let Some((queue, table)) = shutdown.run_until_cancelled(self.find_resources()).await else {
            return;
        };
        let find_source = || {
            let (sqs, queue) = (self.sqs.clone(), queue.clone());
            async move {
                SourceQueue::find(&sqs, &queue)
                    .await
                    .map_err(|error| error.to_string())
            }
        };
        let Some(source) = shutdown
            .run_until_cancelled(retry_forever("the queue", find_source))
            .await
        else {
            return;
        };
        tracing::info!(
            queue = queue.name(),
            table = table.name(),
            "consumer started: polling the queue"
        );
        storing.set(true);
        let tenants = ServedTenants::new(
            self.parts.http.environment().clone(),
            queue,
            self.parts.registry.clone(),
        );
        let table = Table::new(self.dynamodb, table.name().to_owned());
        let (writer, writing) = Writer::new(table);
        let forwarder = Forwarder::new(self.sqs.clone(), &self.parts.metrics);
        let store = Store::new(
            tenants,
            (writer, forwarder),
            storing,
            &self.parts.metrics,
            shutdown.clone(),
        );
        let receiver = Receiver::new(
            self.sqs,
            source,
            store,
            self.limits,
            &self.parts.metrics,
            receiving,
        );
        tokio::join!(receiver.run(shutdown.clone()), writing);
    }

    async fn find_resources(&self) -> (QueueArn, TableArn) {
        let find = || {
            let (parameters, environment) = (
                Arc::clone(&self.parts.parameters),
                self.parts.http.environment().clone(),
            );
            async move {
                let names = format!(
                    "parameters /{environment}/consumer_sqs and /{environment}/consumer_ddb"
                );
                let found = environment_resources(&*parameters, &environment).await;
                found.map_err(|error| match error {
                    LookupError::Unknown => format!("{names} do not both exist yet"),
                    error => format!("{names}: {error}"),
                })
            }
        };
        let found = retry_forever("the environment's queue and table", find).await;
        self.resources.get_or_init(|| found).clone()
    }
}
