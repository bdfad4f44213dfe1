//! Accepting connections: HTTP/1.1 with bounded headers, time and count, and an end that lets requests finish.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Longest a client may take to send a request's headers; also how long an idle connection is kept. Longer than the
/// 60 s after which load balancers drop theirs, so that they never write into a connection we just closed.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);
/// Headers one request may have.
const MAX_HEADERS: usize = 64;
/// Largest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// How long a drain waits for a connection on which no request is in progress, for what is still being written.
const DRAIN_PAUSE: Duration = Duration::from_secs(1);
/// Pause after a failed accept (out of file descriptors, usually).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the router until the token is cancelled, then lets requests in progress finish; ends when all have.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    max_connections: usize,
    shutdown: CancellationToken,
) {
    let connections = TaskTracker::new();
    let permits = Arc::new(Semaphore::new(max_connections));
    loop {
        let accepted = async {
            let permit = permits.clone().acquire_owned().await.expect("the semaphore is never closed");
            (listener.accept().await, permit)
        };
        // Dropping a pending accept loses no connection: it stays in the kernel's queue.
        tokio::select! {
            () = shutdown.cancelled() => break,
            (accepted, permit) = accepted => match accepted {
                Ok((stream, _)) => {
                    let connection = serve_connection(stream, router.clone(), shutdown.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn serve_connection(stream: TcpStream, router: Router, shutdown: CancellationToken) {
    // Answers are small and written at once: waiting to fill a segment only adds latency.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "connection without TCP_NODELAY");
    }
    let open = Arc::new(AtomicUsize::new(0));
    let service = hyper::service::service_fn({
        let (open, service) = (Arc::clone(&open), TowerToHyperService::new(router));
        move |request| {
            let open = Arc::clone(&open);
            open.fetch_add(1, Ordering::Relaxed);
            let answer = hyper::service::Service::call(&service, request);
            async move {
                let answer = answer.await;
                open.fetch_sub(1, Ordering::Relaxed);
                answer
            }
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = no_request(&open) => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

/// Ends once no request was in progress for a while: whoever has not sent a whole head by then is not waited for.
async fn no_request(open: &AtomicUsize) {
    loop {
        tokio::time::sleep(DRAIN_PAUSE).await;
        if open.load(Ordering::Relaxed) == 0 {
            return;
        }
    }
}
