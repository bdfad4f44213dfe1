//! Environments in this process: router, admin routes and background tasks of each app. Apps start and stop at run time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::Router;
use parking_lot::Mutex;
use tenantry_process::admin::Admin;
use tenantry_process::aws::AwsSettings;
use tenantry_process::config::parse_from;
use tenantry_process::health::Readiness;
use tenantry_process::metrics::Metrics;
use tenantry_process::run::{Worker, upkeep};
use tenantry_service::Service;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::counts::{posts_in, requests_in, stored_in};
use crate::topology::{App, Target};

/// Age at which the apps read a registration again: Parameter Store is in this process, and a move waits for this time.
pub(crate) const REGISTRY_REFRESH: Duration = Duration::from_secs(1);
/// Poll interval of readiness during a start.
const READY_POLL: Duration = Duration::from_millis(2);

pub(crate) struct Environments {
    aws: AwsSettings,
    running: Mutex<BTreeMap<Target, RunningApp>>,
    /// Apps that are stopping.
    stopping: TaskTracker,
}

struct RunningApp {
    backend: Backend,
    admin: Admin,
    metrics: Metrics,
    readiness: Readiness,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Target of requests to an app.
#[derive(Clone)]
pub(crate) struct Backend {
    router: Router,
    requests: TaskTracker,
}

impl Backend {
    /// Returns the router, and a token that keeps the app running until the request has ended.
    pub(crate) fn start_request(&self) -> (Router, TaskTrackerToken) {
        (self.router.clone(), self.requests.token())
    }
}

impl Environments {
    pub(crate) fn new(aws: AwsSettings) -> Self {
        Self {
            aws,
            running: Mutex::default(),
            stopping: TaskTracker::new(),
        }
    }

    /// Starts the apps that are not running, and waits until all are ready.
    ///
    /// # Errors
    /// Invalid settings of an app, or the apps that are not ready in time.
    pub(crate) async fn start(
        &self,
        targets: &BTreeSet<Target>,
        within: Duration,
    ) -> Result<(), String> {
        for target in targets {
            let is_running = self.running.lock().contains_key(target);
            if !is_running {
                let app = start(target, &self.aws)?;
                self.running.lock().insert(target.clone(), app);
            }
        }
        self.ready(targets, within).await
    }

    async fn ready(&self, targets: &BTreeSet<Target>, within: Duration) -> Result<(), String> {
        let deadline = Instant::now() + within;
        loop {
            let waiting: Vec<_> = self
                .running
                .lock()
                .iter()
                .filter(|(target, app)| targets.contains(target) && !app.readiness.is_ready())
                .map(|((environment, app), running)| {
                    format!(
                        "{environment}/{} {:?}",
                        app.as_str(),
                        running.readiness.unmet()
                    )
                })
                .collect();
            if waiting.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(format!(
                    "apps not ready after {within:?}: {}",
                    waiting.join(", ")
                ));
            }
            tokio::time::sleep(READY_POLL).await;
        }
    }

    pub(crate) fn targets(&self) -> BTreeSet<Target> {
        self.running.lock().keys().cloned().collect()
    }

    pub(crate) fn backend(&self, target: &Target) -> Option<Backend> {
        self.running
            .lock()
            .get(target)
            .map(|app| app.backend.clone())
    }

    /// Returns the admin endpoint of an app, for `/<environment>/<app>/…`.
    pub(crate) fn admin(&self, environment: &str, app: &str) -> Option<Admin> {
        let target = (environment.parse().ok()?, App::named(app)?);
        self.running
            .lock()
            .get(&target)
            .map(|running| running.admin.clone())
    }

    /// Returns the requests that an app has answered, and those with 5xx.
    pub(crate) fn requests(&self, target: &Target) -> Option<(u64, u64)> {
        Some(requests_in(&self.metrics(target)?, target.1))
    }

    /// The writes of an app since it started: messages stored by a consumer, POST requests answered by another app.
    pub(crate) fn writes(&self, target: &Target) -> Option<u64> {
        let count = match target.1 {
            App::Consumer => stored_in,
            App::Producer | App::Payments => posts_in,
        };
        Some(count(&self.metrics(target)?))
    }

    fn metrics(&self, target: &Target) -> Option<String> {
        let metrics = self.running.lock().get(target)?.metrics.clone();
        Some(metrics.render())
    }

    /// Stops an app that gets no more requests, after its last response. The future ends when the app has stopped.
    pub(crate) fn stop(&self, target: &Target) -> impl Future<Output = ()> + use<> {
        let app = self.running.lock().remove(target);
        let done = self.stopping.spawn(async move {
            if let Some(app) = app {
                app.stop().await;
            }
        });
        async move {
            // A panic of the app was logged when it happened.
            let _ = done.await;
        }
    }

    /// Stops all apps, and waits for them.
    pub(crate) async fn drain(&self) {
        for target in self.targets() {
            drop(self.stop(&target));
        }
        self.stopping.close();
        self.stopping.wait().await;
    }
}

impl RunningApp {
    async fn stop(self) {
        self.backend.requests.close();
        self.backend.requests.wait().await;
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn start(target: &Target, aws: &AwsSettings) -> Result<RunningApp, String> {
    let (environment, app) = target;
    let Service { router, worker } = assemble(*app, environment.as_str(), aws)?;
    let Worker {
        readiness,
        metrics,
        background,
        ..
    } = worker;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    tasks.spawn(background(stop.clone()));
    tasks.spawn(upkeep(metrics.clone(), stop.clone()));
    Ok(RunningApp {
        backend: Backend {
            router,
            requests: TaskTracker::new(),
        },
        admin: Admin::new(readiness.clone(), metrics.clone()),
        metrics,
        readiness,
        tasks,
        stop,
    })
}

/// Builds the production service, configured as in its own process. It opens no port: 0 only satisfies the parser.
fn assemble(app: App, environment: &str, aws: &AwsSettings) -> Result<Service, String> {
    let refresh = format!("--registry-refresh-seconds={}", REGISTRY_REFRESH.as_secs());
    let arguments = [
        app.as_str(),
        "--environment",
        environment,
        "--port=0",
        "--admin-port=0",
        &refresh,
    ];
    let invalid = |error: tenantry_process::config::ConfigError| error.to_string();
    Ok(match app {
        App::Producer => producer::service(&parse_from(arguments).map_err(invalid)?, aws),
        App::Consumer => consumer::service(&parse_from(arguments).map_err(invalid)?, aws),
        App::Payments => payments::service(&parse_from(arguments).map_err(invalid)?, aws),
    })
}
