//! HTTP/1.1 server: bounded connections, idle time and request heads, and a drain that lets requests finish.
//!
//! When every slot is taken, a new client gets the slot of the connection that has been idle longest, or, where none
//! is idle, of the connection that gets the next response. A connection handles one pipelined request per poll, so that
//! a client that pipelines thousands does not delay the others. A request with a head that breaks RFC 9112 reaches the
//! service as one with the extension [`Refused`]; every request has the extension [`Peer`].

mod body;
mod framing;
mod slots;

use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::body::{RequestBody, TooSlow};
use self::framing::MAX_HEAD_BYTES;
pub use self::framing::{Checked, Refused};
use self::slots::{Slot, Slots};

/// Longest time a connection may be idle: without a request in progress, while it sends a head, or while its client does
/// not read the response. Longer than the 60 s after which load balancers drop theirs, so that a load balancer never
/// writes into a connection that was just closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Pause between two searches for idle connections.
const IDLE_CHECK: Duration = Duration::from_secs(5);
/// Idle time after which a connection may be closed for another client: its last response has been sent by then.
const IDLE_MIN: Duration = Duration::from_millis(100);
/// Pause between two attempts to free a slot.
const SLOT_PAUSE: Duration = Duration::from_millis(20);
/// Connections accepted in one poll, before other tasks run.
const ACCEPTS_PER_POLL: u32 = 16;
/// Longest time a drain waits for a connection without a request in progress, which may still be writing.
const DRAIN_PAUSE: Duration = Duration::from_secs(1);
/// Pause after a failed accept, usually for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The client's end of the connection, which may be a proxy's: an extension of every request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Serves until the token is canceled, then returns once all requests in progress have finished.
pub async fn serve<S, B>(
    listener: TcpListener,
    service: S,
    max_connections: usize,
    shutdown: CancellationToken,
) where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let connections = TaskTracker::new();
    let slots = Slots::default();
    let accept = async {
        let permits = Arc::new(Semaphore::new(max_connections));
        let mut accepted = 0_u32;
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "accept failed, will retry");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let permit = free_slot(&permits, &slots).await;
            let connection = serve_connection(
                stream,
                Peer(peer),
                service.clone(),
                slots.take(),
                shutdown.clone(),
            );
            connections.spawn(async move {
                connection.await;
                drop(permit);
            });
            accepted = accepted.wrapping_add(1);
            if accepted.is_multiple_of(ACCEPTS_PER_POLL) {
                tokio::task::yield_now().await;
            }
        }
    };
    let close_idle = async {
        loop {
            tokio::time::sleep(IDLE_CHECK).await;
            slots.close_idle(IDLE_TIMEOUT);
        }
    };
    // Dropping `accept` loses no connection: the kernel's queue keeps the others and closes them with the listener.
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = accept => {}
        () = close_idle => {}
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Waits for a free slot; closes another connection if there is none.
async fn free_slot(permits: &Arc<Semaphore>, slots: &Slots) -> OwnedSemaphorePermit {
    if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
        return permit;
    }
    let close_another = async {
        let mut has_closed = slots.close_longest_idle(IDLE_MIN);
        loop {
            tokio::time::sleep(SLOT_PAUSE).await;
            // A connection asked to close may have begun a request at that moment, so others are asked until a slot is
            // free. Busy connections close at this pace only: a connection costs more to open than a refusal.
            if !has_closed {
                slots.close_next();
            }
            has_closed = slots.close_longest_idle(IDLE_MIN);
        }
    };
    tokio::select! {
        permit = Arc::clone(permits).acquire_owned() => permit.expect("the semaphore is never closed"),
        () = close_another => unreachable!("the loop has no end"),
    }
}

async fn serve_connection<S, B>(
    stream: TcpStream,
    peer: Peer,
    service: S,
    slot: Arc<Slot>,
    shutdown: CancellationToken,
) where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + 'static,
{
    // Responses are small and written at once: waiting to fill a segment only adds latency.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY not set");
    }
    let (reading, writing) = stream.into_split();
    let refused = Arc::new(OnceLock::new());
    let stream = tokio::io::join(Checked::new(reading, Arc::clone(&refused)), writing);
    let has_request = AtomicBool::new(false);
    let service = service_fn(|request: Request<Incoming>| {
        let in_progress = slot.begin();
        let mut request = request.map(|body| RequestBody::new(body, Arc::clone(&slot)));
        request.extensions_mut().insert(peer);
        if let Some(refused) = refused.get() {
            request.extensions_mut().insert(*refused);
        }
        let is_pipelined = has_request.swap(true, Relaxed);
        let response = service.call(request);
        let slot = &slot;
        async move {
            if is_pipelined {
                tokio::task::yield_now().await;
            }
            let mut response = response.await?;
            // After a time-out, the rest of the body may still arrive: no request can follow.
            if slot.closes_now() || response.status() == StatusCode::REQUEST_TIMEOUT {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            // The connection is busy until hyper drops the body, which has been written by then.
            Ok::<_, Infallible>(response.map(|body| {
                body.map_err(move |error| {
                    let _ = &in_progress;
                    error
                })
            }))
        }
    });
    let mut connection = pin!(http1().serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        biased;
        ended = poll_resetting(connection.as_mut(), &has_request) => ended,
        () = slot.closing() => Ok(()),
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = poll_resetting(connection.as_mut(), &has_request) => ended,
                () = no_request(&slot) => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

/// Polls the future, resetting the flag before each poll.
async fn poll_resetting<F: Future>(mut future: Pin<&mut F>, flag: &AtomicBool) -> F::Output {
    poll_fn(|context| {
        flag.store(false, Relaxed);
        future.as_mut().poll(context)
    })
    .await
}

/// Ends once the connection has had no request for a while: a drain does not wait for a head that is incomplete.
async fn no_request(slot: &Slot) {
    loop {
        tokio::time::sleep(DRAIN_PAUSE).await;
        if slot.is_idle() {
            return;
        }
    }
}

/// Returns hyper's settings for reading requests.
fn http1() -> http1::Builder {
    let mut http1 = http1::Builder::new();
    // A client that sends its head slowly is idle, which has its own limit; a timer for each request would cost more.
    http1.header_read_timeout(None).max_buf_size(MAX_HEAD_BYTES);
    http1
}

#[cfg(test)]
mod tests;
