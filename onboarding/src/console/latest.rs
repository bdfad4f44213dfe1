//! The latest messages and charges of a tenant, as its own services list them.

use maud::{Markup, html};
use serde_json::Value;

use super::parts::{columns, count, none};
use super::requests::Unlisted;
use super::{Console, requests};

/// Latest messages, and latest charges.
const LATEST: usize = 5;

/// The latest messages and charges, as the tenant's own services list them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Latest {
    pub(super) messages: Result<Vec<Value>, Unlisted>,
    pub(super) charges: Result<Vec<Value>, Unlisted>,
}

impl Latest {
    pub(super) async fn read(console: &Console, tenant: &str) -> Self {
        let list = async |path: String, field: &str| {
            let mut listing = requests::listing(console, tenant, &path).await?;
            match listing.get_mut(field).map(Value::take) {
                Some(Value::Array(items)) => Ok(items),
                _ => Err(Unlisted::Failed),
            }
        };
        Self {
            messages: list(format!("/consumer/messages?limit={LATEST}"), "messages").await,
            charges: list(format!("/payments/charges?limit={LATEST}"), "charges").await,
        }
    }

    pub(super) fn messages(&self, is_gone: bool) -> Markup {
        MESSAGES.render(&self.messages, is_gone, |message| {
            html! {
                tr.fresh role="row" id={ "m-" (text(message, "message_id")) } {
                    td role="cell" title=(text(message, "message_id")) { (clock(text(message, "timestamp"))) }
                    td.small.tight role="cell" { (text(message, "producer_environment")) " → " (text(message, "consumer_environment")) }
                    td.wide role="cell" { code { (payload(message)) } }
                }
            }
        })
    }

    pub(super) fn payments(&self, is_gone: bool) -> Markup {
        CHARGES.render(&self.charges, is_gone, |charge| {
            html! {
                tr.fresh role="row" id={ "c-" (text(charge, "id")) } {
                    td role="cell" title=(text(charge, "id")) { (clock(text(charge, "created_at"))) }
                    td.number role="cell" {
                        (charge.get("amount").and_then(Value::as_u64).map(count).unwrap_or_default()) " " (text(charge, "currency"))
                    }
                    td.wide role="cell" { (text(charge, "reference")) }
                    td role="cell" { (text(charge, "status")) }
                }
            }
        })
    }
}

/// How one of the lists is worded.
struct Listing {
    title: &'static str,
    order: &'static str,
    service: &'static str,
    gone: &'static str,
    empty: &'static str,
    columns: &'static [&'static str],
    numbers: &'static [&'static str],
}

const MESSAGES: Listing = Listing {
    title: "Latest messages",
    order: "stored, newest first",
    service: "The consumer",
    gone: "No consumer runs that could list them. They stay in the table, until the data is deleted.",
    empty: "None yet. \"Send a message\" above sends the first one.",
    columns: &["Stored", "From, to", "Payload"],
    numbers: &[],
};
const CHARGES: Listing = Listing {
    title: "Latest payments",
    order: "charges, newest first",
    service: "The payments service",
    gone: "No payments service runs that could list them. They stay in the table, until the data is deleted.",
    empty: "None yet. \"Charge 12.50 EUR\" above makes the first one.",
    columns: &["Recorded", "Minor units", "Reference", "Status"],
    numbers: &["Minor units"],
};

impl Listing {
    fn render(
        &self,
        items: &Result<Vec<Value>, Unlisted>,
        is_gone: bool,
        row: impl Fn(&Value) -> Markup,
    ) -> Markup {
        html! {
            header { h2 { (self.title) } span.sub { (self.order) } }
            @match items.as_deref() {
                Err(_) if is_gone => p.empty { (self.gone) },
                Err(why) => p.empty { (unlisted(self.service, *why)) },
                Ok([]) => p.empty { (self.empty) },
                Ok(items) => table.cards role="table" {
                    (columns(self.columns, self.numbers))
                    tbody role="rowgroup" { @for item in items { (row(item)) } }
                },
            }
        }
    }
}

/// Why a list is not shown.
fn unlisted(service: &str, why: Unlisted) -> String {
    match why {
        Unlisted::TokenNeeded => format!(
            "{service} asks for a token of the tenant, which the console does not have. A client with a token lists them."
        ),
        Unlisted::Failed => format!("{service} did not list them."),
    }
}

fn text<'a>(item: &'a Value, field: &str) -> &'a str {
    item.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The time of day of an item's timestamp.
fn clock(timestamp: &str) -> Markup {
    html! { time datetime=(timestamp) title=(timestamp) { (timestamp.get(11..19).unwrap_or(timestamp)) } }
}

fn payload(message: &Value) -> Markup {
    const MAX: usize = 160;
    match message.get("payload") {
        Some(payload) => {
            let mut text = payload.to_string();
            if text.len() > MAX {
                text.truncate(text.floor_char_boundary(MAX));
                text.push('…');
            }
            html! { (text) }
        }
        None => none(),
    }
}
