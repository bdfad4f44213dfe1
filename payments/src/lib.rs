//! The payments service: records idempotent charges and refunds, and sends an event of each to the tenant's queue.
//!
//! A request is answered once its transaction is committed. Its event is then in the outbox, which guarantees that it
//! is sent, at once or later. An application team replaces `charge`; key, transaction and outbox stay.

mod charge;
mod clock;
mod event;
#[cfg(test)]
mod fuzz_targets;
mod ledger;
mod money;
mod openapi;
mod outbox;
mod request;
mod routes;
pub mod table;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::Method;
use tenantry_process::arn::TableArn;
use tenantry_process::aws::AwsSettings;
use tenantry_process::config::{ProcessConfig, seconds};
use tenantry_process::health::Condition;
use tenantry_process::retry::backoff_from_half;
use tenantry_process::run::{Configured, RunError, Worker};
use tenantry_queue::sender::{Sender, SenderLimits};
use tenantry_registry::{LookupError, environment_table};
use tenantry_service::config::ServiceConfig;
use tenantry_service::stack::Routes;
use tenantry_service::{Parts, Service};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::clock::Clock;
use self::ledger::Ledger;
use self::outbox::clear::Clearer;
use self::outbox::publish::Publisher;
use self::outbox::sweep::Sweeper;
use self::routes::{OpenLedger, Payments};

/// Name of the service: its path prefix, and `microservice` in its answers.
pub const NAME: &str = "payments";
/// Batches of events in flight per queue: no client waits for them, and each has its own connection.
const MAX_SENDS: usize = 16;
/// First and longest wait before the next lookup of the environment's table.
const LOOKUP_BASE: Duration = Duration::from_millis(200);
const LOOKUP_MAX: Duration = Duration::from_secs(30);

/// Records charges and refunds of tenants
#[derive(Debug, Clone, clap::Parser)]
#[command(name = NAME, version)]
pub struct Config {
    /// Settings of every service.
    #[command(flatten)]
    pub service: ServiceConfig,

    /// Seconds in which each replica sweeps the whole outbox once, for events that a crash left there
    #[arg(long, env, value_name = "OUTBOX_SWEEP_SECONDS", default_value = "30", value_parser = seconds(1, 3600))]
    pub outbox_sweep_seconds: Duration,
}

impl Configured for Config {
    fn process(&self) -> &ProcessConfig {
        &self.service.process
    }
}

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
    service_at(config, aws, Clock::system())
}

/// Assembles the service with another clock.
pub fn service_at(config: &Config, aws: &AwsSettings, clock: Clock) -> Service {
    let identity = (NAME, env!("CARGO_PKG_VERSION"));
    let parts = Parts::new(identity, &config.service, aws, Some(table::PARAMETER));
    let (open, tasks) = (Arc::<OnceLock<OpenLedger>>::default(), TaskTracker::new());
    let payments = Payments::new(parts.http.clone(), Arc::clone(&open), tasks.clone());
    let router = parts
        .http
        .finish(own_routes(), payments, openapi::document());
    let (readiness, metrics) = (parts.readiness.clone(), parts.metrics.clone());
    let upkeep = parts.upkeep();
    let limits = SenderLimits {
        max_in_flight: MAX_SENDS,
        ..SenderLimits::default()
    };
    let once = aws.without_retries();
    let sqs = aws_sdk_sqs::Client::new(&once);
    let work = BackgroundWork {
        table_lookup: readiness.condition("table"),
        sender: Sender::new(sqs, limits, &metrics),
        dynamodb: aws_sdk_dynamodb::Client::new(&once),
        sweep_every: config.outbox_sweep_seconds,
        parts,
        clock,
        open,
        tasks,
    };
    Service {
        router,
        worker: Worker {
            name: NAME,
            readiness,
            metrics,
            background: Box::new(|shutdown| {
                Box::pin(async move {
                    tokio::join!(shutdown.run_until_cancelled(upkeep), work.run(&shutdown));
                })
            }),
        },
    }
}

fn own_routes() -> Routes<Payments> {
    Routes::new()
        .tenant(Method::POST, "/payments/charges", routes::charge)
        .tenant(Method::GET, "/payments/charges", routes::list)
        .tenant(Method::GET, "/payments/charges/{id}", routes::find)
        .tenant(
            Method::POST,
            "/payments/charges/{id}/refunds",
            routes::refund,
        )
}

/// Finds the environment's table, opens the ledger, sweeps the outbox.
struct BackgroundWork {
    parts: Parts,
    /// Becomes true once the lookup of the table has an answer.
    table_lookup: Condition,
    sender: Sender,
    dynamodb: aws_sdk_dynamodb::Client,
    sweep_every: Duration,
    clock: Clock,
    open: Arc<OnceLock<OpenLedger>>,
    tasks: TaskTracker,
}

impl BackgroundWork {
    /// Waits for the table, then sweeps the outbox until shutdown. Returns once all requests and sends are finished.
    async fn run(self, shutdown: &CancellationToken) {
        let Some(table) = shutdown.run_until_cancelled(self.find_table()).await else {
            return;
        };
        tracing::info!(table = table.name(), "ledger opened: charges are accepted");
        let (name, metrics) = (table.name().to_owned(), &self.parts.metrics);
        let (clearer, clearing) = Clearer::new(self.dynamodb.clone(), name.clone());
        let environment = self.parts.http.environment().clone();
        let publisher = Publisher::new(
            environment,
            self.parts.registry.clone(),
            self.sender.clone(),
            clearer,
            metrics,
        );
        let ledger = Ledger::new(
            self.dynamodb.clone(),
            name.clone(),
            self.clock.clone(),
            metrics,
        );
        let sweeper = Sweeper::new(
            (self.dynamodb.clone(), name),
            publisher.clone(),
            self.clock.clone(),
            self.sweep_every,
            metrics,
        );
        self.open.get_or_init(|| OpenLedger {
            table,
            ledger,
            publisher,
        });
        self.table_lookup.set(true);
        let finish = async {
            shutdown.run_until_cancelled(sweeper.sweep_forever()).await;
            // Changes in progress, and the events of committed changes.
            self.tasks.close();
            self.tasks.wait().await;
            self.sender.drain().await;
        };
        // Clearing never returns. Every task that waits for it is on the tracker.
        tokio::select! {
            () = clearing => {}
            () = finish => {}
        }
    }

    /// Waits for the environment's table. A missing table does not lower readiness: identity and probe work without it,
    /// and an older installation has none.
    async fn find_table(&self) -> TableArn {
        let environment = self.parts.http.environment();
        let parameter = format!("/{environment}/{}", table::PARAMETER);
        let mut attempt = 0;
        loop {
            match environment_table(&*self.parts.parameters, environment, table::PARAMETER).await {
                Ok(table) => return table,
                Err(error) => {
                    if !matches!(error, LookupError::Unavailable(_)) {
                        self.table_lookup.set(true);
                    }
                    tracing::warn!(parameter, %error, "payments table not found: charges are answered with 503");
                }
            }
            tokio::time::sleep(backoff_from_half(
                attempt,
                LOOKUP_BASE,
                LOOKUP_MAX,
                fastrand::f64(),
            ))
            .await;
            attempt += 1;
        }
    }
}
