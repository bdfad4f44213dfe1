//! dynoxide's server, on a thread of its own.
//!
//! Its handlers block on SQLite, so it gets a small runtime to itself, behind a loopback port. It stops when
//! told to, or when whoever started it is gone.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    thread,
    time::Duration,
};

use tokio::sync::oneshot;

/// Longest a shutdown waits for dynoxide to close its file (ours).
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The thread dynoxide runs on.
#[derive(Debug)]
pub(crate) struct Engine {
    stop: oneshot::Sender<()>,
    stopped: oneshot::Receiver<()>,
}

impl Engine {
    /// Opens the file, or a database in memory, and serves it; also where.
    ///
    /// # Errors
    /// Why it cannot be opened or served, as text.
    pub(super) fn start(file: Option<&Path>) -> Result<(SocketAddr, Self), String> {
        let database = open(file)?;
        let text = |error: std::io::Error| error.to_string();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(text)?;
        listener.set_nonblocking(true).map_err(text)?;
        let addr = listener.local_addr().map_err(text)?;
        let (stop, stopping) = oneshot::channel();
        let (ended, stopped) = oneshot::channel();
        let run = move || {
            serve(listener, database, stopping);
            // Nobody waits any more when the shutdown timed out.
            let _ = ended.send(());
        };
        thread::Builder::new()
            .name("localaws-dynamodb".into())
            .spawn(run)
            .map_err(text)?;
        Ok((addr, Self { stop, stopped }))
    }

    /// Stops dynoxide and waits, for a bounded time, until its file is closed.
    pub(crate) async fn stop(self) {
        // A receiver that is gone means the thread has ended already.
        let _ = self.stop.send(());
        if tokio::time::timeout(CLOSE_TIMEOUT, self.stopped)
            .await
            .is_err()
        {
            tracing::warn!("dynoxide did not stop in time; its file recovers at the next start");
        }
    }
}

fn open(file: Option<&Path>) -> Result<dynoxide::Database, String> {
    let Some(file) = file else {
        return dynoxide::Database::memory().map_err(|error| error.to_string());
    };
    let path = file.to_str().ok_or("its path is not UTF-8")?;
    let database = dynoxide::Database::new(path).map_err(|error| error.to_string())?;
    // Its end-of-import call sets what we want from the start: `synchronous=NORMAL`, which is safe in WAL mode
    // against a killed process and spares a disk flush per write.
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
        Err(error) => return tracing::error!(%error, "cannot start dynoxide's runtime"),
    };
    let outcome = runtime.block_on(async {
        let listener =
            tokio::net::TcpListener::from_std(listener).map_err(|error| error.to_string())?;
        let stop = async {
            // A sender that is gone means the same as one that says so.
            let _ = stopping.await;
        };
        dynoxide::server::serve_with_shutdown(listener, database, stop).await
    });
    if let Err(error) = outcome {
        tracing::error!(%error, "dynoxide stopped");
    }
}
