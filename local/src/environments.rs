//! The environments in one process: each app's router, and its work beside requests. Apps come and go while it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use tenantry_process::admin::Admin;
use tenantry_process::aws::AwsSettings;
use tenantry_process::config::parse_from;
use tenantry_process::health::Readiness;
use tenantry_process::run::{Worker, upkeep};
use tenantry_service::Service;
use tenantry_tenancy::environment::Environment;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::topology::{App, Target};

/// How often readiness is looked at while starting.
const READY_POLL: Duration = Duration::from_millis(2);

/// Running environments.
pub(crate) struct Environments {
    aws: AwsSettings,
    running: Mutex<BTreeMap<Target, Running>>,
    /// Apps on their way out.
    leaving: TaskTracker,
}

/// An app that runs.
struct Running {
    backend: Backend,
    admin: Admin,
    readiness: Readiness,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What requests are handed to.
#[derive(Clone)]
pub(crate) struct Backend {
    router: Router,
    requests: TaskTracker,
}

impl Backend {
    /// The router, and what keeps the app from ending before the request has.
    pub(crate) fn take(&self) -> (Router, TaskTrackerToken) {
        (self.router.clone(), self.requests.token())
    }
}

impl Environments {
    /// None yet; theirs will be these clients.
    pub(crate) fn new(aws: AwsSettings) -> Self {
        Self {
            aws,
            running: Mutex::default(),
            leaving: TaskTracker::new(),
        }
    }

    /// Starts what is not running, and waits until it is ready.
    ///
    /// # Errors
    /// An app's settings are wrong, or what was still being waited for when the time was over.
    pub(crate) async fn start(
        &self,
        targets: &BTreeSet<Target>,
        within: Duration,
    ) -> Result<(), String> {
        for target in targets {
            let is_running = self.running().contains_key(target);
            if !is_running {
                let app = start(target, &self.aws)?;
                self.running().insert(target.clone(), app);
            }
        }
        self.ready(targets, within).await
    }

    async fn ready(&self, targets: &BTreeSet<Target>, within: Duration) -> Result<(), String> {
        let deadline = Instant::now() + within;
        loop {
            let waiting: Vec<_> = self
                .running()
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
                    "not ready after {within:?}: waiting for {}",
                    waiting.join(", ")
                ));
            }
            tokio::time::sleep(READY_POLL).await;
        }
    }

    /// What runs.
    pub(crate) fn targets(&self) -> BTreeSet<Target> {
        self.running().keys().cloned().collect()
    }

    /// Where requests for an app go.
    pub(crate) fn backend(&self, target: &Target) -> Option<Backend> {
        self.running().get(target).map(|app| app.backend.clone())
    }

    /// The admin endpoint of an app, for `/<environment>/<app>/…`.
    pub(crate) fn admin(&self, environment: &str, app: &str) -> Option<Admin> {
        let environment: Environment = environment.parse().ok()?;
        let app = App::ALL.into_iter().find(|known| known.as_str() == app)?;
        self.running()
            .get(&(environment, app))
            .map(|running| running.admin.clone())
    }

    /// Ends an app, to which no more requests are brought: those it has are answered first. Gives what ends when it has.
    pub(crate) fn stop(&self, target: &Target) -> impl Future<Output = ()> + use<> {
        let app = self.running().remove(target);
        let done = self.leaving.spawn(async move {
            if let Some(app) = app {
                app.end().await;
            }
        });
        async move {
            // A panic of the app's was reported where it happened.
            let _ = done.await;
        }
    }

    /// Finishes what is in hand.
    pub(crate) async fn drain(&self) {
        for target in self.targets() {
            drop(self.stop(&target));
        }
        self.leaving.close();
        self.leaving.wait().await;
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<Target, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    async fn end(self) {
        self.backend.requests.close();
        self.backend.requests.wait().await;
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn start(target: &Target, aws: &AwsSettings) -> Result<Running, String> {
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
    Ok(Running {
        backend: Backend {
            router,
            requests: TaskTracker::new(),
        },
        admin: Admin::new(readiness.clone(), metrics),
        readiness,
        tasks,
        stop,
    })
}

/// The production service, configured as its own process would be; ports are given because they are not used.
fn assemble(app: App, environment: &str, aws: &AwsSettings) -> Result<Service, String> {
    let arguments = [
        app.as_str(),
        "--environment",
        environment,
        "--port=0",
        "--admin-port=0",
    ];
    let wrong = |error: tenantry_process::config::ConfigError| error.to_string();
    Ok(match app {
        App::Producer => producer::service(&parse_from(arguments).map_err(wrong)?, aws),
        App::Consumer => consumer::service(&parse_from(arguments).map_err(wrong)?, aws),
        App::Payments => payments::service(&parse_from(arguments).map_err(wrong)?, aws),
    })
}
