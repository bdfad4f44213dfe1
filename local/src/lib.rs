//! The whole SaaS on one machine: the embedded AWS endpoint, the environments of the sample tenants and the load
//! balancer's routing, in one process. Nothing else is installed, no account is needed.
//!
//! The services are the production ones, over the same SDK; only sockets differ: the load balancer hands a request to
//! the environment's router in memory.

mod banner;
mod data;
mod environments;
mod gateway;
mod provision;
mod topology;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use shared::aws::{AwsClients, settings_of};
use shared::config::LogFormat;
use shared::http::server;
use shared::service::admin_routes;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use self::data::DataError;
use self::environments::Environments;
use self::provision::ProvisionError;

/// The region of the embedded endpoint.
const REGION: &str = "us-east-1";
/// The account of the embedded endpoint.
const ACCOUNT: &str = "000000000000";
/// Connections of the load balancer and of the admin address, each.
const MAX_CONNECTIONS: usize = 4096;
/// Longest the environments may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Longest the end may take.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);

/// The whole SaaS on one machine: AWS endpoint, environments, load balancer
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "local", version)]
pub struct Config {
    /// Folder in which queues, tables and parameters are kept between runs
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

    /// What is logged: a level, or directives such as info,shared=debug
    #[arg(long, env, value_name = "LOG_LEVEL", default_value = "warn,dynoxide=error")]
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
    /// The tenants' queues, tables and parameters could not be created.
    #[error("the sample tenants could not be set up: {0}")]
    Provision(#[from] ProvisionError),
    /// An environment's settings are wrong.
    #[error("{0}")]
    Settings(String),
    /// The environments did not become ready.
    #[error("not ready after {READY_WITHIN:?}: waiting for {0}")]
    NotReady(String),
}

/// Runs everything until the token is cancelled.
///
/// # Errors
/// [`LocalError`], one line that says what to do.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), LocalError> {
    let data = if config.ephemeral { None } else { Some(data::open(&config.data_dir)?) };
    // Addresses first: a port in use must not leave anything half started.
    let listener = listen("--listen", config.listen).await?;
    let admin = match config.admin_listen {
        Some(address) => Some(listen("--admin-listen", address).await?),
        None => None,
    };
    let storage =
        data.as_ref().map_or(localaws::Storage::Memory, |data| localaws::Storage::Dir(data.folder().into()));
    let endpoint = localaws::start(localaws::Config {
        listen: config.aws_listen,
        storage,
        account_id: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
    })
    .await?;
    let sdk = settings_of(&endpoint.url(), REGION);
    let tenants = topology::sample_tenants();
    provision::provision(&sdk, &tenants).await?;

    let environments = Environments::start(&tenants, &AwsClients::new(&sdk)).map_err(LocalError::Settings)?;
    environments.ready(READY_WITHIN).await.map_err(LocalError::NotReady)?;
    let gateway = gateway::routes(&tenants, environments.routers());
    let address = listener.local_addr().unwrap_or(config.listen);
    let places = banner::Places {
        gateway: address,
        endpoint: endpoint.url(),
        admin: admin.as_ref().and_then(|admin| admin.local_addr().ok()),
        folder: data.as_ref().map(|data| data.folder().into()),
    };
    banner::print(&tenants, &places);

    let admin = admin.map(|listener| serve_admin(listener, &environments, &shutdown));
    server::serve(listener, gateway, MAX_CONNECTIONS, shutdown.clone()).await;
    // An idle long poll would hold the end up for as long as it waits.
    endpoint.release_long_polls();
    if tokio::time::timeout(DRAIN_WITHIN, environments.drain()).await.is_err() {
        tracing::warn!("messages in hand were not finished; they are delivered again at the next start");
    }
    if let Some(admin) = admin {
        admin.abort();
    }
    endpoint.shutdown().await;
    Ok(())
}

/// The admin surface of every service.
fn serve_admin(
    listener: TcpListener,
    environments: &Environments,
    shutdown: &CancellationToken,
) -> tokio::task::JoinHandle<()> {
    let mut routes = axum::Router::new();
    for (environment, service, readiness, metrics) in environments.observed() {
        routes = routes.nest(&format!("/{environment}/{service}"), admin_routes(readiness, metrics));
    }
    tokio::spawn(server::serve(listener, routes, MAX_CONNECTIONS, shutdown.clone()))
}

async fn listen(flag: &'static str, address: SocketAddr) -> Result<TcpListener, LocalError> {
    TcpListener::bind(address).await.map_err(|reason| LocalError::Listen { flag, address, reason })
}
