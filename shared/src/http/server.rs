//! Accepting connections: HTTP/1.1 with bounded headers, time and count, and an end that lets requests finish.
//!
//! Where all places are taken, a new client gets the one that has been quiet for longest, or, where none has, that of the
//! next one that is answered. Of requests that a client sends without waiting for answers, one is handled a turn, so that
//! whoever waits has its turn between; and while load is shed, requests are read a few a turn.

mod answer;
mod gate;
mod places;
mod turn;
mod wire;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request};
use futures_util::future::Either;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::answer::InProgress;
use self::gate::Gate;
use self::places::{Place, Places};
use self::turn::Turn;
use self::wire::Wire;
use super::door::Door;

/// How long a connection may be without a request in progress: idle, sending a head, or with an answer that its client
/// does not read. Longer than the 60 s after which load balancers drop theirs, so that they never write into a connection
/// we just closed.
const QUIET_TIMEOUT: Duration = Duration::from_secs(75);
/// How often that is looked at.
const QUIET_CHECK: Duration = Duration::from_secs(5);
/// How long a connection has been quiet before it makes room for another: its last answer is on its way by then.
const QUIET_MIN: Duration = Duration::from_millis(100);
/// Pause between two looks for one; also how long one may take to close before another one is asked.
const ROOM_PAUSE: Duration = Duration::from_millis(20);
/// Connections accepted one right after the other, before anything else has its turn.
const ACCEPTS_A_TURN: u32 = 16;
/// What tells a client that its connection ends with this answer.
const CLOSE: HeaderValue = HeaderValue::from_static("close");
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

/// Where connections wait.
#[derive(Default)]
struct Hall {
    places: Places,
    gate: Gate,
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
    let hall = Hall::default();
    let taking = async {
        // Dropping a pending accept loses no connection: it stays in the kernel's queue. One that waits for room is
        // closed, as those in the queue are.
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = accept(&listener, &answers, max_connections, &connections, &hall, &shutdown) => {}
            () = close_quiet(&hall.places) => {}
        }
        drop(listener);
        connections.close();
        connections.wait().await;
    };
    tokio::select! {
        () = taking => {}
        // Until the last connection has ended: requests that wait are answered in a drain, too.
        () = hall.gate.keep() => {}
    }
}

/// Takes connections, for ever.
async fn accept(
    listener: &TcpListener,
    answers: &Answers,
    max_connections: usize,
    connections: &TaskTracker,
    hall: &Hall,
    shutdown: &CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(max_connections));
    let mut accepted = 0_u32;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let permit = make_room(&permits, &hall.places).await;
                let connection = serve_connection(
                    stream,
                    answers.clone(),
                    hall.places.take(),
                    hall.gate.clone(),
                    shutdown.clone(),
                );
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
                });
                accepted = accepted.wrapping_add(1);
                if accepted.is_multiple_of(ACCEPTS_A_TURN) {
                    tokio::task::yield_now().await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A place for a new connection: a free one, that of the connection that has been quiet for longest, or that of one that is
/// answered.
async fn make_room(permits: &Arc<Semaphore>, places: &Places) -> OwnedSemaphorePermit {
    if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
        return permit;
    }
    let closing = async {
        // One is enough for one; but it may have got a request at that moment.
        while places.evict(QUIET_MIN) {
            tokio::time::sleep(ROOM_PAUSE).await;
        }
        loop {
            // Opening connections costs more than refusing: with more of it, an overload would have no end.
            tokio::time::sleep(ROOM_PAUSE).await;
            if !places.evict(QUIET_MIN) {
                places.ask_next();
            }
        }
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
    gate: Gate,
    shutdown: CancellationToken,
) {
    // Answers are small and written at once: waiting to fill a segment only adds latency.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "connection without TCP_NODELAY");
    }
    let turn = Arc::new(Turn::default());
    let service = hyper::service::service_fn({
        let (place, service) = (Arc::clone(&place), TowerToHyperService::new(router));
        let (turn, door) = (Arc::clone(&turn), door.clone());
        move |request: Request<Incoming>| {
            let place = Arc::clone(&place);
            let in_progress = InProgress::begin(&place);
            let is_first = turn.take();
            let refusal = door.as_ref().and_then(|door| {
                let waited = place.visitor().waited();
                door.refusal(request.method(), request.uri(), request.headers(), waited)
            });
            let answer = match refusal {
                Some(refusal) => Either::Left(std::future::ready(Ok(refusal))),
                None => Either::Right(hyper::service::Service::call(&service, request)),
            };
            async move {
                if !is_first {
                    tokio::task::yield_now().await;
                }
                let mut answer = answer.await?;
                if place.makes_room() {
                    answer.headers_mut().insert(CONNECTION, CLOSE);
                }
                Ok::<_, Infallible>(answer.map(|body| in_progress.with(body)))
            }
        }
    });
    let wire = Wire::new(stream, door.clone(), Arc::clone(&place));
    let connection = http1().serve_connection(TokioIo::new(wire), service);
    let mut connection = std::pin::pin!(connection);
    let may_read = |waker: &Waker| {
        let has_to_wait = || place.is_quiet() && door.as_ref().is_some_and(Door::is_guarded);
        gate.lets_in(place.visitor(), waker, has_to_wait)
    };
    let ended = tokio::select! {
        biased;
        ended = turn.each(connection.as_mut(), may_read) => ended,
        () = place.evicted() => Ok(()),
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = turn.each(connection.as_mut(), may_read) => ended,
                () = no_request(&place) => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

/// How hyper reads requests.
fn http1() -> http1::Builder {
    let mut http1 = http1::Builder::new();
    // Whoever is slow to send a head is quiet, and that has a bound; a timer for each request would cost more.
    http1
        .header_read_timeout(None)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES);
    http1
}

/// Ends once no request was in progress for a while: whoever has not sent a whole head by then is not waited for.
async fn no_request(place: &Place) {
    loop {
        tokio::time::sleep(DRAIN_PAUSE).await;
        if place.is_quiet() && !place.visitor().is_in_line() {
            return;
        }
    }
}
