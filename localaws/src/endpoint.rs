//! Configuration, start and shutdown of one endpoint.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::Connection;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    app::App,
    arn_scope::ArnScope,
    calls::Calls,
    dynamodb::{self, DynamoDb, Engine},
    faults::Faults,
    hosts::AllowedHosts,
    leading_keys::LeadingKeys,
    principals::Principals,
    private_files,
    server::{self, Stops},
    sqs::{self, LoadedQueues, Sqs},
    ssm::{self, LoadedParameters},
    store::{self, LoadError, SCHEMA_VERSION, Store, Writer},
};

/// File of SQS and SSM in the data folder.
const FILE: &str = "aws.db";
/// File of DynamoDB in the data folder.
const DYNAMODB_FILE: &str = "dynamodb.db";
/// Time a shutdown gives requests to finish before it closes their connections.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Time a shutdown then waits for background tasks.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Storage of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In memory: lost when the endpoint stops.
    Memory,
    /// In this folder, which is created if missing. One endpoint at a time may use it.
    Dir(PathBuf),
}

#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on; port 0 picks a free one.
    pub listen: SocketAddr,
    pub storage: Storage,
    /// Twelve-digit account in ARNs and queue URLs.
    pub account_id: String,
    /// Region in ARNs.
    pub region: String,
    /// Names under which clients reach the endpoint.
    pub allowed_hosts: AllowedHosts,
}

impl Config {
    /// Returns the defaults: 127.0.0.1:4566, account 000000000000, region us-east-1.
    #[must_use]
    pub fn new(storage: Storage) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 4566)),
            storage,
            account_id: "000000000000".into(),
            region: "us-east-1".into(),
            allowed_hosts: AllowedHosts::default(),
        }
    }

    /// Returns a configuration for tests: a free loopback port, and storage in memory.
    #[must_use]
    pub fn ephemeral() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            ..Self::new(Storage::Memory)
        }
    }
}

/// Start failure. Each message is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0} is in use: stop the program that listens there, or choose another address")]
    PortInUse(SocketAddr),
    #[error("cannot listen on {addr} ({source}): choose another address")]
    Listen { addr: SocketAddr, source: io::Error },
    #[error("cannot write the data folder {} ({reason}): check its permissions, or choose another", path.display())]
    DataDir { path: PathBuf, reason: String },
    #[error("the data folder {} is used by another process: stop that one, or choose another folder", path.display())]
    DataInUse { path: PathBuf },
    /// The data were written by another version of this program.
    #[error(
        "the data in {} have version {found}, this program reads version {SCHEMA_VERSION}: delete the folder, or choose another",
        path.display()
    )]
    OtherVersion { path: PathBuf, found: i64 },
    #[error("cannot read {} ({reason}): delete the data folder, or choose another", path.display())]
    Unreadable { path: PathBuf, reason: String },
    /// The account id or the region is malformed.
    #[error("{0}")]
    Config(String),
    /// The process is out of threads or ports.
    #[error(
        "cannot start the endpoint's threads ({0}): free memory, threads or ports of this machine"
    )]
    Resources(String),
}

/// A running endpoint. Dropping it without [`Endpoint::shutdown`] stops it abruptly, but loses no answered call.
#[derive(Debug)]
pub struct Endpoint {
    addr: SocketAddr,
    sqs: Sqs,
    stops: Stops,
    connections: TaskTracker,
    background: TaskTracker,
    engine: Option<Engine>,
    writer: Option<Writer>,
}

/// Loads the data, binds the port and starts serving.
///
/// # Errors
/// [`StartError`]; nothing keeps running then.
pub async fn start(config: Config) -> Result<Endpoint, StartError> {
    check(&config)?;
    let listener = bind(config.listen).await?;
    let addr = listener.local_addr().map_err(|source| StartError::Listen {
        addr: config.listen,
        source,
    })?;
    let scope = ArnScope {
        region: config.region.into(),
        account_id: config.account_id.into(),
    };
    let files = Files::open(&config.storage)?;
    let conn = files.conn.as_ref();
    let queues =
        LoadedQueues::load(scope.clone(), conn).map_err(|error| files.load_error(error))?;
    let parameters =
        LoadedParameters::load(scope.clone(), conn).map_err(|error| files.load_error(error))?;
    let table_settings = conn
        .map(dynamodb::load)
        .transpose()
        .map_err(|error| files.load_error(error))?
        .unwrap_or_default();
    let dynamodb_file = files.dir.as_ref().map(|dir| dir.join(DYNAMODB_FILE));
    let (store, writer) = match files.conn {
        Some(conn) => {
            let (store, writer) =
                Store::over(conn).map_err(|error| StartError::Resources(error.to_string()))?;
            (store, Some(writer))
        }
        None => (Store::ephemeral(), None),
    };
    let (connections, background) = (TaskTracker::new(), TaskTracker::new());
    let (dynamodb, engine) = DynamoDb::start(
        dynamodb_file.as_deref(),
        scope.clone(),
        table_settings,
        store.clone(),
        &background,
    )
    .map_err(|reason| match dynamodb_file {
        Some(path) => StartError::Unreadable { path, reason },
        None => StartError::Resources(reason),
    })?;
    let sqs = queues.serve(store.clone(), &background);
    let stops = Stops {
        graceful: CancellationToken::new(),
        now: CancellationToken::new(),
    };
    let app = App {
        root_id: scope.account_id.clone(),
        account_id: scope.account_id.clone(),
        addr,
        allowed_hosts: config.allowed_hosts,
        calls: Calls::default(),
        principals: Principals::default(),
        faults: Arc::new(Faults::default()),
        leading_keys: LeadingKeys::default(),
        sqs: sqs.clone(),
        ssm: parameters.serve(store.clone()),
        dynamodb,
        store,
    };
    let accepting = server::accept(listener, Arc::new(app), stops.clone(), connections.clone());
    connections.spawn(accepting);
    Ok(Endpoint {
        addr,
        sqs,
        stops,
        connections,
        background,
        engine: Some(engine),
        writer,
    })
}

impl Endpoint {
    /// Returns the listen address with the actual port.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the URL for AWS clients, e.g. for `AWS_ENDPOINT_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Ends waiting receives with an empty response; later receives do not wait. For a joint shutdown of clients and
    /// endpoint.
    pub fn release_long_polls(&self) {
        self.sqs.release_long_polls();
    }

    /// Stops accepting, finishes the requests in progress and closes the data. Takes milliseconds, or at most about
    /// 15 seconds if a client is slow.
    pub async fn shutdown(mut self) {
        self.sqs.stop();
        self.stops.graceful.cancel();
        self.connections.close();
        if tokio::time::timeout(DRAIN_TIMEOUT, self.connections.wait())
            .await
            .is_err()
        {
            self.stops.now.cancel();
            self.connections.wait().await;
        }
        if let Some(engine) = self.engine.take() {
            engine.stop().await;
        }
        self.background.close();
        if tokio::time::timeout(END_TIMEOUT, self.background.wait())
            .await
            .is_err()
        {
            tracing::warn!("background tasks still running at shutdown");
        }
        if let Some(writer) = self.writer.take() {
            // The drop blocks. The task fails only after a panic in the writer, which is logged there.
            let _ = tokio::task::spawn_blocking(|| drop(writer)).await;
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.sqs.stop();
        self.stops.graceful.cancel();
        self.stops.now.cancel();
    }
}

/// The open data file; `None` for storage in memory.
struct Files {
    conn: Option<Connection>,
    dir: Option<PathBuf>,
}

impl Files {
    fn open(storage: &Storage) -> Result<Self, StartError> {
        let Storage::Dir(dir) = storage else {
            return Ok(Self {
                conn: None,
                dir: None,
            });
        };
        let unwritable = |error: io::Error| StartError::DataDir {
            path: dir.clone(),
            reason: error.to_string(),
        };
        private_files::own_folder(dir, &[FILE, DYNAMODB_FILE]).map_err(unwritable)?;
        // SQLite's logs get the permissions of their file.
        for file in [FILE, DYNAMODB_FILE] {
            private_files::own_file(&dir.join(file)).map_err(unwritable)?;
        }
        let schema = [sqs::SCHEMA, ssm::SCHEMA, dynamodb::SCHEMA].concat();
        let conn = store::open(&dir.join(FILE), &schema, dynamodb::ADDED)
            .map_err(|error| data_error(dir, error))?;
        Ok(Self {
            conn: Some(conn),
            dir: Some(dir.clone()),
        })
    }

    fn load_error(&self, error: LoadError) -> StartError {
        data_error(self.dir.as_deref().unwrap_or(Path::new("memory")), error)
    }
}

fn data_error(dir: &Path, error: LoadError) -> StartError {
    use rusqlite::ErrorCode::{CannotOpen, PermissionDenied, ReadOnly};
    let path = dir.join(FILE);
    match error {
        LoadError::InUse => StartError::DataInUse {
            path: dir.to_owned(),
        },
        LoadError::OtherVersion { found } => StartError::OtherVersion { path, found },
        LoadError::Sqlite(error)
            if matches!(
                error.sqlite_error_code(),
                Some(CannotOpen | PermissionDenied | ReadOnly)
            ) =>
        {
            StartError::DataDir {
                path: dir.to_owned(),
                reason: error.to_string(),
            }
        }
        error => StartError::Unreadable {
            path,
            reason: error.to_string(),
        },
    }
}

async fn bind(addr: SocketAddr) -> Result<TcpListener, StartError> {
    if !addr.ip().is_loopback() {
        tracing::warn!(%addr, "listening on a non-loopback address: every client that reaches it can read and change all data");
    }
    TcpListener::bind(addr)
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => StartError::PortInUse(addr),
            _ => StartError::Listen { addr, source },
        })
}

fn check(config: &Config) -> Result<(), StartError> {
    let account = &config.account_id;
    if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
        return Err(StartError::Config(format!(
            "account id {account:?} is not valid: use twelve digits"
        )));
    }
    let region = &config.region;
    if region.is_empty()
        || !region
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        return Err(StartError::Config(format!(
            "region {region:?} is not valid: use a name like us-east-1"
        )));
    }
    Ok(())
}
