//! The payments service: charges and refunds that can be repeated without a second effect, each told to the tenant's own
//! queue by an event, through an outbox.
//!
//! A request is answered once its transaction is committed; its event is then certain to be sent (`outbox`), though
//! maybe not yet. An application team replaces what a charge is; key, transaction and outbox stay.

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

use axum::routing::MethodFilter;
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
use self::routes::{Open, Payments};

/// The service's name: its path prefix and the `microservice` of its answers.
pub const NAME: &str = "payments";
/// Batches of events on the wire at once, a queue: they are nobody's answer, and each has a connection of its own.
const MAX_SENDS: usize = 16;
/// First wait before the environment's table is looked up again, and the longest one.
const LOOK_UP_BASE: Duration = Duration::from_millis(200);
const LOOK_UP_MAX: Duration = Duration::from_secs(30);

/// The tenant's payments
#[derive(Debug, Clone, clap::Parser)]
#[command(name = NAME, version)]
pub struct Config {
    /// What every service is configured by.
    #[command(flatten)]
    pub service: ServiceConfig,

    /// Seconds in which each replica looks once at the whole outbox for events that a crash left there
    #[arg(long, env, value_name = "OUTBOX_SWEEP_SECONDS", default_value = "30", value_parser = seconds(1, 3600))]
    pub outbox_sweep_seconds: Duration,
}

impl Configured for Config {
    fn process(&self) -> &ProcessConfig {
        &self.service.process
    }
}

/// Runs the service until the token is cancelled and everything in hand is finished.
///
/// # Errors
/// [`RunError`]: AWS settings that cannot work, a port taken, or a drain that did not end in time.
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

/// As [`service`], with another clock.
pub fn service_at(config: &Config, aws: &AwsSettings, clock: Clock) -> Service {
    let identity = (NAME, env!("CARGO_PKG_VERSION"));
    let parts = Parts::new(identity, &config.service, aws, Some(table::PARAMETER));
    let (open, tasks) = (Arc::<OnceLock<Open>>::default(), TaskTracker::new());
    let payments = Payments::new(parts.http.clone(), Arc::clone(&open), tasks.clone());
    let routes = Routes::new()
        .tenant(MethodFilter::POST, "/payments/charges", routes::charge)
        .tenant(MethodFilter::GET, "/payments/charges", routes::list)
        .tenant(MethodFilter::GET, "/payments/charges/{id}", routes::find)
        .tenant(
            MethodFilter::POST,
            "/payments/charges/{id}/refunds",
            routes::refund,
        );
    let router = parts.http.finish(routes, payments, openapi::document());
    let (readiness, metrics) = (parts.readiness.clone(), parts.metrics.clone());
    let upkeep = parts.upkeep();
    let limits = SenderLimits {
        max_in_flight: MAX_SENDS,
        ..SenderLimits::default()
    };
    let once = aws.without_retries();
    let sqs = aws_sdk_sqs::Client::new(&once);
    let work = Work {
        looked_up: readiness.condition("table"),
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

/// Everything beside requests, from the environment's parameter to an outbox that is swept.
struct Work {
    parts: Parts,
    looked_up: Condition,
    sender: Sender,
    dynamodb: aws_sdk_dynamodb::Client,
    sweep_every: Duration,
    clock: Clock,
    open: Arc<OnceLock<Open>>,
    tasks: TaskTracker,
}

impl Work {
    /// Finds the table, waiting for it as long as it takes; then sweeps. Ends when what is in hand is finished.
    async fn run(self, shutdown: &CancellationToken) {
        let Some(table) = shutdown.run_until_cancelled(self.find_table()).await else {
            return;
        };
        tracing::info!(table = table.name(), "recording");
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
        let place = (self.dynamodb.clone(), name);
        let sweeper = Sweeper::new(
            place,
            publisher.clone(),
            self.clock.clone(),
            self.sweep_every,
            metrics,
        );
        self.open.get_or_init(|| Open {
            table,
            ledger,
            publisher,
        });
        self.looked_up.set(true);
        let finish = async {
            shutdown.run_until_cancelled(sweeper.sweep_forever()).await;
            // Requests in hand, and the events of those that were answered.
            self.tasks.close();
            self.tasks.wait().await;
            self.sender.drain().await;
        };
        // Clearing has no end of its own; whoever waits for it is on the tracker.
        tokio::select! {
            () = clearing => {}
            () = finish => {}
        }
    }

    /// The environment's table. That it is missing does not lower readiness: identity and probe need none, and an
    /// installation from before there was a table goes on as it did.
    async fn find_table(&self) -> TableArn {
        let environment = self.parts.http.environment();
        let parameter = format!("/{environment}/{}", table::PARAMETER);
        let mut attempt = 0;
        loop {
            match environment_table(&*self.parts.parameters, environment, table::PARAMETER).await {
                Ok(table) => return table,
                Err(error) => {
                    if !matches!(error, LookupError::Unavailable(_)) {
                        self.looked_up.set(true);
                    }
                    tracing::warn!(parameter, %error, "no payments table yet: charges are answered with 503");
                }
            }
            tokio::time::sleep(backoff_from_half(
                attempt,
                LOOK_UP_BASE,
                LOOK_UP_MAX,
                fastrand::f64(),
            ))
            .await;
            attempt += 1;
        }
    }
}
