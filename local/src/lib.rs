//! The whole SaaS on one machine: the embedded AWS endpoint, a GitOps repository and what keeps to it, the tenants'
//! environments and the load balancer's routing, in one process. Nothing else is installed, no account is needed.
//!
//! The services are the production ones, over the same SDK; only sockets differ: the load balancer hands a request to
//! the environment's router in memory.

mod banner;
mod data;
mod environments;
mod gateway;
mod gitops;
mod lifecycle;
mod provision;
mod reconcile;
mod seed;
mod source;
mod topology;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::service::TowerToHyperService;
use tenantctl::git::GitError;
use tenantry_process::admin::Admin;
use tenantry_process::aws::AwsSettings;
use tenantry_process::config::{ConfigError, LogFormat};
use tenantry_process::server;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use self::data::DataError;
use self::data::DataFolder;
use self::environments::Environments;
use self::gateway::Gateway;
use self::gitops::Gitops;
use self::lifecycle::{CONTROL_PLANE, Lifecycle};
use self::provision::{ProvisionError, Provisioner};
pub use self::reconcile::ReconcileError;
use self::reconcile::Reconciler;
use self::topology::Topology;

/// The region of the embedded endpoint.
const REGION: &str = "us-east-1";
/// The account of the embedded endpoint.
const ACCOUNT: &str = "000000000000";
/// Connections of the load balancer and of the admin address, each.
const MAX_CONNECTIONS: usize = 4096;
/// Longest the end may take.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);

/// The whole SaaS on one machine: AWS endpoint, environments, load balancer
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "local", version)]
pub struct Config {
    /// Folder in which queues, tables, parameters and the GitOps repository are kept between runs
    #[arg(long, value_name = "FOLDER", default_value = ".local")]
    pub data_dir: PathBuf,

    /// Keep everything in memory and forget it at the end
    #[arg(long)]
    pub ephemeral: bool,

    /// Address of the load balancer; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Address of the AWS endpoint; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4566")]
    pub aws_listen: SocketAddr,

    /// Address of /ENVIRONMENT/SERVICE/livez, readyz and metrics; not served where unset
    #[arg(long, value_name = "ADDRESS")]
    pub admin_listen: Option<SocketAddr>,

    /// How log lines look
    #[arg(long, env, value_name = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Pretty)]
    pub log_format: LogFormat,

    /// What is logged: a level, or directives such as info,tenantry_service=debug
    #[arg(
        long,
        env,
        value_name = "LOG_LEVEL",
        default_value = "warn,dynoxide=error,local=info"
    )]
    pub log_level: String,
}

/// Why it did not start.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The AWS endpoint did not start.
    #[error("--aws-listen: {0}")]
    Endpoint(#[from] localaws::StartError),
    /// An address cannot be listened on.
    #[error(
        "{flag}: cannot listen on {address}: {reason}; choose another address with {flag}, or end what uses it"
    )]
    Listen {
        /// The flag that sets it.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why not.
        reason: std::io::Error,
    },
    /// The queues of the tenant lifecycle could not be created.
    #[error("the lifecycle queues could not be set up: {0}")]
    Provision(#[from] ProvisionError),
    /// There is nowhere to keep the GitOps repository.
    #[error("the GitOps repository: {0}")]
    Repository(#[from] GitError),
    /// The GitOps repository asks for what cannot be, and no earlier commit is known that did not.
    #[error(
        "the GitOps repository is broken: mend and push, or delete gitops.git in the data folder\n{0}"
    )]
    Broken(String),
    /// A variable that the worker of the lifecycle queues reads cannot be used.
    #[error(transparent)]
    Worker(#[from] ConfigError),
    /// What it asks for could not be carried out.
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
}

/// Runs everything until the token is cancelled.
///
/// # Errors
/// [`LocalError`], one line that says what to do.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), LocalError> {
    let data = if config.ephemeral {
        None
    } else {
        Some(data::open(&config.data_dir)?)
    };
    // Addresses first: a port in use must not leave anything half started.
    let listener = listen("--listen", config.listen).await?;
    let admin = match config.admin_listen {
        Some(address) => Some(listen("--admin-listen", address).await?),
        None => None,
    };
    let storage = data.as_ref().map_or(localaws::Storage::Memory, |data| {
        localaws::Storage::Dir(data.folder().into())
    });
    let endpoint = localaws::start(localaws::Config {
        listen: config.aws_listen,
        storage,
        account_id: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
    })
    .await?;
    let aws = AwsSettings::for_endpoint(&endpoint.url(), REGION);
    let provisioner = Provisioner::new(&aws.without_retries());
    provisioner.create_lifecycle_queues().await?;
    let repository = Gitops::open(data.as_ref().map(DataFolder::folder))?;
    let environments = Arc::new(Environments::new(aws.clone()));
    let gateway = Gateway::new();
    let mut reconciler = Reconciler {
        provisioner,
        environments: Arc::clone(&environments),
        gateway: gateway.clone(),
        applied: Topology::default(),
    };
    let followed = repository
        .source
        .clone()
        .map(|source| (source.stamp(), source));
    let wanted = repository.wanted()?;
    reconciler.carry_out(wanted).await?;

    let lifecycle = match &repository.source {
        Some(source) => Some(Lifecycle::start(source.repository(), &aws, &shutdown)?),
        None => None,
    };

    let address = listener.local_addr().unwrap_or(config.listen);
    let places = banner::Places {
        gateway: address,
        endpoint: endpoint.url(),
        admin: admin.as_ref().and_then(|admin| admin.local_addr().ok()),
        folder: data.as_ref().map(|data| data.folder().into()),
        repository: repository.place.clone(),
    };
    banner::print(&reconciler.applied, &places);

    let control_plane = lifecycle.as_ref().map(|lifecycle| lifecycle.admin.clone());
    let admin = admin.map(|listener| {
        serve_admin(
            listener,
            Arc::clone(&environments),
            control_plane,
            &shutdown,
        )
    });
    let following = followed
        .map(|(seen, source)| tokio::spawn(reconciler.follow(source, seen, shutdown.clone())));
    server::serve(
        listener,
        TowerToHyperService::new(gateway.router()),
        MAX_CONNECTIONS,
        shutdown.clone(),
    )
    .await;
    // An idle long poll would hold the end up for as long as it waits.
    endpoint.release_long_polls();
    let end = async {
        if let Some(following) = following {
            // A panic of its was reported where it happened.
            let _ = following.await;
        }
        if let Some(lifecycle) = lifecycle {
            lifecycle.ended().await;
        }
        environments.drain().await;
    };
    if tokio::time::timeout(DRAIN_WITHIN, end).await.is_err() {
        tracing::warn!(
            "messages in hand were not finished; they are delivered again at the next start"
        );
    }
    if let Some(admin) = admin {
        admin.abort();
    }
    endpoint.shutdown().await;
    Ok(())
}

/// Serves the admin endpoint of every app, at `/<environment>/<app>/…`, and of the control plane.
fn serve_admin(
    listener: TcpListener,
    environments: Arc<Environments>,
    control_plane: Option<Admin>,
    shutdown: &CancellationToken,
) -> tokio::task::JoinHandle<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut segments = request.uri().path().splitn(4, '/').skip(1);
        let mut next = || segments.next().unwrap_or_default();
        let (environment, app, path) = (next(), next(), format!("/{}", next()));
        let admin = if environment == CONTROL_PLANE {
            control_plane
                .clone()
                .filter(|_| app == tenantctl::worker::NAME)
        } else {
            environments.admin(environment, app)
        };
        let response = match admin {
            Some(admin) => admin.answer(request.method(), &path),
            None => Admin::not_found(),
        };
        std::future::ready(Ok::<_, Infallible>(response))
    });
    tokio::spawn(server::serve(
        listener,
        service,
        MAX_CONNECTIONS,
        shutdown.clone(),
    ))
}

async fn listen(flag: &'static str, address: SocketAddr) -> Result<TcpListener, LocalError> {
    TcpListener::bind(address)
        .await
        .map_err(|reason| LocalError::Listen {
            flag,
            address,
            reason,
        })
}
