//! The live stream: sends the parts of a page that changed, as server-sent events.
//!
//! A stream renders its page again on each event of the control plane, at most four times per second, and every half second for
//! figures. It sends a part only if the part differs from the one sent before, so an unchanged page causes no traffic.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Query, State};
use axum::http::Uri;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use tenantry_service::error::ApiError;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Console;
use super::frame::{Body, Part, Row};
use super::page::Page;
use super::session::Person;
use crate::api::App;
use crate::control::Watch;

/// Pause between two renderings.
const PAUSE: Duration = Duration::from_millis(250);
/// Longest time between two renderings: figures change without an event.
const FIGURES: Duration = Duration::from_millis(500);

#[derive(Deserialize)]
pub(super) struct Address {
    /// Path and query of the page.
    page: String,
}

/// The stream of one page in one browser.
struct LivePage {
    console: Console,
    person: Person,
    page: Page,
    events: broadcast::Receiver<crate::model::Event>,
    shutdown: CancellationToken,
    sent: Sent,
    rendered: Option<Instant>,
    _slot: OwnedSemaphorePermit,
    _watch: Option<Watch>,
}

pub(super) async fn get(
    State(app): State<App>,
    Extension(console): Extension<Console>,
    person: Person,
    Query(address): Query<Address>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let uri: Uri = address.page.parse().map_err(|_| ApiError::no_route())?;
    let page = Page::parse(&uri)?;
    let slot = Arc::clone(&console.streams).try_acquire_owned();
    let slot = slot.map_err(|_| {
        let msg = "Unavailable: too many pages are open; close one, and try again after Retry-After seconds";
        ApiError::unavailable("too_many_streams", msg)
    })?;
    let live = LivePage {
        events: console.control.subscribe(),
        shutdown: app.shutdown,
        sent: Sent::default(),
        rendered: None,
        _slot: slot,
        _watch: page.tenant().map(|tenant| console.control.watch(tenant)),
        console,
        person,
        page,
    };
    let events = stream::unfold(live, |mut live| async {
        let changes = live.next().await?;
        Some((Ok(Event::default().data(changes)), live))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// Digests of the parts and rows, as they were sent.
#[derive(Default)]
struct Sent(HashMap<String, u64>);

impl LivePage {
    /// Waits for a change, and returns the changed parts. `None` once the process ends.
    async fn next(&mut self) -> Option<String> {
        loop {
            let shutdown = self.shutdown.clone();
            shutdown.run_until_cancelled(self.wait()).await??;
            self.rendered = Some(Instant::now());
            let changes = self.changes().await;
            if !changes.is_empty() {
                return Some(changes);
            }
        }
    }

    /// Waits until the page may have changed. `None` once there will be no event.
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
        // The rendering shows these events, too.
        self.events = self.events.resubscribe();
        Some(())
    }

    async fn changes(&mut self) -> String {
        let context = self.console.context(self.person.clone());
        let parts = self.page.live_parts(&self.console, &context).await;
        parts.iter().map(|part| self.sent.changes(part)).collect()
    }
}

impl Sent {
    /// Returns what of a part differs from what was sent before: nothing, some rows of a table, or all of it.
    fn changes(&mut self, part: &Part) -> String {
        let Body::Table {
            before,
            rows,
            after,
        } = &part.body
        else {
            let markup = part.render(true).into_string();
            return if self.is_new(part.id, &markup) {
                markup
            } else {
                String::new()
            };
        };
        let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        let is_other_table = self.is_new(part.id, &(&before.0, ids, &after.0));
        let changed: Vec<&Row> = rows
            .iter()
            .filter(|row| self.is_new(&row.id, &row.cells.0))
            .collect();
        if is_other_table {
            part.render(true).into_string()
        } else {
            changed
                .iter()
                .map(|row| row.render(true).into_string())
                .collect()
        }
    }

    fn is_new(&mut self, id: &str, content: &impl Hash) -> bool {
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        let digest = hasher.finish();
        self.0.insert(id.to_owned(), digest) != Some(digest)
    }
}

#[cfg(test)]
mod tests {
    use maud::html;

    use super::*;

    fn table(rows: &[(&str, &str)]) -> Part {
        let rows = rows
            .iter()
            .map(|(id, cell)| Row {
                id: (*id).to_owned(),
                cells: html! { td { (cell) } },
            })
            .collect();
        Part::table("tenants", "card", html! {}, rows, html! {})
    }

    #[test]
    fn a_part_is_sent_only_if_it_changed() {
        let mut sent = Sent::default();
        let part = |text: &str| Part::live("state", "card", html! { (text) });
        assert!(sent.changes(&part("one")).contains("one"));
        assert_eq!(sent.changes(&part("one")), "");
        assert!(
            sent.changes(&part("two"))
                .contains(r#"hx-swap-oob="morph""#)
        );
    }

    #[test]
    fn of_a_table_only_the_changed_rows_are_sent() {
        let mut sent = Sent::default();
        let first = sent.changes(&table(&[("a", "1"), ("b", "1")]));
        assert!(
            first.starts_with("<section") && first.contains("tbody"),
            "{first}"
        );
        let second = sent.changes(&table(&[("a", "1"), ("b", "2")]));
        assert_eq!(
            second,
            r#"<template><tr role="row" id="b" hx-swap-oob="morph"><td>2</td></tr></template>"#
        );
        let third = sent.changes(&table(&[("b", "2"), ("a", "1")]));
        assert!(
            third.starts_with("<section"),
            "another order is another table: {third}"
        );
        assert_eq!(sent.changes(&table(&[("b", "2"), ("a", "1")])), "");
    }
}
