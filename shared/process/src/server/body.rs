//! Bodies of requests: how long the server waits for each.
//!
//! A client that does not send keeps its connection idle, so a new client may get its slot. A body that is too slow
//! ends with the error [`TooSlow`]. Only waiting for the client counts, never the service's own time.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::slots::Slot;

/// Time that every body may take in all, whatever its speed: the grace period of ASP.NET's Kestrel.
const GRACE: Duration = Duration::from_secs(5);
/// Least speed of a body after that: `MinRate` of Apache's mod_reqtimeout.
const LEAST_BYTES_PER_SECOND: u64 = 500;

/// The body arrives at less than `LEAST_BYTES_PER_SECOND`.
#[derive(Debug, thiserror::Error)]
#[error("the body arrives too slowly")]
pub struct TooSlow;

/// The body of a request.
pub struct RequestBody {
    body: Incoming,
    slot: Arc<Slot>,
    received: u64,
    /// Time spent waiting for the client, without the current wait.
    waited: Duration,
    wait: Option<Wait>,
}

struct Wait {
    since: Instant,
    until_too_slow: Pin<Box<Sleep>>,
    /// The slot's mark.
    stalled: u64,
}

impl RequestBody {
    pub(super) fn new(body: Incoming, slot: Arc<Slot>) -> Self {
        Self {
            body,
            slot,
            received: 0,
            waited: Duration::ZERO,
            wait: None,
        }
    }

    /// Returns how long the server still waits for the client.
    fn remaining_wait(&self) -> Duration {
        let earned = Duration::from_millis(self.received * 1000 / LEAST_BYTES_PER_SECOND);
        (GRACE + earned).saturating_sub(self.waited)
    }

    fn end_wait(&mut self) {
        if let Some(wait) = self.wait.take() {
            self.waited += wait.since.elapsed();
            self.slot.resume(wait.stalled);
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.end_wait();
            if let Some(Ok(frame)) = &frame {
                this.received += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let remaining = this.remaining_wait();
        let (slot, waited) = (&this.slot, this.waited);
        let wait = this.wait.get_or_insert_with(|| Wait {
            since: Instant::now(),
            until_too_slow: Box::pin(tokio::time::sleep(remaining)),
            stalled: slot.stall(waited),
        });
        std::task::ready!(wait.until_too_slow.as_mut().poll(context));
        this.end_wait();
        Poll::Ready(Some(Err(TooSlow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.end_wait();
    }
}
