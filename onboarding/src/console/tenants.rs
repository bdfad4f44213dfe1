//! The table of tenants: filter, order, one page of it.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;

use super::Console;
use super::frame::{Part, Row, Section, View, query_value};
use super::page::Context;
use super::parts::{age, count, maybe, none, rate, tenant_badge};
use crate::access::Verb;
use crate::model::{Figures, TenantState, TenantView};

/// Tenants on one page: with them, the page stays below 100 KB.
const PAGE: usize = 50;
const TIERS: [&str; 3] = ["basic", "advanced", "premium"];
const STATES: [TenantState; 6] = [
    TenantState::Serving,
    TenantState::Blocked,
    TenantState::Committed,
    TenantState::Applied,
    TenantState::Suspended,
    TenantState::Offboarded,
];

/// The query of the page. An unknown value filters nothing, so that a hand-written address still shows tenants.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    tier: String,
    state: String,
    /// Part of the id.
    q: String,
    sort: String,
    /// `reverse` for the opposite order.
    order: String,
    /// Position of the first tenant shown.
    cursor: usize,
    limit: Option<usize>,
}

/// One page of the matching tenants.
pub(super) struct Listed {
    tenants: Vec<Arc<TenantView>>,
    total: usize,
    all: usize,
}

/// A column that orders the table.
#[derive(Clone, Copy)]
struct Column {
    key: &'static str,
    name: &'static str,
    order: Order,
}

#[derive(Clone, Copy)]
enum Order {
    /// Words in their own order.
    Words(fn(&TenantView, &TenantView) -> Ordering),
    /// The largest number first.
    Numbers(fn(&Figures) -> Option<f64>),
}

const COLUMNS: [Column; 8] = [
    column("id", "Tenant", Order::Words(|a, b| a.id.cmp(&b.id))),
    column("tier", "Tier", Order::Words(|a, b| a.tier.cmp(&b.tier))),
    column(
        "release",
        "Release",
        Order::Words(|a, b| a.release.cmp(&b.release)),
    ),
    column(
        "state",
        "State",
        Order::Words(|a, b| urgency(a.state).cmp(&urgency(b.state))),
    ),
    column(
        "rate",
        "Requests/s",
        Order::Numbers(|figures| figures.requests_per_second),
    ),
    column(
        "queue",
        "Queue",
        Order::Numbers(|figures| figures.queue_depth.map(precise)),
    ),
    column(
        "age",
        "Oldest",
        Order::Numbers(|figures| figures.oldest_message_seconds),
    ),
    // Tenants with an error come first.
    column(
        "error",
        "Last error",
        Order::Words(|a, b| b.figures.last_error.cmp(&a.figures.last_error)),
    ),
];

const fn column(key: &'static str, name: &'static str, order: Order) -> Column {
    Column { key, name, order }
}

/// A count of messages as a float: exact below 2³², and the largest float above.
fn precise(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

impl Column {
    const fn is_number(self) -> bool {
        matches!(self.order, Order::Numbers(_))
    }

    fn compare(self, a: &TenantView, b: &TenantView) -> Ordering {
        match self.order {
            Order::Words(compare) => compare(a, b),
            Order::Numbers(of) => {
                let number = |tenant: &TenantView| of(&tenant.figures).unwrap_or(-1.0);
                number(b).total_cmp(&number(a))
            }
        }
    }
}

/// Rank of a state: states that need an operator come first.
const fn urgency(state: TenantState) -> u8 {
    match state {
        TenantState::Blocked => 0,
        TenantState::Committed => 1,
        TenantState::Applied => 2,
        TenantState::Serving => 3,
        TenantState::Suspended => 4,
        TenantState::Offboarded => 5,
    }
}

pub(super) fn load(filter: &Filter, console: &Console, context: &Context) -> View {
    let tenants = console
        .control
        .read(|state| state.tenants.values().cloned().collect());
    view(filter, filter.apply(tenants), context)
}

impl Filter {
    fn apply(&self, mut tenants: Vec<Arc<TenantView>>) -> Listed {
        let all = tenants.len();
        let wanted = STATES
            .into_iter()
            .find(|state| state.as_str() == self.state);
        tenants.retain(|tenant| {
            (!TIERS.contains(&self.tier.as_str()) || tenant.tier == self.tier)
                && wanted.is_none_or(|state| tenant.state == state)
                && tenant.id.contains(self.q.trim())
        });
        let total = tenants.len();
        let column = self.column();
        tenants.sort_by(|a, b| {
            let order = column.compare(a, b);
            let order = if self.is_reversed() {
                order.reverse()
            } else {
                order
            };
            order.then_with(|| a.id.cmp(&b.id))
        });
        let limit = self.limit.unwrap_or(PAGE).clamp(1, PAGE);
        let tenants = tenants.into_iter().skip(self.cursor).take(limit).collect();
        Listed {
            tenants,
            total,
            all,
        }
    }

    fn column(&self) -> Column {
        let column = COLUMNS.into_iter().find(|column| column.key == self.sort);
        column.unwrap_or(COLUMNS[0])
    }

    fn is_reversed(&self) -> bool {
        self.order == "reverse"
    }

    /// The address with another order or position.
    fn href(&self, sort: &str, order: &str, cursor: usize) -> String {
        let pairs = [
            ("q", self.q.trim()),
            ("tier", &self.tier),
            ("state", &self.state),
            ("sort", sort),
            ("order", order),
        ];
        let mut href = String::from("/console/tenants?");
        for (name, value) in pairs {
            if !value.is_empty() {
                href += &format!("{name}={}&", query_value(value));
            }
        }
        if cursor > 0 {
            href += &format!("cursor={cursor}&");
        }
        if let Some(limit) = self.limit {
            href += &format!("limit={limit}&");
        }
        href.pop();
        href
    }
}

fn view(filter: &Filter, listed: Listed, context: &Context) -> View {
    let head = html! {
        h1 { "Tenants" }
        span.grow {}
        @if context.actor.may(Verb::Onboard) {
            a.button.main href="/console/onboard" { "Onboard a tenant" }
        }
    };
    View {
        status: StatusCode::OK,
        section: Section::Tenants,
        title: "Tenants".to_owned(),
        parts: vec![
            Part::fixed("head", "head", head),
            Part::fixed("filter", "filter", filter_form(filter)),
            table(filter, &listed),
        ],
    }
}

fn filter_form(filter: &Filter) -> Markup {
    html! {
        form.fields role="search" method="get" action="/console/tenants" {
            div.field {
                label for="q" { "Id contains" }
                input #q name="q" type="search" value=(filter.q) autocomplete="off" spellcheck="false";
            }
            div.field {
                label for="tier" { "Tier" }
                select #tier name="tier" {
                    option value="" { "any" }
                    @for tier in TIERS { option selected[filter.tier == tier] { (tier) } }
                }
            }
            div.field {
                label for="state" { "State" }
                select #state name="state" {
                    option value="" { "any" }
                    @for state in STATES.map(TenantState::as_str) { option selected[filter.state == state] { (state) } }
                }
            }
            @if !filter.sort.is_empty() { input type="hidden" name="sort" value=(filter.sort); }
            @if !filter.order.is_empty() { input type="hidden" name="order" value=(filter.order); }
            button { "Filter" }
        }
    }
}

fn table(filter: &Filter, listed: &Listed) -> Part {
    let Listed {
        tenants,
        total,
        all,
    } = listed;
    let (first, last) = (filter.cursor + 1, filter.cursor + tenants.len());
    let pages = html! {
        footer.pages {
            span {
                @if tenants.is_empty() { "0" } @else { (count(first)) " to " (count(last)) }
                " of " (count(total))
                @if total != all { " that match; " (count(all)) " in all" }
                ". Figures are those of the tenant's environments; tenants of a pool share them."
            }
            @if filter.cursor > 0 {
                a href=(filter.href(&filter.sort, &filter.order, filter.cursor.saturating_sub(PAGE))) rel="prev" { "Previous" }
            }
            @if last < *total && !tenants.is_empty() {
                a href=(filter.href(&filter.sort, &filter.order, last)) rel="next" { "Next" }
            }
        }
    };
    if tenants.is_empty() {
        let none = html! {
            p.empty {
                @if *all == 0 { "No tenant yet. Onboard the first one." }
                @else { "No tenant matches. " a href="/console/tenants" { "Show all " (count(all)) } "." }
            }
            (pages)
        };
        return Part::live("tenants", "card", none);
    }
    let before = html! {
        caption.hidden-text { "Tenants, their environments, states and figures" }
        thead role="rowgroup" { tr role="row" { (heads(filter)) } }
    };
    let rows = tenants.iter().map(|tenant| row(tenant)).collect();
    Part::table("tenants", "card", before, rows, pages)
}

fn heads(filter: &Filter) -> Markup {
    let sorted = filter.column();
    html! {
        @for (position, column) in COLUMNS.into_iter().enumerate() {
            @let is_sorted = column.key == sorted.key;
            @let falls = column.is_number() != filter.is_reversed();
            @let order = if is_sorted && !filter.is_reversed() { "reverse" } else { "" };
            th.number[column.is_number()] scope="col" role="columnheader"
                aria-sort=[is_sorted.then_some(if falls { "descending" } else { "ascending" })] {
                a href=(filter.href(column.key, order, 0)) {
                    (column.name)
                    @if is_sorted { @if falls { " ↓" } @else { " ↑" } }
                }
            }
            @if position == 1 { th scope="col" role="columnheader" { "Apps run in" } }
        }
    }
}

fn row(tenant: &TenantView) -> Row {
    let figures = &tenant.figures;
    let cells = html! {
        th scope="row" role="rowheader" {
            a href={ "/console/tenants/" (tenant.id) } { (tenant.id) }
        }
        td role="cell" data-label="Tier" { (tenant.tier) }
        td.full role="cell" data-label="Apps run in" { (places(tenant)) }
        td role="cell" data-label="Release" { (tenant.release) }
        td role="cell" {
            (tenant_badge(tenant))
            @if let Some(blocked) = &tenant.blocked { span.reason { (blocked.reason) } }
        }
        (number("Requests/s", figures.requests_per_second.map(rate)))
        (number("Queue", figures.queue_depth.map(count)))
        (number("Oldest", figures.oldest_message_seconds.map(age)))
        td role="cell" data-label="Last error" {
            @if let Some(error) = &figures.last_error { span.error { (error) } } @else { (none()) }
        }
    };
    Row {
        id: format!("row-{}", tenant.id),
        cells,
    }
}

fn number(label: &str, shown: Option<String>) -> Markup {
    let is_zero = shown
        .as_deref()
        .is_none_or(|shown| shown == "0" || shown == "0 s");
    html! {
        td.number.zero[is_zero] role="cell" data-label=(label) { (maybe(shown.as_deref())) }
    }
}

/// The environment of each app; one entry if all apps share it.
pub(super) fn places(tenant: &TenantView) -> Markup {
    let mut environments: Vec<(&str, Vec<&str>)> = Vec::new();
    for (app, place) in tenant.apps.iter() {
        match environments
            .iter_mut()
            .find(|(environment, _)| *environment == place.environment)
        {
            Some((_, apps)) => apps.push(app),
            None => environments.push((&place.environment, vec![app])),
        }
    }
    html! {
        div.where {
            @match environments.as_slice() {
                [] => (none()),
                [(environment, _)] => span { (environment_tag(environment)) " " span.app { "all" } },
                several => @for (environment, apps) in several {
                    span { (environment_tag(environment)) " " span.app { (apps.join(", ")) } }
                },
            }
        }
    }
}

/// An environment: a silo is marked, a pool is not.
pub(super) fn environment_tag(environment: &str) -> Markup {
    let is_pool = environment.starts_with("pool-");
    html! { span.tag.own[!is_pool] { (environment) } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::frame::document;
    use crate::console::samples::{context, tenant};

    fn shown(filter: &Filter) -> String {
        let listed = filter.apply((1..=1000).map(tenant).map(Arc::new).collect());
        let context = context();
        document(
            &view(filter, listed, &context),
            &context,
            Some("/console/tenants"),
        )
        .into_string()
    }

    fn ids(filter: &Filter) -> Vec<String> {
        let listed = filter.apply((1..=12).map(tenant).map(Arc::new).collect());
        listed
            .tenants
            .iter()
            .map(|tenant| tenant.id.clone())
            .collect()
    }

    #[test]
    fn a_page_of_a_thousand_tenants_stays_below_100_kb() {
        let page = shown(&Filter::default());
        assert!(page.len() <= 100_000, "{} bytes", page.len());
        assert!(page.contains("1 to 50 of 1\u{202f}000") && page.contains("cursor=50"));
    }

    #[test]
    fn the_last_page_has_no_next_link() {
        let page = shown(&Filter {
            cursor: 950,
            ..Filter::default()
        });
        assert!(!page.contains("rel=\"next\"") && page.contains("rel=\"prev\""));
    }

    #[test]
    fn tiers_states_and_parts_of_ids_filter_the_table() {
        let filter = |tier: &str, state: &str, q: &str| Filter {
            tier: tier.to_owned(),
            state: state.to_owned(),
            q: q.to_owned(),
            ..Filter::default()
        };
        assert_eq!(
            ids(&filter("basic", "", "")),
            ["tenant-1", "tenant-10", "tenant-4", "tenant-7"]
        );
        assert_eq!(ids(&filter("", "blocked", "")), ["tenant-4"]);
        assert_eq!(
            ids(&filter("", "", "-1")),
            ["tenant-1", "tenant-10", "tenant-11", "tenant-12"]
        );
        assert_eq!(ids(&filter("gold", "asleep", "")).len(), 12);
    }

    #[test]
    fn numbers_are_ordered_from_the_largest_and_words_from_the_first() {
        let sorted = |sort: &str, order: &str| {
            ids(&Filter {
                sort: sort.to_owned(),
                order: order.to_owned(),
                ..Filter::default()
            })
            .remove(0)
        };
        assert_eq!(sorted("rate", ""), "tenant-12");
        assert_eq!(sorted("rate", "reverse"), "tenant-1");
        assert_eq!(sorted("state", ""), "tenant-4");
        assert_eq!(sorted("error", ""), "tenant-4");
    }
}
