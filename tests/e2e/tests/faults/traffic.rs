//! Clients that go on posting while things fail around them.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;

use futures_util::future::join_all;

use kit::http::Request;
use kit::wait::{PATIENCE, until};

/// What clients were told so far.
#[derive(Debug, Default)]
pub struct Traffic {
    accepted: RefCell<Vec<String>>,
    refused: Cell<usize>,
    unanswered: Cell<usize>,
    stopped: Cell<bool>,
}

impl Traffic {
    /// Has this many clients post for a tenant, one event after the other, until [`Self::stop`]. Each event has a key of
    /// its own where `keyed`, and is then repeated until it is accepted; else a refused event is given up.
    pub async fn post(&self, to: SocketAddr, tenant: &str, clients: usize, keyed: bool) {
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
                // Let the others in: a refused connection fails at once.
                tokio::task::yield_now().await;
                false
            }
        }
    }

    /// Lets every client finish its event, and post no more.
    pub fn stop(&self) {
        self.stopped.set(true);
    }

    /// The ids that clients got with a 200.
    pub fn accepted(&self) -> Vec<String> {
        self.accepted.borrow().clone()
    }

    /// Waits until this many more events have been accepted.
    pub async fn more(&self, count: usize) {
        let wanted = self.accepted.borrow().len() + count;
        let what = format!("{count} more events are accepted");
        until(&what, 2 * PATIENCE, async || {
            self.accepted.borrow().len() >= wanted
        })
        .await;
    }

    /// How many events were refused with a 503, and how many had no answer.
    pub fn failures(&self) -> (usize, usize) {
        (self.refused.get(), self.unanswered.get())
    }
}
