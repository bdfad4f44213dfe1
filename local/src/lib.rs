//! The whole SaaS on one machine, in one process: AWS endpoint, GitOps repository and reconciler, environments, load
//! balancer. It needs no AWS account and no Docker.
//!
//! The services are the production ones, over the AWS SDK. Only the load balancer differs: it calls the environment's
//! router in memory, not over a socket.

mod banner;
mod board;
mod console;
mod counts;
mod data;
mod environments;
mod error;
mod gateway;
mod gitops;
mod journal;
mod lifecycle;
mod names;
mod plane;
mod provision;
mod reconcile;
mod repository;
mod seed;
mod topology;
mod transition;

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Request, Response};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::service::TowerToHyperService;
use localaws::hosts::{AllowedHosts, ForeignRequest, HostName};
use tenantctl::data::DataClients;
use tenantctl::data::moves::{Mover, Timing};
use tenantry_process::admin::Admin;
use tenantry_process::aws::AwsSettings;
use tenantry_process::config::LogFormat;
use tenantry_process::server::{self, RequestBody};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::board::Board;
use self::console::Console;
pub use self::data::DataError;
use self::data::DataFolder;
use self::environments::{Environments, REGISTRY_REFRESH};
pub use self::error::LocalError;
use self::gateway::Gateway;
use self::gitops::Gitops;
use self::lifecycle::{CONTROL_PLANE, LifecycleWorker};
use self::names::{ACCOUNT, REGION};
use self::plane::Plane;
pub use self::plane::ReconcileError;
use self::provision::Provisioner;
use self::reconcile::Reconciler;

/// Connections of the load balancer, and of the admin address.
const MAX_CONNECTIONS: usize = 4096;
/// Default address of the console.
const CONSOLE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8090);
/// Time limit of the shutdown.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);

/// Times of a move: the embedded endpoint counts exactly, and no request takes longer than 5 s.
const MOVE_TIMING: Timing = Timing {
    refresh: REGISTRY_REFRESH.saturating_add(Duration::from_secs(1)),
    request: Duration::from_secs(5),
    count: Duration::from_millis(200),
    late: Duration::from_secs(5),
};

/// The whole SaaS on one machine: AWS endpoint, environments, load balancer
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "local", version)]
pub struct Config {
    /// Data folder: queues, tables, parameters and the GitOps repository
    #[arg(long, value_name = "FOLDER", default_value = ".local")]
    pub data_dir: PathBuf,

    /// Keep all data in memory
    #[arg(long)]
    pub ephemeral: bool,

    /// Address of the load balancer; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Address of the AWS endpoint; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4566")]
    pub aws_listen: SocketAddr,

    /// Address of /ENVIRONMENT/SERVICE/livez, readyz and metrics; not served by default
    #[arg(long, value_name = "ADDRESS")]
    pub admin_listen: Option<SocketAddr>,

    /// Address of the console and of the control plane's API; port 0 takes a free one [default: 127.0.0.1:8090, or a free
    /// port if that is in use]
    #[arg(long, value_name = "ADDRESS")]
    pub console_listen: Option<SocketAddr>,

    /// Name under which clients reach the addresses above, beside IP addresses and localhost; repeat it, or separate by
    /// commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub allow_host: Vec<HostName>,

    /// Log format
    #[arg(long, env, value_name = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Pretty)]
    pub log_format: LogFormat,

    /// Log level, or directives such as info,tenantry_service=debug
    #[arg(
        long,
        env,
        value_name = "LOG_LEVEL",
        default_value = "warn,dynoxide=error,local=info"
    )]
    pub log_level: String,
}

/// Runs everything until the token is canceled.
///
/// # Errors
/// [`LocalError`].
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), LocalError> {
    let data = if config.ephemeral {
        None
    } else {
        Some(data::open(&config.data_dir)?)
    };
    // Bind first: an address in use must not leave a partial start.
    let listener = listen("--listen", config.listen).await?;
    let console_listener = match config.console_listen {
        Some(address) => listen("--console-listen", address).await?,
        None => listen_on_default().await?,
    };
    let admin = match config.admin_listen {
        Some(address) => Some(listen("--admin-listen", address).await?),
        None => None,
    };
    let allowed_hosts: AllowedHosts = config.allow_host.into_iter().collect();
    let endpoint = start_endpoint(config.aws_listen, data.as_ref(), allowed_hosts.clone()).await?;
    let aws = AwsSettings::for_endpoint(&endpoint.url(), REGION);
    let provisioner = Provisioner::new(&aws.without_retries());
    provisioner.create_lifecycle_queues().await?;
    let gitops = Gitops::open(data.as_ref().map(DataFolder::folder))?;
    let environments = Arc::new(Environments::new(aws.clone()));
    let gateway = Gateway::new(allowed_hosts.clone());
    let mover = Mover {
        clients: DataClients::new(&aws),
        timing: MOVE_TIMING,
    };
    let balancer = listener.local_addr().unwrap_or(config.listen);
    let board = Board::new(
        Arc::clone(&environments),
        format!("http://{}", reached_at(balancer)),
    );
    let plane = Plane::new(
        provisioner,
        Arc::clone(&environments),
        gateway.clone(),
        mover,
        board.clone(),
    );
    // The branch is stamped before it is read: a push in between is then seen as a change.
    let followed = gitops
        .repository
        .clone()
        .map(|repository| (repository.stamp(), repository));
    let start = gitops.desired()?;
    let mut reconciler = Reconciler::new(plane, start.before, shutdown.clone());
    reconciler.apply(start.topology.clone()).await?;
    board.applied(start.commit.as_ref(), &start.topology);
    if let Some((commit, reason)) = &start.invalid {
        board.invalid(commit, reason);
    }

    let lifecycle = match &gitops.repository {
        Some(repository) => Some(LifecycleWorker::start(
            repository.repository(),
            &aws,
            &shutdown,
        )?),
        None => None,
    };

    let console = match &gitops.repository {
        Some(repository) => {
            let repository = repository.repository();
            let (board, hosts) = (board.clone(), allowed_hosts.clone());
            Some(Console::start(console_listener, repository, board, &aws, hosts, &shutdown).await)
        }
        None => None,
    };
    let addresses = banner::Addresses {
        console: console.as_ref().map(|console| console.address),
        gateway: balancer,
        endpoint: endpoint.url(),
        admin: admin.as_ref().and_then(|admin| admin.local_addr().ok()),
        data: data.as_ref().map(|data| data.folder().into()),
        repository: gitops.path.clone(),
    };
    banner::print(&reconciler.applied, &addresses);

    let control_plane = lifecycle.as_ref().map(|lifecycle| lifecycle.admin.clone());
    let admin = admin.map(|listener| {
        serve_admin(
            listener,
            Arc::clone(&environments),
            control_plane,
            allowed_hosts,
            &shutdown,
        )
    });
    let following = followed.map(|(stamp, repository)| {
        tokio::spawn(reconciler.follow(repository, stamp, shutdown.clone()))
    });
    server::serve(
        listener,
        TowerToHyperService::new(gateway.router()),
        MAX_CONNECTIONS,
        shutdown.clone(),
    )
    .await;
    // Otherwise the shutdown waits for the end of idle long polls.
    endpoint.release_long_polls();
    let drained = drain(following, lifecycle, console, &environments);
    if tokio::time::timeout(DRAIN_WITHIN, drained).await.is_err() {
        tracing::warn!(
            "shutdown timed out: unfinished messages are delivered again at the next start"
        );
    }
    if let Some(admin) = admin {
        admin.abort();
    }
    endpoint.shutdown().await;
    Ok(())
}

async fn drain(
    following: Option<JoinHandle<()>>,
    lifecycle: Option<LifecycleWorker>,
    console: Option<Console>,
    environments: &Environments,
) {
    if let Some(console) = console {
        console.drain().await;
    }
    if let Some(following) = following {
        // A panic of the task was logged when it happened.
        let _ = following.await;
    }
    if let Some(lifecycle) = lifecycle {
        lifecycle.drain().await;
    }
    environments.drain().await;
}

async fn start_endpoint(
    address: SocketAddr,
    data: Option<&DataFolder>,
    allowed_hosts: AllowedHosts,
) -> Result<localaws::Endpoint, LocalError> {
    let storage = data.map_or(localaws::Storage::Memory, |data| {
        localaws::Storage::Dir(data.folder().into())
    });
    let config = localaws::Config {
        listen: address,
        storage,
        account_id: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        allowed_hosts,
    };
    Ok(localaws::start(config).await?)
}

/// Serves the admin endpoint of every app, at `/<environment>/<app>/…`, and of the control plane.
fn serve_admin(
    listener: TcpListener,
    environments: Arc<Environments>,
    control_plane: Option<Admin>,
    allowed_hosts: AllowedHosts,
    shutdown: &CancellationToken,
) -> JoinHandle<()> {
    let service = service_fn(move |request: Request<RequestBody>| {
        if let Err(foreign) = allowed_hosts.check(request.uri(), request.headers()) {
            return std::future::ready(Ok::<_, Infallible>(refused(&foreign)));
        }
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
            Some(admin) => admin.answer(&request, &path),
            None => Admin::not_found(&request),
        };
        std::future::ready(Ok(response))
    });
    tokio::spawn(server::serve(
        listener,
        service,
        MAX_CONNECTIONS,
        shutdown.clone(),
    ))
}

fn refused(foreign: &ForeignRequest) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{foreign}\n")));
    *response.status_mut() = foreign.status();
    response
}

/// The console's default address, or a free port: a second `local` on this machine has a console, too.
async fn listen_on_default() -> Result<TcpListener, LocalError> {
    match TcpListener::bind(CONSOLE).await {
        Ok(listener) => Ok(listener),
        Err(_) => listen("--console-listen", SocketAddr::new(CONSOLE.ip(), 0)).await,
    }
}

/// An address that a client of this machine can connect to.
fn reached_at(bound: SocketAddr) -> SocketAddr {
    match bound {
        SocketAddr::V4(address) if address.ip().is_unspecified() => {
            (std::net::Ipv4Addr::LOCALHOST, address.port()).into()
        }
        SocketAddr::V6(address) if address.ip().is_unspecified() => {
            (std::net::Ipv6Addr::LOCALHOST, address.port()).into()
        }
        address => address,
    }
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
