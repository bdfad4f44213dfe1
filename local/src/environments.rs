//! The environments in one process: each app's router, and one task for its work beside requests.

use std::collections::HashMap;
use std::time::Duration;

use axum::Router;
use shared::aws::AwsClients;
use shared::config::parse_from;
use shared::health::Readiness;
use shared::metrics::Metrics;
use shared::service::{Service, upkeep};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::gateway::Target;
use crate::topology::{self, App, TenantSpec};

/// How often readiness is looked at while starting.
const READY_POLL: Duration = Duration::from_millis(2);

/// Running environments.
pub(crate) struct Environments {
    routers: HashMap<Target, Router>,
    observed: Vec<(String, &'static str, Readiness, Metrics)>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Environments {
    /// Starts every environment the tenants need.
    pub(crate) fn start(tenants: &[TenantSpec], aws: &AwsClients) -> Result<Self, String> {
        let mut environments = Self {
            routers: HashMap::new(),
            observed: Vec::new(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        for (environment, apps) in topology::environments(tenants) {
            for app in apps {
                let name = environment.to_string();
                let service = assemble(app, &name, aws)?;
                environments.add(name, app, service);
            }
        }
        environments.tasks.close();
        Ok(environments)
    }

    fn add(&mut self, environment: String, app: App, service: Service) {
        self.tasks.spawn((service.background)(self.stop.clone()));
        self.tasks.spawn(upkeep(service.metrics.clone(), self.stop.clone()));
        self.routers.insert((environment.clone(), app), service.router);
        self.observed.push((environment, service.name, service.readiness, service.metrics));
    }

    /// Ends once every app is ready.
    ///
    /// # Errors
    /// What was still being waited for when the time was over.
    pub(crate) async fn ready(&self, within: Duration) -> Result<(), String> {
        let deadline = Instant::now() + within;
        loop {
            let waiting: Vec<_> = self
                .observed
                .iter()
                .filter(|(_, _, readiness, _)| !readiness.is_ready())
                .map(|(environment, service, readiness, _)| {
                    format!("{environment}/{service} {:?}", readiness.unmet())
                })
                .collect();
            if waiting.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(waiting.join(", "));
            }
            tokio::time::sleep(READY_POLL).await;
        }
    }

    /// Each environment's apps.
    pub(crate) fn routers(&self) -> &HashMap<Target, Router> {
        &self.routers
    }

    /// What can be observed of each app.
    pub(crate) fn observed(&self) -> impl Iterator<Item = (String, &'static str, Readiness, Metrics)> {
        self.observed.iter().cloned()
    }

    /// Finishes what is in hand.
    pub(crate) async fn drain(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

/// The production service, configured as its own process would be; ports are given because they are not used.
fn assemble(app: App, environment: &str, aws: &AwsClients) -> Result<Service, String> {
    let arguments = [app.as_str(), "--environment", environment, "--port=0", "--admin-port=0"];
    let wrong = |error: shared::config::ConfigError| error.to_string();
    Ok(match app {
        App::Producer => producer::service(&parse_from(arguments).map_err(wrong)?, aws),
        App::Consumer => consumer::service(&parse_from(arguments).map_err(wrong)?, aws),
        App::Payments => payments::service(&parse_from(arguments).map_err(wrong)?, aws),
    })
}
