//! Clients that post while faults are injected.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;

use futures_util::future::join_all;

use kit::http::Request;
use kit::wait::{PATIENCE, until};

/// The answers so far.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    accepted: RefCell<Vec<String>>,
    refused: Cell<usize>,
    unanswered: Cell<usize>,
    stopped: Cell<bool>,
}

impl Traffic {
    /// Posts one event after the other for a tenant, from this many clients, until [`Self::stop`]. With `keyed`, each event
    /// has a key of its own and is repeated until it is accepted; otherwise a refused event is dropped.
    pub(crate) async fn post(&self, to: SocketAddr, tenant: &str, clients: usize, keyed: bool) {
        join_all((0..clients).map(|client| self.client(to, tenant, client, keyed))).await;
    }

    async fn client(&self, to: SocketAddr, tenant: &str, client: usize, keyed: bool) {
        for n in 0.. {
            if self.stopped.get() {
                return;
            }
            let event = Request::event()
                .tenant(tenant)
                .body(format!("{{\"client\":{client},\"n\":{n}}}"));
            if keyed {
                let event = event.key(&format!("{client}-{n}"));
                until("the event is accepted", 2 * PATIENCE, async || {
                    self.try_once(&event, to).await
                })
                .await;
            } else {
                self.try_once(&event, to).await;
            }
        }
    }

    async fn try_once(&self, event: &Request, to: SocketAddr) -> bool {
        match event.send(to).await {
            Ok(answer) if answer.status == 200 => {
                self.accepted.borrow_mut().push(answer.field("message_id"));
                true
            }
            Ok(answer) => {
                assert_eq!(
                    answer.status,
                    503,
                    "the only refusal while things fail: {}",
                    answer.text()
                );
                self.refused.set(self.refused.get() + 1);
                false
            }
            Err(_) => {
                self.unanswered.set(self.unanswered.get() + 1);
                // A refused connection fails at once: yield to other clients.
                tokio::task::yield_now().await;
                false
            }
        }
    }

    /// Ends every client after its current event.
    pub(crate) fn stop(&self) {
        self.stopped.set(true);
    }

    /// The ids of accepted events.
    pub(crate) fn accepted(&self) -> Vec<String> {
        self.accepted.borrow().clone()
    }

    /// Waits until this many more events have been accepted.
    pub(crate) async fn more(&self, count: usize) {
        let wanted = self.accepted.borrow().len() + count;
        let what = format!("{count} more events are accepted");
        until(&what, 2 * PATIENCE, async || {
            self.accepted.borrow().len() >= wanted
        })
        .await;
    }

    /// Events refused with a 503, and events without an answer.
    pub(crate) fn failures(&self) -> (usize, usize) {
        (self.refused.get(), self.unanswered.get())
    }
}
