//! The live stream: sends the parts of a page that changed, as server-sent events.
//!
//! A stream renders its page again on each event of the control plane, at most four times per second, and every half second for
//! figures. It sends a part only if the part differs from the one sent before, so a page at rest costs no traffic.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::Uri;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use tenantry_service::error::ApiError;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until};

use super::page::{Context, Page};
use super::{Console, Session};

/// Pause between two renderings.
const PAUSE: Duration = Duration::from_millis(250);
/// Renderings without an event, for the figures.
const FIGURES: Duration = Duration::from_millis(500);

#[derive(Deserialize)]
pub(super) struct Address {
    /// Path and query of the page.
    page: String,
}

/// The stream of one page in one browser.
struct LivePage {
    console: Console,
    session: Session,
    page: Page,
    events: broadcast::Receiver<crate::model::Event>,
    /// Digest of each part as it was sent.
    sent: HashMap<&'static str, u64>,
    rendered: Option<Instant>,
}

pub(super) async fn get(
    State(console): State<Console>,
    session: Session,
    Query(address): Query<Address>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let uri: Uri = address.page.parse().map_err(|_| ApiError::no_route())?;
    let live = LivePage {
        events: console.control.subscribe(),
        page: Page::parse(&uri)?,
        console,
        session,
        sent: HashMap::new(),
        rendered: None,
    };
    let events = stream::unfold(live, |mut live| async {
        let changes = live.next().await?;
        Some((Ok(Event::default().data(changes)), live))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

impl LivePage {
    /// Waits for a change, and returns the changed parts. `None` once the process ends.
    async fn next(&mut self) -> Option<String> {
        loop {
            self.wait().await?;
            self.rendered = Some(Instant::now());
            let changes = self.changes().await;
            if !changes.is_empty() {
                return Some(changes);
            }
        }
    }

    async fn wait(&mut self) -> Option<()> {
        let Some(rendered) = self.rendered else {
            return Some(());
        };
        tokio::select! {
            // `recv` is cancel-safe, and a lost event only delays a rendering to the next tick.
            event = self.events.recv() => match event {
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            },
            () = sleep_until(rendered + FIGURES) => {}
        }
        sleep_until(rendered + PAUSE).await;
        while self.events.try_recv().is_ok() {}
        Some(())
    }

    async fn changes(&mut self) -> String {
        let context: Context = self.console.context(self.session.clone());
        let mut changes = String::new();
        for part in self.page.live_parts(&self.console, &context).await {
            let markup = part.render(true).into_string();
            let mut hasher = DefaultHasher::new();
            markup.hash(&mut hasher);
            let digest = hasher.finish();
            if self.sent.insert(part.id, digest) != Some(digest) {
                changes += &markup;
            }
        }
        changes
    }
}
