//! The latest messages and charges of a tenant, as its own services list them.

use maud::{Markup, html};
use serde_json::Value;

use super::parts::{columns, count, none};
use super::requests::Unlisted;
use super::{Console, requests};

/// Latest messages, and latest charges.
const LATEST: usize = 5;

/// How an offboarded tenant left its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    DataKept,
    WithData,
}

/// The environments of the apps that are listed, and a number for each that changes with every write.
pub(super) type Version = Vec<(String, u64)>;

/// The latest messages and charges, as the tenant's own services list them.
#[derive(Debug, Clone)]
pub(super) struct Latest {
    /// What was written before the lists were read, and a number of the time then.
    version: Version,
    time: u64,
    pub(super) messages: Result<Vec<Value>, Unlisted>,
    pub(super) charges: Result<Vec<Value>, Unlisted>,
}

impl Latest {
    /// Reads the lists. `version` and `time` are from before.
    pub(super) async fn read(console: &Console, tenant: &str, version: Version, time: u64) -> Self {
        let list = async |path: String, field: &str| {
            let mut listing = requests::listing(console, tenant, &path).await?;
            match listing.get_mut(field).map(Value::take) {
                Some(Value::Array(items)) => Ok(items),
                _ => Err(Unlisted::Failed),
            }
        };
        Self {
            version,
            time,
            messages: list(format!("/consumer/messages?limit={LATEST}"), "messages").await,
            charges: list(format!("/payments/charges?limit={LATEST}"), "charges").await,
        }
    }

    #[cfg(test)]
    pub(super) const fn of(messages: Vec<Value>, charges: Vec<Value>) -> Self {
        Self {
            version: Version::new(),
            time: 0,
            messages: Ok(messages),
            charges: Ok(charges),
        }
    }

    /// Whether the lists are to be read again: something was written since, or one was not read.
    pub(super) fn is_before(&self, version: &Version, time: u64) -> bool {
        let has_failed = self.messages.is_err() || self.charges.is_err();
        self.version != *version || (has_failed && self.time != time)
    }

    pub(super) fn messages(&self, gone: Option<Gone>) -> Markup {
        MESSAGES.render(&self.messages, gone, |message| {
            html! {
                tr.fresh role="row" id={ "m-" (text(message, "message_id")) } {
                    td role="cell" title=(text(message, "message_id")) { (clock(text(message, "timestamp"))) }
                    td.small.tight role="cell" { (text(message, "producer_environment")) " → " (text(message, "consumer_environment")) }
                    td.wide role="cell" { code { (payload(message)) } }
                }
            }
        })
    }

    pub(super) fn payments(&self, gone: Option<Gone>) -> Markup {
        CHARGES.render(&self.charges, gone, |charge| {
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
    /// What lists them.
    lister: &'static str,
    empty: &'static str,
    columns: &'static [&'static str],
    numbers: &'static [&'static str],
}

const MESSAGES: Listing = Listing {
    title: "Latest messages",
    order: "stored, newest first",
    lister: "consumer",
    empty: "None yet. \"Send a message\" above sends the first one.",
    columns: &["Stored", "From, to", "Payload"],
    numbers: &[],
};
const CHARGES: Listing = Listing {
    title: "Latest payments",
    order: "charges, newest first",
    lister: "payments service",
    empty: "None yet. \"Charge 12.50 EUR\" above makes the first one.",
    columns: &["Recorded", "Minor units", "Reference", "Status"],
    numbers: &["Minor units"],
};

impl Listing {
    fn render(
        &self,
        items: &Result<Vec<Value>, Unlisted>,
        gone: Option<Gone>,
        row: impl Fn(&Value) -> Markup,
    ) -> Markup {
        html! {
            header { h2 { (self.title) } span.sub { (self.order) } }
            @match items.as_deref() {
                Err(why) => p.empty { (unlisted(self.lister, gone, *why)) },
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
fn unlisted(lister: &str, gone: Option<Gone>, why: Unlisted) -> String {
    match (gone, why) {
        (Some(Gone::WithData), _) => "They were deleted with the tenant's tables.".to_owned(),
        (Some(Gone::DataKept), _) => format!(
            "No {lister} runs that could list them. They stay in the table, until the data is deleted."
        ),
        (None, Unlisted::TokenNeeded) => format!(
            "The {lister} asks for a token of the tenant, which the console does not have. A client with a token lists them."
        ),
        (None, Unlisted::Failed) => format!("The {lister} did not list them."),
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
