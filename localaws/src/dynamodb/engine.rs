//! dynoxide's server, on its own thread.
//!
//! Its handlers block on SQLite, so it gets its own small runtime, behind a loopback port. It answers web pages of every
//! site, so it listens on a random loopback address, which a page cannot guess. It stops when [`Engine::stop`] is
//! called, or when the [`Engine`] is dropped.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    thread,
    time::Duration,
};

use tokio::sync::oneshot;

/// Time limit for dynoxide to close its file at shutdown (ours).
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Handle of the dynoxide thread.
#[derive(Debug)]
pub(crate) struct Engine {
    stop: oneshot::Sender<()>,
    stopped: oneshot::Receiver<()>,
}

impl Engine {
    /// Opens the file, or a database in memory, and serves it on the returned address.
    ///
    /// # Errors
    /// The reason as text.
    pub(super) fn start(file: Option<&Path>) -> Result<(SocketAddr, Self), String> {
        let database = open(file)?;
        let text = |error: std::io::Error| error.to_string();
        let listener = bind().map_err(text)?;
        listener.set_nonblocking(true).map_err(text)?;
        let addr = listener.local_addr().map_err(text)?;
        let (stop, stopping) = oneshot::channel();
        let (ended, stopped) = oneshot::channel();
        let run = move || {
            serve(listener, database, stopping);
            // The receiver is gone if the shutdown timed out.
            let _ = ended.send(());
        };
        thread::Builder::new()
            .name("localaws-dynamodb".into())
            .spawn(run)
            .map_err(text)?;
        Ok((addr, Self { stop, stopped }))
    }

    /// Stops dynoxide and waits at most [`CLOSE_TIMEOUT`] until its file is closed.
    pub(crate) async fn stop(self) {
        // The receiver is gone if the thread has ended.
        let _ = self.stop.send(());
        if tokio::time::timeout(CLOSE_TIMEOUT, self.stopped)
            .await
            .is_err()
        {
            tracing::warn!(
                "dynoxide still running at shutdown: its file recovers at the next start"
            );
        }
    }
}

/// Binds a free port of a random loopback address. Systems other than Linux may have 127.0.0.1 alone.
fn bind() -> std::io::Result<TcpListener> {
    let part = || fastrand::u8(2..=254);
    let hidden = Ipv4Addr::new(127, part(), part(), part());
    TcpListener::bind((hidden, 0)).or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
}

fn open(file: Option<&Path>) -> Result<dynoxide::Database, String> {
    let Some(file) = file else {
        return dynoxide::Database::memory().map_err(|error| error.to_string());
    };
    let path = file.to_str().ok_or("its path is not UTF-8")?;
    let database = dynoxide::Database::new(path).map_err(|error| error.to_string())?;
    // This call, meant for the end of an import, sets `synchronous=NORMAL`: safe in WAL mode when the process is killed,
    // and without a disk flush per write.
    database
        .disable_bulk_loading()
        .map_err(|error| error.to_string())?;
    Ok(database)
}

fn serve(listener: TcpListener, database: dynoxide::Database, stopping: oneshot::Receiver<()>) {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "start of dynoxide's runtime failed"),
    };
    let served = runtime.block_on(async {
        let listener =
            tokio::net::TcpListener::from_std(listener).map_err(|error| error.to_string())?;
        let stop = async {
            // A dropped sender means stop, too.
            let _ = stopping.await;
        };
        dynoxide::server::serve_with_shutdown(listener, database, stop).await
    });
    if let Err(error) = served {
        tracing::error!(%error, "dynoxide stopped");
    }
}
