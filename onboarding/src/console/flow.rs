//! The flow of a tenant's messages, as a picture with live figures and as a list that says the same. Pure.
//!
//! The picture is for the eye only; the list is for screen readers, and for narrow screens in place of the picture.

use maud::{Markup, html};

use super::parts::{age, count, rate};
use crate::model::{QueueView, TenantState, TenantView};

const WIDTH: u32 = 1068;
const HEIGHT: u32 = 232;
const BOX: (u32, u32) = (172, 92);
const STEP: u32 = BOX.0 + 52;
const ROW: u32 = 138;
/// Longest name that fits a box.
const MAX_NAME: usize = 23;

/// Data of the picture.
pub(super) struct Flow<'a> {
    pub(super) tenant: &'a TenantView,
    pub(super) queue: Option<&'a QueueView>,
    /// Name of the tenant's table of items.
    pub(super) table: Option<&'a str>,
    /// Name of the table of charges and refunds.
    pub(super) ledger: Option<&'a str>,
}

/// A node of the flow.
struct Node {
    kind: &'static str,
    /// The environment or the name of the resource.
    at: String,
    /// Text that only the list shows.
    detail: Option<String>,
    figures: Vec<(String, &'static str)>,
    is_own: bool,
    is_bad: bool,
    is_off: bool,
}

/// The nodes in the order in which a message passes them.
struct Nodes {
    balancer: Node,
    producer: Node,
    queue: Node,
    consumer: Node,
    table: Node,
    dead_letters: Node,
    payments: Node,
}

impl Flow<'_> {
    fn nodes(&self) -> Nodes {
        let figures = &self.tenant.figures;
        let is_off = !matches!(self.tenant.state, TenantState::Serving);
        let app = |app: &str, kind| {
            let place = self.tenant.apps.get(app);
            let figures = figures
                .apps
                .get(app)
                .and_then(|app| app.requests_per_second);
            Node {
                kind,
                at: place.map_or("runs nowhere".to_owned(), |place| {
                    format!("in {}", place.environment)
                }),
                detail: None,
                figures: figures
                    .map(|per_second| (rate(per_second), "requests/s"))
                    .into_iter()
                    .collect(),
                is_own: place.is_some_and(|place| place.environment == self.tenant.id),
                is_bad: false,
                is_off: place.is_none(),
            }
        };
        let resource = |kind, name: Option<&str>, figures: Vec<(String, &'static str)>| Node {
            kind,
            at: name.unwrap_or("not known").to_owned(),
            detail: None,
            figures,
            // Names are `<app>-<owner>-<suffix>`, and no tenant is called `pool-…`.
            is_own: name
                .and_then(|name| name.split_once('-'))
                .is_some_and(|(_, owner)| !owner.starts_with("pool-")),
            is_bad: false,
            is_off: name.is_none(),
        };
        let mut balancer = resource("Load balancer", Some("TenantID: "), Vec::new());
        balancer.at = format!("TenantID: {}", self.tenant.id);
        (balancer.is_own, balancer.is_off) = (false, is_off);
        balancer.figures = figures
            .requests_per_second
            .map(|all| (rate(all), "requests/s"))
            .into_iter()
            .collect();

        let mut waiting = Vec::new();
        if let Some(depth) = self
            .queue
            .map(|queue| queue.visible + queue.delayed)
            .or(figures.queue_depth)
        {
            waiting.push((count(depth), "waiting"));
        }
        if let Some(seconds) = figures
            .oldest_message_seconds
            .filter(|seconds| *seconds >= 1.0)
        {
            waiting.push((age(seconds), "oldest"));
        }
        let mut consumer = app("consumer", "Consumer");
        consumer.figures.clear();
        if let Some(queue) = self.queue {
            consumer
                .figures
                .push((count(queue.in_flight), "in progress"));
        }
        let stored = figures
            .stored_per_second
            .map(|per_second| (rate(per_second), "stored/s"));
        let dead = self.queue.and_then(|queue| queue.dead_letter.as_ref());
        let dead_count = dead.map(|dead| dead.messages).or(figures.dead_letters);
        let mut dead_letters = resource(
            "Dead-letter queue",
            dead.map(|dead| dead.name.as_str()),
            dead_count
                .map(|messages| {
                    let unit = if messages == 1 { "message" } else { "messages" };
                    (count(messages), unit)
                })
                .into_iter()
                .collect(),
        );
        dead_letters.is_bad = dead_count.is_some_and(|messages| messages > 0);
        let mut payments = app("payments", "Payments");
        if let Some(ledger) = self.ledger {
            payments.detail = Some(format!("table {ledger}"));
        }
        Nodes {
            balancer,
            producer: app("producer", "Producer"),
            queue: resource(
                "Queue",
                self.queue.map(|queue| queue.name.as_str()),
                waiting,
            ),
            consumer,
            table: resource("Table", self.table, stored.into_iter().collect()),
            dead_letters,
            payments,
        }
    }

    /// The picture and the list.
    pub(super) fn render(&self) -> Markup {
        let nodes = self.nodes();
        let flows = |app: &str| {
            let app = self.tenant.figures.apps.get(app);
            app.and_then(|app| app.requests_per_second)
                .is_some_and(|rate| rate >= 0.05)
        };
        let in_flight = self
            .queue
            .is_some_and(|queue| queue.in_flight + queue.visible > 0);
        let stores = self
            .tenant
            .figures
            .stored_per_second
            .is_some_and(|rate| rate >= 0.05);
        let (posts, pays) = (flows("producer"), flows("payments"));
        let [first, second, third, fourth, fifth] = [0, 1, 2, 3, 4].map(|column| column * STEP);
        html! {
            figure {
                svg.flow viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } aria-hidden="true" focusable="false" {
                    (arrow(first, posts))
                    (arrow(second, posts))
                    (arrow(third, in_flight || stores))
                    (arrow(fourth, stores))
                    (elbow(&[(first + BOX.0 / 2, BOX.1), (first + BOX.0 / 2, ROW + 46), (second - 8, ROW + 46)], pays))
                    (elbow(&[(second + BOX.0, ROW + 46), (second + BOX.0 + 26, ROW + 46), (second + BOX.0 + 26, 72), (third - 8, 72)], pays))
                    (elbow(&[(third + BOX.0 / 2, BOX.1), (third + BOX.0 / 2, ROW - 8)], false))
                    (node(first, 0, &nodes.balancer))
                    (node(second, 0, &nodes.producer))
                    (node(third, 0, &nodes.queue))
                    (node(fourth, 0, &nodes.consumer))
                    (node(fifth, 0, &nodes.table))
                    (node(second, ROW, &nodes.payments))
                    (node(third, ROW, &nodes.dead_letters))
                }
                ol.flow-text aria-label="Message flow, node by node" {
                    @for node in nodes.in_order() { (item(node)) }
                }
            }
        }
    }
}

impl Nodes {
    const fn in_order(&self) -> [&Node; 7] {
        [
            &self.balancer,
            &self.producer,
            &self.queue,
            &self.consumer,
            &self.table,
            &self.dead_letters,
            &self.payments,
        ]
    }
}

fn item(node: &Node) -> Markup {
    html! {
        li.bad[node.is_bad] {
            strong { (node.kind) } " "
            span.sub { (node.at) @if let Some(detail) = &node.detail { ", " (detail) } }
            @for (figure, unit) in &node.figures { ", " (figure) " " (unit) }
        }
    }
}

fn node(x: u32, y: u32, node: &Node) -> Markup {
    let inset = x + 12;
    html! {
        rect.box.own[node.is_own].bad[node.is_bad].off[node.is_off]
            x=(x + 1) y=(y + 1) width=(BOX.0 - 2) height=(BOX.1 - 2) rx="8" {}
        text.kind x=(inset) y=(y + 24) { (node.kind) }
        text.at x=(inset) y=(y + 43) { (abridged(&node.at)) }
        text x=(inset) y=(y + 74) {
            @for (position, (figure, unit)) in node.figures.iter().enumerate() {
                tspan.figure.bad-text[node.is_bad] dx=[(position > 0).then_some(10)] { (figure) }
                tspan.unit dx="4" { (unit) }
            }
        }
    }
}

/// An arrow from the node of this column to the next.
fn arrow(x: u32, flows: bool) -> Markup {
    elbow(&[(x + BOX.0, 40), (x + STEP - 8, 40)], flows)
}

/// A line through the points, with a tip at its end.
fn elbow(points: &[(u32, u32)], flows: bool) -> Markup {
    let line: Vec<String> = points.iter().map(|(x, y)| format!("{x},{y}")).collect();
    let tip = match points {
        [.., (before, _), (x, y)] if before != x => {
            format!("{x},{} {},{y} {x},{}", y - 5, x + 8, y + 5)
        }
        [.., (x, y)] => format!("{},{y} {x},{} {},{y}", x - 5, y + 8, x + 5),
        [] => String::new(),
    };
    html! {
        polyline.edge.flows[flows] points=(line.join(" ")) {}
        polygon.tip.flows[flows] points=(tip) {}
    }
}

/// A name that fits a box: the middle is left out.
fn abridged(name: &str) -> String {
    let characters: Vec<char> = name.chars().collect();
    if characters.len() <= MAX_NAME {
        return name.to_owned();
    }
    let (head, tail) = (MAX_NAME - 9, 8);
    let text = |characters: &[char]| characters.iter().collect::<String>();
    format!(
        "{}…{}",
        text(&characters[..head]),
        text(&characters[characters.len() - tail..])
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_keeps_its_beginning_and_its_end() {
        assert_eq!(abridged("consumer-pool-1-k7q"), "consumer-pool-1-k7q");
        let long = abridged("consumer-a-tenant-with-thirty-two-letters-x11");
        assert_eq!(
            (long.chars().count(), long.ends_with("ters-x11")),
            (MAX_NAME, true)
        );
    }
}
