//! The control plane in this process: the production API and console over the reconciler's own state.
//!
//! Every request is the owner's: the port is for this machine. A page of another site reaches nothing, by the rule of the
//! embedded endpoint.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::service::TowerToHyperService;
use localaws::hosts::AllowedHosts;
use onboarding::api::Access;
use onboarding::callback::Callbacks;
use onboarding::control::{self, Settings, Timing};
use onboarding::service::{Assembled, assemble};
use tenantctl::git::Repository;
use tenantry_process::aws::AwsSettings;
use tenantry_process::health::Readiness;
use tenantry_process::metrics::Metrics;
use tenantry_process::run::upkeep;
use tenantry_process::server;
use tenantry_service::source::Proxies;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::MAX_CONNECTIONS;
use crate::board::Board;
use crate::lifecycle::CONTROL_PLANE;

/// The sources are in this process, so reading them often costs little.
const TIMING: Timing = Timing {
    idle_tick: Duration::from_secs(10),
    tick: Duration::from_secs(1),
    open_tick: Duration::from_millis(200),
    fetch: Duration::from_millis(500),
    fail_after: Duration::from_secs(600),
};

/// Longest wait for the first read at a start.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// Poll interval of readiness during a start.
const READY_POLL: Duration = Duration::from_millis(2);

/// Signs callbacks. It is no secret: `local` serves this machine's user alone.
const CALLBACK_SECRET: &[u8] = b"local-callback-secret";

pub(crate) struct Console {
    pub(crate) address: SocketAddr,
    tasks: TaskTracker,
}

impl Console {
    /// Serves the control plane until the token is canceled. Returns once it has read the repository, or after a while.
    pub(crate) async fn start(
        listener: TcpListener,
        repository: Repository,
        board: Board,
        aws: &AwsSettings,
        allowed_hosts: AllowedHosts,
        shutdown: &CancellationToken,
    ) -> Self {
        let metrics = Metrics::new(onboarding::NAME, CONTROL_PLANE);
        let settings = Settings {
            repository,
            platform: Arc::new(board),
            aws: aws.clone(),
            timing: TIMING,
            callbacks: Callbacks::new(Some(CALLBACK_SECRET), true),
            take_back: false,
            client: control::client(None).expect("a client without certificates can be built"),
            metrics: metrics.clone(),
        };
        let readiness = Readiness::default();
        let access = Access::Loopback(Arc::new(move |uri, headers| {
            let allowed = allowed_hosts.check(uri, headers);
            allowed.map_err(|foreign| (foreign.status(), foreign.to_string()))
        }));
        let Assembled {
            router, background, ..
        } = assemble(
            settings,
            access,
            Proxies::default(),
            &readiness,
            shutdown.clone(),
        );
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        let tasks = TaskTracker::new();
        tasks.spawn(background);
        tasks.spawn(upkeep(metrics, shutdown.clone()));
        tasks.spawn(server::serve(
            listener,
            TowerToHyperService::new(router),
            MAX_CONNECTIONS,
            shutdown.clone(),
        ));
        let deadline = Instant::now() + READ_WITHIN;
        while !readiness.is_ready() && Instant::now() < deadline {
            tokio::time::sleep(READY_POLL).await;
        }
        Self { address, tasks }
    }

    /// Waits until the last request is answered.
    pub(crate) async fn drain(self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
