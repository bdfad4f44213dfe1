//! Accepting connections: HTTP/1.1 with bounded headers, time and count, and an end that lets requests finish.
//!
//! Where all places are taken, a new client gets the one that has been quiet for longest. Of requests that a client sends
//! without waiting for answers, one is handled a turn, so that whoever waits has its turn between.

mod places;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use futures_util::future::Either;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::places::{Place, Places};
use self::turn::Turn;
use super::shedder::Door;

/// Longest a client may take to send a request's headers; also how long an idle connection is kept. Longer than the
/// 60 s after which load balancers drop theirs, so that they never write into a connection we just closed.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a connection may be quiet otherwise: with an answer, say, that its client does not read.
const QUIET_TIMEOUT: Duration = Duration::from_secs(80);
/// How often that is looked at.
const QUIET_CHECK: Duration = Duration::from_secs(5);
/// How long a connection has been quiet before it makes room for another: its last answer is on its way by then.
const QUIET_MIN: Duration = Duration::from_millis(250);
/// Pause between two looks for one.
const ROOM_PAUSE: Duration = Duration::from_millis(20);
/// Headers one request may have.
const MAX_HEADERS: usize = 64;
/// Largest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// How long a drain waits for a connection on which no request is in progress, for what is still being written.
const DRAIN_PAUSE: Duration = Duration::from_secs(1);
/// Pause after a failed accept (out of file descriptors, usually).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What answers a server's requests.
#[derive(Clone)]
pub struct Answers {
    /// The routes.
    pub router: Router,
    /// What refuses requests before they are routed, where anything does.
    pub door: Option<Door>,
}

impl From<Router> for Answers {
    fn from(router: Router) -> Self {
        Self { router, door: None }
    }
}

/// Serves until the token is cancelled, then lets requests in progress finish; ends when all have.
pub async fn serve(
    listener: TcpListener,
    answers: impl Into<Answers>,
    max_connections: usize,
    shutdown: CancellationToken,
) {
    let answers = answers.into();
    let connections = TaskTracker::new();
    let places = Places::default();
    // Dropping a pending accept loses no connection: it stays in the kernel's queue. One that waits for room is closed,
    // as those in the queue are.
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = accept(&listener, &answers, max_connections, &connections, &places, &shutdown) => {}
        () = close_quiet(&places) => {}
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Takes connections, for ever.
async fn accept(
    listener: &TcpListener,
    answers: &Answers,
    max_connections: usize,
    connections: &TaskTracker,
    places: &Places,
    shutdown: &CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(max_connections));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let permit = make_room(&permits, places).await;
                let connection = serve_connection(stream, answers.clone(), places.take(), shutdown.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A place for a new connection: a free one, or that of the connection that has been quiet for longest.
async fn make_room(permits: &Arc<Semaphore>, places: &Places) -> OwnedSemaphorePermit {
    if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
        return permit;
    }
    let closing = async {
        while !places.evict(QUIET_MIN) {
            tokio::time::sleep(ROOM_PAUSE).await;
        }
        // One is enough for one.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        permit = Arc::clone(permits).acquire_owned() => permit.expect("the semaphore is never closed"),
        () = closing => unreachable!("it never ends"),
    }
}

async fn close_quiet(places: &Places) {
    loop {
        tokio::time::sleep(QUIET_CHECK).await;
        places.evict_all(QUIET_TIMEOUT);
    }
}

async fn serve_connection(
    stream: TcpStream,
    Answers { router, door }: Answers,
    place: Arc<Place>,
    shutdown: CancellationToken,
) {
    // Answers are small and written at once: waiting to fill a segment only adds latency.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "connection without TCP_NODELAY");
    }
    let turn = Arc::new(Turn::default());
    let service = hyper::service::service_fn({
        let (place, service) = (Arc::clone(&place), TowerToHyperService::new(router));
        let turn = Arc::clone(&turn);
        move |request: Request<Incoming>| {
            let place = Arc::clone(&place);
            place.begin();
            let is_first = turn.take();
            let refusal = door
                .as_ref()
                .and_then(|door| door.refusal(request.method(), request.uri(), request.headers()));
            let answer = match refusal {
                Some(refusal) => Either::Left(std::future::ready(Ok(refusal))),
                None => Either::Right(hyper::service::Service::call(&service, request)),
            };
            async move {
                if !is_first {
                    tokio::task::yield_now().await;
                }
                let answer = answer.await;
                place.end();
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
        ended = turn.each(connection.as_mut()) => ended,
        () = place.evicted() => Ok(()),
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = turn.each(connection.as_mut()) => ended,
                () = no_request(&place) => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

/// Ends once no request was in progress for a while: whoever has not sent a whole head by then is not waited for.
async fn no_request(place: &Place) {
    loop {
        tokio::time::sleep(DRAIN_PAUSE).await;
        if place.is_quiet() {
            return;
        }
    }
}
