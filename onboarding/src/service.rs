//! The process: its settings, its assembly and its run.

use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::future::BoxFuture;
use hyper_util::service::TowerToHyperService;
use tenantctl::git::{Author, Branch, Credentials, Repository, Settings as GitSettings};
use tenantry_process::aws::AwsSettings;
use tenantry_process::config::{ProcessConfig, number, seconds};
use tenantry_process::health::Readiness;
use tenantry_process::metrics::Metrics;
use tenantry_process::run::{self, Configured, RunError, Worker};
use tenantry_process::server;
use tenantry_service::auth::{Auth, Authenticator};
use tenantry_service::source::Proxies;
use tokio_util::sync::CancellationToken;

use crate::NAME;
use crate::api::{self, Access, App, RoleConfig};
use crate::callback::Callbacks;
use crate::console;
use crate::control::{self, ControlPlane, Settings, Timing};
use crate::platform::kubernetes::Kubernetes;

/// Time limit of one call of git: no client waits longer for a change.
const GIT_TIMEOUT: Duration = Duration::from_secs(60);

/// Onboards, moves, deploys to and offboards tenants, by commits alone
#[derive(Debug, Clone, clap::Parser)]
#[command(name = NAME, version)]
pub struct Config {
    /// The GitOps repository: a URL without user or password
    #[arg(
        long,
        env = "GITOPS_REPOSITORY",
        hide_env_values = true,
        value_name = "GITOPS_REPOSITORY"
    )]
    pub repository: String,

    /// The branch that Flux follows
    #[arg(
        long,
        env = "GITOPS_BRANCH",
        value_name = "GITOPS_BRANCH",
        default_value = "main"
    )]
    pub branch: Branch,

    /// Author of the commits; the actor is in a trailer
    #[arg(
        long,
        env = "GITOPS_AUTHOR",
        value_name = "GITOPS_AUTHOR",
        default_value = "onboarding-service <onboarding-service@localhost>"
    )]
    pub author: Author,

    /// The user whose password GITOPS_PASSWORD_FILE holds
    #[arg(
        long,
        env = "GITOPS_USERNAME",
        value_name = "GITOPS_USERNAME",
        default_value = "git"
    )]
    pub username: String,

    /// File whose first line is the password or token of the repository
    #[arg(
        long,
        env = "GITOPS_PASSWORD_FILE",
        value_name = "GITOPS_PASSWORD_FILE"
    )]
    pub password_file: Option<PathBuf>,

    /// The password or token itself, where no file can be mounted
    #[arg(
        long,
        env = "GITOPS_PASSWORD",
        hide_env_values = true,
        value_name = "GITOPS_PASSWORD",
        conflicts_with = "password_file"
    )]
    pub password: Option<String>,

    /// Folder of the repository's mirror
    #[arg(
        long,
        env = "GITOPS_CACHE_DIR",
        value_name = "GITOPS_CACHE_DIR",
        default_value = "/tmp/onboarding"
    )]
    pub cache_dir: PathBuf,

    /// URL of the tenants' load balancer, which is asked whether a tenant answers
    #[arg(long, env, value_name = "LOAD_BALANCER_URL")]
    pub load_balancer_url: Option<String>,

    /// URL of `kubectl proxy` on this machine, to run outside of a pod
    #[arg(long, env, value_name = "KUBERNETES_PROXY_URL")]
    pub kubernetes_proxy_url: Option<String>,

    /// Certificates of a private authority that signs the load balancer's certificate, in PEM
    #[arg(long, env, hide_env_values = true, value_name = "LOAD_BALANCER_CA")]
    pub load_balancer_ca: Option<String>,

    /// URL of a Prometheus that scrapes the tenants' services, for figures and gates
    #[arg(long, env, value_name = "PROMETHEUS_URL")]
    pub prometheus_url: Option<String>,

    /// Seconds after which the branch and the cluster are read again
    #[arg(long, env, value_name = "READ_SECONDS", default_value = "10", value_parser = seconds(1, 3600))]
    pub read_seconds: Duration,

    /// Seconds after which an operation fails that something blocks
    #[arg(long, env, value_name = "FAIL_AFTER_SECONDS", default_value = "900", value_parser = seconds(1, 86_400))]
    pub fail_after_seconds: Duration,

    /// Take back, by a commit, a tenant's object that the cluster refuses, so that it holds up no other tenant
    #[arg(long, env, value_name = "TAKE_BACK", default_value_t = true, action = clap::ArgAction::Set)]
    pub take_back: bool,

    /// File with the secret that signs callbacks; without it, no callback URL is accepted
    #[arg(long, env, value_name = "CALLBACK_SECRET_FILE")]
    pub callback_secret_file: Option<PathBuf>,

    /// The secret itself, where no file can be mounted
    #[arg(
        long,
        env,
        hide_env_values = true,
        value_name = "CALLBACK_SECRET",
        conflicts_with = "callback_secret_file"
    )]
    pub callback_secret: Option<String>,

    /// Let callbacks reach private and loopback addresses
    #[arg(long, env, value_name = "CALLBACK_PRIVATE")]
    pub callback_private: bool,

    /// Port of the API and the console
    #[arg(long, env, value_name = "PORT", default_value_t = 8080)]
    pub port: u16,

    /// Connections served at once; further ones wait to be accepted
    #[arg(long, env, value_name = "MAX_CONNECTIONS", default_value_t = 512, value_parser = number(1, 1_000_000))]
    pub max_connections: usize,

    /// Settings of every process.
    #[command(flatten)]
    pub process: ProcessConfig,

    /// Authentication of requests.
    #[command(flatten)]
    pub auth: Auth,

    /// Roles of actors.
    #[command(flatten)]
    pub roles: RoleConfig,

    /// Trusted proxies, from which the client's address is read.
    #[command(flatten)]
    pub proxies: Proxies,
}

impl Configured for Config {
    fn process(&self) -> &ProcessConfig {
        &self.process
    }
}

/// The control plane, assembled and not yet running.
pub struct Assembled {
    pub router: Router,
    pub control: ControlPlane,
    pub background: BoxFuture<'static, ()>,
}

/// Assembles the control plane. The background work ends with the token.
pub fn assemble(
    settings: Settings,
    access: Access,
    proxies: Proxies,
    readiness: &Readiness,
    shutdown: CancellationToken,
) -> Assembled {
    let metrics = settings.metrics.clone();
    let control = ControlPlane::new(settings);
    let read = readiness.condition("state");
    let app = App {
        control: control.clone(),
        access,
        shutdown: shutdown.clone(),
    };
    let console = console::router(control.clone());
    Assembled {
        router: api::router(app, console, metrics, proxies),
        background: Box::pin(control.clone().run(read, shutdown)),
        control,
    }
}

/// Runs the service on a cluster until the token is canceled and all work is finished.
///
/// # Errors
/// [`RunError`]: settings that cannot work, a port in use, or a drain that exceeds the grace period.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), RunError> {
    let aws = AwsSettings::from_env().await?;
    let metrics = Metrics::new(NAME, "control-plane");
    let readiness = Readiness::default();
    let repository = repository(&config).map_err(RunError::Settings)?;
    let access = access(&config, &readiness, &metrics).map_err(RunError::Settings)?;
    let secret = callback_secret(&config).map_err(RunError::Settings)?;
    let (load_balancer, prometheus) = (
        config.load_balancer_url.clone(),
        config.prometheus_url.clone(),
    );
    let platform = match &config.kubernetes_proxy_url {
        Some(url) => Kubernetes::proxied(url, load_balancer, prometheus),
        None => Kubernetes::in_cluster(load_balancer, prometheus),
    };
    let platform = platform.map_err(RunError::Settings)?;
    let client = control::client(config.load_balancer_ca.as_deref());
    let client = client
        .map_err(|error| RunError::Settings(format!("LOAD_BALANCER_CA is not valid: {error}")))?;
    let settings = Settings {
        repository,
        platform: Arc::new(platform),
        aws,
        timing: Timing {
            idle_tick: config.read_seconds,
            tick: config.read_seconds,
            open_tick: config.read_seconds.min(Duration::from_secs(2)),
            fetch: config.read_seconds,
            fail_after: config.fail_after_seconds,
        },
        callbacks: Callbacks::new(secret.as_deref(), config.callback_private),
        metrics: metrics.clone(),
        take_back: config.take_back,
        client,
    };
    let authenticator = match &access {
        Access::Tokens(authenticator, _) => authenticator.clone(),
        Access::Loopback(_) => Authenticator::off(),
    };
    let Assembled {
        router, background, ..
    } = assemble(
        settings,
        access,
        config.proxies.clone(),
        &readiness,
        shutdown.clone(),
    );
    let listener = run::listen("PORT", config.process.bind_address, config.port)?;
    let admin = run::listen(
        "ADMIN_PORT",
        config.process.bind_address,
        config.process.admin_port,
    )?;
    tracing::info!(service = NAME, address = %run::address(&listener), admin = %run::address(&admin), "listening");
    let requests = server::serve(
        listener,
        TowerToHyperService::new(router),
        config.max_connections,
        shutdown.clone(),
    );
    let worker = Worker {
        name: NAME,
        readiness,
        metrics,
        background: Box::new(|shutdown| {
            Box::pin(async move {
                let keys = shutdown.run_until_cancelled(authenticator.keep_keys());
                tokio::join!(background, keys);
            })
        }),
    };
    worker
        .serve_with(admin, requests, &config.process, shutdown)
        .await
}

/// A shorter secret can be guessed.
const MIN_SECRET_BYTES: usize = 16;

fn callback_secret(config: &Config) -> Result<Option<Vec<u8>>, String> {
    let secret = match (&config.callback_secret_file, &config.callback_secret) {
        (Some(file), _) => std::fs::read(file).map_err(|error| {
            format!(
                "CALLBACK_SECRET_FILE: {} cannot be read: {error}",
                file.display()
            )
        })?,
        (None, Some(secret)) => secret.clone().into_bytes(),
        (None, None) => return Ok(None),
    };
    let secret = secret.trim_ascii().to_vec();
    if secret.len() < MIN_SECRET_BYTES {
        return Err(format!(
            "CALLBACK_SECRET is shorter than {MIN_SECRET_BYTES} bytes; make a longer one"
        ));
    }
    Ok(Some(secret))
}

/// The file that git's askpass reads: the named one, or one that only this user can read.
fn password_file(config: &Config, cache: &Path) -> Result<Option<PathBuf>, String> {
    if let Some(file) = &config.password_file {
        // Git runs in another working folder.
        let file =
            std::path::absolute(file).map_err(|error| format!("GITOPS_PASSWORD_FILE: {error}"))?;
        return Ok(Some(file));
    }
    let Some(password) = &config.password else {
        return Ok(None);
    };
    let file = cache.join("password");
    let unwritable = |error: std::io::Error| {
        format!(
            "GITOPS_CACHE_DIR: {} cannot be written: {error}; choose a writable folder",
            file.display()
        )
    };
    std::fs::create_dir_all(cache).map_err(unwritable)?;
    let mut options = std::fs::OpenOptions::new();
    let mut opened = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&file)
        .map_err(unwritable)?;
    opened.write_all(password.as_bytes()).map_err(unwritable)?;
    Ok(Some(file))
}

fn repository(config: &Config) -> Result<Repository, String> {
    let cache = std::path::absolute(&config.cache_dir)
        .map_err(|error| format!("GITOPS_CACHE_DIR: {error}"))?;
    let credentials = match password_file(config, &cache)? {
        Some(file) => {
            let askpass = std::env::current_exe()
                .map_err(|error| format!("this program's own path is not known: {error}"))?;
            Some(Credentials::new(config.username.clone(), file, askpass))
        }
        None => None,
    };
    let address = config
        .repository
        .parse()
        .map_err(|error| format!("GITOPS_REPOSITORY: {error}"))?;
    Repository::open(GitSettings {
        address,
        branch: config.branch.clone(),
        author: config.author.clone(),
        cache,
        credentials,
        timeout: GIT_TIMEOUT,
    })
    .map_err(|error| error.to_string())
}

fn access(config: &Config, readiness: &Readiness, metrics: &Metrics) -> Result<Access, String> {
    if config.auth != Auth::None {
        let authenticator = Authenticator::new(&config.auth, readiness, metrics);
        return Ok(Access::Tokens(
            authenticator,
            Arc::new(config.roles.clone()),
        ));
    }
    if is_loopback(config.process.bind_address) {
        return Ok(Access::Loopback(Arc::new(|_, _| Ok(()))));
    }
    Err(
        "AUTH is none, but BIND_ADDRESS is no loopback address: every client that reaches the port could delete tenants; set AUTH=jwt"
            .to_owned(),
    )
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}
